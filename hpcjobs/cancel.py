"""Cancelling: the intent is written down before the act, and taken back where it was refused.

So a job that dies by itself later is not called cancelled.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hpcjobs import journal
from hpcjobs.commands import run
from hpcjobs.errors import SchedulerUnavailableError
from hpcjobs.lock import workspace_lock
from hpcjobs.model import JobState, Service
from hpcjobs.observe import lock_file, update
from hpcjobs.place import place, reachable
from hpcjobs.schedulers import live
from hpcjobs.store import AttemptRecord, JobRecord, load
from hpcjobs.workspace import Workspace

CANCEL_TIMEOUT = 60.0

Pair = tuple[JobRecord, AttemptRecord]


@dataclass
class Outcome:
    """What became of a cancellation of several jobs."""

    asked: int = 0
    """Attempts whose end was asked for."""
    forgotten: int = 0
    """Attempts that were given up."""
    warnings: list[str] = field(default_factory=list)
    """For people: what could not be reached, or was refused."""


def cancel(
    workspace: Workspace,
    records: Sequence[JobRecord],
    services: Callable[[str], Service],
    *,
    forget: bool = False,
) -> Outcome:
    """Cancel the unfinished attempts of these jobs.

    Args:
        workspace: where they are recorded.
        records: the jobs.
        services: gives the service of a name.
        forget: give up what cannot be reached: it counts as cancelled, though it may still run.

    Raises:
        LockedError: another hpcjobs is writing in this workspace.
        StorageError: the journal cannot be written; nothing was cancelled then.
    """
    outcome = Outcome()
    with workspace_lock(lock_file(workspace)):
        store = load(workspace.journal)
        outcome.warnings += update(workspace, store, record=True)
        chosen: dict[str, list[Pair]] = {}
        for record in (store.jobs[one.job.id] for one in records):
            for attempt in record.attempts:
                if not attempt.state.final:
                    chosen.setdefault(record.job.service, []).append((record, attempt))
        for name, pairs in chosen.items():
            service = services(name)
            here = place(live(service.scheduler))
            near: list[Pair] = []
            far: list[Pair] = []
            for pair in pairs:
                within = pair[1].native_id is not None and reachable(pair[1].place, here)
                (near if within else far).append(pair)
            if forget:
                journal.append(workspace.journal, [_given_up(*pair) for pair in far])
                outcome.forgotten += len(far)
            else:
                outcome.warnings += [_unreachable(attempt, here) for _, attempt in far]
            if near:
                _cancel_all(workspace, service, near, outcome)
    return outcome


def _unreachable(attempt: AttemptRecord, here: str) -> str:
    if reachable(attempt.place, here):
        return f"{attempt.name}: its answer was lost; cancel again once it is found"
    return (
        f"{attempt.name} is in the queue of {attempt.place}: cancel it there, "
        "or give it up with --forget"
    )


def _cancel_all(
    workspace: Workspace, service: Service, pairs: Sequence[Pair], outcome: Outcome
) -> None:
    module = live(service.scheduler)
    _record(workspace, journal.CANCELLING, pairs)
    try:
        ids = [attempt.native_id for _, attempt in pairs if attempt.native_id is not None]
        complaint = module.parse_cancel(run(module.cancel_argv(ids), timeout=CANCEL_TIMEOUT))
    except SchedulerUnavailableError as error:
        outcome.warnings.append(error.what)
        if isinstance(error.__cause__, OSError):  # there is no such program here
            _record(workspace, journal.NOT_CANCELLED, pairs)
        else:  # it may have been heard all the same
            outcome.asked += len(pairs)
        return
    refused = _refused(complaint, pairs)
    if complaint:
        outcome.warnings.append(complaint)
        _record(workspace, journal.NOT_CANCELLED, refused)
    outcome.asked += len(pairs) - len(refused)


def _refused(complaint: str, pairs: Sequence[Pair]) -> list[Pair]:
    """Those that a complaint names; all of them where it names none."""
    if not complaint:
        return []
    words = set(re.findall(r"[0-9]+", complaint))
    named = [pair for pair in pairs if (pair[1].native_id or "").partition(".")[0] in words]
    return named or list(pairs)


def _record(workspace: Workspace, kind: str, pairs: Sequence[Pair]) -> None:
    now = time.time()
    journal.append(
        workspace.journal,
        [journal.event(kind, now, record.job.id, attempt.number) for record, attempt in pairs],
    )


def _given_up(record: JobRecord, attempt: AttemptRecord) -> journal.Event:
    return journal.event(
        journal.ENDED,
        time.time(),
        record.job.id,
        attempt.number,
        state=JobState.CANCELLED.value,
        reason=None,
        detail="given up by hand; nobody looked whether it still runs",
    )
