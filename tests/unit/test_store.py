"""Events folded into what is known of each job, whatever the journal went through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcjobs import journal
from hpcjobs import store as store_module
from hpcjobs.errors import InputError
from hpcjobs.journal import Event, event
from hpcjobs.model import Job, JobState, Reason, TaskRun
from hpcjobs.store import Store, fold, job_from_json, job_to_json, load

AT = 1_767_323_045.0
ID = "abcdef0"

MakeJob = Callable[..., Job]


@pytest.fixture(scope="session")
def planned(a_job: MakeJob) -> Event:
    return event(journal.PLANNED, AT, ID, spec=job_to_json(a_job(ID)))


def submitting(number: int = 1) -> Event:
    name = f"{ID}-{number:02d}"
    return event(journal.SUBMITTING, AT + 1, ID, number, name=name, place="login1")


def submitted(number: int = 1, native_id: Any = "17") -> Event:
    return event(journal.SUBMITTED, AT + 2, ID, number, native_id=native_id)


def seen(state: JobState, number: int = 1, **more: Any) -> Event:
    return event(journal.SEEN, AT + 3, ID, number, state=state.value, **more)


def ended(state: JobState, reason: Reason | None = None, number: int = 1, **more: Any) -> Event:
    said = reason.value if reason else None
    return event(journal.ENDED, AT + 4, ID, number, state=state.value, reason=said, **more)


def only(store: Store) -> Any:
    (record,) = store.jobs.values()
    (attempt,) = record.attempts
    return attempt


def test_a_job_that_was_planned_is_known(planned: Event, a_job: MakeJob) -> None:
    store = fold([planned])
    assert store.jobs[ID].job == a_job(ID)
    assert store.jobs[ID].state is JobState.PLANNED
    assert store.digests == {ID: f"digest of {ID}"}


def test_the_intent_to_submit_is_an_attempt(planned: Event) -> None:
    attempt = only(fold([planned, submitting()]))
    assert (attempt.state, attempt.name, attempt.place, attempt.submitting_at) == (
        (JobState.SUBMITTING, f"{ID}-01", "login1", AT + 1)
    )
    assert attempt.native_id is None


def test_a_job_that_was_taken_waits(planned: Event) -> None:
    attempt = only(fold([planned, submitting(), submitted()]))
    assert (attempt.state, attempt.native_id, attempt.submitted_at) == (
        (JobState.PENDING, "17", AT + 2)
    )


def test_a_job_stands_as_it_was_last_seen(planned: Event) -> None:
    events = [planned, submitting(), submitted(), seen(JobState.HELD), seen(JobState.RUNNING)]
    assert only(fold(events)).state is JobState.RUNNING


def test_absence_is_kept_and_ends_when_it_is_seen_again(planned: Event) -> None:
    events = [planned, submitting(), seen(JobState.UNKNOWN, absent_since=AT)]
    assert only(fold(events)).absent_since == AT
    assert only(fold([*events, seen(JobState.RUNNING)])).absent_since is None


def test_an_end_keeps_its_reason_and_time(planned: Event) -> None:
    end = ended(JobState.FAILED, Reason.TIMEOUT, detail="killed at the walltime")
    attempt = only(fold([planned, submitting(), end]))
    assert (attempt.state, attempt.reason, attempt.detail, attempt.ended_at) == (
        (JobState.FAILED, Reason.TIMEOUT, "killed at the walltime", AT + 4)
    )


def test_the_wish_to_cancel_is_kept(planned: Event) -> None:
    cancelling = event(journal.CANCELLING, AT, ID, 1)
    assert only(fold([planned, submitting(), cancelling])).cancelling


def test_a_job_stands_as_its_last_attempt_does(planned: Event) -> None:
    events = [planned, submitting(1), ended(JobState.FAILED, Reason.TIMEOUT), submitting(2)]
    record = fold(events).jobs[ID]
    assert [attempt.number for attempt in record.attempts] == [1, 2]
    assert record.state is JobState.SUBMITTING
    assert record.active


def test_a_job_whose_attempts_all_ended_is_not_active(planned: Event) -> None:
    record = fold([planned, submitting(), ended(JobState.SUCCEEDED)]).jobs[ID]
    assert not record.active


def test_an_earlier_attempt_that_is_unfinished_keeps_a_job_active(planned: Event) -> None:
    events = [planned, submitting(1), submitting(2), ended(JobState.SUCCEEDED, number=2)]
    assert fold(events).jobs[ID].active


def test_jobs_stand_in_the_order_of_planning(a_job: MakeJob) -> None:
    ids = ["zzzzzz1", "aaaaaa1", "mmmmmm1"]
    events = [event(journal.PLANNED, AT, key, spec=job_to_json(a_job(key))) for key in ids]
    assert list(fold(events).jobs) == ids


def test_a_job_that_is_planned_twice_is_the_first(planned: Event, a_job: MakeJob) -> None:
    again = event(journal.PLANNED, AT, ID, spec=job_to_json(a_job(ID, model="org/other")))
    assert fold([planned, submitting(), again]).jobs[ID].job == a_job(ID)
    assert fold([planned, submitting(), again]).jobs[ID].attempts


# ---- Events that make no sense -------------------------------------------------------------------

STRANGE: dict[str, Event] = {
    "unknown kind": event("frobnicated", AT, ID, 1),
    "unknown job": event(journal.SUBMITTED, AT, "zzzzzzz", 1, native_id="1"),
    "unknown attempt": event(journal.SUBMITTED, AT, ID, 9, native_id="1"),
    "unknown state": event(journal.SEEN, AT, ID, 1, state="DANCING"),
    "unknown reason": ended(JobState.FAILED) | {"reason": "MOON_PHASE"},
    "an end that is none": event(journal.ENDED, AT, ID, 1, state="RUNNING"),
    "an end that is only seen": event(journal.SEEN, AT, ID, 1, state="SUCCEEDED"),
    "no time": {"event": journal.SEEN, "job": ID, "attempt": 1, "state": "HELD"},
    "no such time": {**seen(JobState.HELD), "at": "yesterday"},
    "time of another kind": {**seen(JobState.HELD), "at": 17},
    "no job": {"event": journal.SEEN, "at": "2026-01-02T03:04:05+00:00", "attempt": 1},
    "job of another kind": {**seen(JobState.HELD), "job": ["a"]},
    "no attempt": event(journal.SEEN, AT, ID, state="HELD"),
    "attempt of another kind": {**seen(JobState.HELD), "attempt": "one"},
    "endless attempt": {**seen(JobState.HELD), "attempt": float("inf")},
    "no native id": event(journal.SUBMITTED, AT, ID, 1),
    "no name": event(journal.SUBMITTING, AT, ID, 2, place="x"),
    "job that says nothing": event(journal.PLANNED, AT, "zzzzzz2", spec={}),
    "job that is a list": event(journal.PLANNED, AT, "zzzzzz3", spec=[]),
    "job without a description": event(journal.PLANNED, AT, "zzzzzz4"),
}


@pytest.mark.parametrize("strange", STRANGE)
def test_an_event_that_makes_no_sense_costs_only_itself(planned: Event, strange: str) -> None:
    before = [planned, submitting(), submitted(), seen(JobState.RUNNING, detail="x")]
    after = [ended(JobState.SUCCEEDED)]
    assert fold([*before, STRANGE[strange]]) == fold(before)
    assert fold([*before, STRANGE[strange], *after]) == fold([*before, *after])


def test_fields_that_a_later_version_adds_are_passed_over(planned: Event, a_job: MakeJob) -> None:
    spec = {**job_to_json(a_job(ID)), "colour": "red"}
    later = [{**one, "v": 2, "colour": "red"} for one in (submitting(), submitted())]
    store = fold([event(journal.PLANNED, AT, ID, spec=spec, colour="red"), *later])
    assert store == fold([planned, submitting(), submitted()])


def test_fields_that_a_later_version_adds_to_a_task_are_passed_over(
    planned: Event, a_job: MakeJob
) -> None:
    spec = json.loads(json.dumps(job_to_json(a_job(ID))))
    spec["tasks"][0]["colour"] = "red"
    assert fold([event(journal.PLANNED, AT, ID, spec=spec)]) == fold([planned])


# ---- Whatever the events -------------------------------------------------------------------------

KINDS = ("planned", "submitting", "submitted", "cancelling", "seen", "ended", "frobnicated")


def some_event(spec: Any) -> st.SearchStrategy[Event]:
    return st.fixed_dictionaries(
        {
            "event": st.sampled_from(KINDS),
            "at": st.sampled_from(["2026-01-02T03:04:05+00:00", "2026-01-02T03:04:06+00:00"]),
            "job": st.sampled_from([ID, ID, ID, "unknown"]),
            "attempt": st.sampled_from([1, 1, 2]),
            "state": st.sampled_from([state.value for state in JobState]),
            "reason": st.sampled_from([None, *(reason.value for reason in Reason)]),
            "detail": st.sampled_from(["", "x"]),
            "native_id": st.sampled_from(["17", "18"]),
            "name": st.just("n"),
            "place": st.just("h"),
            "spec": st.just(spec),
        }
    )


@pytest.fixture(scope="session")
def spec(a_job: MakeJob) -> Any:
    return job_to_json(a_job(ID))


def attempts(events: list[Event]) -> dict[int, Any]:
    store = fold(events)
    return {one.number: one for one in store.jobs[ID].attempts} if ID in store.jobs else {}


@given(data=st.data())
def test_an_end_never_changes_whatever_follows(
    data: st.DataObject, planned: Event, spec: Any
) -> None:
    start = [planned, submitting(1), submitting(2)]
    first = start + data.draw(st.lists(some_event(spec), max_size=12))
    more = data.draw(st.lists(some_event(spec), max_size=12))
    after = attempts(first + more)
    for number, attempt in attempts(first).items():
        if attempt.state.final:
            assert after[number] == attempt


@given(data=st.data())
def test_every_beginning_of_a_journal_can_be_folded(data: st.DataObject, spec: Any) -> None:
    events = data.draw(st.lists(some_event(spec), max_size=12))
    for length in range(len(events) + 1):
        for record in fold(events[:length]).jobs.values():
            numbers = [attempt.number for attempt in record.attempts]
            assert len(set(numbers)) == len(numbers)


@given(data=st.data())
def test_only_an_end_ends_an_attempt(data: st.DataObject, planned: Event, spec: Any) -> None:
    events = data.draw(st.lists(some_event(spec), max_size=12))
    without_ends = [one for one in events if one["event"] != journal.ENDED]
    for attempt in attempts([planned, *without_ends]).values():
        assert not attempt.state.final


@settings(max_examples=25)
@given(data=st.data())
def test_torn_lines_change_nothing_else(
    data: st.DataObject, planned: Event, spec: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = [planned, *data.draw(st.lists(some_event(spec), max_size=6))]
    path = tmp_path_factory.mktemp("torn") / "journal.jsonl"
    for one in events:
        journal.append(path, [one])
        with path.open("ab") as file:
            file.write(data.draw(st.sampled_from([b"", b"\0\0", b"{", b'{"event": "en', b"\n"])))
    assert load(path).jobs == fold(events).jobs


# ---- Jobs as JSON --------------------------------------------------------------------------------

texts = st.text(max_size=8)
runs = st.builds(
    TaskRun,
    texts,
    texts,
    texts,
    texts,
    st.dictionaries(texts, st.none() | st.integers() | st.floats(allow_nan=False) | texts),
)
jobs = st.builds(
    Job,
    **dict.fromkeys(("id", "digest", "service", "node", "provider", "model", "priority"), texts),
    settings_name=texts,
    settings_version=texts,
    settings_path=texts,
    tasks=st.lists(runs, max_size=2).map(tuple),
    walltime=st.integers(0, 10**6),
    max_samples=st.none() | st.integers(1, 100),
    reservation=texts,
    mail=texts,
    trial=st.booleans(),
    scheduler_options=st.dictionaries(texts, texts, max_size=2),
    devices=st.lists(texts, max_size=2).map(tuple),
    result_prefix=texts,
    model_names=st.lists(texts, max_size=2).map(tuple),
)


@given(jobs)
def test_a_job_comes_back_from_json_as_it_was(job: Job) -> None:
    assert job_from_json(json.loads(json.dumps(job_to_json(job)))) == job


def test_a_job_of_an_earlier_version_has_the_defaults(a_job: MakeJob) -> None:
    value = job_to_json(a_job(ID))
    for name in ("devices", "model_names", "priority", "result_prefix"):
        del value[name]
    job = job_from_json(value)
    assert (job.devices, job.model_names, job.priority, job.result_prefix) == ((), (), "", "")


# ---- Finding -------------------------------------------------------------------------------------


@pytest.fixture
def three(a_job: MakeJob) -> Store:
    ids = ["abcdef0", "abcxyz0", "zzzzzz0"]
    return fold(event(journal.PLANNED, AT, key, spec=job_to_json(a_job(key))) for key in ids)


@pytest.mark.parametrize("text", ["z", "zzzzzz0", " ZZ "])
def test_the_beginning_of_an_id_is_enough(three: Store, text: str) -> None:
    assert three.find(text).job.id == "zzzzzz0"


@pytest.fixture
def twice(a_job: MakeJob) -> Store:
    """A job that was submitted twice."""
    events = [event(journal.PLANNED, AT, "zzzzzz0", spec=job_to_json(a_job("zzzzzz0")))]
    for number in (1, 2):
        name = f"zzzzzz0-{number:02d}_x"
        events.append(event(journal.SUBMITTING, AT, "zzzzzz0", number, name=name, place=""))
    return fold(events)


@pytest.mark.parametrize("text", ["zzz", "zzz-2", "zzzzzz0-02", " ZZZ-02 "])
def test_the_latest_attempt_can_be_named(twice: Store, text: str) -> None:
    assert twice.find(text, latest=True).job.id == "zzzzzz0"


def test_an_earlier_attempt_is_not_taken_for_the_latest(twice: Store) -> None:
    assert twice.find("zzz-01").job.id == "zzzzzz0"
    with pytest.raises(InputError, match="attempt 1 of zzzzzz0 was followed by attempt 2"):
        twice.find("zzz-01", latest=True)


@pytest.mark.parametrize("text", ["zzz-03", "zzz-0", "zzz-", "zzz-x", "zzz-1-2"])
def test_an_attempt_that_there_is_not_is_refused(twice: Store, text: str) -> None:
    with pytest.raises(InputError, match="zzzzzz0 has no attempt") as caught:
        twice.find(text)
    assert caught.value.expected == "one of: 1, 2"


def test_a_cancellation_that_was_refused_is_taken_back(twice: Store) -> None:
    asked = event(journal.CANCELLING, AT, "zzzzzz0", 2)
    attempt = twice.jobs["zzzzzz0"].attempts[1]
    journal_of = [asked, event(journal.NOT_CANCELLED, AT, "zzzzzz0", 2)]
    for one, expected in zip(journal_of, (True, False), strict=True):
        store_module._apply(twice, one)
        assert attempt.cancelling is expected


def test_a_beginning_of_several_is_refused_with_them(three: Store) -> None:
    with pytest.raises(InputError, match="beginning of 2 jobs") as caught:
        three.find("abc")
    assert caught.value.expected == "one of: abcdef0, abcxyz0"


@pytest.mark.parametrize("text", ["q", "", "-", "zzzzzz00"])
def test_an_unknown_id_is_refused(three: Store, text: str) -> None:
    with pytest.raises(InputError, match="unknown job"):
        three.find(text)


def test_a_store_of_no_journal_is_empty(tmp_path: Path) -> None:
    assert load(tmp_path / "none").jobs == {}
