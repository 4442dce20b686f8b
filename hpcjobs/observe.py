"""How the jobs stand: gathers the evidence of every unfinished attempt and judges it.

One bulk query a service, not more often than its `poll_seconds`, whatever the number of jobs and of
open terminals: the last answer is kept in a file that all share.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcjobs import journal
from hpcjobs.commands import CommandResult, run
from hpcjobs.config.services import read_service
from hpcjobs.errors import HpcjobsError, LockedError, SchedulerUnavailableError, StorageError
from hpcjobs.evidence import Answer, Evidence, Silence, judge
from hpcjobs.files import write_json
from hpcjobs.journal import Event
from hpcjobs.lock import workspace_lock
from hpcjobs.markers import Markers, read_markers
from hpcjobs.model import JobState, Observation, Reason, Service, Verdict
from hpcjobs.place import place
from hpcjobs.results.checking import result_problems
from hpcjobs.schedulers import SchedulerModule, live
from hpcjobs.store import AttemptRecord, JobRecord, Store, load
from hpcjobs.workspace import Workspace

QUERY_TIMEOUT = 60.0

Runner = Callable[..., CommandResult]


@dataclass(frozen=True)
class View:
    """The store brought up to date, and what a person should be told about that."""

    store: Store
    warnings: tuple[str, ...] = ()


def lock_file(workspace: Workspace) -> Path:
    """The lock that every writer of this workspace takes."""
    return workspace.jobs / "journal.lock"


def refresh(workspace: Workspace, *, wait: float = 2.0) -> View:
    """Ask, judge, and record what changed.

    Where another hpcjobs is writing, or nothing can be written, the present view is shown without
    being recorded.

    Raises:
        StorageError: the journal cannot be read.
    """
    store = load(workspace.journal)
    if not any(record.active for record in store.jobs.values()):
        return View(store, _broken(store))
    try:
        with workspace_lock(lock_file(workspace), wait=wait):
            store = load(workspace.journal)
            warnings = update(workspace, store, record=True)
    except (LockedError, StorageError) as error:
        warnings = update(workspace, store, record=False)
        warnings.append(f"shown, but not recorded: {error.what}")
    return View(store, (*_broken(store), *warnings))


def update(workspace: Workspace, store: Store, *, record: bool) -> list[str]:
    """Bring `store` up to date; append what changed to the journal if `record` (lock held).

    Returns:
        Warnings for people, such as a scheduler that does not answer.
    """
    warnings: list[str] = []
    active: dict[str, list[tuple[JobRecord, AttemptRecord]]] = {}
    for one in store.jobs.values():
        for attempt in one.attempts:
            if not attempt.state.final:
                active.setdefault(one.job.service, []).append((one, attempt))
    events: list[Event] = []
    for name, pairs in active.items():
        try:
            service = read_service(workspace, name)
            answers = _ask(workspace, service, [attempt for _, attempt in pairs])
        except HpcjobsError as error:
            warnings.append(f"{name}: {error.what}")
            service, answers = None, {}
        for job, attempt in pairs:
            answer = answers.get(attempt.name, Silence.NO_ANSWER)
            events += _update_one(workspace, service, job, attempt, answer)
    if record:
        journal.append(workspace.journal, events)
    return warnings


def _update_one(
    workspace: Workspace,
    service: Service | None,
    record: JobRecord,
    attempt: AttemptRecord,
    answer: Answer,
) -> list[Event]:
    """Judge one attempt, change the record, and tell the events."""
    now, job = time.time(), record.job
    events: list[Event] = []
    if isinstance(answer, Observation) and answer.name != attempt.name:
        answer = Silence.ABSENT  # the native id was recycled
    if isinstance(answer, Observation) and attempt.native_id is None:
        attempt.native_id, attempt.submitted_at = answer.native_id, now
        attempt.state = JobState.PENDING
        events.append(
            journal.event(
                journal.SUBMITTED, now, job.id, attempt.number,
                native_id=answer.native_id, adopted=True,
            )
        )  # fmt: skip
    gone = answer is Silence.ABSENT or (isinstance(answer, Observation) and answer.state.final)
    absent_since = attempt.absent_since
    if gone:
        absent_since = absent_since if absent_since is not None else now
    elif isinstance(answer, Observation):
        absent_since = None
    directory = workspace.attempt(job.id, attempt.number)
    markers = read_markers(directory)
    if answer is Silence.NOT_ASKED and markers.exit_code is None:
        return events
    verdict = judge(
        Evidence(
            name=attempt.name,
            markers=markers,
            answer=answer,
            problems=_problems(record, directory, markers),
            now=now,
            submitting_at=attempt.submitting_at,
            accepted=attempt.native_id is not None,
            absent_since=absent_since,
            cancelling=attempt.cancelling,
            walltime=job.walltime,
            grace=service.grace_seconds if service else float("inf"),
            submit_timeout=service.submit_timeout if service else float("inf"),
        )
    )
    changed = (verdict.state, verdict.reason, verdict.detail, absent_since) != (
        attempt.state,
        attempt.reason,
        attempt.detail,
        attempt.absent_since,
    )
    if changed:
        events.append(_verdict_event(now, record, attempt, verdict, absent_since))
    attempt.state, attempt.reason, attempt.detail = verdict.state, verdict.reason, verdict.detail
    attempt.absent_since = absent_since
    attempt.ended_at = now if verdict.state.final else None
    return events


def _verdict_event(
    now: float,
    record: JobRecord,
    attempt: AttemptRecord,
    verdict: Verdict,
    absent_since: float | None,
) -> Event:
    return journal.event(
        journal.ENDED if verdict.state.final else journal.SEEN,
        now,
        record.job.id,
        attempt.number,
        state=verdict.state.value,
        reason=verdict.reason.value if verdict.reason else None,
        detail=verdict.detail,
        absent_since=absent_since,
    )


def _problems(record: JobRecord, directory: Path, markers: Markers) -> Mapping[str, str]:
    """Why results are not whole; looked at only where that decides."""
    if markers.exit_code is None or markers.exit_code.value != "0":
        return {}
    return result_problems(record.job, directory)


def _ask(
    workspace: Workspace, service: Service, attempts: Sequence[AttemptRecord]
) -> dict[str, Answer]:
    """By attempt's name: what the scheduler says."""
    module = live(service.scheduler)
    here = [one for one in attempts if one.place == place(module)]
    known = {one.native_id: one for one in here if one.native_id is not None}
    answers: dict[str, Answer] = {}
    if known:
        seen = _query(workspace, service, module, tuple(known))
        if seen is not None:
            for native_id, one in known.items():
                answers[one.name] = seen.get(native_id, Silence.ABSENT)
        else:
            answers |= {one.name: Silence.NOT_ASKED for one in known.values()}
    for one in here:
        if one.native_id is None:
            found = _find(module, one.name)
            answers[one.name] = found if found is not None else Silence.ABSENT
    return answers


def _query(
    workspace: Workspace, service: Service, module: SchedulerModule, native_ids: Sequence[str]
) -> Mapping[str, Observation] | None:
    """The bulk query, or its last answer if that is young enough; None = not asked now."""
    path = workspace.jobs / f".observed-{service.name}.json"
    kept = _read_kept(path)
    age = time.time() - kept["at"] if kept else float("inf")
    if kept and 0 <= age < service.poll_seconds:
        if set(native_ids) <= set(kept["asked"]):
            return {key: _observation(value) for key, value in kept["seen"].items()}
        return None
    if service.poll_seconds:
        write_json(path, {"at": time.time(), "asked": [], "seen": {}})  # also if it fails
    seen = dict(module.parse_query(run(module.query_argv(native_ids), timeout=QUERY_TIMEOUT)))
    unsettled = [key for key in native_ids if key not in seen or seen[key].state.final]
    told = _history(module, module.history_argv(unsettled) if unsettled else None)
    for key in unsettled:
        # A row that is half written has another name: the queue's word is then the better one.
        name = seen[key].name if key in seen else None
        if key in told and told[key].state.final and name in (None, told[key].name):
            seen[key] = told[key]
    if service.poll_seconds:
        shown = {key: asdict(value) for key, value in seen.items()}
        write_json(path, {"at": time.time(), "asked": list(native_ids), "seen": shown})
    return seen


def _find(module: SchedulerModule, name: str) -> Observation | None:
    """The job of that name, from the queue, else from the accounting."""
    found = module.parse_find(run(module.find_argv(name), timeout=QUERY_TIMEOUT))
    if found is not None:
        return found
    told = _history(module, module.find_history_argv(name))
    return next((one for one in told.values() if one.name == name), None)


def _history(module: SchedulerModule, argv: Sequence[str] | None) -> Mapping[str, Observation]:
    """What the accounting says, by native id; nothing where there is none or it does not answer.

    The queue has answered by then, so the jobs' own markers and the grace decide without it.
    """
    if argv is None:
        return {}
    try:
        return module.parse_history(run(argv, timeout=QUERY_TIMEOUT))
    except SchedulerUnavailableError:
        return {}


def _read_kept(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_text())
        return kept if isinstance(kept, dict) and {"at", "asked", "seen"} <= set(kept) else None
    except (OSError, ValueError):
        return None


def _observation(value: dict[str, Any]) -> Observation:
    reason = Reason(value["reason"]) if value["reason"] else None
    return Observation(**{**value, "state": JobState(value["state"]), "reason": reason})


def _broken(store: Store) -> tuple[str, ...]:
    if not store.broken_lines:
        return ()
    lines = ", ".join(str(number) for number in store.broken_lines[:5])
    return (f"the journal has {len(store.broken_lines)} torn line(s), passed over: {lines}",)
