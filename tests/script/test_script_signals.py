"""A job that is told to end, in whatever way, tells so and takes everything with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from running_job import RunningJob, wait_until

Start = Callable[..., RunningJob]

SIGNALS = ("TERM", "INT", "HUP", "USR1", "USR2", "XCPU", "KILL")
PHASES: dict[str, tuple[str, dict[str, Any]]] = {
    "while the server starts": ("vllm", {"vllm": {"never_ready": True}}),
    "while the evaluator runs": ("lm_eval", {"evaluator": {"hold": True}}),
}


@pytest.mark.parametrize("to_group", [False, True], ids=["to the shell", "to the group"])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_everything(start: Start, name: str, phase: str, to_group: bool) -> None:
    program, faults = PHASES[phase]
    job = start(**faults)
    job.wait_for_record(program)
    number = signal.Signals[f"SIG{name}"]
    job.send(number, to_group=to_group)
    assert_ended_by(job, number)


def assert_ended_by(job: RunningJob, number: signal.Signals) -> None:
    status = job.wait()
    job.wait_until_gone()
    markers = job.markers()
    if number == signal.SIGKILL:
        assert (status, "signal" in markers, "exit_code" in markers) == (-9, False, False)
        return
    name = number.name.removeprefix("SIG")
    assert (status, markers["signal"]) == (128 + number, name), job.log()
    assert markers["exit_code"] == str(128 + number)
    assert "failure" not in markers


STUBBORN: dict[str, dict[str, Any]] = {
    "ignores TERM": {"ignore_term": True},
    "has a child in another session": {"stray": "marked"},
    "has a child without its mark": {"stray": "bare"},
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
@pytest.mark.parametrize("who", ["vllm", "evaluator"])
@pytest.mark.parametrize("how", STUBBORN)
def test_what_resists_is_ended_too(
    start: Start, number: signal.Signals, who: str, how: str
) -> None:
    faults = {"vllm": {}, "evaluator": {"hold": True}}
    faults[who] |= STUBBORN[how]
    job = start(**faults)
    job.wait_for_record("lm_eval")
    if "stray" in STUBBORN[how]:
        wait_until(
            lambda: [words for words in job.processes().values() if " stray " in words],
            "the child runs",
            job.describe,
        )
    job.send(number, to_group=False)
    assert_ended_by(job, number)


def test_a_second_signal_while_it_tidies_up_changes_nothing(start: Start) -> None:
    job = start(vllm={"ignore_term": True}, evaluator={"hold": True}, stop_grace=2)
    job.wait_for_record("lm_eval")
    job.send(signal.SIGTERM, to_group=True)
    wait_until(lambda: "stopped by signal" in job.log(), "it ends", job.describe)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGXCPU):
        job.send(number, to_group=True)
    assert_ended_by(job, signal.SIGTERM)


def test_a_kill_while_it_tidies_up_leaves_nothing(start: Start) -> None:
    job = start(vllm={"ignore_term": True}, evaluator={"hold": True}, stop_grace=2)
    job.wait_for_record("lm_eval")
    job.send(signal.SIGTERM, to_group=False)
    wait_until(lambda: "stopped by signal" in job.log(), "it ends", job.describe)
    job.send(signal.SIGKILL, to_group=True)
    job.wait()
    job.wait_until_gone()
    assert job.markers()["signal"] == "TERM"
    assert "exit_code" not in job.markers()


def test_a_signal_is_acted_on_at_once_while_the_server_does_not_answer(start: Start) -> None:
    job = start(vllm={"hang": True})
    job.wait_for_record("vllm-asked")
    job.send(signal.SIGTERM, to_group=False)
    assert job.wait(timeout=6) == 128 + signal.SIGTERM
    job.wait_until_gone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_a_signal_at_any_moment_leaves_nothing(start: Start, number: signal.Signals) -> None:
    """As early as possible after the watching shell is there: between any two commands."""
    job = start()
    wait_until(lambda: (job.directory / "started").exists(), "it starts", job.describe)
    wait_until(
        lambda: [words for words in job.processes().values() if "hpcjobs-watch" in words],
        "it is watched",
        job.describe,
    )
    job.send(number, to_group=False)
    job.wait()
    job.wait_until_gone()


def test_a_signal_to_every_process_counts_as_the_signal(start: Start) -> None:
    """As a scheduler sends it: the evaluator may be dead before the shell hears of it."""
    job = start(evaluator={"hold": True})
    job.wait_for_record("lm_eval")
    programs = ("/vllm ", "/lm_eval ")
    others = [
        pid for pid, words in job.processes().items() if any(name in words for name in programs)
    ]
    assert len(others) == len(programs)
    for pid in others:
        os.kill(pid, signal.SIGTERM)
    job.send(signal.SIGTERM, to_group=False)
    assert_ended_by(job, signal.SIGTERM)
