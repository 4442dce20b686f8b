"""From logs, verdict and markers to what went wrong: the root first, and why we say so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpcjobs.diagnosis.cause import JOB, SCHEDULER, SERVER, TASK, Again, Cause, Kind, When
from hpcjobs.diagnosis.scan import Hits, Numbered, Scan, scan
from hpcjobs.diagnosis.table import CAUSES, ENDLESS_ANSWERS, KV_CACHE_FULL, LOW_GPU_USE
from hpcjobs.diagnosis.text import shown
from hpcjobs.markers import Markers
from hpcjobs.model import JobState, Verdict

_NO_VERDICT = Verdict(JobState.FAILED)


@dataclass(frozen=True)
class Line:
    """A line of a log that shows something; without number where it is no line of a file."""

    file: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}" if self.number else self.file


@dataclass(frozen=True)
class Finding:
    """A cause, and what shows it."""

    cause: Cause
    lines: tuple[Line, ...]
    count: int
    """How many lines show it; 0 = it is known from the verdict."""
    certain: bool = True
    """Not only from lines of what was tried again."""


@dataclass(frozen=True)
class Diagnosis:
    """All that is found in one attempt."""

    findings: tuple[Finding, ...] = ()
    """Root causes first, then what they led to (if no root is known), then advice."""
    unexplained: tuple[Line, ...] = ()
    """Where no cause is known: the first exception, and the last lines that look like errors."""

    @property
    def cause(self) -> Cause | None:
        """Why it failed, as far as that is known."""
        first = self.findings[0].cause if self.findings else None
        return first if first and first.kind is not Kind.ADVICE else None

    @property
    def again(self) -> Again | None:
        """Whether the same may succeed again; None where no cause is known."""
        return self.cause.again if self.cause else None


def diagnose(
    logs: Mapping[str, Iterable[Numbered]],
    verdict: Verdict = _NO_VERDICT,
    markers: Markers | None = None,
    keys: Iterable[str] = (),
) -> Diagnosis:
    """What the logs of one attempt show, by file name, and its verdict and markers say.

    Of a job that succeeded, or is under way, only what warns is told. `keys` are never shown.
    """
    markers = markers if markers is not None else Markers()
    keys = tuple(keys)
    scans = [scan(name, lines, CAUSES) for name, lines in logs.items()]
    found = [
        (cause, *found)
        for cause in CAUSES
        if (found := _found(cause, scans, verdict, markers)) is not None
    ]
    found += _advised(scans, {cause.id for cause, *_ in found})
    if verdict.state is not JobState.FAILED:
        found = [one for one in found if one[0].warns]
    elif any(cause.kind is Kind.ROOT for cause, *_ in found):
        found = [one for one in found if one[0].kind is not Kind.CONSEQUENCE]
    found.sort(key=lambda one: _order(one, verdict, markers))
    findings = tuple(_finding(*one, verdict, markers, keys) for one in found)
    if verdict.state is not JobState.FAILED or _is_explained(findings):
        return Diagnosis(findings)
    told = {line for finding in findings for line in finding.lines}
    return Diagnosis(findings, tuple(x for x in _unexplained(scans, keys) if x not in told))


def _is_explained(findings: Sequence[Finding]) -> bool:
    return any(one.cause.kind is Kind.ROOT and one.certain for one in findings[:1])


_Found = tuple[Cause, Scan | None, Hits]


def _found(
    cause: Cause, scans: Sequence[Scan], verdict: Verdict, markers: Markers
) -> tuple[Scan | None, Hits] | None:
    """The log that shows this cause best, or None for the log where the verdict says it."""
    best: tuple[Scan | None, Hits] | None = None
    for one in scans:
        hits = one.hits.get(cause.id)
        if hits is None or not _counts(cause, one, hits, verdict, markers, scans):
            continue
        if best is None or (hits.strong and not best[1].strong):
            best = (one, hits)
    if best is None and _decided(cause, verdict, markers):
        return None, Hits(strong=True)
    return best


def _decided(cause: Cause, verdict: Verdict, markers: Markers) -> bool:
    """Whether markers or verdict say that this is the cause."""
    failure = markers.failure.value if markers.failure else None
    reason = verdict.reason.value if verdict.reason else None
    return failure in cause.failures or reason in cause.reasons


def _counts(
    cause: Cause,
    log: Scan,
    hits: Hits,
    verdict: Verdict,
    markers: Markers,
    scans: Sequence[Scan],
) -> bool:
    """Whether a sign in this log has to do with how the job ended."""
    if log.kind == SERVER and cause.when is not When.ANY:
        return (markers.ready is None) == (cause.when is When.START)
    if log.kind == TASK and not cause.warns and _succeeded(log, markers):
        return False
    if log.kind == TASK and cause.kind is Kind.ROOT and _server_ended(markers):
        return False  # the evaluator only felt it
    if log.kind == SERVER and cause.id == "request_timeout" and not hits.strong:
        # A server that is stopped aborts what is under way, too.
        stopped = verdict.state is not JobState.SUCCEEDED or markers.signal or markers.failure
        felt = any(one.kind == TASK and cause.id in one.hits for one in scans)
        return felt or not stopped
    return True


def _succeeded(log: Scan, markers: Markers) -> bool:
    task = markers.tasks.get(log.name.removesuffix(".log"))
    return task is not None and task.exit_code is not None and task.exit_code.value == "0"


def _server_ended(markers: Markers) -> bool:
    return markers.failure is not None and markers.failure.value.startswith("server_")


def _order(one: _Found, verdict: Verdict, markers: Markers) -> tuple[object, ...]:
    """What explains most goes first: by kind, certainty, where it stands, and when it showed."""
    cause, log, hits = one
    kinds = (Kind.ROOT, Kind.CONSEQUENCE, Kind.ADVICE)
    places = (SCHEDULER, JOB, SERVER, TASK) if _server_ended(markers) else (TASK, SERVER, JOB)
    place = places.index(log.kind) if log and log.kind in places else len(places)
    at = hits.first[0][0] if hits.first and cause.kind is Kind.ROOT else 0
    if cause.kind is not Kind.ROOT:  # the table has them in their order
        return kinds.index(cause.kind), CAUSES.index(cause)
    return (
        kinds.index(cause.kind),
        not _decided(cause, verdict, markers) or cause.id in ("start_too_slow", "port_in_use"),
        not hits.strong,
        place,
        at,
    )


def _advised(scans: Sequence[Scan], known: set[str]) -> list[_Found]:
    """What the server's figures say."""
    found: list[_Found] = []
    for one in scans:
        serving = one.serving
        if serving.was_full and KV_CACHE_FULL.id not in known:
            found.append((KV_CACHE_FULL, one, Hits(serving.starved, True, [serving.full])))
        if serving.was_idle:
            found.append((LOW_GPU_USE, one, Hits(serving.busy, True, [serving.peak])))
        if (endless := serving.endless) is not None:
            line = (endless.number, endless.text)
            found.append((ENDLESS_ANSWERS, one, Hits(1, True, [line])))
    return found


def _finding(
    cause: Cause,
    log: Scan | None,
    hits: Hits,
    verdict: Verdict,
    markers: Markers,
    keys: Sequence[str],
) -> Finding:
    if log is not None:
        lines = tuple(Line(log.name, number, shown(text, keys)) for number, text in hits.lines)
        return Finding(cause, lines, hits.count, hits.strong)
    failure = markers.failure
    if failure is not None and failure.value in cause.failures:
        return Finding(cause, (Line("failure", 1, shown(failure.value, keys)),), 0)
    return Finding(cause, (Line("verdict", 0, shown(verdict.detail, keys)),), 0)


def _unexplained(scans: Sequence[Scan], keys: Sequence[str]) -> tuple[Line, ...]:
    """Of each log: the first exception of its last chain, the last errors, or else its end."""
    lines: list[Line] = []
    for one in scans:
        some = [one.raised] if one.raised else []
        some += [line for line in one.errors if line != one.raised]
        if not some and one.last is not None:
            some = [one.last]
        lines += [Line(one.name, number, shown(text, keys)) for number, text in sorted(some)]
    return tuple(lines)
