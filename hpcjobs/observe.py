"""How the jobs stand: gathers the evidence of every unfinished attempt and judges it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import journal
from hpcjobs.ask import ask
from hpcjobs.config.services import read_service
from hpcjobs.errors import HpcjobsError, LockedError, StorageError
from hpcjobs.evidence import SETTLE_SECONDS, Answer, Evidence, Silence, about_it, judge
from hpcjobs.journal import Event
from hpcjobs.lock import workspace_lock
from hpcjobs.markers import Markers, read_markers
from hpcjobs.model import Job, JobState, Observation, Service, Verdict
from hpcjobs.parts import awaited, finished, judge_parts
from hpcjobs.store import AttemptRecord, JobRecord, Store, load, parts_to_json, take_check
from hpcjobs.workspace import Workspace

if TYPE_CHECKING:
    from hpcjobs.results.checking import Checked

CHECK_SECONDS = 20.0
"""So long what ended long ago is looked at again, before the rest is left for the next time."""


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
    if not any(record.active for record in store.jobs.values()) and not any(_to_check(store)):
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
            answers = ask(workspace, service, [attempt for _, attempt in pairs])
        except HpcjobsError as error:
            warnings.append(f"{name}: {error.what}")
            service, answers = None, {}
        for job, attempt in pairs:
            answer = answers.get(attempt.name, Silence.NO_ANSWER)
            if service is not None and attempt.name not in answers:
                answer = Silence.ELSEWHERE
            try:
                events += _update_one(workspace, service, job, attempt, answer)
            except StorageError as error:  # a disk that does not answer says nothing of the job
                warnings.append(f"{attempt.name}: {error.what}")
    if record:
        events += _check_again(workspace, store, warnings)
        journal.append(workspace.journal, events)
    return warnings


def _to_check(store: Store) -> Iterator[tuple[JobRecord, AttemptRecord]]:
    """Attempts whose results nobody has looked at, or could not: of earlier versions, or pyarrow
    has been installed since.
    """
    for record in store.jobs.values():
        for attempt in record.attempts:
            never = attempt.state is JobState.SUCCEEDED and attempt.suspect is None
            if never or (attempt.unread and find_spec("pyarrow") is not None):
                yield record, attempt


def _check_again(workspace: Workspace, store: Store, warnings: list[str]) -> list[Event]:
    """Look at the results of attempts that have ended before; that they ended well stays so."""
    events: list[Event] = []
    left = list(_to_check(store))
    end = time.monotonic() + CHECK_SECONDS
    while left and time.monotonic() < end:
        record, attempt = left.pop(0)
        job = record.job_of(attempt)
        if attempt.parts:
            done = [key for key, part in attempt.parts.items() if part.state is JobState.SUCCEEDED]
            job = _only(job, done)
        try:
            checked = _checked(job, workspace.attempt(job.id, attempt.number))
        except StorageError as error:
            warnings.append(f"{attempt.name}: {error.what}")
            continue
        suspect = {**checked.worthless, **checked.suspect}
        take_check(attempt, suspect, checked.unread)
        events.append(
            journal.event(
                journal.CHECKED, time.time(), job.id, attempt.number,
                suspect=suspect, unread=checked.unread,
            )
        )  # fmt: skip
    if left:
        warnings.append(f"the answers of {len(left)} job(s) were not looked at yet: ask again")
    return events


def _update_one(
    workspace: Workspace,
    service: Service | None,
    record: JobRecord,
    attempt: AttemptRecord,
    answer: Answer,
) -> list[Event]:
    """Judge one attempt, change the record, and tell the events."""
    now, job = time.time(), record.job_of(attempt)
    events: list[Event] = []
    directory = workspace.attempt(job.id, attempt.number)
    markers = read_markers(directory)
    answer = about_it(attempt.name, markers, answer)
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
    elif isinstance(answer, Observation) or answer is Silence.RENAMED:
        absent_since = None
    if answer is Silence.NOT_ASKED and markers.exit_code is None:
        return events
    checked = None
    problems: dict[str, str] = {}
    lag = 0.0 if service and service.scheduler == "local" else SETTLE_SECONDS
    grace = service.grace_seconds if service else SETTLE_SECONDS
    if markers.exit_code is not None and markers.exit_code.value == "0":
        checked = _checked(job, directory)
        problems = {**checked.problems, **checked.worthless}
        if now - markers.exit_code.at < min(lag, grace):  # the rest may show late
            problems |= checked.awaited
    verdict = judge(
        Evidence(
            name=attempt.name,
            markers=markers,
            answer=answer,
            problems=problems,
            now=now,
            submitting_at=attempt.submitting_at,
            accepted=attempt.native_id is not None,
            absent_since=absent_since,
            cancelling=attempt.cancelling,
            walltime=job.walltime,
            grace=service.grace_seconds if service else float("inf"),
            submit_timeout=service.submit_timeout if service else float("inf"),
            lag=lag,
            place=attempt.place,
        )
    )
    if verdict.state.final and verdict.state is not JobState.SUCCEEDED and len(job.tasks) > 1:
        verdict = _judge_parts(job, directory, attempt, markers, verdict, min(lag, grace))
    changed = (verdict.state, verdict.reason, verdict.detail, absent_since) != (
        attempt.state,
        attempt.reason,
        attempt.detail,
        attempt.absent_since,
    )
    if verdict.state is JobState.SUCCEEDED and checked is not None:
        attempt.suspect, attempt.unread = checked.suspect, checked.unread
    if changed:
        events.append(_verdict_event(now, record, attempt, verdict, absent_since))
    attempt.state, attempt.reason, attempt.detail = verdict.state, verdict.reason, verdict.detail
    attempt.absent_since = absent_since
    attempt.ended_at = now if verdict.state.final else None
    return events


def _judge_parts(
    job: Job,
    directory: Path,
    attempt: AttemptRecord,
    markers: Markers,
    verdict: Verdict,
    settle: float,
) -> Verdict:
    """Judge each of the packed tasks, and keep it in the attempt; the verdict, unless it is early.

    What was finished before the attempt failed counts all the same.
    """
    now = time.time()
    checked = _checked(_only(job, finished(markers)), directory)
    if late := awaited(job, markers, {**checked.problems, **checked.awaited}, now, settle):
        return Verdict(JobState.UNKNOWN, detail=late)
    attempt.unread = checked.unread
    attempt.parts = judge_parts(
        job,
        markers,
        verdict,
        {**checked.problems, **checked.worthless},
        checked.suspect,
        _end(job, markers, now),
    )
    return verdict


def _end(job: Job, markers: Markers, now: float) -> float:
    """When it ended; what was killed could not tell, but it had no more than its walltime."""
    if markers.exit_code is not None:
        return markers.exit_code.at
    return min(now, markers.started.at + job.walltime) if markers.started is not None else now


def _verdict_event(
    now: float,
    record: JobRecord,
    attempt: AttemptRecord,
    verdict: Verdict,
    absent_since: float | None,
) -> Event:
    trust: dict[str, Any] = {}
    if verdict.state is JobState.SUCCEEDED and attempt.suspect is not None:
        trust = {"suspect": attempt.suspect, "unread": attempt.unread}
    if verdict.state.final and attempt.parts:
        trust = {"parts": parts_to_json(attempt.parts), "unread": attempt.unread}
    return journal.event(
        journal.ENDED if verdict.state.final else journal.SEEN,
        now,
        record.job.id,
        attempt.number,
        state=verdict.state.value,
        reason=verdict.reason.value if verdict.reason else None,
        detail=verdict.detail,
        absent_since=absent_since,
        **trust,
    )


def _only(job: Job, keys: Collection[str]) -> Job:
    return replace(job, tasks=tuple(run for run in job.tasks if run.key in keys))


def _checked(job: Job, directory: Path) -> Checked:
    """Whether the results are whole and can be trusted; it may have to read many gigabytes."""
    from hpcjobs.results.checking import check_results

    return check_results(job, directory)


def _broken(store: Store) -> tuple[str, ...]:
    if not store.broken_lines:
        return ()
    lines = ", ".join(str(number) for number in store.broken_lines[:5])
    return (f"the journal has {len(store.broken_lines)} torn line(s), passed over: {lines}",)
