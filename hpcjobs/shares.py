"""Packed jobs seen task by task, as if each task had a job of its own. Pure.

What is wanted, done, repeated and counted is an evaluation: one task of a model under its settings.
Whether it shared a job with others is a matter of that attempt only.
"""

from __future__ import annotations

from dataclasses import replace

from hpcjobs.model import Job, JobState, TaskRun
from hpcjobs.plan import work_of
from hpcjobs.store import AttemptRecord, JobRecord, Store


def shares(record: JobRecord) -> list[JobRecord]:
    """A record for each task of a job; of a job with one task it is the record itself.

    They are for reading. Their jobs keep the id, and with that the directory, of the packed job; an
    attempt in which a task was not begun is no attempt at it.
    """
    if len(record.job.tasks) == 1:
        return [record]
    return [_share(record, run) for run in record.job.tasks]


def _share(record: JobRecord, run: TaskRun) -> JobRecord:
    attempts = (_attempt(one, record.job_of(one), run.key) for one in record.attempts)
    return JobRecord(_only(record.job, run.key), [one for one in attempts if one is not None])


def _attempt(attempt: AttemptRecord, job: Job, key: str) -> AttemptRecord | None:
    part = attempt.parts.get(key)
    if part is None:
        own = {name: why for name, why in (attempt.suspect or {}).items() if name == key}
        suspect = None if attempt.suspect is None else own
        return replace(attempt, suspect=suspect, parts={}, job=_only(job, key))
    if part.state is JobState.PLANNED:
        return None
    suspect = {key: part.suspect} if part.suspect else {}
    return replace(
        attempt,
        state=part.state,
        reason=part.reason,
        detail=part.detail,
        suspect=suspect if part.state is JobState.SUCCEEDED else None,
        parts={},
        # What was too short for it is the time that it had, not that of the whole job.
        job=replace(_only(job, key), walltime=int(part.seconds) or job.walltime),
    )


def _only(job: Job, key: str) -> Job:
    runs = tuple(run for run in job.tasks if run.key == key)
    return replace(job, tasks=runs, task_walltimes=(), at_once=1)


class Works:
    """The jobs of a journal, found by what they evaluate."""

    def __init__(self, store: Store) -> None:
        self._found: dict[str, dict[str, JobRecord]] = {}
        """By what is evaluated, then by the job's id."""
        for record in store.jobs.values():
            self.add(record)

    def add(self, record: JobRecord) -> None:
        """Take in a job that is new, or has a new attempt."""
        for share in shares(record):
            of_work = self._found.setdefault(work_of(share.job, share.job.tasks[0]), {})
            of_work[share.job.id] = share

    @property
    def shares(self) -> list[JobRecord]:
        """Each task of each job."""
        return [share for found in self._found.values() for share in found.values()]

    def record_of(self, job: Job, run: TaskRun | None = None) -> JobRecord | None:
        """All attempts at a task of the job (else its only one), whatever jobs they belonged to.

        The job of each of these attempts is that of `job_of`.
        """
        found = list(self._found.get(work_of(job, run or job.tasks[0]), {}).values())
        if len(found) < 2:
            return found[0] if found else None
        own = next((one.job for one in found if one.job.id == job.id), found[-1].job)
        attempts = [
            replace(one, job=share.job_of(one)) for share in found for one in share.attempts
        ]
        return JobRecord(own, sorted(attempts, key=lambda one: one.submitting_at))

    def attempts(self, job: Job) -> int:
        """How many attempts there were at the tasks of this job: by that, news are noticed."""
        records = (self.record_of(job, run) for run in job.tasks)
        return sum(len(record.attempts) for record in records if record)

    def settled(self, job: Job, again: bool) -> JobRecord | None:
        """What speaks against submitting this job: a task of it is under way, or done.

        Args:
            job: with one task or several.
            again: what is done is to be done again.
        """
        for run in job.tasks:
            record = self.record_of(job, run)
            if record is not None and not _wanted(record, again):
                return record
        return None

    def wanted(self, job: Job, again: bool) -> bool:
        """Whether a task of the job, which may be settled for another, is still to be done."""
        records = (self.record_of(job, run) for run in job.tasks)
        return any(record is None or _wanted(record, again) for record in records)


def _wanted(record: JobRecord, again: bool) -> bool:
    return not record.active and (again or record.state is not JobState.SUCCEEDED)
