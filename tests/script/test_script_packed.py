"""Several tasks behind one server: each has its own end, and the work goes on."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from running_job import FAKES, RunningJob, wait_until

from hpcjobs.markers import read_markers

Start = Callable[..., RunningJob]

THREE = ("demo_sums", "demo_capitals", "ja_gpqa")


def ends(job: RunningJob) -> dict[str, str]:
    """The tasks' exit codes."""
    found = {}
    for name, value in job.markers().items():
        if name.startswith("task.") and name.endswith(".exit_code"):
            found[name.split(".")[1]] = value
    return found


def results(job: RunningJob) -> list[str]:
    """Where results lie, below results/."""
    top = job.directory / "results"
    return sorted({str(path.relative_to(top).parents[-2]) for path in top.rglob("results_*.json")})


def test_all_ask_one_server_one_after_the_other(start: Start) -> None:
    job = start(*THREE)
    assert job.wait(60) == 0, job.log()
    assert ends(job) == dict.fromkeys(THREE, "0")
    assert len(job.records_of("vllm")) == 1
    for key in THREE:
        assert (job.directory / f"{key}.log").is_file()
    job.wait_until_gone()


def test_a_task_that_fails_ends_no_other(start: Start) -> None:
    job = start(*THREE, evaluator={"demo_sums": {"exit": 3}})
    assert job.wait(60) == 3, job.log()
    assert ends(job) == {"demo_sums": "3", "demo_capitals": "0", "ja_gpqa": "0"}


def test_a_dead_server_is_replaced_and_what_it_was_asked_is_asked_again(start: Start) -> None:
    job = start("demo_sums", "demo_capitals", vllm={"die_times": 1})
    assert job.wait(60) == 0, job.log()
    markers = job.markers()
    assert ends(job) == {"demo_sums": "0", "demo_capitals": "0"}
    assert "server_died.1" in markers and "server_died.2" not in markers
    assert {"task.demo_sums.interrupted", "task.demo_sums.again"} < markers.keys()
    assert len(job.records_of("vllm")) == 2
    order = [one["task"] for one in job.records_of("lm_eval")]
    assert order == ["demo_sums", "demo_capitals", "demo_sums"]
    assert (job.directory / "server.1.log").is_file()
    assert "did not answer" not in (job.directory / "demo_sums.log").read_text()
    assert (job.directory / "work/demo_sums.1/demo_sums.log").is_file()
    tasks = read_markers(job.directory).tasks  # it began when it was begun again
    assert tasks["demo_sums"].started and tasks["demo_capitals"].exit_code
    assert tasks["demo_sums"].started.at >= tasks["demo_capitals"].exit_code.at
    job.wait_until_gone()


def test_a_server_whose_engine_died_is_replaced_before_a_result_of_its_counts(
    start: Start,
) -> None:
    """It lives on for seconds, and says so; the evaluator has ended with 0."""
    job = start("demo_sums", "demo_capitals", vllm={"sick_times": 1})
    assert job.wait(60) == 0, job.log()
    assert ends(job) == {"demo_sums": "0", "demo_capitals": "0"}
    assert "server_died.1" in job.markers()
    assert [one["task"] for one in job.records_of("lm_eval")] == [
        "demo_sums",
        "demo_capitals",
        "demo_sums",
    ]


def test_what_an_interrupted_try_left_is_no_result(start: Start, tmp_path: Path) -> None:
    told = tmp_path / "told"
    job = start(
        "demo_sums",
        "demo_capitals",
        vllm={"die_times": 1},
        evaluator={"demo_sums": {"result_before": True, "wait_for": str(told)}},
    )
    place = job.directory / "results/demo/sums"
    wait_until(lambda: [*place.rglob("results_*.json")], "a result", job.describe)
    (early,) = place.rglob("results_*.json")
    told.touch()
    assert job.wait(60) == 0, job.log()
    assert not early.exists()
    assert [*(job.directory / "work/demo_sums.1/results").rglob(early.name)]
    # The second try has left its own.
    assert [*place.rglob("results_*.json")]


def test_a_task_that_kills_the_server_each_time_is_given_up(start: Start) -> None:
    job = start(*THREE, vllm={"die_on_task": "demo_sums"})
    assert job.wait(60) == 99, job.log()
    assert ends(job) == {"demo_sums": "99", "demo_capitals": "0", "ja_gpqa": "0"}
    assert job.markers()["task.demo_sums.failure"] == "server_died"
    assert "failure" not in job.markers()
    assert len(job.records_of("vllm")) == 2  # with nothing left to do it is not started again
    job.wait_until_gone()


def test_one_that_kills_the_server_takes_no_other_with_it(start: Start, tmp_path: Path) -> None:
    """Which of both it was is not known: the second time, each has the server for itself."""
    slow = str(tmp_path / "slow")
    job = start(
        "demo_sums",
        "demo_capitals",
        at_once=2,
        vllm={"die_on_task": "demo_sums"},
        evaluator={"demo_sums": {"wait_for": slow}, "demo_capitals": {"slow_once": slow}},
    )
    assert job.wait(60) == 99, job.log()
    assert ends(job) == {"demo_sums": "99", "demo_capitals": "0"}
    again = [line.split(" ", 1)[1] for line in job.log().splitlines() if " demo_" in line][2:]
    assert [line.split(": ")[0] for line in again[::2]] == [
        line.split(": ")[0] for line in again[1::2]
    ], again
    job.wait_until_gone()


def test_a_server_that_dies_again_and_again_ends_the_job(start: Start) -> None:
    job = start(*THREE, vllm={"die_times": 9})
    assert job.wait(60) == 99, job.log()
    assert job.markers()["failure"] == "server_died"
    assert len(job.records_of("vllm")) == 3
    assert ends(job) == {}
    job.wait_until_gone()


def test_a_server_that_cannot_start_again_ends_the_job(start: Start, tmp_path: Path) -> None:
    job = start(*THREE, vllm={"die_times": 1, "exit_after_death": 1})
    assert job.wait(60) == 96, job.log()
    assert job.markers()["failure"] == "server_ended"
    job.wait_until_gone()


def test_what_cannot_end_before_the_walltime_is_not_begun(start: Start) -> None:
    job = start("demo_sums", "demo_capitals", "ja_gpqa", walltime=30, needs=(60, 60, 1))
    assert job.wait(60) == 95, job.log()
    markers = job.markers()
    assert ends(job) == {"demo_sums": "0", "ja_gpqa": "0"}  # the first is begun in any case
    assert "task.demo_capitals.not_begun" in markers
    assert "task.demo_capitals.started" not in markers
    assert markers["failure"] == "no_time"


def test_a_failure_is_told_before_a_want_of_time(start: Start) -> None:
    job = start(
        "demo_sums",
        "demo_capitals",
        walltime=30,
        needs=(1, 60),
        evaluator={"demo_sums": {"exit": 3}},
    )
    assert job.wait(60) == 3, job.log()
    assert "failure" not in job.markers()


def test_the_deadline_ends_what_is_being_evaluated(start: Start) -> None:
    job = start(
        *THREE, evaluator={"demo_capitals": {"hold": True}}, walltime=12, end_margin=1, stop_grace=1
    )
    assert job.wait(60) == 95, job.log()
    assert ends(job) == {"demo_sums": "0"}
    assert job.markers()["failure"] == "deadline"
    job.wait_until_gone()


def test_several_are_evaluated_at_once(start: Start, tmp_path: Path) -> None:
    told = tmp_path / "told"
    job = start(*THREE, at_once=2, evaluator={"wait_for": str(told)})
    wait_until(lambda: len(job.records_of("lm_eval")) == 2, "two run", job.describe)
    assert "task.ja_gpqa.started" not in job.markers()
    told.touch()
    assert job.wait(60) == 0, job.log()
    assert ends(job) == dict.fromkeys(THREE, "0")


def test_the_end_of_one_leaves_those_beside_it_alone(start: Start, tmp_path: Path) -> None:
    told = tmp_path / "told"
    job = start(
        "demo_sums",
        "demo_capitals",
        at_once=2,
        evaluator={"demo_sums": {"stray": "marked"}, "demo_capitals": {"wait_for": str(told)}},
    )
    wait_until(lambda: "demo_sums" in ends(job), "the first ends", job.describe)
    assert not [words for words in job.processes().values() if " stray " in words]
    assert [words for words in job.processes().values() if "lm_eval" in words]
    told.touch()
    assert job.wait(60) == 0, job.log()


def test_a_dead_server_interrupts_all_that_ask_it(start: Start) -> None:
    job = start(*THREE, at_once=3, vllm={"die_times": 1})
    assert job.wait(60) == 0, job.log()
    assert ends(job) == dict.fromkeys(THREE, "0")
    assert len(job.records_of("vllm")) == 2
    job.wait_until_gone()


def test_an_evaluator_that_is_missing_ends_its_own_tasks_only(start: Start, tmp_path: Path) -> None:
    fakes = tmp_path / "fakes"
    shutil.copytree(FAKES, fakes, ignore=shutil.ignore_patterns("lighteval", "__pycache__"))
    job = start("ja_gpqa", "demo_sums", fakes=fakes)
    assert job.wait(60) == 91, job.log()
    assert ends(job) == {"ja_gpqa": "91", "demo_sums": "0"}
    assert job.markers()["task.ja_gpqa.failure"] == "command_not_found"
    assert "failure" not in job.markers()


def test_want_of_loglikelihoods_ends_only_what_needs_them(start: Start) -> None:
    job = start("loglikelihood", "demo_sums", vllm={"no_logprobs": True})
    assert job.wait(60) == 94, job.log()
    assert ends(job) == {"loglikelihood": "94", "demo_sums": "0"}
    assert job.markers()["task.loglikelihood.failure"] == "no_loglikelihood"


def test_what_a_dying_server_did_not_give_is_asked_of_the_next(start: Start) -> None:
    """Its engine had died when the task was rehearsed: that says nothing of log-likelihoods."""
    dying = {"no_logprobs": True, "sick_times": 1}
    job = start("loglikelihood", "demo_sums", vllm=dying)
    assert job.wait(60) == 94, job.log()
    assert "task.loglikelihood.interrupted" in job.markers()
    assert len(job.records_of("vllm")) == 2
    assert ends(job) == {"loglikelihood": "94", "demo_sums": "0"}  # the second does not give any


@pytest.mark.parametrize("to_group", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR2])
def test_nothing_is_left_of_several_at_once(
    start: Start, number: signal.Signals, to_group: bool
) -> None:
    stray = {"hold": True, "stray": "marked", "ignore_term": True}
    job = start("demo_sums", "demo_capitals", at_once=2, evaluator=stray)
    wait_until(lambda: len(job.records_of("lm_eval")) == 2, "two run", job.describe)
    job.send(number, to_group=to_group)
    job.wait(60)
    job.wait_until_gone()
    if number is not signal.SIGKILL:
        assert job.markers()["exit_code"] == str(128 + number)
        assert ends(job) == {}
