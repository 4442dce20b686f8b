"""What the local queue's answers mean, and that garbled ones mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.commands import CommandResult
from hpcjobs.errors import InputError, SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import live, written
from hpcjobs.schedulers.local import (
    cancel_argv,
    find_argv,
    parse_find,
    parse_query,
    parse_submit,
    query_argv,
    submit_argv,
)

JOB: dict[str, Any] = {
    "id": 17,
    "name": "abcdef0-01",
    "state": "running",
    "ended_because": None,
    "exit_status": None,
    "started": 1000.5,
    "ended": None,
}


def answer(stdout: str = "", returncode: int = 0, stderr: str = "") -> CommandResult:
    return CommandResult(("python",), returncode, stdout, stderr, 0.1)


def lines(*jobs: dict[str, Any]) -> str:
    return "".join(json.dumps({**JOB, **job}) + "\n" for job in jobs)


def observed(**changes: Any) -> Observation:
    (one,) = parse_query(answer(lines(changes))).values()
    return one


# ---- Submitting ----------------------------------------------------------------------------------


def test_the_id_is_what_is_printed() -> None:
    assert parse_submit(answer("17\n")) == "17"


def test_a_name_that_is_used_already_is_the_job_whose_answer_was_lost() -> None:
    assert parse_submit(answer("", 3, "error: name already used: id 17\n")) == "17"


@pytest.mark.parametrize("code", [2, 3])
def test_a_refusal_is_told(code: int) -> None:
    with pytest.raises(SubmitRefusedError, match="no such GPU"):
        parse_submit(answer("", code, "no such GPU\n"))


@pytest.mark.parametrize(
    ("stdout", "code"),
    [("", 0), ("seventeen", 0), ("17", 1), ("17 18", 0), ("", -9), ("-1", 0), ("17\nwarning", 0)],
)
def test_a_garbled_submission_says_nothing(stdout: str, code: int) -> None:
    with pytest.raises(SchedulerUnavailableError):
        parse_submit(answer(stdout, code))


# ---- Asking --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "because", "state", "reason"),
    [
        ("queued", None, JobState.PENDING, None),
        ("running", None, JobState.RUNNING, None),
        ("ended", "walltime", JobState.FAILED, Reason.TIMEOUT),
        ("ended", "cancelled", JobState.CANCELLED, None),
        ("ended", "reboot", JobState.FAILED, Reason.NODE_FAILURE),
        ("ended", "start_failed", JobState.FAILED, Reason.SCHEDULER_ERROR),
        ("ended", None, JobState.FAILED, Reason.EXIT_CODE),
        ("ended", "of boredom", JobState.FAILED, Reason.EXIT_CODE),
        ("dancing", None, JobState.UNKNOWN, None),
    ],
)
def test_a_native_state_means_one_of_ours(
    native: str, because: str | None, state: JobState, reason: Reason | None
) -> None:
    one = observed(state=native, ended_because=because)
    assert (one.state, one.reason) == (state, reason)
    assert one.native_state.startswith(native)


def test_no_state_of_the_queue_is_success() -> None:
    one = observed(state="ended", exit_status=0)
    assert one.state is not JobState.SUCCEEDED


def test_what_is_said_of_a_job_is_kept() -> None:
    one = observed(exit_status=3)
    assert (one.native_id, one.name, one.exit_status, one.since) == (
        ("17", "abcdef0-01", 3, 1000.5)
    )


def test_each_job_is_told_of_by_its_id() -> None:
    seen = parse_query(answer(lines({"id": 1}, {"id": 2, "state": "queued"})))
    assert {key: one.state for key, one in seen.items()} == {
        "1": JobState.RUNNING,
        "2": JobState.PENDING,
    }


def test_a_job_that_the_queue_does_not_know_is_absent() -> None:
    assert parse_query(answer(lines({"state": "unknown"}))) == {}


GARBLED = [
    "{",
    "[]",
    "17",
    "null",
    '"text"',
    "{}",
    '{"state": "running"}',
    lines({}) + lines({})[:-20],
    "Traceback (most recent call last):",
    "\n",
]


@pytest.mark.parametrize("stdout", GARBLED)
def test_a_garbled_answer_says_nothing(stdout: str) -> None:
    for parse in (parse_query, lambda one: parse_find(one, "x")):
        with pytest.raises(SchedulerUnavailableError):
            parse(answer(stdout))


@pytest.mark.parametrize("code", [1, 2, 3, -9, 127])
def test_a_query_that_failed_says_nothing_whatever_it_printed(code: int) -> None:
    for parse in (parse_query, lambda one: parse_find(one, "x")):
        with pytest.raises(SchedulerUnavailableError, match="did not answer: hung"):
            parse(answer(lines({}), code, "hung\n"))


@given(st.text() | st.lists(st.dictionaries(st.sampled_from(list(JOB)), st.text())).map(json.dumps))
def test_no_answer_at_all_breaks_us(text: str) -> None:
    for parse in (parse_query, lambda one: parse_find(one, "x"), parse_submit):
        try:
            parse(answer(text))  # type: ignore[operator]
        except SchedulerUnavailableError:
            continue


# ---- Looking for a name --------------------------------------------------------------------------


def test_a_job_is_found_by_its_name() -> None:
    one = parse_find(answer(lines({})), "x")
    assert one is not None
    assert one.native_id == "17"


@pytest.mark.parametrize("stdout", ["", lines({"state": "unknown"})])
def test_a_name_that_nobody_has_is_no_job(stdout: str) -> None:
    assert parse_find(answer(stdout), "x") is None


def test_every_command_is_an_argument_list() -> None:
    script = Path("/a b/job.sh")
    assert submit_argv(script, "group")[3:] == ["submit", "/a b/job.sh"]
    assert query_argv(["1", "2"])[3:] == ["query", "1", "2"]
    assert find_argv("x y")[3:] == ["find", "x y"]
    assert cancel_argv(["1"])[3:] == ["cancel", "1"]


# ---- All schedulers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("grid_engine", ["qsub", "-terse", "-g", "tga-x", "/w/job.sh"]),
        ("pbs", ["qsub", "-f", "/w/job.sh"]),
        ("slurm", ["sbatch", "--parsable", "/w/job.sh"]),
    ],
)
def test_a_script_can_be_submitted_by_hand(name: str, argv: list[str]) -> None:
    assert written(name).submit_argv(Path("/w/job.sh"), "tga-x") == argv


def test_without_a_group_none_is_named() -> None:
    assert "-g" not in written("grid_engine").submit_argv(Path("/w/job.sh"), "")


def test_a_scheduler_that_is_only_rendered_for_is_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match="renders scripts for example") as caught:
        live("example")
    assert "--dry-run" in str(caught.value.do)
