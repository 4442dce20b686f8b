"""Submitting: the intent is written down before the act.

A crash at any line leaves either nothing, or an intent whose job is found again by its unique name
(hpcjobs.observe adopts it), never a lost or a doubled job.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from hpcjobs import journal
from hpcjobs.commands import run
from hpcjobs.errors import HpcjobsError, SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.files import make_directory, write_once
from hpcjobs.lock import workspace_lock
from hpcjobs.model import Attempt, Job, JobState, Reason, Service
from hpcjobs.observe import lock_file, update
from hpcjobs.place import place
from hpcjobs.plan import job_name
from hpcjobs.render import Renderer, write_script
from hpcjobs.schedulers import live
from hpcjobs.shares import Works
from hpcjobs.store import AttemptRecord, JobRecord, Store, job_to_json, load
from hpcjobs.workspace import Workspace

REFUSALS_IN_A_ROW = 3
"""After so many the rest is not tried: they would be refused as well."""


@dataclass
class Outcome:
    """What became of a submission of several jobs."""

    submitted: list[Attempt] = field(default_factory=list)
    kept: list[JobRecord] = field(default_factory=list)
    """In the queue or done already: left as they are."""
    refused: list[tuple[Attempt, HpcjobsError]] = field(default_factory=list)
    left: list[Job] = field(default_factory=list)
    """Not tried."""
    interrupted: bool = False
    unanswered: HpcjobsError | None = None
    """The scheduler did not say whether it took the last one."""


def give_identity(workspace: Workspace) -> None:
    """Make sure that the workspace has its random word; jobs planned before have other ids."""
    make_directory(workspace.jobs)
    write_once(workspace.identity_file, secrets.token_hex(8) + "\n")


def next_attempt(workspace: Workspace, record: JobRecord | None, job: Job) -> Attempt:
    """The attempt that would be submitted: its number is new in the journal and on the disk."""
    number = max((attempt.number for attempt in record.attempts), default=0) + 1 if record else 1
    while workspace.attempt(job.id, number).exists():
        number += 1
    return Attempt(job, number)


def submit(
    workspace: Workspace,
    service: Service,
    renderer: Renderer,
    jobs: Sequence[Job],
    *,
    again: bool = False,
    known: Mapping[str, int] | None = None,
    report: Callable[[Attempt, str], None] = lambda attempt, native_id: None,
) -> Outcome:
    """Submit all jobs that are neither in the queue nor done.

    Args:
        workspace: where they are recorded.
        service: where they run.
        renderer: makes their scripts.
        jobs: what is asked for.
        again: submit also what is done.
        known: how many attempts at each job's tasks were known when this was decided; if there are
            others by now, it is left to the next decision.
        report: called after each that was taken, with its native id.

    Raises:
        LockedError: another hpcjobs is writing in this workspace.
        StorageError: something could not be written; nothing was then submitted without a record.
    """
    outcome = Outcome()
    live(service.scheduler)  # before anything is written
    with workspace_lock(lock_file(workspace)), _interrupt_later() as interrupted:
        store = load(workspace.journal)
        update(workspace, store, record=True)
        shapes: set[str] = set()
        works = Works(store)
        for index, job in enumerate(jobs):
            if interrupted():
                outcome.left += list(jobs[index:])
                break
            settled = works.settled(job, again)
            if settled is None and known is not None and works.attempts(job) != known.get(job.id):
                settled = next(filter(None, (works.record_of(job, run) for run in job.tasks)), None)
            if settled is not None:
                outcome.kept.append(settled)
                if len(job.tasks) > 1 and works.wanted(job, again):  # nobody has submitted these
                    outcome.left.append(job)
                continue
            attempt = next_attempt(workspace, store.jobs.get(job.id), job)
            try:
                native_id = _submit_one(workspace, service, renderer, store, attempt, shapes)
            except SubmitRefusedError as error:
                outcome.refused.append((attempt, error))
                if len(outcome.refused) >= REFUSALS_IN_A_ROW and not outcome.submitted:
                    outcome.left += list(jobs[index + 1 :])
                    break
            except SchedulerUnavailableError as error:
                outcome.unanswered = error
                outcome.left += list(jobs[index + 1 :])
                break
            else:
                outcome.submitted.append(attempt)
                works.add(store.jobs[job.id])
                report(attempt, native_id)
        outcome.interrupted = interrupted()
    return outcome


def _submit_one(
    workspace: Workspace,
    service: Service,
    renderer: Renderer,
    store: Store,
    attempt: Attempt,
    shapes: set[str],
) -> str:
    """Record the intent, submit, record the answer; the native id."""
    module, job = live(service.scheduler), attempt.job
    script = renderer.render(attempt)
    write_script(script, script.path, shapes)
    now = time.time()
    events = []
    if job.id not in store.jobs:
        store.jobs[job.id] = JobRecord(job)
        events.append(journal.event(journal.PLANNED, now, job.id, spec=job_to_json(job)))
    name = job_name(attempt)
    where = place(module)
    changed = {} if job == store.jobs[job.id].job else {"spec": job_to_json(job)}
    store.jobs[job.id].attempts.append(
        AttemptRecord(attempt.number, name, where, now, job=job if changed else None)
    )
    events.append(
        journal.event(
            journal.SUBMITTING, now, job.id, attempt.number, name=name, place=where, **changed
        )
    )
    journal.append(workspace.journal, events)
    try:
        native_id = module.parse_submit(run(script.argv, timeout=service.submit_timeout))
    except SubmitRefusedError as error:
        journal.append(
            workspace.journal,
            [
                journal.event(
                    journal.ENDED,
                    time.time(),
                    job.id,
                    attempt.number,
                    state=JobState.FAILED.value,
                    reason=Reason.SUBMIT_FAILED.value,
                    detail=error.what,
                )
            ],
        )
        raise
    journal.append(
        workspace.journal,
        [
            journal.event(
                journal.SUBMITTED, time.time(), job.id, attempt.number, native_id=native_id
            )
        ],
    )
    return native_id


@contextlib.contextmanager
def _interrupt_later() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait for the end of the step under way; a second one ends at once."""
    asked = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        previous = signal.signal(signal.SIGINT, handler)
    except ValueError:  # not in the main thread: nobody can interrupt
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, previous)
