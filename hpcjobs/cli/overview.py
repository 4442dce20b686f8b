"""How `status` shows jobs to people: by model, a line each, and the counts below.

What has ended is shown once, the next time that somebody looks; from then on it is only counted.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from hpcjobs.cli.context import Context
from hpcjobs.cli.progress import busy
from hpcjobs.cli.table import keys_of, signed, table, word_of
from hpcjobs.durations import format_duration
from hpcjobs.errors import StorageError
from hpcjobs.files import write_json
from hpcjobs.markers import Markers, read_markers
from hpcjobs.model import JobState
from hpcjobs.parts import parts_in_words
from hpcjobs.store import AttemptRecord, JobRecord
from hpcjobs.workspace import Workspace

if TYPE_CHECKING:
    from hpcjobs.shares import Works


def news(workspace: Workspace, records: Sequence[JobRecord]) -> list[JobRecord]:
    """Those that have not ended, or whose end nobody was shown yet."""
    seen = _ends_seen(workspace)
    return [record for record in records if _ended(record) not in seen]


def remember(workspace: Workspace, records: Sequence[JobRecord]) -> None:
    """These were shown; who cannot write here is shown them again."""
    seen = _ends_seen(workspace)
    now_seen = seen | {label for record in records if (label := _ended(record))}
    if now_seen != seen:
        with suppress(StorageError):
            write_json(workspace.jobs / ".shown.json", sorted(now_seen))


def _ends_seen(workspace: Workspace) -> set[str]:
    try:
        kept = json.loads((workspace.jobs / ".shown.json").read_text())
    except (OSError, ValueError):
        return set()
    return set(kept) if isinstance(kept, list) and all(isinstance(x, str) for x in kept) else set()


def _ended(record: JobRecord) -> str | None:
    """The label of its last attempt, if that has ended."""
    attempt = record.last
    if attempt is None or not attempt.state.final:
        return None
    return f"{record.job.id}-{attempt.number:02d}"


def overview(context: Context, records: Sequence[JobRecord], counted: Sequence[JobRecord]) -> str:
    """A line for each of `records`, by model; the counts are of all those `counted`."""
    if not counted:
        return f"no jobs in {context.workspace.root}"
    since = _taken_up(counted)
    blocks = []
    groups: dict[tuple[str, str, str], list[JobRecord]] = {}
    for record in records:
        job = record.job
        groups.setdefault((job.model, job.provider, job.settings_name), []).append(record)
    for (model, provider, settings), members in groups.items():
        title = " ".join(filter(None, (model, f"({provider})", settings)))
        rows = [_row(context, record, since.get(record.job.id, "")) for record in members]
        blocks.append(table([(title,)]) + "\n" + _indented(table(rows)))
    if len(records) < len(counted):
        hidden = len(counted) - len(records)
        blocks.append(f"{hidden} ended and shown before: see them with hpcjobs status --all")
    counts = Counter(word_of(record.last) for record in counted)
    total = ", ".join(
        f"{signed(name, context.emoji)} {count}" for name, count in counts.most_common()
    )
    return "\n".join([*blocks, total])


def _taken_up(records: Sequence[JobRecord]) -> dict[str, str]:
    """By job: which others do what its packed tasks have left, if that is all done or under way."""
    if not any(record.last and record.last.parts for record in records):
        return {}
    from hpcjobs.shares import Works
    from hpcjobs.store import Store

    works = Works(Store({record.job.id: record for record in records}))
    return {record.job.id: _rest(works, record) for record in records}


def _rest(works: Works, record: JobRecord) -> str:
    jobs: dict[str, None] = {}
    last, active = record.last, False
    for key, part in last.parts.items() if last else ():
        if part.state is JobState.SUCCEEDED:
            continue
        run = next(run for run in record.job.tasks if run.key == key)
        whole = works.record_of(record.job, run)
        newest = whole.last if whole else None
        if not last or not whole or not newest or newest.submitting_at <= last.submitting_at:
            return ""
        if newest.state.final and newest.state is not JobState.SUCCEEDED:
            return ""
        active = active or not newest.state.final
        jobs[whole.job_of(newest).id] = None
    return f"the rest {'under way' if active else 'done'} as {', '.join(jobs)}" if jobs else ""


def _row(context: Context, record: JobRecord, since: str) -> tuple[str, ...]:
    job, attempt = record.job, record.last
    state = word_of(attempt)
    where = f"{job.service}/{job.node}" + (f" {job.priority}" if job.priority else "")
    markers = Markers()
    if attempt:
        markers = read_markers(context.workspace.attempt(job.id, attempt.number))
    return (
        signed(state, context.emoji),
        f"{job.id}-{attempt.number:02d}" if attempt else job.id,
        keys_of(job.tasks),
        where + (" trial" if job.trial else ""),
        attempt.native_id or "-" if attempt else "-",
        f"{_elapsed(attempt, markers)} of {format_duration(_allowed(record))}",
        busy(context.workspace, record, markers)
        or "; ".join(filter(None, (detail(record), since))),
    )


def _allowed(record: JobRecord) -> int:
    """The walltime of its latest attempt."""
    return (record.job_of(record.last) if record.last else record.job).walltime


def _elapsed(attempt: AttemptRecord | None, markers: Markers) -> str:
    """How long it has run, by its own clock."""
    if attempt is None or markers.started is None:
        return "-"
    if markers.exit_code is not None:
        return format_duration(markers.exit_code.at - markers.started.at)
    end = attempt.ended_at if attempt.ended_at is not None else time.time()
    return format_duration(end - markers.started.at)


def detail(record: JobRecord) -> str:
    """Why it is as it is."""
    attempt = record.last
    if attempt is None:
        return ""
    if attempt.suspect:
        return "; ".join(f"{key}: {why}" for key, why in sorted(attempt.suspect.items()))
    if attempt.suspect is None and attempt.state is JobState.SUCCEEDED:
        return "nobody has looked at its answers yet"
    reason = f"{attempt.reason.value}: " if attempt.reason else ""
    return "; ".join(filter(None, (f"{reason}{attempt.detail}", parts_in_words(attempt.parts))))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
