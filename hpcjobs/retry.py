"""Whether a job is submitted (again), and how: by how its attempts ended. Pure.

What passes by itself is repeated, what ran out of time gets more of it, and what would fail in the
same way again is left to a person. Every decision says why, in words for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from hpcjobs.diagnosis.cause import Again
from hpcjobs.durations import format_duration
from hpcjobs.model import Job, JobState, Reason, Service
from hpcjobs.store import AttemptRecord, JobRecord

PASSING = (Reason.NODE_FAILURE, Reason.PREEMPTED, Reason.SCHEDULER_ERROR, Reason.VANISHED,
           Reason.SUBMIT_FAILED)  # fmt: skip
"""Nothing that the job did: the same may well succeed."""

EXCLUDES = ("slurm",)
"""Schedulers that can be told which nodes to keep away from (`exclude`)."""

_NO_FAULT = (Reason.PREEMPTED,)
"""Says nothing of the model or of the service, however often it happens."""


class Act(str, Enum):
    """What is done about a job."""

    FIRST = "submit"
    AGAIN = "again"
    LONGER = "longer"
    """Again, with more time."""
    BIGGER = "bigger"
    """On a bigger node instead: that is another job."""
    LEAVE = "leave"
    """It is in the queue, or done."""
    STOP = "stop"
    """It failed, or its result is suspect, and it is not repeated by itself."""

    @property
    def submits(self) -> bool:
        """Whether an attempt of this very job is made."""
        return self in (Act.FIRST, Act.AGAIN, Act.LONGER)


@dataclass(frozen=True)
class Policy:
    """What a campaign allows."""

    attempts: int = 3
    """At most so many attempts at an evaluation, on whatever node."""
    longer: float = 2.0
    """How many times more walltime after a TIMEOUT."""
    in_a_row: int = 3
    """After so many jobs that fail alike, one after the other, a model or service gets no more."""


@dataclass(frozen=True)
class Past:
    """What is known of a job's attempts beside the journal."""

    again: Again | None = None
    """What the diagnosis of the latest says, where a cause is known."""
    cause: str = ""
    """That cause, in a line."""
    remedy: str = ""
    """What to do about it."""
    bad_nodes: tuple[str, ...] = ()
    """Hosts on which attempts ended with NODE_FAILURE."""
    suspect: str = ""
    """Why a result is not to be trusted."""
    before: int = 0
    """Attempts that failed on smaller nodes."""


@dataclass(frozen=True)
class Decision:
    """What is done about a job, and why."""

    act: Act
    why: str
    walltime: int = 0
    """Seconds that the next attempt asks for; 0 where there is none."""
    node: str = ""
    """The bigger node."""
    exclude: tuple[str, ...] = ()
    """Hosts to keep away from."""


def decide(
    job: Job,
    record: JobRecord | None,
    service: Service,
    policy: Policy,
    past: Past | None = None,
) -> Decision:
    """What is to be done about a job.

    Args:
        job: as it would be submitted now.
        record: what is known of it; None if it was never submitted.
        service: its limits and nodes.
        policy: what is allowed.
        past: what is known beside the journal.
    """
    past = past or Past()
    last = record.last if record else None
    if record is None or last is None:
        why = f"after {past.before} on a smaller node" if past.before else "not submitted yet"
        if past.before >= policy.attempts:
            return _stop(f"{past.before} attempts on smaller nodes failed, which is the limit")
        # what the smaller node could not do within its limit is not cut short here
        walltime = max(job.walltime, _cap(job, service)) if past.before else job.walltime
        return Decision(Act.FIRST, why, walltime)
    if record.active:
        return Decision(Act.LEAVE, _under_way(record))
    if last.state is JobState.SUCCEEDED:
        if past.suspect:
            return _stop(f"done, but suspect: {past.suspect}; not by itself")
        return Decision(Act.LEAVE, "done")
    if last.state is JobState.CANCELLED:
        return _stop("cancelled, which is taken as meant")
    return _after_failure(job, record, last, service, policy, past)


def _under_way(record: JobRecord) -> str:
    running = any(one.state in (JobState.RUNNING, JobState.SUSPENDED) for one in record.attempts)
    unknown = any(one.state is JobState.UNKNOWN for one in record.attempts)
    return "running" if running else "not known how it stands" if unknown else "in the queue"


def _after_failure(
    job: Job,
    record: JobRecord,
    last: AttemptRecord,
    service: Service,
    policy: Policy,
    past: Past,
) -> Decision:
    reason = last.reason
    failed = [one for one in record.attempts if one.state is JobState.FAILED]
    name = reason.value if reason else "FAILED"
    what = f"{name}{f': {past.cause or last.detail}' if past.cause or last.detail else ''}"
    known = past.again is Again.NEVER or (
        past.again is Again.CHANGED and reason is Reason.SERVER_FAILED
    )
    if reason not in (*PASSING, Reason.TIMEOUT, Reason.SERVER_FAILED) or known:
        return _stop(_by_hand(what, past))
    if len(failed) + past.before >= policy.attempts:
        return _stop(f"{what}; {len(failed) + past.before} attempts failed, which is the limit")
    if reason is Reason.TIMEOUT:
        return _more_time(job, record, service, policy, past)
    if reason is Reason.SERVER_FAILED and sum(one.reason is reason for one in failed) > 1:
        return _stop(f"{what}; it was repeated once, which did not help")
    walltime = min(_cap(job, service), max(job.walltime, _next(job, record, service, policy)))
    exclude = _excluded(last, service, past)
    once = ", once" if reason is Reason.SERVER_FAILED else ""
    without = f", not on {', '.join(exclude)}" if exclude else ""
    return Decision(Act.AGAIN, f"{what}; again{once}{without}", walltime, exclude=exclude)


def _more_time(
    job: Job, record: JobRecord, service: Service, policy: Policy, past: Past
) -> Decision:
    """After a walltime that was too short: a longer one, else a bigger node."""
    had, limit = _too_short(record), _cap(job, service)
    exclude = _excluded(record.last, service, past)
    if had < limit:
        walltime = _next(job, record, service, policy)
        return Decision(
            Act.LONGER,
            f"not finished within {format_duration(had)}; again with {format_duration(walltime)}",
            walltime,
            exclude=exclude,
        )
    at_limit = f"not finished within {format_duration(had)}, the most that {service.name} allows"
    node = service.nodes.get(job.node)
    if node is not None and node.bigger and not job.trial:
        why = f"{at_limit} on {job.node}; on {node.bigger} instead"
        return Decision(Act.BIGGER, why, node=node.bigger)
    return _stop(f"{at_limit}, and {job.node} has no bigger node in the service's file")


def _next(job: Job, record: JobRecord, service: Service, policy: Policy) -> int:
    """The walltime to ask for: more than any that was too short; as planned if that is more."""
    had = _too_short(record)
    if job.walltime > had:
        return min(job.walltime, _cap(job, service))
    longer = -(-int(had * policy.longer) // 60) * 60 if had >= 60 else int(had * policy.longer)
    return min(max(longer, had + 1), _cap(job, service))


def _excluded(last: AttemptRecord | None, service: Service, past: Past) -> tuple[str, ...]:
    """Bad hosts, unless the scheduler refused the job: they may be all that there are."""
    refused = last is not None and last.reason is Reason.SUBMIT_FAILED
    return past.bad_nodes if service.scheduler in EXCLUDES and not refused else ()


def _too_short(record: JobRecord) -> int:
    """The longest walltime that was not enough; 0 if none is known."""
    return max(
        (record.job_of(one).walltime for one in record.attempts if one.reason is Reason.TIMEOUT),
        default=0,
    )


def _cap(job: Job, service: Service) -> int:
    return min(service.trial_max, service.walltime_max) if job.trial else service.walltime_max


def _stop(why: str) -> Decision:
    return Decision(Act.STOP, why)


def _by_hand(what: str, past: Past) -> str:
    if past.remedy and past.again is not Again.ITSELF:
        return f"{what}; not by itself: {past.remedy}"
    return f"{what}; not by itself, see hpcjobs diagnose"


@dataclass(frozen=True)
class Ended:
    """How the latest attempt of a job ended."""

    job: str
    model: tuple[str, ...]
    """The model, and all that makes its evaluations alike: provider, settings and version."""
    service: str
    at: float
    state: JobState
    reason: Reason | None = None
    cause: str = ""


@dataclass(frozen=True)
class Brakes:
    """Models and services that get no more jobs by themselves, and why."""

    models: dict[tuple[str, ...], str] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=dict)

    def why(self, model: tuple[str, ...], service: str) -> str:
        """Why a job of this model and service is not submitted; empty if nothing speaks against."""
        return self.models.get(model) or self.services.get(service) or ""


def brakes(ends: Iterable[Ended], policy: Policy) -> Brakes:
    """Where the latest jobs failed alike, one after the other.

    A service is blamed only for what several models met, and not for their want of time.
    """
    found = Brakes()
    by_model: dict[tuple[str, ...], list[Ended]] = {}
    by_service: dict[str, list[Ended]] = {}
    for one in sorted(ends, key=lambda one: (one.at, one.job)):
        if one.state is JobState.CANCELLED or one.reason in _NO_FAULT:
            continue
        by_model.setdefault(one.model, []).append(one)
        by_service.setdefault(one.service, []).append(one)
    for model, jobs in by_model.items():
        if why := _alike(jobs[-policy.in_a_row :], policy):
            found.models[model] = f"{model[0]} gets no more jobs by itself: {why}"
    for service, jobs in by_service.items():
        row = jobs[-policy.in_a_row :]
        blamed = len({one.model for one in row}) > 1 and row[-1].reason is not Reason.TIMEOUT
        if blamed and (why := _alike(row, policy)):
            found.services[service] = f"{service} gets no more jobs by itself: {why}"
    return found


def _alike(row: Sequence[Ended], policy: Policy) -> str:
    kinds = {(one.state, one.reason, one.cause) for one in row}
    if len(row) < policy.in_a_row or len(kinds) != 1 or row[0].state is not JobState.FAILED:
        return ""
    reason = row[0].reason.value if row[0].reason else "FAILED"
    about = f"{reason}, {row[0].cause}" if row[0].cause else reason
    return f"{len(row)} jobs in a row failed alike ({about}): {', '.join(one.job for one in row)}"
