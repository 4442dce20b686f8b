"""`hpcjobs diagnose`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.table import keys_of, signed, word_of
from hpcjobs.diagnosis.cause import Again, Kind
from hpcjobs.diagnosis.diagnose import Diagnosis, Finding, Line
from hpcjobs.diagnosis.text import shown
from hpcjobs.errors import ExitCode, InputError, printable
from hpcjobs.model import JobState, Verdict
from hpcjobs.store import AttemptRecord, JobRecord

if TYPE_CHECKING:
    from hpcjobs.shares import Works

_AGAIN = {
    Again.NEVER: "submitting the same again cannot help",
    Again.CHANGED: "submitting it again helps only after that change",
    Again.ITSELF: "submitting it again may help",
}
_NONE_KNOWN = "no known cause"


@dataclass(frozen=True)
class _Case:
    """One attempt, and what was found."""

    record: JobRecord
    attempt: AttemptRecord
    diagnosis: Diagnosis

    @property
    def label(self) -> str:
        return f"{self.record.job.id}-{self.attempt.number:02d}"

    @property
    def tasks(self) -> str:
        return keys_of(self.record.job_of(self.attempt).tasks)


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option(
    "-n",
    "--lines",
    default=3,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many lines of the logs to show for each cause.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def diagnose(context: Context, jobs: tuple[str, ...], lines: int, as_json: bool) -> int:
    """Say why jobs failed: the cause, the lines of the logs that show it, what to do.

    A job is named by the beginning of its id (its latest attempt), or ID-NN for one attempt.
    Without a name, all jobs whose latest attempt failed are told of, those with the same cause
    together; of packed tasks those that were not submitted again since.
    """
    from hpcjobs.observe import refresh
    from hpcjobs.shares import Works

    view = refresh(context.workspace)
    for warning in view.warnings:
        warn(warning)
    keys = _keys(context)
    chosen = [_named(view.store.find(name), name) for name in jobs] or [
        (record, record.last)
        for record in view.store.jobs.values()
        if record.last is not None and record.last.state is JobState.FAILED
    ]
    once = {(record.job.id, attempt.number): (record, attempt) for record, attempt in chosen}
    works = Works(view.store)
    cases = [
        _case(context, *one, keys)
        for record, attempt in once.values()
        for one in _failed_tasks(record, attempt)
        if jobs or not _repeated(works, *one)
    ]
    if as_json:
        print_json({"jobs": [_json(case, lines) for case in cases]})
    elif jobs:
        click.echo("\n\n".join(_told(context, case, lines) for case in cases))
    else:
        click.echo(_grouped(cases, lines) if cases else "no job has failed")
    return ExitCode.OK


def _named(record: JobRecord, name: str) -> tuple[JobRecord, AttemptRecord]:
    """The attempt that this word means: `ID-NN`, or the latest."""
    number = name.strip().partition("-")[2]
    by_number = {attempt.number: attempt for attempt in record.attempts}
    if not by_number:
        raise InputError(f"{record.job.id} was never submitted", do="see: hpcjobs status --all")
    if not number:
        return record, record.attempts[-1]
    attempt = by_number.get(int(number)) if number.isascii() and number.isdigit() else None
    if attempt is None:
        raise InputError(
            f"{record.job.id} has no attempt {number}",
            expected=f"one of: {', '.join(f'{known:02d}' for known in by_number)}",
        )
    return record, attempt


def _keys(context: Context) -> list[str]:
    """The keys of .env, which may not be shown; whatever else looks like a key is hidden, too."""
    from hpcjobs.config.environment import is_secret, read_personal_values
    from hpcjobs.errors import HpcjobsError

    try:
        values: Mapping[str, str] = read_personal_values(context.workspace.env_file).values
    except HpcjobsError as error:
        warn(f"{error.where or context.workspace.env_file}: {error.what}")
        return []
    return [value for name, value in values.items() if is_secret(name)]


def _failed_tasks(
    record: JobRecord, attempt: AttemptRecord
) -> list[tuple[JobRecord, AttemptRecord]]:
    """Of packed tasks those that failed, each for itself; else the job as it is."""
    from hpcjobs.shares import shares

    found = [
        (share, own)
        for share in shares(record)
        for own in share.attempts
        if attempt.parts and own.number == attempt.number and own.state is JobState.FAILED
    ]
    return found or [(record, attempt)]


def _repeated(works: Works, record: JobRecord, attempt: AttemptRecord) -> bool:
    """Whether this evaluation, of one task, was submitted again since, in whatever job."""
    if len(record.job.tasks) != 1:
        return False
    whole = works.record_of(record.job)
    last = whole.last if whole else None
    return last is not None and last.submitting_at > attempt.submitting_at


def _case(
    context: Context, record: JobRecord, attempt: AttemptRecord, keys: Sequence[str]
) -> _Case:
    from hpcjobs.diagnosis.reading import diagnose_attempt

    job = record.job_of(attempt)
    directory = context.workspace.attempt(job.id, attempt.number)
    verdict = Verdict(attempt.state, attempt.reason, attempt.detail)
    tasks = [task.key for task in job.tasks]
    return _Case(record, attempt, diagnose_attempt(directory, tasks, verdict, keys))


def _told(context: Context, case: _Case, lines: int) -> str:
    attempt, job = case.attempt, case.record.job
    state = signed(word_of(attempt), context.emoji)
    head = (
        f"{case.label}  {state}  {case.tasks}  {printable(job.model)[1:-1]}  {_why(case)}".rstrip()
    )
    return "\n".join([head, *_indented(_findings(case, lines))])


def _why(case: _Case) -> str:
    """What `status` says of it."""
    if case.attempt.suspect:
        return shown("; ".join(f"{key}: {why}" for key, why in case.attempt.suspect.items()))
    reason = f"{case.attempt.reason.value}: " if case.attempt.reason else ""
    return shown(f"{reason}{case.attempt.detail}")


def _findings(case: _Case, lines: int) -> list[str]:
    """Cause, lines and remedy of each finding; or that nothing is known, and what there is."""
    found = case.diagnosis.findings
    told: list[str] = []
    failed = case.attempt.state is JobState.FAILED
    if failed and case.diagnosis.cause is None:
        told.append(_unknown(case))
        told += _indented(_shown(case.diagnosis.unexplained, lines, each=True))
    elif not found:
        told.append(_nothing(case.attempt))
    for finding in found:
        told.append(_title(finding))
        told += _indented(_shown(finding.lines, lines))
        if finding.count > max(1, min(lines, len(finding.lines))):
            told += _indented([f"({finding.count} such lines)"])
        told += _indented([f"do: {finding.cause.do}"])
        if failed and finding.cause.kind is not Kind.ADVICE and finding is found[0]:
            told += _indented([_AGAIN[finding.cause.again]])
    if failed and case.diagnosis.cause is not None and case.diagnosis.unexplained:
        told.append("what else looks like an error:")
        told += _indented(_shown(case.diagnosis.unexplained, lines, each=True))
    return told


def _unknown(case: _Case) -> str:
    if not case.diagnosis.unexplained:
        return f"{_NONE_KNOWN}, and no log to look at"
    return f"{_NONE_KNOWN}; the logs end with, or hold:"


def _nothing(attempt: AttemptRecord) -> str:
    state = attempt.state
    if state is JobState.SUCCEEDED:
        return "the logs do not say why" if attempt.suspect else "nothing to complain of"
    return "cancelled" if state is JobState.CANCELLED else "not ended; nothing to warn of so far"


def _title(finding: Finding) -> str:
    doubt = "" if finding.certain else "maybe: "
    return f"{'also: ' if finding.cause.kind is Kind.ADVICE else doubt}{finding.cause.title}"


def _shown(lines: Sequence[Line], most: int, *, each: bool = False) -> list[str]:
    """The lines with file and number, at most so many (of each file)."""
    kept: list[Line] = []
    for line in lines:
        if sum(1 for one in kept if not each or one.file == line.file) < most:
            kept.append(line)
    return [f"{line}  {line.text}" for line in kept]


def _grouped(cases: Sequence[_Case], lines: int) -> str:
    """Failed jobs by cause, the most frequent first."""
    groups: dict[str, list[_Case]] = {}
    for case in cases:
        cause = case.diagnosis.cause
        groups.setdefault(cause.title if cause else _NONE_KNOWN, []).append(case)
    blocks = []
    for title, members in sorted(groups.items(), key=lambda group: -len(group[1])):
        count = f"{len(members)} job{'s' if len(members) > 1 else ''}"
        first = members[0]
        told = [f"{count}: {title}"]
        found = first.diagnosis.findings[:1] if first.diagnosis.cause else ()
        some = found[0].lines if found else first.diagnosis.unexplained
        example = [f"{first.label}: {one}" for one in _shown(some, lines, each=not found)]
        told += _indented(example)
        if found:
            told += _indented([f"do: {found[0].cause.do}", _AGAIN[found[0].cause.again]])
        told += _indented(f"{case.label}  {case.tasks}  {_why(case)}" for case in members)
        blocks.append("\n".join(told))
    blocks.append("more of one job: hpcjobs diagnose JOB")
    return "\n\n".join(blocks)


def _indented(lines: Any) -> list[str]:
    return [f"  {line}" for line in lines]


def _json(case: _Case, lines: int) -> dict[str, Any]:
    attempt, diagnosis = case.attempt, case.diagnosis
    cause = diagnosis.cause
    return {
        "job": case.record.job.id,
        "attempt": attempt.number,
        "state": attempt.state.value,
        "reason": attempt.reason.value if attempt.reason else None,
        "detail": shown(attempt.detail),
        "suspect": attempt.suspect,
        "cause": cause.id if cause else None,
        "again": diagnosis.again.value if diagnosis.again else None,
        "findings": [
            {
                "cause": finding.cause.id,
                "kind": finding.cause.kind.value,
                "title": finding.cause.title,
                "do": finding.cause.do,
                "again": finding.cause.again.value,
                "certain": finding.certain,
                "count": finding.count,
                "lines": [_line_json(line) for line in finding.lines[:lines]],
            }
            for finding in diagnosis.findings
        ],
        "unexplained": [_line_json(line) for line in diagnosis.unexplained],
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {"file": line.file, "line": line.number or None, "text": line.text}
