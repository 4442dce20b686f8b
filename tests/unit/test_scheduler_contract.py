"""What every scheduler's module must do, asked of all in the same way (docs/add-a-scheduler.md).

A new scheduler is one more entry of CASES: answers as they were recorded, or as it prints them.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.config.services import SCHEDULERS
from hpcjobs.errors import SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.queueing import OURS
from hpcjobs.schedulers import (
    LIVE,
    SchedulerModule,
    example,
    grid_engine,
    live,
    local,
    pbs,
    slurm,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAME = "abcdef0-01_ja_gpqa_model"
OTHER = "abcdef0-02_ja_gpqa_model"


@dataclass(frozen=True)
class Result:
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""


def recorded(name: str) -> str:
    path = FIXTURES / name
    return path.read_text(errors="backslashreplace") if path.exists() else ""


@dataclass(frozen=True)
class Case:
    """A scheduler's words for what all of them can say."""

    module: ModuleType
    listing: Callable[[Mapping[str, tuple[str, str]]], Result]
    """A whole answer of the queue: id -> (name, native state)."""
    states: Mapping[JobState, str]
    """A native word for each state of the living."""
    taken: tuple[Result, str]
    refused: Result
    unanswered: tuple[Result, ...]
    """Of the submit command, where the job may have been taken."""
    down: tuple[Result, ...]
    """Of the query, while the server is away or hung."""
    ended: Callable[[], Iterator[tuple[Observation, JobState, Reason | None]]]
    """Recorded ends, and what they are."""
    native_id: str = "7"
    found: Callable[[str, str], Result] | None = None
    """The answer of `find_argv`: (id, name) -> result. None = as a listing."""
    cancel_done: Result = field(default_factory=Result)
    cancel_failed: Result = field(default_factory=lambda: Result(1))
    must_ask_for_one: bool = False
    """Whether an empty answer can only be a failure."""


# ---- local ---------------------------------------------------------------------------------------


def _local_line(native_id: str, name: str, state: str, **more: object) -> str:
    job = {"id": int(native_id), "name": name, "state": state, "ended_because": None,
           "exit_status": None, "started": None, "ended": None, **more}  # fmt: skip
    return json.dumps(job) + "\n"


def _local_ends() -> Iterator[tuple[Observation, JobState, Reason | None]]:
    for because, state, reason in (
        ("walltime", JobState.FAILED, Reason.TIMEOUT),
        ("cancelled", JobState.CANCELLED, None),
        ("reboot", JobState.FAILED, Reason.NODE_FAILURE),
        (None, JobState.FAILED, Reason.EXIT_CODE),
    ):
        line = _local_line("7", NAME, "ended", ended_because=because, exit_status=3)
        yield local.parse_query(Result(stdout=line))["7"], state, reason


LOCAL = Case(
    module=local,
    listing=lambda jobs: Result(
        stdout="".join(_local_line(key, name, state) for key, (name, state) in jobs.items())
    ),
    states={JobState.PENDING: "queued", JobState.RUNNING: "running"},
    taken=(Result(stdout="17\n"), "17"),
    refused=Result(2, "", "job.sh: no such file"),
    unanswered=(Result(5, "", "the spool cannot be used"), Result(0, ""), Result(-9)),
    down=(Result(5, "", "the spool cannot be used"), Result(6), Result(-9)),
    ended=_local_ends,
    cancel_failed=Result(1, "", "unknown id 9"),
    must_ask_for_one=True,
)

# ---- Slurm ---------------------------------------------------------------------------------------


def _slurm_ends() -> Iterator[tuple[Observation, JobState, Reason | None]]:
    columns = 11  # of the recordings; see test_slurm_answers.py
    for name, state, reason in (
        ("completed", JobState.SUCCEEDED, None),
        ("failed_exit3", JobState.FAILED, Reason.EXIT_CODE),
        ("timeout", JobState.FAILED, Reason.TIMEOUT),
        ("node_fail_no_requeue", JobState.FAILED, Reason.NODE_FAILURE),
        ("cancelled_running", JobState.CANCELLED, None),
        ("cancelled_pending", JobState.CANCELLED, None),
    ):
        row = recorded(f"slurm/{name}/sacct_X_parsable2.out").splitlines()[0].split("|")
        assert len(row) >= columns
        text = "|".join([row[1], row[7], row[8], row[2], row[10]]) + "\n"
        (job,) = slurm.parse_history(Result(stdout=text)).values()
        yield job, state, reason


SLURM = Case(
    module=slurm,
    listing=lambda jobs: Result(
        stdout="".join(f"{key}|{state}||{name}|None\n" for key, (name, state) in jobs.items())
    ),
    states={
        JobState.PENDING: "PENDING",
        JobState.HELD: "REQUEUE_HOLD",
        JobState.RUNNING: "RUNNING",
        JobState.SUSPENDED: "SUSPENDED",
    },
    taken=(Result(stdout=recorded("slurm/submit/sbatch_parsable.out")), "1"),
    refused=Result(1, "", recorded("slurm/error_invalid_partition/sbatch.err")),
    unanswered=(
        Result(1, "", recorded("slurm/down_slurmctld/sbatch.err")),
        Result(1, "", recorded("slurm/hung_slurmctld/sbatch.err")),
        Result(0, ""),
    ),
    down=(
        Result(1, "", recorded("slurm/down_slurmctld/squeue.err")),
        Result(1, "", recorded("slurm/hung_slurmctld/squeue.err")),
    ),
    ended=_slurm_ends,
    cancel_failed=Result(1, "", "scancel: error: Kill job error on job id 9: Access denied"),
)

# ---- Grid Engine ---------------------------------------------------------------------------------


def _xml(jobs: Mapping[str, tuple[str, str]]) -> Result:
    rows = "".join(
        f"<job_list><JB_job_number>{key}</JB_job_number><JB_name>{name}</JB_name>"
        f"<JB_owner>u</JB_owner><state>{state}</state></job_list>"
        for key, (name, state) in jobs.items()
    )
    return Result(
        stdout="<?xml version='1.0'?>\n<job_info>"
        f"<queue_info>{rows}</queue_info><job_info></job_info></job_info>\n"
    )


def _grid_engine_ends() -> Iterator[tuple[Observation, JobState, Reason | None]]:
    line = "=" * 62
    for failed, status, reason in (("0", "3", Reason.EXIT_CODE), ("19", "0", Reason.NODE_FAILURE)):
        text = f"{line}\njobname  {NAME}\njobnumber  7\nfailed  {failed}\nexit_status  {status}\n"
        yield grid_engine.parse_history(Result(stdout=text))["7"], JobState.FAILED, reason


GRID_ENGINE = Case(
    module=grid_engine,
    listing=_xml,
    states={
        JobState.PENDING: "qw",
        JobState.HELD: "hqw",
        JobState.RUNNING: "r",
        JobState.SUSPENDED: "s",
    },
    taken=(Result(stdout=recorded("grid_engine/qsub.terse.out")), "32"),
    refused=Result(1, "", recorded("grid_engine/qsub-error.unknown-queue.err")),
    unanswered=(Result(1, "", "error: commlib error: got select error"), Result(0, ""), Result(-9)),
    down=(
        Result(1, "", "error: commlib error: got select error"),
        Result(0, "<job_info>"),
        Result(-9),
    ),
    ended=_grid_engine_ends,
    cancel_failed=Result(1, "u - you do not have the necessary privileges to delete the job"),
)

# ---- PBS -----------------------------------------------------------------------------------------


def _dsv(jobs: Mapping[str, tuple[str, str]]) -> Result:
    return Result(
        stdout="".join(
            pbs.SEPARATOR.join([f"Job Id: {key}", f"Job_Name={name}", f"job_state={state}"]) + "\n"
            for key, (name, state) in jobs.items()
        )
    )


def _pbs_ends() -> Iterator[tuple[Observation, JobState, Reason | None]]:
    for name, state, reason in (
        ("dep-afternotok-ran", JobState.SUCCEEDED, None),
        ("finished-exit3", JobState.FAILED, Reason.EXIT_CODE),
        ("walltime-killed-plain", JobState.FAILED, Reason.TIMEOUT),
        ("qdeled-running-F271", JobState.CANCELLED, None),
        ("qdeled-queued", JobState.CANCELLED, None),
    ):
        text = recorded(f"pbs/state-{name}.qstat_-xf.out")
        (job,) = pbs.parse_query(Result(stdout=text)).values()
        yield job, state, reason


PBS = Case(
    module=pbs,
    listing=_dsv,
    states={
        JobState.PENDING: "Q",
        JobState.HELD: "H",
        JobState.RUNNING: "R",
        JobState.SUSPENDED: "S",
    },
    taken=(Result(stdout=recorded("pbs/qsub-script-ok.out")), "0.pbs1"),
    refused=Result(170, "", recorded("pbs/err-qsub-unknown-queue.err")),
    unanswered=(
        Result(162, "", recorded("pbs/err-server-down-qsub.err")),
        Result(0, ""),
        Result(-9),
    ),
    down=(
        Result(
            255,
            recorded("pbs/err-server-down-qstat-json.out"),
            recorded("pbs/err-server-down-qstat-json.err"),
        ),
        Result(255, "", recorded("pbs/err-server-down-qstat.err")),
        Result(-9),
    ),
    ended=_pbs_ends,
    native_id="7.pbs1",
    found=lambda native_id, name: Result(stdout=f"{native_id}\n"),
    cancel_done=Result(35, "", recorded("pbs/err-qdel-finished.err")),
    cancel_failed=Result(159, "", recorded("pbs/otherjobs-off.qdel_rootjob.err")),
)

# ---- The example ---------------------------------------------------------------------------------


def _ex_list(jobs: Mapping[str, tuple[str, str]]) -> Result:
    lines = [f"{key}|{name}|{state}|-\n" for key, (name, state) in jobs.items()]
    return Result(stdout="".join(lines) + "end\n")


def _example_ends() -> Iterator[tuple[Observation, JobState, Reason | None]]:
    for word, (state, reason) in example.ENDED.items():
        yield example.parse_query(_ex_list({"7": (NAME, word)}))["7"], state, reason


EXAMPLE = Case(
    module=example,
    listing=_ex_list,
    states={state: word for word, state in example.ALIVE.items()},
    taken=(Result(stdout="Welcome\njob 17 accepted\n"), "17"),
    refused=Result(1, "", "refused: no such partition"),
    unanswered=(Result(1, "", "connection lost"), Result(0, ""), Result(-9)),
    down=(Result(1), Result(0, ""), Result(0, "7|a|running|-\n")),
    ended=_example_ends,
    cancel_done=Result(1, "", "7 has ended"),
    cancel_failed=Result(1, "", "9 is not yours"),
    must_ask_for_one=True,
)

CASES = {
    "local": LOCAL,
    "slurm": SLURM,
    "grid_engine": GRID_ENGINE,
    "pbs": PBS,
    "example": EXAMPLE,
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_all_that_can_be_driven_are_asked() -> None:
    assert set(LIVE) == set(SCHEDULERS) == set(CASES) - {"example"} == set(OURS)
    for name in LIVE:
        assert live(name) is CASES[name].module


def test_a_module_has_all_that_the_protocol_names(case: Case) -> None:
    for base in SchedulerModule.__mro__[:2]:
        for name, wanted in vars(base).items():
            if name.startswith("_") or not callable(wanted):
                continue
            expected = [word for word in inspect.signature(wanted).parameters if word != "self"]
            assert list(inspect.signature(getattr(case.module, name)).parameters) == expected
    assert isinstance(case.module.SINGLE_HOST, bool)


# ---- Submitting ----------------------------------------------------------------------------------


def test_a_submission_that_was_taken_gives_the_id(case: Case) -> None:
    result, native_id = case.taken
    assert case.module.parse_submit(result) == native_id


def test_a_refusal_is_one_and_tells_why(case: Case) -> None:
    with pytest.raises(SubmitRefusedError) as caught:
        case.module.parse_submit(case.refused)
    assert len(caught.value.what) > 20


def test_a_submission_without_an_answer_is_no_refusal(case: Case) -> None:
    results = (*case.unanswered, Result(0, ""), Result(-9), Result(-15), Result(1, "", ""))
    for result in results:
        with pytest.raises(SchedulerUnavailableError):
            case.module.parse_submit(result)


def test_the_script_is_the_last_word_and_the_group_pays(case: Case) -> None:
    argv = case.module.submit_argv(Path("/a b/job.sh"), "my-group")
    assert argv[-1] == "/a b/job.sh"
    assert all(isinstance(word, str) and word for word in argv)


def test_waiting_for_success_is_said_or_refused(case: Case) -> None:
    script = Path("/w/job.sh")
    try:
        argv = case.module.submit_argv(script, "", case.native_id)
    except ValueError:
        return
    assert argv != case.module.submit_argv(script, "")
    assert any("afterok" in word and case.native_id in word for word in argv)


# ---- Asking --------------------------------------------------------------------------------------


def test_the_living_are_living(case: Case) -> None:
    assert {JobState.PENDING, JobState.RUNNING} <= set(case.states)
    for state, word in case.states.items():
        job = case.module.parse_query(case.listing({case.native_id: (NAME, word)}))[case.native_id]
        assert (job.native_id, job.name, job.state) == (case.native_id, NAME, state)
        assert job.reason is None and job.exit_status is None


def test_ends_are_told_as_they_are(case: Case) -> None:
    ends = list(case.ended())
    assert ends
    for job, state, reason in ends:
        assert (job.state, job.reason) == (state, reason), job
        assert job.state.final


def test_an_end_has_a_reason_only_if_it_is_a_failure(case: Case) -> None:
    for job, _, _ in case.ended():
        assert (job.reason is not None) == (job.state is JobState.FAILED)


def test_a_word_that_nobody_knows_is_no_end(case: Case) -> None:
    answer = case.listing({case.native_id: (NAME, "Y")})
    job = case.module.parse_query(answer).get(case.native_id)
    assert job is not None and job.state is JobState.UNKNOWN
    assert "Y" in job.native_state


def test_what_is_not_in_a_whole_answer_is_absent_and_nothing_else(case: Case) -> None:
    seen = case.module.parse_query(
        case.listing({case.native_id: (NAME, case.states[JobState.RUNNING])})
    )
    assert list(seen) == [case.native_id]
    assert "123456" not in seen


def test_the_scheduler_that_is_away_says_nothing_of_any_job(case: Case) -> None:
    running = case.listing({case.native_id: (NAME, case.states[JobState.RUNNING])}).stdout
    results = [*case.down, Result(-9), Result(-15, running), Result(1, "", "")]
    for result in results:
        with pytest.raises(SchedulerUnavailableError):
            case.module.parse_query(result)
        with pytest.raises(SchedulerUnavailableError):
            case.module.parse_find(result, NAME)


def test_half_an_answer_is_none(case: Case) -> None:
    whole = case.listing({case.native_id: (NAME, case.states[JobState.RUNNING])}).stdout
    for end in range(1, len(whole.rstrip("\n"))):
        with suppress(SchedulerUnavailableError):
            seen = case.module.parse_query(Result(0, whole[:end]))
            assert case.native_id in seen and seen[case.native_id].name == NAME, whole[:end]


def test_an_empty_answer_is_one_only_where_the_scheduler_gives_such(case: Case) -> None:
    if case.must_ask_for_one:
        with pytest.raises(SchedulerUnavailableError):
            case.module.parse_query(Result())
    else:
        assert case.module.parse_query(case.listing({})) == {}


def test_all_jobs_are_asked_for_by_one_command(case: Case) -> None:
    ids = [case.native_id.replace("7", str(number)) for number in range(100, 1100)]
    for dialect in ("", case.module.dialect(Result())):
        argv = case.module.query_argv(ids, dialect)
        assert max(map(len, argv)) < 128 * 1024
        assert sum(map(len, argv)) < 1024 * 1024


# ---- Finding by name -----------------------------------------------------------------------------


def test_a_lost_job_is_found_by_its_whole_name(case: Case) -> None:
    running = case.states[JobState.RUNNING]
    answer = (
        case.found(case.native_id, NAME)
        if case.found
        else case.listing({case.native_id: (NAME, running)})
    )
    job = case.module.parse_find(answer, NAME)
    assert job is not None
    assert (job.native_id, job.name) == (case.native_id, NAME)
    assert not job.state.final


def test_where_a_listing_is_searched_another_name_is_not_found(case: Case) -> None:
    if NAME in " ".join(case.module.find_argv(NAME)):
        return  # the scheduler itself compares the names
    answer = case.listing({case.native_id: (OTHER, case.states[JobState.RUNNING])})
    assert case.module.parse_find(answer, NAME) is None


# ---- Cancelling ----------------------------------------------------------------------------------


def test_cancelling_complains_only_of_what_could_not_be_cancelled(case: Case) -> None:
    ids = [case.native_id, case.native_id.replace("7", "8")]
    assert case.module.cancel_argv(ids)[-2:] == ids
    assert case.module.parse_cancel(case.cancel_done) == ""
    assert case.module.parse_cancel(case.cancel_failed) != ""


# ---- Clusters ------------------------------------------------------------------------------------


def test_without_any_configuration_the_cluster_is_unknown(case: Case) -> None:
    assert case.module.cluster({}, lambda path: "") == ""


# ---- Whatever is said ----------------------------------------------------------------------------


@given(st.integers(-15, 255), st.text(max_size=300), st.text(max_size=300))
def test_whatever_is_printed_raises_nothing_but_the_two_errors(
    returncode: int, stdout: str, stderr: str
) -> None:
    result = Result(returncode, stdout, stderr)
    for one in CASES.values():
        module = one.module
        for parse in (module.parse_query, module.parse_history, module.parse_explanation):
            with suppress(SchedulerUnavailableError):
                parse(result)
        with suppress(SchedulerUnavailableError):
            module.parse_find(result, NAME)
        with suppress(SchedulerUnavailableError, SubmitRefusedError):
            assert module.parse_submit(result)
        assert isinstance(module.parse_cancel(result), str)
        assert isinstance(module.dialect(result), str)


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=200))
def test_no_text_of_any_kind_says_that_a_job_is_gone(text: str) -> None:
    """A banner, a web page, a complaint: whatever is not a listing must not count as one."""
    for name, one in CASES.items():
        for returncode in (1, 2, 127, 255, -9):
            result = Result(returncode, text)
            with suppress(SchedulerUnavailableError):
                seen = one.module.parse_query(result)
                pytest.fail(f"{name}: read {dict(seen)} from a failure")
