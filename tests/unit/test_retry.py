"""What is done about a job, by how its attempts ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.diagnosis.cause import Again
from hpcjobs.model import Job, JobState, Node, Reason, Service, TaskRun
from hpcjobs.retry import PASSING, Act, Decision, Ended, Past, Policy, brakes, decide
from hpcjobs.store import AttemptRecord, JobRecord

HOUR = 3600
NODE = Node("gpu_1", 1, 8, 64.0, ("hrt_q",), bigger="gpu_4")
SERVICE = Service(
    "site", "slurm", "a site", {"gpu_1": NODE, "gpu_4": replace(NODE, name="gpu_4", bigger="")},
    walltime_max=24 * HOUR, template="",
)  # fmt: skip
RUN = TaskRun("ja_mmlu", "mmlu", "ja/mmlu", "lighteval", {})
JOB = Job("abcdef0", "d", "site", "gpu_1", "vllm", "org/m", "", "", "", (RUN,), HOUR)

Step = tuple[JobState, Reason | None, int]
"""How an attempt ended, and what it had asked for."""


def failed(reason: Reason | None, walltime: int = HOUR) -> Step:
    return JobState.FAILED, reason, walltime


def record(*steps: Step, job: Job = JOB) -> JobRecord:
    attempts = [
        AttemptRecord(
            number, f"{job.id}-{number:02d}", "here", 1000.0 * number, state=state, reason=reason,
            job=replace(job, walltime=walltime),
        )
        for number, (state, reason, walltime) in enumerate(steps, start=1)
    ]  # fmt: skip
    return JobRecord(job, attempts)


def decided(*steps: Step, past: Past | None = None, **changes: Any) -> Decision:
    job = replace(JOB, **changes)
    return decide(job, record(*steps, job=job), SERVICE, Policy(), past)


def test_what_was_never_submitted_is_submitted_as_planned() -> None:
    for before in (None, JobRecord(JOB)):
        decision = decide(JOB, before, SERVICE, Policy())
        assert (decision.act, decision.walltime) == (Act.FIRST, HOUR)


@pytest.mark.parametrize("state", [state for state in JobState if not state.final])
def test_what_is_under_way_is_left(state: JobState) -> None:
    assert decided(failed(Reason.VANISHED), (state, None, HOUR)).act is Act.LEAVE


def test_an_earlier_attempt_that_may_still_run_is_waited_for() -> None:
    decision = decided((JobState.UNKNOWN, None, HOUR), failed(Reason.VANISHED))
    assert (decision.act, decision.why) == (Act.LEAVE, "not known how it stands")


def test_what_is_done_is_left_and_a_suspect_result_is_no_end() -> None:
    done = (JobState.SUCCEEDED, None, HOUR)
    assert decided(done).why == "done"
    suspect = decided(done, past=Past(suspect="ja_mmlu: half of the answers are empty"))
    assert suspect.act is Act.STOP
    assert "half of the answers are empty; not by itself" in suspect.why


def test_what_was_cancelled_is_not_repeated() -> None:
    assert decided((JobState.CANCELLED, None, HOUR)).act is Act.STOP


@pytest.mark.parametrize("reason", PASSING)
def test_what_passes_by_itself_is_repeated_as_it_was(reason: Reason) -> None:
    decision = decided(failed(reason))
    assert (decision.act, decision.walltime) == (Act.AGAIN, HOUR)
    assert reason.value in decision.why


@pytest.mark.parametrize("reason", [Reason.EXIT_CODE, Reason.OUT_OF_MEMORY, Reason.NO_RESULT, None])
@pytest.mark.parametrize("again", [None, *Again])
def test_what_a_job_did_itself_is_not_repeated(reason: Reason | None, again: Again | None) -> None:
    decision = decided(failed(reason), past=Past(again, "a cause", "a remedy"))
    assert decision.act is Act.STOP
    assert "not by itself" in decision.why


@pytest.mark.parametrize(
    ("again", "act"),
    [(None, Act.AGAIN), (Again.ITSELF, Act.AGAIN), (Again.CHANGED, Act.STOP),
     (Again.NEVER, Act.STOP)],
)  # fmt: skip
def test_a_server_that_failed_gets_one_more_chance_unless_its_cause_stays(
    again: Again | None, act: Act
) -> None:
    past = Past(again, "the KV cache does not fit", "lower max_model_length")
    decision = decided(failed(Reason.SERVER_FAILED), past=past)
    assert decision.act is act
    assert (act is Act.AGAIN) or "lower max_model_length" in decision.why


def test_a_server_that_failed_twice_is_left() -> None:
    assert decided(*[failed(Reason.SERVER_FAILED)] * 2).act is Act.STOP
    between = (failed(Reason.SERVER_FAILED), failed(Reason.PREEMPTED))
    policy = Policy(attempts=9)
    assert decide(JOB, record(*between), SERVICE, policy).act is Act.AGAIN
    again = record(*between, failed(Reason.SERVER_FAILED))
    assert decide(JOB, again, SERVICE, policy).act is Act.STOP


def test_after_a_timeout_it_gets_more_time_up_to_the_limit() -> None:
    policy, steps, asked = Policy(attempts=99), [], []
    walltime = 5 * HOUR
    while True:
        steps.append(failed(Reason.TIMEOUT, walltime))
        job = replace(JOB, walltime=5 * HOUR)
        decision = decide(job, record(*steps, job=job), SERVICE, policy)
        if decision.act is not Act.LONGER:
            break
        asked.append(decision.walltime)
        walltime = decision.walltime
    assert asked == [10 * HOUR, 20 * HOUR, 24 * HOUR]
    assert (decision.act, decision.node) == (Act.BIGGER, "gpu_4")
    assert "24:00:00, the most that site allows on gpu_1; on gpu_4 instead" in decision.why


def test_at_the_limit_without_a_bigger_node_it_stops_and_says_so() -> None:
    decision = decided(failed(Reason.TIMEOUT, 24 * HOUR), node="gpu_4")
    assert decision.act is Act.STOP
    assert "gpu_4 has no bigger node" in decision.why


def test_the_time_that_was_too_short_is_not_forgotten_after_another_failure() -> None:
    decision = decided(failed(Reason.TIMEOUT), failed(Reason.NODE_FAILURE, 2 * HOUR))
    assert (decision.act, decision.walltime) == (Act.AGAIN, 2 * HOUR)


def test_a_longer_time_in_the_table_counts() -> None:
    job = replace(JOB, walltime=7 * HOUR)
    decision = decide(job, record(failed(Reason.TIMEOUT, HOUR), job=JOB), SERVICE, Policy())
    assert (decision.act, decision.walltime) == (Act.LONGER, 7 * HOUR)


def test_on_a_bigger_node_it_has_all_the_time_there_is_and_what_is_left_of_the_attempts() -> None:
    first = decide(replace(JOB, node="gpu_4"), None, SERVICE, Policy(), Past(before=2))
    assert (first.act, first.walltime) == (Act.FIRST, 24 * HOUR)
    assert decide(JOB, None, SERVICE, Policy(), Past(before=3)).act is Act.STOP


def test_a_trial_never_outgrows_a_trial() -> None:
    service = replace(SERVICE, trial_max=180)
    job = replace(JOB, walltime=180, trial=True)
    assert decide(job, record(failed(Reason.TIMEOUT, 180), job=job), service, Policy()).act is (
        Act.STOP
    )


def test_a_bad_node_is_excluded_where_the_scheduler_can() -> None:
    past = Past(bad_nodes=("n12",))
    assert decided(failed(Reason.NODE_FAILURE), past=past).exclude == ("n12",)
    service = replace(SERVICE, scheduler="grid_engine")
    decision = decide(JOB, record(failed(Reason.NODE_FAILURE)), service, Policy(), past)
    assert (decision.act, decision.exclude) == (Act.AGAIN, ())


def test_a_job_that_was_refused_is_tried_without_exclusions() -> None:
    past = Past(bad_nodes=("n12",))
    decision = decided(failed(Reason.NODE_FAILURE), failed(Reason.SUBMIT_FAILED), past=past)
    assert (decision.act, decision.exclude) == (Act.AGAIN, ())


steps = st.lists(
    st.tuples(
        st.sampled_from([JobState.FAILED]),
        st.none() | st.sampled_from(list(Reason)),
        st.integers(60, 24 * HOUR),
    ),
    max_size=6,
)
pasts = st.builds(
    Past,
    again=st.none() | st.sampled_from(list(Again)),
    bad_nodes=st.lists(st.sampled_from(["n1", "n2"]), unique=True).map(tuple),
    before=st.integers(0, 4),
)
policies = st.builds(
    Policy, attempts=st.integers(1, 5), longer=st.floats(1.1, 10), in_a_row=st.integers(2, 5)
)


@given(steps, pasts, policies, st.integers(60, 24 * HOUR))
def test_never_more_attempts_than_allowed_nor_a_time_that_was_too_short(
    before: list[Step], past: Past, policy: Policy, walltime: int
) -> None:
    job = replace(JOB, walltime=walltime)
    decision = decide(job, record(*before, job=job), SERVICE, policy, past)
    assert decision.why
    if decision.act.submits:
        assert len(before) + past.before < policy.attempts
        short = [asked for _, reason, asked in before if reason is Reason.TIMEOUT]
        assert max(short, default=0) < decision.walltime <= SERVICE.walltime_max
        assert decision.walltime >= walltime
    if before and before[-1][1] in (Reason.EXIT_CODE, Reason.OUT_OF_MEMORY, Reason.NO_RESULT):
        assert decision.act is Act.STOP


@given(policies, st.lists(st.sampled_from(list(Reason)), min_size=12, max_size=12), st.data())
def test_every_job_comes_to_an_end(policy: Policy, reasons: list[Reason], data: Any) -> None:
    """Whatever happens: it is submitted at most so many times, and then stops or goes elsewhere."""
    done: list[Step] = []
    for reason in reasons:
        decision = decide(JOB, record(*done), SERVICE, policy)
        if not decision.act.submits:
            break
        done.append(failed(reason, decision.walltime))
    assert len(done) <= policy.attempts
    assert decision.act in (Act.STOP, Act.BIGGER)


# ---- In a row ------------------------------------------------------------------------------------

MODEL, OTHER = ("org/m", "vllm"), ("org/other", "vllm")


def ends(*reasons: Reason | None, model: tuple[str, ...] = MODEL, cause: str = "") -> list[Ended]:
    return [
        Ended(
            f"j{number}", model, "site", float(number),
            JobState.FAILED if reason else JobState.SUCCEEDED, reason, cause,
        )
        for number, reason in enumerate(reasons)
    ]  # fmt: skip


def test_three_like_failures_in_a_row_stop_the_model() -> None:
    found = brakes(ends(*[Reason.EXIT_CODE] * 3), Policy())
    assert "org/m gets no more jobs by itself: 3 jobs in a row failed alike (EXIT_CODE)" in (
        found.why(MODEL, "site")
    )
    assert "j0, j1, j2" in found.why(MODEL, "site")
    assert found.why(OTHER, "site") == ""
    assert found.services == {}


@pytest.mark.parametrize(
    "reasons",
    [
        [Reason.EXIT_CODE] * 2,
        [Reason.EXIT_CODE, Reason.EXIT_CODE, Reason.SERVER_FAILED],
        [Reason.EXIT_CODE, Reason.EXIT_CODE, None, Reason.EXIT_CODE],
        [*[Reason.EXIT_CODE] * 3, None],
        [Reason.PREEMPTED] * 5,
    ],
)
def test_others_do_not(reasons: list[Reason | None]) -> None:
    assert brakes(ends(*reasons), Policy()).models == {}


def test_different_causes_are_not_alike() -> None:
    one, two = ends(*[Reason.EXIT_CODE] * 2, cause="a"), ends(Reason.EXIT_CODE, cause="b")
    assert brakes([*one, replace(two[0], at=9.0)], Policy()).models == {}


def test_a_service_is_stopped_by_what_several_models_met() -> None:
    mixed = [
        *ends(Reason.SCHEDULER_ERROR),
        *(replace(one, at=5.0, job="k") for one in ends(Reason.SCHEDULER_ERROR, model=OTHER)),
    ]
    assert brakes(mixed, Policy(in_a_row=2)).why(("org/third",), "site")
    late = [replace(one, reason=Reason.TIMEOUT) for one in mixed]
    assert brakes(late, Policy(in_a_row=2)).services == {}


def test_a_cancelled_job_says_nothing() -> None:
    row = ends(*[Reason.EXIT_CODE] * 3)
    row[1:1] = [replace(row[0], at=0.5, state=JobState.CANCELLED, reason=None)]
    assert brakes(row, Policy()).models
