"""What holds for any evidence at all, however odd."""

from __future__ import annotations

import dataclasses

from hypothesis import assume, given
from hypothesis import strategies as st

from hpcjobs.evidence import Evidence, Silence, judge
from hpcjobs.markers import Marker, Markers, TaskMarkers
from hpcjobs.model import JobState, Observation, Reason

NAME = "abcdef0-01_ja_gpqa_model"

times = st.floats(0, 10_000).map(lambda value: round(value, 1))
values = st.sampled_from(["0", "1", "143", "-", "TERM", "deadline", "server_died", "no_port"])
marks = st.none() | st.builds(Marker, values, times)
task_marks = st.dictionaries(st.sampled_from(["a", "b"]), st.builds(TaskMarkers, marks, marks))
all_markers = st.builds(
    Markers,
    started=marks,
    restarted=marks,
    ready=marks,
    signal=marks,
    failure=marks,
    exit_code=marks,
    tasks=task_marks,
)
observations = st.builds(
    Observation,
    native_id=st.just("17"),
    name=st.sampled_from([NAME, NAME, NAME, "another", ""]),
    state=st.sampled_from(JobState),
    native_state=st.just("native"),
    reason=st.none() | st.sampled_from(Reason),
    exit_status=st.none() | st.integers(-64, 255),
    since=st.none() | times,
    detail=st.sampled_from(["", "because"]),
)
problems = st.dictionaries(st.sampled_from(["a", "b"]), st.just("no result file"))


def evidence(
    answers: st.SearchStrategy[Observation | Silence] | None = None,
    markers: st.SearchStrategy[Markers] = all_markers,
) -> st.SearchStrategy[Evidence]:
    """Any evidence with such answers and markers."""
    return st.builds(
        Evidence,
        name=st.just(NAME),
        markers=markers,
        answer=observations | st.sampled_from(Silence) if answers is None else answers,
        problems=problems,
        now=times,
        submitting_at=times,
        accepted=st.booleans(),
        absent_since=st.none() | times,
        cancelling=st.booleans(),
        walltime=st.floats(1, 10_000),
        grace=st.floats(0, 10_000) | st.just(float("inf")),
        submit_timeout=st.floats(0, 1000),
    )


@given(evidence())
def test_success_is_an_exit_code_of_0_and_a_whole_result_for_every_task(one: Evidence) -> None:
    code = one.markers.exit_code
    success = code is not None and code.value == "0" and not one.problems
    assert (judge(one).state is JobState.SUCCEEDED) == success


@given(evidence(answers=st.sampled_from([Silence.NO_ANSWER, Silence.NOT_ASKED])))
def test_without_an_answer_only_the_jobs_own_exit_code_is_an_end(one: Evidence) -> None:
    if judge(one).state.final:
        assert one.markers.exit_code is not None


@given(evidence(answers=st.just(Silence.ABSENT)))
def test_absent_for_less_than_the_grace_is_no_end(one: Evidence) -> None:
    assume(one.markers.exit_code is None)
    if judge(one).state.final:
        assert one.absent_since is not None
        cancelled = one.cancelling and one.markers.started is None
        wait = min(one.lag, one.grace) if cancelled else one.grace
        assert one.now - one.absent_since >= wait


@given(evidence(answers=observations))
def test_what_is_said_under_another_name_ends_nothing_and_explains_no_end(one: Evidence) -> None:
    assert isinstance(one.answer, Observation)
    other = dataclasses.replace(one, answer=dataclasses.replace(one.answer, name="another"))
    if not one.answer.state.final:
        assert one.markers.exit_code is not None or not judge(other).state.final
        return
    absent = dataclasses.replace(one, answer=Silence.ABSENT)
    assert judge(other) == judge(absent)


@given(evidence())
def test_an_end_is_always_explained(one: Evidence) -> None:
    verdict = judge(one)
    if verdict.state in (JobState.FAILED, JobState.CANCELLED):
        assert verdict.detail
    assert (verdict.reason is not None) == (verdict.state is JobState.FAILED)


@given(evidence(), st.floats(0, 10_000))
def test_more_grace_never_makes_an_end(one: Evidence, more: float) -> None:
    patient = dataclasses.replace(one, grace=one.grace + more)
    if not judge(one).state.final:
        assert not judge(patient).state.final


@given(evidence(), st.floats(0, 10_000))
def test_an_end_stays_one_as_time_goes_by(one: Evidence, later: float) -> None:
    if judge(one).state.final:
        assert judge(dataclasses.replace(one, now=one.now + later)).state.final


@given(evidence())
def test_a_job_that_told_its_end_is_over_once_its_results_had_time(one: Evidence) -> None:
    assume(one.markers.exit_code is not None)
    assert judge(dataclasses.replace(one, now=one.now + 1e9)).state.final


@given(evidence(answers=observations))
def test_a_job_that_is_alive_is_not_over(one: Evidence) -> None:
    assert isinstance(one.answer, Observation)
    assume(one.markers.exit_code is None and one.answer.name == NAME)
    assume(not one.answer.state.final)
    assert not judge(one).state.final
