"""The journal's events folded into what is known of each job. Pure, but for `load`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcjobs import journal
from hpcjobs.errors import InputError, printable, unknown
from hpcjobs.journal import Event
from hpcjobs.model import Job, JobState, Reason, TaskRun


@dataclass(frozen=True)
class Part:
    """How one task of a packed attempt ended."""

    state: JobState
    """PLANNED: it was not begun."""
    reason: Reason | None = None
    detail: str = ""
    seconds: float = 0.0
    """How long it had until its time was up, where that is why it failed."""
    suspect: str = ""
    """Why its result is not to be trusted."""


@dataclass
class AttemptRecord:
    """What is known of one attempt."""

    number: int
    name: str
    """The scheduler's name for it, unique."""
    place: str
    """Where it can be asked for (see hpcjobs.place)."""
    submitting_at: float
    native_id: str | None = None
    submitted_at: float | None = None
    state: JobState = JobState.SUBMITTING
    reason: Reason | None = None
    detail: str = ""
    absent_since: float | None = None
    """Since when every answer of the scheduler lacked it."""
    cancelling: bool = False
    ended_at: float | None = None
    suspect: Mapping[str, str] | None = None
    """By task: why its result is not to be trusted; None = nobody has looked at them yet."""
    unread: bool = False
    """Answers could not be looked at, for want of a program."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """Of an attempt with packed tasks that failed: how each of them ended."""
    job: Job | None = None
    """As it was when this attempt was submitted, if that differs from the first time."""


@dataclass
class JobRecord:
    """What is known of one job."""

    job: Job
    attempts: list[AttemptRecord] = field(default_factory=list)

    def job_of(self, attempt: AttemptRecord) -> Job:
        """The job as that attempt was submitted: walltime and paths may change in between."""
        return attempt.job or self.job

    @property
    def last(self) -> AttemptRecord | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def state(self) -> JobState:
        """How the job stands: as its latest attempt does."""
        return self.attempts[-1].state if self.attempts else JobState.PLANNED

    @property
    def active(self) -> bool:
        """Whether an attempt of it may be in the queue or running."""
        return any(not attempt.state.final for attempt in self.attempts)


@dataclass
class Store:
    """All jobs of a workspace, in the order in which they were planned."""

    jobs: dict[str, JobRecord] = field(default_factory=dict)
    broken_lines: list[int] = field(default_factory=list)

    @property
    def digests(self) -> dict[str, str]:
        """Digest by id."""
        return {key: record.job.digest for key, record in self.jobs.items()}

    def find(self, prefix: str, *, latest: bool = False) -> JobRecord:
        """The job whose id begins with `prefix` (`-NN` of an attempt's label may follow).

        Args:
            prefix: what was typed.
            latest: whether that attempt must be the latest, since only that one is meant.

        Raises:
            InputError: there is none, or more than one; or no such attempt.
        """
        record = self._find(prefix)
        _, dash, number = prefix.strip().partition("-")
        numbers = [attempt.number for attempt in record.attempts]
        if dash and (not number.isdecimal() or int(number) not in numbers):
            raise InputError(
                f"{record.job.id} has no attempt {printable(number)}",
                expected=f"one of: {', '.join(map(str, numbers)) or 'none was submitted'}",
            )
        if dash and latest and int(number) != numbers[-1]:
            raise InputError(
                f"attempt {int(number)} of {record.job.id} was followed by attempt {numbers[-1]}",
                expected=f"{record.job.id}, or {record.job.id}-{numbers[-1]:02d}",
            )
        return record

    def require_models(self, models: Iterable[str]) -> None:
        """Refuse a model of which no job was ever submitted.

        Raises:
            InputError: there is one.
        """
        known = {record.job.model for record in self.jobs.values()}
        for model in models:
            if model not in known:
                raise unknown("model", model, known, where="--model")

    def _find(self, prefix: str) -> JobRecord:
        wanted = prefix.strip().lower().partition("-")[0]
        matches = [key for key in self.jobs if key.startswith(wanted)] if wanted else []
        if len(matches) == 1:
            return self.jobs[matches[0]]
        if matches:
            raise InputError(
                f"{printable(prefix)} is the beginning of {len(matches)} jobs",
                expected=f"one of: {', '.join(sorted(matches))}",
            )
        raise unknown("job", prefix, self.jobs, do="see them with: hpcjobs status")


def load(path: Path) -> Store:
    """The store of a journal file."""
    content = journal.read(path)
    return fold(content.events, content.broken_lines)


def fold(events: Iterable[Event], broken_lines: Iterable[int] = ()) -> Store:
    """Apply all events in order. An attempt's end never changes; events that make no sense (an
    unknown job, an unknown kind of a later version) are passed over.
    """
    store = Store(broken_lines=list(broken_lines))
    for one in events:
        try:
            _apply(store, one)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            continue
    return store


def _apply(store: Store, one: Event) -> None:
    kind, key, at = one["event"], one["job"], journal.epoch(one["at"])
    if kind == journal.PLANNED:
        store.jobs.setdefault(key, JobRecord(job_from_json(one["spec"])))
        return
    record = store.jobs[key]
    number = int(one["attempt"])
    if kind == journal.SUBMITTING:
        if not any(attempt.number == number for attempt in record.attempts):
            spec = job_from_json(one["spec"]) if "spec" in one else None
            record.attempts.append(AttemptRecord(number, one["name"], one["place"], at, job=spec))
        return
    attempt = {attempt.number: attempt for attempt in record.attempts}[number]
    if attempt.state.final:
        if kind == journal.CHECKED and (attempt.state is JobState.SUCCEEDED or attempt.parts):
            _apply_check(attempt, one)
        return
    if kind == journal.SUBMITTED:
        attempt.native_id = str(one["native_id"])
        attempt.submitted_at = at
        attempt.state = JobState.PENDING
    elif kind == journal.CANCELLING:
        attempt.cancelling = True
    elif kind == journal.NOT_CANCELLED:
        attempt.cancelling = False
    elif kind in (journal.SEEN, journal.ENDED):
        state = JobState(one["state"])
        if state.final != (kind == journal.ENDED):
            return
        attempt.reason = Reason(one["reason"]) if one.get("reason") else None
        attempt.state = state
        attempt.detail = one.get("detail", "")
        attempt.absent_since = one.get("absent_since")
        attempt.ended_at = at if state.final else None
        attempt.parts = _parts(one.get("parts") or {}) if state.final else {}
        attempt.unread = bool(attempt.parts) and one.get("unread") is True
        if state is JobState.SUCCEEDED:
            _apply_check(attempt, one)


def parts_to_json(parts: Mapping[str, Part]) -> dict[str, Any]:
    """How packed tasks ended, as plain values for the journal."""
    return {key: dataclasses.asdict(part) for key, part in parts.items()}


def _parts(value: dict[str, Any]) -> dict[str, Part]:
    return {
        str(key): Part(
            JobState(one["state"]),
            Reason(one["reason"]) if one.get("reason") else None,
            str(one.get("detail", "")),
            float(one.get("seconds", 0.0)),
            str(one.get("suspect", "")),
        )
        for key, one in value.items()
    }


def take_check(attempt: AttemptRecord, suspect: Mapping[str, str], unread: bool) -> None:
    """Keep what was found out about results; that they are there stays as it was."""
    attempt.unread = unread
    if not attempt.parts:
        attempt.suspect = suspect
        return
    attempt.parts = {
        key: dataclasses.replace(part, suspect=suspect.get(key, ""))
        if part.state is JobState.SUCCEEDED
        else part
        for key, part in attempt.parts.items()
    }


def _apply_check(attempt: AttemptRecord, one: Event) -> None:
    suspect = one.get("suspect")
    if isinstance(suspect, dict):
        found = {str(key): str(why) for key, why in suspect.items()}
        take_check(attempt, found, one.get("unread") is True)


def job_to_json(job: Job) -> dict[str, Any]:
    """A job as plain values for the journal."""
    return dataclasses.asdict(job)


def job_from_json(value: dict[str, Any]) -> Job:
    """The reverse of `job_to_json`."""
    fields = _known(Job, value)
    fields["tasks"] = tuple(TaskRun(**_known(TaskRun, task)) for task in value["tasks"])
    for name in ("devices", "model_names", "task_walltimes"):
        fields[name] = tuple(value.get(name, ()))
    return Job(**fields)


def _known(kind: type[Job | TaskRun], value: dict[str, Any]) -> dict[str, Any]:
    """The fields that this version knows; a later one may have written more."""
    names = {one.name for one in dataclasses.fields(kind)}
    return {key: one for key, one in value.items() if key in names}
