"""How each task of a packed job ended, and how it then stands by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from hpcjobs import journal
from hpcjobs.markers import Marker, Markers, TaskMarkers
from hpcjobs.model import Job, JobState, Reason, TaskRun, Verdict
from hpcjobs.parts import awaited, finished, judge_parts
from hpcjobs.shares import Works, shares
from hpcjobs.store import AttemptRecord, JobRecord, Part, Store, fold, job_to_json, parts_to_json

RUNS = tuple(TaskRun(key, key, f"x/{key}", "lm_eval", {}) for key in ("a", "b", "c"))
TIMEOUT = Verdict(JobState.FAILED, Reason.TIMEOUT, "it ended itself just before the walltime")


@pytest.fixture
def job(a_job: Callable[..., Job]) -> Job:
    return a_job(id="packed0", tasks=RUNS, task_walltimes=(10, 20, 30), walltime=60)


def task(started: float | None = None, code: str = "", **more: Marker) -> TaskMarkers:
    return TaskMarkers(
        Marker("-", started) if started is not None else None,
        Marker(code, (started or 0) + 5) if code else None,
        **more,
    )


def judged(job: Job, verdict: Verdict, tasks: dict[str, TaskMarkers], **more: object):  # type: ignore[no-untyped-def]
    values = {"problems": {}, "suspect": {}, "ended": 100.0, **more}
    return judge_parts(job, Markers(tasks=tasks), verdict, **values)  # type: ignore[arg-type]


def test_what_was_finished_before_the_end_counts(job: Job) -> None:
    tasks = {"a": task(0, "0"), "b": task(40), "c": TaskMarkers(not_begun=Marker("9", 50))}
    parts = judged(job, TIMEOUT, tasks, suspect={"a": "empty answers"})
    assert parts["a"] == Part(JobState.SUCCEEDED, suspect="empty answers")
    assert parts["b"] == Part(JobState.FAILED, Reason.TIMEOUT, TIMEOUT.detail, seconds=60.0)
    assert parts["c"].state is JobState.PLANNED


def test_what_was_begun_with_the_time_of_the_table_had_at_least_that(job: Job) -> None:
    """What the job keeps for its end is missing; else it would get the same once more."""
    parts = judged(job, TIMEOUT, {"a": task(0, "0"), "b": task(10, "0"), "c": task(75)})
    assert parts["c"].seconds == 30.0


@pytest.mark.parametrize(
    "verdict", [TIMEOUT, Verdict(JobState.FAILED, Reason.EXIT_CODE, "exit code 3 of b")]
)
def test_what_was_not_begun_again_after_its_server_died_has_not_failed_as_others_did(
    job: Job, verdict: Verdict
) -> None:
    tasks = {"a": task(0, interrupted=Marker("-", 2)), "b": task(10, "3"), "c": task(20, "0")}
    part = judged(job, verdict, tasks)["a"]
    assert (part.state, part.reason, part.seconds) == (JobState.FAILED, Reason.SERVER_FAILED, 0)
    assert "server died" in part.detail


def test_a_finished_task_without_a_result_has_failed(job: Job) -> None:
    verdict = Verdict(JobState.FAILED, Reason.NO_RESULT, "")
    parts = judged(job, verdict, {"a": task(0, "0")}, problems={"a": "it left no result"})
    assert parts["a"] == Part(JobState.FAILED, Reason.NO_RESULT, "it left no result")


def test_each_has_its_own_exit_code_and_failure(job: Job) -> None:
    verdict = Verdict(JobState.FAILED, Reason.EXIT_CODE, "exit code 99 of a, b")
    tasks = {
        "a": task(0, "1"),
        "b": task(0, "99", failure=Marker("server_died", 5)),
        "c": task(0, "91", failure=Marker("command_not_found", 5)),
    }
    parts = judged(job, verdict, tasks)
    assert (parts["a"].reason, parts["a"].detail) == (Reason.EXIT_CODE, "exit code 1")
    assert (parts["b"].reason, parts["b"].detail) == (Reason.SERVER_FAILED, "server died")
    assert (parts["c"].reason, parts["c"].detail) == (Reason.EXIT_CODE, "command not found")


def test_what_the_scheduler_killed_for_its_memory_says_so(job: Job) -> None:
    verdict = Verdict(JobState.FAILED, Reason.OUT_OF_MEMORY, "exit code 3 of a, b")
    parts = judged(job, verdict, {"a": task(0, "137"), "b": task(10, "3"), "c": task(20, "0")})
    reasons = [part.reason for part in parts.values()]
    assert reasons == [Reason.OUT_OF_MEMORY, Reason.EXIT_CODE, None]


def test_where_no_task_was_begun_all_have_failed_as_the_job_did(job: Job) -> None:
    verdict = Verdict(JobState.FAILED, Reason.SERVER_FAILED, "server not ready")
    parts = judged(job, verdict, {})
    assert {part.reason for part in parts.values()} == {Reason.SERVER_FAILED}


def test_a_cancellation_is_meant_for_all_that_was_not_done(job: Job) -> None:
    parts = judged(job, Verdict(JobState.CANCELLED), {"a": task(0, "0"), "b": task(10)})
    states = [part.state for part in parts.values()]
    assert states == [JobState.SUCCEEDED, JobState.CANCELLED, JobState.CANCELLED]


def test_results_that_may_show_late_are_awaited_each_by_its_own_end(job: Job) -> None:
    markers = Markers(tasks={"a": task(0, "0"), "b": task(60, "0")})
    missing = dict.fromkeys(("a", "b"), "it left no result")
    assert finished(markers) == ["a", "b"]
    assert awaited(job, markers, missing, now=70.0, seconds=60.0).endswith("(b: it left no result)")
    assert awaited(job, markers, missing, now=200.0, seconds=60.0) == ""
    assert awaited(job, markers, {}, now=70.0, seconds=60.0) == ""


# ---- Task by task --------------------------------------------------------------------------------


def record(job: Job, *attempts: AttemptRecord) -> JobRecord:
    return JobRecord(job, list(attempts))


def attempt(number: int, state: JobState, **more: object) -> AttemptRecord:
    values = {"name": f"n{number}", "place": "", "submitting_at": float(number), **more}
    return AttemptRecord(number, state=state, **values)  # type: ignore[arg-type]


FAILED = {
    "a": Part(JobState.SUCCEEDED, suspect="endless"),
    "b": Part(JobState.FAILED, Reason.TIMEOUT, "too long", seconds=42.0),
    "c": Part(JobState.PLANNED),
}


def test_a_packed_job_is_seen_as_one_for_each_task(job: Job) -> None:
    whole = record(job, attempt(1, JobState.FAILED, reason=Reason.TIMEOUT, parts=FAILED))
    a, b, c = shares(whole)
    assert (a.state, a.last.suspect if a.last else None) == (
        JobState.SUCCEEDED, {"a": "endless"}
    )  # fmt: skip
    assert b.last is not None
    assert (b.state, b.last.reason, b.last.detail) == (JobState.FAILED, Reason.TIMEOUT, "too long")
    assert b.job_of(b.last).walltime == 42  # what was too short for it
    assert b.job_of(b.last).id == job.id
    assert [run.key for run in b.job.tasks] == ["b"]
    assert c.attempts == []


def test_what_runs_or_is_done_is_so_for_each_task(job: Job) -> None:
    states = [one.state for one in shares(record(job, attempt(1, JobState.RUNNING)))]
    assert states == [JobState.RUNNING] * 3
    done = attempt(1, JobState.SUCCEEDED, suspect={"b": "empty"})
    found = [one.last.suspect for one in shares(record(job, done)) if one.last]
    assert found == [{}, {"b": "empty"}, {}]
    nobody = attempt(1, JobState.SUCCEEDED, suspect=None)
    assert [one.last.suspect for one in shares(record(job, nobody)) if one.last] == [None] * 3


def test_a_job_with_one_task_is_seen_as_it_is(a_job: Callable[..., Job]) -> None:
    whole = record(a_job(), attempt(1, JobState.FAILED))
    assert shares(whole)[0] is whole


def singles(job: Job) -> list[Job]:
    return [replace(job, id=f"single{run.key}", tasks=(run,), task_walltimes=()) for run in RUNS]


def store_of(*records: JobRecord) -> Store:
    return Store({one.job.id: one for one in records})


def settled(works: Works, jobs: Sequence[Job], again: bool = False) -> list[bool]:
    return [works.settled(one, again) is not None for one in jobs]


def test_a_task_is_not_submitted_while_it_is_packed_or_after_it_was_done(job: Job) -> None:
    a, b, c = singles(job)
    running = Works(store_of(record(job, attempt(1, JobState.RUNNING))))
    assert settled(running, [a, b, c]) == [True] * 3
    assert settled(running, [a, b, c], again=True) == [True] * 3
    ended = Works(store_of(record(job, attempt(1, JobState.FAILED, parts=FAILED))))
    assert settled(ended, [a, b, c]) == [True, False, False]
    assert settled(ended, [a, b, c], again=True) == [False] * 3
    # A packed one is held up by any of its tasks.
    assert settled(ended, [replace(job, id="other")]) == [True]
    rest = replace(job, id="rest", tasks=RUNS[1:])
    assert settled(ended, [rest]) == [False]
    assert settled(Works(store_of(record(b, attempt(1, JobState.PENDING)))), [rest]) == [True]


def test_attempts_in_all_jobs_make_one_history(job: Job) -> None:
    b = singles(job)[1]
    own = record(b, attempt(1, JobState.FAILED, reason=Reason.NODE_FAILURE, submitting_at=0.5))
    packed = record(job, attempt(1, JobState.FAILED, parts=FAILED))
    works = Works(store_of(packed, own))
    found = works.record_of(b)
    assert found is not None
    assert [one.reason for one in found.attempts] == [Reason.NODE_FAILURE, Reason.TIMEOUT]
    assert [found.job_of(one).id for one in found.attempts] == [b.id, job.id]
    assert found.job.id == b.id
    assert works.attempts(b) == 2
    assert works.attempts(job) == 1 + 2 + 0


def test_a_new_job_is_known_at_once(job: Job) -> None:
    works = Works(Store())
    assert settled(works, singles(job)) == [False] * 3
    works.add(record(job, attempt(1, JobState.SUBMITTING)))
    assert settled(works, singles(job)) == [True] * 3


def test_other_settings_are_other_work(job: Job) -> None:
    works = Works(store_of(record(job, attempt(1, JobState.SUCCEEDED, suspect={}))))
    other = [replace(one, settings_version="2") for one in singles(job)]
    assert settled(works, singles(job)) == [True] * 3
    assert settled(works, other) == [False] * 3


def test_the_journal_keeps_how_each_ended(job: Job) -> None:
    events = [
        journal.event(journal.PLANNED, 1.0, job.id, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, 1.0, job.id, 1, name="n", place=""),
        journal.event(
            journal.ENDED, 2.0, job.id, 1, state="FAILED", reason="TIMEOUT",
            parts=parts_to_json(FAILED),
        ),
    ]  # fmt: skip
    found = fold(events).jobs[job.id]
    assert found.job == job
    assert found.last is not None
    assert found.last.parts == FAILED
