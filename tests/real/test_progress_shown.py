"""How far a running job is, as `status` and `status --watch` show it: the queue is the real one.

The job evaluates nothing: what an evaluator would write is put into its directory, as a real one
wrote it. That those of the testbed still write so is seen in test_evaluation.py.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import DEMO, CommandLine, command_line, wait_for
from quick_jobs import hold, let_go, use_quick_jobs

pytestmark = pytest.mark.real

LOGS = Path(__file__).parents[1] / "fixtures" / "progress"
TASK = "demo_capitals"


class Running:
    """A job that runs until it is let go."""

    def __init__(self, line: CommandLine) -> None:
        self.line = line
        use_quick_jobs(line)
        hold(line)
        line.run(*DEMO, "--tasks", TASK)
        self.directory = Path(line.wait_until(TASK, "RUNNING", "")["directory"])
        wait_for((self.directory / "started").exists)

    def mark(self, name: str, ago: float) -> None:
        at = datetime.datetime.fromtimestamp(time.time() - ago, datetime.timezone.utc)
        (self.directory / name).write_text(f"- {at:%Y-%m-%dT%H:%M:%SZ}\n")

    def write(self, log: bytes, ago: float = 0.0) -> None:
        path = self.directory / f"{TASK}.log"
        path.write_bytes(log)
        os.utime(path, (time.time() - ago, time.time() - ago))

    def progress(self) -> Any:
        return self.line.status()[TASK]["progress"]

    def row(self) -> str:
        return self.line.run("status").stdout.splitlines()[1]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with command_line(tmp_path) as line:
        yield Running(line)


def halfway() -> bytes:
    """What lm_eval had written when it had 80 or so of 160 answers."""
    text = (LOGS / "lm_eval_chat.log").read_bytes()
    return text[: text.index(b"\r", text.index(b" 81/160"))]


def slowed(text: bytes) -> bytes:
    """The same, as if it had taken minutes."""
    return text.replace(b"[00:0", b"[03:0")


def test_a_running_job_shows_its_samples(running: Running) -> None:
    assert running.row().endswith("starting the server")
    running.mark("ready", 60)
    running.mark(f"task.{TASK}.started", 60)
    running.write(halfway())
    assert running.row().endswith(f"evaluating {TASK} 81/160 requests")
    progress = running.progress()
    assert progress.pop("elapsed") < 100
    assert progress.pop("left") > 100
    assert progress.pop("running")[0].pop("silent") < 100
    assert progress == {
        "phase": f"evaluating {TASK}",
        "tasks": 1,
        "ended": 0,
        "not_begun": 0,
        "remaining": None,
        "fits": None,
    }


@pytest.mark.parametrize(
    ("ago", "fits", "words"), [(60, True, "3 min more, fits"), (500, False, "will not fit: needs")]
)
def test_whether_it_fits_is_told(running: Running, ago: int, fits: bool, words: str) -> None:
    """About three minutes more, of a walltime of ten."""
    assert running.line.status()[TASK]["walltime"] == "00:10:00"
    running.mark("started", ago)
    running.mark("ready", ago)
    running.mark(f"task.{TASK}.started", ago)
    running.write(slowed(halfway()))
    progress = running.progress()
    assert 170 < progress["remaining"] < 230
    assert progress["running"][0]["remaining"] == progress["remaining"]
    assert progress["fits"] is fits
    assert words in running.row()


def test_a_log_that_stands_still_is_shown(running: Running) -> None:
    running.mark("ready", 2000)
    running.mark(f"task.{TASK}.started", 2000)
    running.write(halfway(), ago=720)
    assert running.row().endswith(f"evaluating {TASK} 81/160 requests, no progress for 12 min")
    (task,) = running.progress()["running"]
    assert task["stalled"] is True
    assert 700 < task["silent"] < 800


def test_nothing_in_a_log_commands_the_terminal(running: Running) -> None:
    running.mark(f"task.{TASK}.started", 10)
    running.write(halfway() + b"\x1b]0;owned\x07\x1b[2J\r\x00\xff Requesting API: 99%|x| 9/")
    for shown in (running.row(), running.line.run("status", "--json").stdout):
        assert "81" in shown
        assert "\x1b" not in shown
        assert "owned" not in shown


def test_what_has_ended_has_no_progress(running: Running) -> None:
    running.mark(f"task.{TASK}.started", 10)
    running.write(halfway())
    let_go(running.line)
    running.line.run("wait", code=None)
    assert running.progress() is None
    assert "81/160" not in running.line.run("status", "--all").stdout
