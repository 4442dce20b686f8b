"""A cancellation that the scheduler did not take is taken back: a later death is another end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import ask, journal, observe
from hpcjobs import cancel as cancel_module
from hpcjobs.commands import CommandResult
from hpcjobs.config.services import read_service
from hpcjobs.errors import SchedulerUnavailableError
from hpcjobs.model import Job
from hpcjobs.store import job_to_json, load
from hpcjobs.workspace import Workspace


class NoProgramError(SchedulerUnavailableError):
    """As hpcjobs.commands tells that there is no such program."""

    def __init__(self) -> None:
        super().__init__("cannot run scancel: No such file or directory")
        self.__cause__ = FileNotFoundError()


@pytest.fixture
def cancelled(
    tmp_path: Path, a_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Cancel the Slurm jobs 7 and 8; the outcome, and which still count as being cancelled."""
    workspace = Workspace(tmp_path)
    workspace.jobs.mkdir()
    queue = ""
    for native_id, key, place in (
        ("7", "abcdef0", ""),
        ("8", "abcdef1", ""),
        ("9", "abcdef2", "x"),
    ):
        job = a_job(id=key, service="slurm", node="cpu")
        now = observe.time.time()
        events: list[Any] = [
            journal.event(journal.PLANNED, now, key, spec=job_to_json(job)),
            journal.event(journal.SUBMITTING, now, key, 1, name=f"{key}-01_x", place=place),
            journal.event(journal.SUBMITTED, now, key, 1, native_id=native_id),
        ]
        journal.append(workspace.journal, events)
        queue += f"{native_id}|RUNNING||{key}-01_x|None\n"

    def act(answer: Any) -> tuple[cancel_module.Outcome, list[str]]:
        def run(argv: Sequence[str], *, timeout: float) -> CommandResult:
            if argv[0] == "squeue":
                return CommandResult(tuple(argv), 0, queue, "", 0.0)
            assert argv == ["scancel", "7", "8"]  # 9 cannot be reached from here
            if isinstance(answer, Exception):
                raise answer
            return CommandResult(tuple(argv), *answer, 0.0)

        monkeypatch.setattr(ask, "run", run)
        monkeypatch.setattr(cancel_module, "run", run)
        records = list(load(workspace.journal).jobs.values())
        outcome = cancel_module.cancel(
            workspace, records, lambda name: read_service(workspace, name)
        )
        after = load(workspace.journal).jobs.values()
        return outcome, [one.job.id for one in after if one.attempts[0].cancelling]

    return act


def test_what_was_accepted_is_being_cancelled(cancelled: Callable[..., Any]) -> None:
    outcome, cancelling = cancelled((0, "", ""))
    assert (outcome.asked, cancelling) == (2, ["abcdef0", "abcdef1"])
    assert [word for word in outcome.warnings if "in the queue of x" in word]


def test_what_was_refused_is_not(cancelled: Callable[..., Any]) -> None:
    complaint = "scancel: error: Kill job error on job id 8: Access/permission denied"
    outcome, cancelling = cancelled((1, "", complaint))
    assert (outcome.asked, cancelling) == (1, ["abcdef0"])
    assert complaint in outcome.warnings


@pytest.mark.parametrize("answer", [(1, "", "cannot contact the controller"), NoProgramError()])
def test_where_nobody_was_reached_nothing_is(cancelled: Callable[..., Any], answer: Any) -> None:
    outcome, cancelling = cancelled(answer)
    assert (outcome.asked, cancelling) == (0, [])


def test_where_no_answer_came_it_may_have_been_heard(cancelled: Callable[..., Any]) -> None:
    outcome, cancelling = cancelled(SchedulerUnavailableError("scancel did not answer within 60 s"))
    assert (outcome.asked, cancelling) == (2, ["abcdef0", "abcdef1"])
