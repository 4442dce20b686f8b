"""What Slurm says, read from recordings of a real one (22.05.8; see tests/fixtures/slurm)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.errors import SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import slurm

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "slurm"

# The recordings have more columns than are asked for; these are theirs.
SQUEUE_COLUMNS = ["%i", "%A", "%F", "%K", "%T", "%t", "%r", "%M", "%l", "%L"]
SQUEUE_COLUMNS += ["%V", "%S", "%e", "%N", "%P", "%j"]
SACCT_COLUMNS = ["JobID", "JobIDRaw", "JobName", "User", "Account", "Partition", "QOS", "State"]
SACCT_COLUMNS += ["ExitCode", "DerivedExitCode", "Reason"]
FAILED, CANCELLED = JobState.FAILED, JobState.CANCELLED


@dataclass(frozen=True)
class Result:
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""


def find(result: Result) -> Observation | None:
    return slurm.parse_find(result, "name")


def recorded(name: str) -> str:
    return (RECORDINGS / name).read_text()


def queue(state: str) -> Observation:
    """The only job of a recorded squeue."""
    rows = [
        dict(zip(SQUEUE_COLUMNS, line.split("|"), strict=False))
        for line in recorded(f"{state}/squeue_o_all_states.out").splitlines()
    ]
    text = "".join(f"{row['%A']}|{row['%T']}||{row['%j']}|{row['%r']}\n" for row in rows)
    (job,) = slurm.parse_query(Result(stdout=text)).values()
    return job


def history(state: str) -> Observation:
    """The only job of a recorded sacct."""
    asked = next(word for word in slurm.SACCT if word.startswith("--format=")).partition("=")[2]
    rows = [
        dict(zip(SACCT_COLUMNS, line.split("|"), strict=False))
        for line in recorded(f"{state}/sacct_X_parsable2.out").splitlines()
    ]
    text = "".join("|".join(row[name] for name in asked.split(",")) + "\n" for row in rows)
    (job,) = slurm.parse_history(Result(stdout=text)).values()
    return job


@pytest.mark.parametrize(
    ("recording", "state", "detail"),
    [
        ("pending_resources", JobState.PENDING, "Resources"),
        ("pending_node_drained", JobState.PENDING, "ReqNodeNotAvail, UnavailableNodes:cpu02"),
        ("pending_held_user", JobState.HELD, "JobHeldUser"),
        ("pending_held_admin", JobState.HELD, "JobHeldAdmin"),
        ("requeue_held", JobState.HELD, "job requeued in held state"),
        ("requeued_pending", JobState.PENDING, "BeginTime"),
        ("node_fail_requeued", JobState.PENDING, "BeginTime"),
        (
            "pending_dependency_never_satisfied",
            JobState.PENDING,
            "DependencyNeverSatisfied: it will not start as it is",
        ),
        (
            "pending_partition_time_limit",
            JobState.PENDING,
            "PartitionTimeLimit: it will not start as it is",
        ),
        ("running", JobState.RUNNING, ""),
        ("suspended", JobState.SUSPENDED, "SUSPENDED"),
    ],
)
def test_the_living_are_told_by_the_queue(recording: str, state: JobState, detail: str) -> None:
    job = queue(recording)
    assert (job.state, job.detail, job.reason, job.exit_status) == (state, detail, None, None)


@pytest.mark.parametrize(
    ("recording", "state", "reason", "status", "detail"),
    [
        ("completed", JobState.SUCCEEDED, None, 0, "COMPLETED"),
        ("failed_exit3", FAILED, Reason.EXIT_CODE, 3, "FAILED 3:0"),
        ("failed_sigsegv", FAILED, Reason.EXIT_CODE, -11, "FAILED 0:11"),
        ("over_memory_kill", FAILED, Reason.EXIT_CODE, -9, "FAILED 0:9"),
        ("timeout", FAILED, Reason.TIMEOUT, 0, "TIMEOUT"),
        ("out_of_memory_script_failed", FAILED, Reason.OUT_OF_MEMORY, -125, "OUT_OF_MEMORY"),
        ("node_fail_no_requeue", FAILED, Reason.NODE_FAILURE, 0, "NODE_FAIL"),
        ("preempted", FAILED, Reason.PREEMPTED, 0, "PREEMPTED"),
        ("deadline", FAILED, Reason.SCHEDULER_ERROR, 1, "DEADLINE"),
        ("cancelled_running", CANCELLED, None, 0, "CANCELLED by 1001"),
        ("cancelled_pending", CANCELLED, None, 0, "CANCELLED by 1001"),
        ("purged_completed", JobState.SUCCEEDED, None, 0, "COMPLETED"),
    ],
)
def test_the_ended_are_told_by_the_accounting(
    recording: str, state: JobState, reason: Reason | None, status: int, detail: str
) -> None:
    job = history(recording)
    assert (job.state, job.reason, job.exit_status, job.detail) == (state, reason, status, detail)
    if recording != "purged_completed":
        assert queue(recording).state is state
        assert queue(recording).reason is reason


@pytest.mark.parametrize(
    ("word", "state", "reason"),
    [
        ("CONFIGURING", JobState.PENDING, None),
        ("COMPLETING", JobState.RUNNING, None),
        ("REQUEUED", JobState.PENDING, None),
        ("STOPPED", JobState.SUSPENDED, None),
        ("BOOT_FAIL", FAILED, Reason.NODE_FAILURE),
        ("REVOKED", JobState.UNKNOWN, None),
        ("TELEPORTING", JobState.UNKNOWN, None),
    ],
)
def test_states_that_were_not_recorded(word: str, state: JobState, reason: Reason | None) -> None:
    job = slurm.parse_query(Result(stdout=f"7|{word}||name|None\n"))["7"]
    assert (job.state, job.reason, job.native_state, job.detail) == (state, reason, word, word)


def test_a_job_without_a_place_for_its_log_is_not_the_jobs_own_failure() -> None:
    job = slurm.parse_history(Result(stdout="7|FAILED|0:53|name|None\n"))["7"]
    assert job.reason is Reason.SCHEDULER_ERROR
    assert "could not open its output file" in job.detail


def test_a_row_half_written_has_not_our_name() -> None:
    assert history("completed_sacct_not_settled").name == "allocation"
    assert not history("running_sacct_not_settled").state.final


def test_an_only_id_that_is_forgotten_is_absent() -> None:
    result = Result(1, "", recorded("purged_completed/squeue_o_all_states.err"))
    assert slurm.parse_query(result) == {}


@pytest.mark.parametrize(
    "recording",
    ["down_slurmctld", "hung_slurmctld", "down_munged", "no_configuration"],
)
@pytest.mark.parametrize("parse", [slurm.parse_query, find])
def test_a_controller_that_does_not_answer_is_no_fact(
    recording: str, parse: Callable[[Result], object]
) -> None:
    with pytest.raises(SchedulerUnavailableError, match="squeue did not answer: "):
        parse(Result(1, "", recorded(f"{recording}/squeue.err")))


@pytest.mark.parametrize(
    "recording", ["down_slurmdbd", "hung_slurmdbd", "down_mariadb", "accounting_disabled"]
)
def test_accounting_that_does_not_answer_is_no_fact(recording: str) -> None:
    with pytest.raises(SchedulerUnavailableError, match="sacct did not answer: "):
        slurm.parse_history(Result(1, "", recorded(f"{recording}/sacct.err")))


@pytest.mark.parametrize("text", ["7|RUNNING||name|No", "7|RUN\n", "x|RUNNING||name|None\n"])
def test_a_garbled_answer_is_no_fact(text: str) -> None:
    with pytest.raises(SchedulerUnavailableError):
        slurm.parse_query(Result(stdout=text))


def test_an_empty_answer_is_that_none_is_known() -> None:
    assert slurm.parse_query(Result()) == {}
    assert find(Result()) is None


def test_a_banner_above_an_answer_is_passed_over() -> None:
    text = "Welcome to the cluster\n\n7|RUNNING||name|None\n"
    assert slurm.parse_query(Result(stdout=text))["7"].state is JobState.RUNNING


def test_of_several_of_one_name_the_living_is_ours_else_the_newest() -> None:
    ended = "8|FAILED||name|None\n10|FAILED||name|None\n"
    assert find(Result(stdout=ended)).native_id == "10"  # type: ignore[union-attr]
    living = find(Result(stdout=f"9|RUNNING||name|None\n{ended}"))
    assert living is not None and living.native_id == "9"


@pytest.mark.parametrize(
    ("text", "native_id"),
    [
        (recorded("submit/sbatch_parsable.out"), "1"),
        (recorded("submit/sbatch_parsable_cluster.out"), "6"),
        ("Quota: 12 of 20\nSubmitting to gpu\n4711\n", "4711"),
        ("12\n4711;north\nThank you\n", "4711"),
    ],
)
def test_the_id_is_found_below_a_banner(text: str, native_id: str) -> None:
    assert slurm.parse_submit(Result(stdout=text)) == native_id


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        ("error_bad_directive", "unrecognized option '--nonsense=1'"),
        ("error_bad_time", "Invalid --time specification"),
        ("error_dos_script", "DOS line breaks"),
        ("error_empty_script", "Batch script is empty!"),
        ("error_gpu_on_cpu_partition", "Requested node configuration is not available"),
        ("error_invalid_account", "Invalid account or account/partition combination"),
        ("error_invalid_gres", "Invalid generic resource"),
        ("error_invalid_partition", "invalid partition specified: nope; Batch job"),
        ("error_invalid_qos_enforced", "Invalid qos specification"),
        ("error_max_submit_jobs", "AssocMaxSubmitJobLimit"),
        ("error_missing_script", "Unable to open file missing.sh"),
        ("error_no_shebang", "does not look like a batch script"),
        ("error_time_limit_enforced", "Requested time limit is invalid"),
        ("error_too_much_memory", "Memory specification can not be satisfied"),
    ],
)
def test_a_refusal_tells_what_slurm_said(recording: str, said: str) -> None:
    with pytest.raises(SubmitRefusedError) as caught:
        slurm.parse_submit(Result(1, "", recorded(f"{recording}/sbatch.err")))
    assert said in caught.value.what


@pytest.mark.parametrize(
    "result",
    [
        *(
            Result(1, "", recorded(f"{name}/sbatch.err"))
            for name in ("down_slurmctld", "hung_slurmctld", "down_munged", "no_slurm_conf")
        ),
        Result(0, "", ""),
        Result(0, "welcome\n", ""),
        Result(1, "4711\n", "site-sbatch: internal error"),
        Result(-9, "", "sbatch: error: Batch job submission failed: Invalid"),
    ],
)
def test_what_may_have_been_submitted_all_the_same_is_no_refusal(result: Result) -> None:
    with pytest.raises(SchedulerUnavailableError):
        slurm.parse_submit(result)


WORDS = ["7", "12", "RUNNING", "FAILED", "", "0:9", "a b", "x" * 300, "\u0663", "9" * 13]
LINES = st.lists(st.sampled_from(WORDS), max_size=7).map("|".join)
TEXTS = st.text(max_size=200) | st.lists(LINES, max_size=4).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


@given(st.integers(-15, 255), TEXTS, TEXTS)
def test_reading_raises_nothing_but_that_there_was_no_answer(
    returncode: int, stdout: str, stderr: str
) -> None:
    result = Result(returncode, stdout, stderr)
    for parse in (slurm.parse_query, slurm.parse_history, find):
        with suppress(SchedulerUnavailableError):
            parse(result)
    with suppress(SchedulerUnavailableError, SubmitRefusedError):
        assert slurm.parse_submit(result).isdigit()


def test_so_many_ids_that_they_fit_in_no_argument_are_asked_for_as_all() -> None:
    few = slurm.query_argv([str(number) for number in range(1000000, 1000000 + slurm.MANY)])
    assert max(map(len, few)) < 128 * 1024
    many = slurm.query_argv([str(number) for number in range(slurm.MANY + 1)])
    assert not [word for word in many if word.startswith("--jobs")]
