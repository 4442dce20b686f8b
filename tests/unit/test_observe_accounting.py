"""The queue is asked, then the accounting. The scheduler is Slurm, its answers are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import ask, journal, observe
from hpcjobs.commands import CommandResult
from hpcjobs.model import Job, JobState, Reason
from hpcjobs.store import AttemptRecord, job_to_json
from hpcjobs.workspace import Workspace

NAME = "abcdef0-01_ja_gpqa_model"
DISABLED = (1, "", "Slurm accounting storage is disabled")


@dataclass
class FakeSlurm:
    """Answers by the name of the command: (exit status, stdout, stderr)."""

    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, timeout: float) -> CommandResult:
        self.asked.append(tuple(argv))
        return CommandResult(tuple(argv), *self.answers[argv[0]], seconds=0.0)

    @property
    def programs(self) -> list[str]:
        return [argv[0] for argv in self.asked]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm()
    monkeypatch.setattr(ask, "run", fake)
    return fake


@pytest.fixture
def attempt(tmp_path: Path, a_job: Callable[..., Job]) -> Callable[..., AttemptRecord]:
    """Submit a job (`native_id`, or None if the answer was lost), and look how it stands."""
    workspace, job = Workspace(tmp_path), a_job(id="abcdef0", service="slurm", node="cpu")

    def look(native_id: str | None = "7") -> AttemptRecord:
        workspace.jobs.mkdir()
        now = observe.time.time()
        events: list[Any] = [
            journal.event(journal.PLANNED, now, job.id, spec=job_to_json(job)),
            journal.event(journal.SUBMITTING, now, job.id, 1, name=NAME, place=""),
        ]
        if native_id is not None:
            events.append(journal.event(journal.SUBMITTED, now, job.id, 1, native_id=native_id))
        journal.append(workspace.journal, events)
        last = observe.refresh(workspace).store.jobs[job.id].last
        assert last is not None
        return last

    return look


def test_the_accounting_is_not_asked_for_a_job_in_the_queue(
    slurm: FakeSlurm, attempt: Callable[..., AttemptRecord]
) -> None:
    slurm.answers = {"squeue": (0, f"7|RUNNING||{NAME}|None\n", "")}
    assert attempt().state is JobState.RUNNING
    assert slurm.programs == ["squeue"]


def test_a_job_that_the_queue_forgot_is_told_by_the_accounting(
    slurm: FakeSlurm, attempt: Callable[..., AttemptRecord]
) -> None:
    slurm.answers = {
        "squeue": (1, "", "slurm_load_jobs error: Invalid job id specified"),
        "sacct": (0, f"7|NODE_FAIL|0:0|{NAME}|None\n", ""),
    }
    assert attempt().reason is Reason.NODE_FAILURE
    assert "--jobs=7" in slurm.asked[1]


def test_who_cancelled_is_told_by_the_accounting(
    slurm: FakeSlurm, attempt: Callable[..., AttemptRecord]
) -> None:
    slurm.answers = {
        "squeue": (0, f"7|CANCELLED||{NAME}|None\n", ""),
        "sacct": (0, f"7|CANCELLED by 1001|0:0|{NAME}|None\n", ""),
    }
    assert attempt().detail == "CANCELLED by 1001"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((0, "7|COMPLETED|0:0|allocation|None\n", ""), id="half written"),
        pytest.param((0, f"7|RUNNING|0:0|{NAME}|None\n", ""), id="lagging"),
        pytest.param((0, "", ""), id="empty"),
        pytest.param(DISABLED, id="disabled"),
    ],
)
def test_accounting_that_lags_or_is_absent_does_not_overrule_the_queue(
    slurm: FakeSlurm, attempt: Callable[..., AttemptRecord], answer: tuple[int, str, str]
) -> None:
    slurm.answers = {"squeue": (0, f"7|PREEMPTED||{NAME}|None\n", ""), "sacct": answer}
    assert attempt().reason is Reason.PREEMPTED


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_what_the_accounting_has_as_not_ended_is_not_missed(
    slurm: FakeSlurm, attempt: Callable[..., AttemptRecord], state: str
) -> None:
    """A queue that answers nothing, with success, for longer than the grace, doubled jobs."""
    slurm.answers = {"squeue": (0, "", ""), "sacct": (0, f"7|{state}|0:0|{NAME}|None\n", "")}
    found = attempt()
    assert (found.state, found.absent_since) == (JobState.UNKNOWN, None)
    assert found.detail == f"the queue does not show it, the accounting has it as {state}"


@pytest.mark.parametrize("answer", [DISABLED, (0, "", "")])
def test_a_job_that_nobody_knows_is_awaited(
    slurm: FakeSlurm, attempt: Callable[..., AttemptRecord], answer: tuple[int, str, str]
) -> None:
    slurm.answers = {"squeue": (0, "", ""), "sacct": answer}
    found = attempt()
    assert found.state is JobState.UNKNOWN
    assert found.absent_since is not None


def test_the_accounting_does_not_answer_for_a_queue_that_is_silent(
    slurm: FakeSlurm, attempt: Callable[..., AttemptRecord]
) -> None:
    slurm.answers = {"squeue": (1, "", "Unable to contact slurm controller (connect failure)")}
    found = attempt()
    assert (found.state, found.absent_since) == (JobState.UNKNOWN, None)
    assert slurm.programs == ["squeue"]


def test_a_lost_job_that_has_ended_is_found_in_the_accounting(
    slurm: FakeSlurm, attempt: Callable[..., AttemptRecord]
) -> None:
    rows = f"6|TIMEOUT|0:0|somebody|None\n9|TIMEOUT|0:0|{NAME}|None\n"
    slurm.answers = {"squeue": (0, "", ""), "sacct": (0, rows, "")}
    found = attempt(None)
    assert (found.native_id, found.reason) == ("9", Reason.TIMEOUT)
    assert f"--name={NAME}" in slurm.asked[1]


# ---- Grid Engine: one more command where the queue does not say why ------------------------------

LISTING = (
    "job-ID  prior   name       user         state submit/start at     queue   slots ja-task-ID \n"
    + "-" * 90
    + "\n      7 0.55500 abcdef0-01 me           Eqw   11/21/2026 10:00:00              1        \n"
    f"       Full jobname:     {NAME}\n"
)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (
            (0, f"{'=' * 62}\njob_number:                 7\nerror reason    1:   no disk\n", ""),
            "in error state: it will not start as it is: no disk",
        ),
        ((1, "", "error: commlib error"), "in error state: it will not start as it is; why: qstat"),
    ],
)
def test_why_a_job_is_stuck_is_asked_for_by_one_more_command(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    a_job: Callable[..., Job],
    answer: tuple[int, str, str],
    detail: str,
) -> None:
    asked: list[str] = []

    def fake(argv: Sequence[str], *, timeout: float) -> CommandResult:
        asked.append(argv[1])
        said = {"-help": (0, "[-r]", ""), "-u": (0, LISTING, ""), "-j": answer}[argv[1]]
        return CommandResult(tuple(argv), *said, seconds=0.0)

    monkeypatch.setattr(ask, "run", fake)
    ask._dialect.cache_clear()
    workspace, job = Workspace(tmp_path), a_job(id="abcdef0", service="tsubame", node="node_q")
    workspace.jobs.mkdir()
    now = observe.time.time()
    events: list[Any] = [
        journal.event(journal.PLANNED, now, job.id, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, now, job.id, 1, name=NAME, place=""),
        journal.event(journal.SUBMITTED, now, job.id, 1, native_id="7"),
    ]
    journal.append(workspace.journal, events)
    last = observe.refresh(workspace).store.jobs[job.id].last
    ask._dialect.cache_clear()
    assert last is not None
    assert (last.state, asked) == (JobState.HELD, ["-help", "-u", "-j"])
    assert last.detail.startswith(detail)
