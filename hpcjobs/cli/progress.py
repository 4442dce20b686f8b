"""How far running jobs are: a line for people, plain values for `--json`."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import HpcjobsError
from hpcjobs.markers import Markers, read_markers
from hpcjobs.model import JobState

if TYPE_CHECKING:
    from hpcjobs.progress.outlook import JobProgress
    from hpcjobs.store import JobRecord
    from hpcjobs.workspace import Workspace

_PHASES = ("", "ready", "ended", "starting the server")


def busy(workspace: Workspace, record: JobRecord, markers: Markers) -> str:
    """What a running job does and how far it is, and what the scheduler says; else empty."""
    progress = _progress(workspace, record, markers)
    if progress is None or record.last is None:
        return ""
    from hpcjobs.progress.outlook import described

    # The phase that the journal has may be older than the markers.
    first, _, rest = record.last.detail.partition("; ")
    if first not in _PHASES and not first.startswith("evaluating "):
        rest = record.last.detail
    return "; ".join(filter(None, (described(progress), rest)))


def progress_json(workspace: Workspace, record: JobRecord) -> dict[str, Any] | None:
    """How far it is, if it runs: docs/states.md. Times are in whole seconds."""
    if not _runs(record) or record.last is None:
        return None
    markers = read_markers(workspace.attempt(record.job.id, record.last.number))
    progress = _progress(workspace, record, markers)
    if progress is None:
        return None

    def whole(seconds: float | None) -> int | None:
        return None if seconds is None else round(seconds)

    return {
        "phase": progress.phase,
        "elapsed": whole(progress.elapsed),
        "left": whole(progress.left),
        "tasks": progress.tasks,
        "ended": progress.ended,
        "not_begun": progress.not_begun,
        "running": [
            {
                "task": task.key,
                "done": task.counted.done if task.counted else None,
                "total": task.counted.total if task.counted else None,
                "counted": task.counted.what if task.counted else None,
                "part": task.counted.part or None if task.counted else None,
                "remaining": whole(task.remaining),
                "all": task.whole,
                "silent": whole(task.silent),
                "stalled": task.stalled,
            }
            for task in progress.running
        ],
        "remaining": whole(progress.remaining),
        "fits": progress.fits,
    }


def _runs(record: JobRecord) -> bool:
    """Only then is anything read."""
    return record.last is not None and record.last.state is JobState.RUNNING


def _progress(workspace: Workspace, record: JobRecord, markers: Markers) -> JobProgress | None:
    attempt = record.last
    if attempt is None or not _runs(record) or markers.exit_code is not None:
        return None
    from hpcjobs.progress.reading import read_progress

    job = record.job_of(attempt)
    margin = _end_margin(workspace, job.service, job.trial)
    directory = workspace.attempt(job.id, attempt.number)
    return read_progress(directory, job, markers, time.time(), margin)


@cache
def _end_margin(workspace: Workspace, name: str, trial: bool) -> int:
    """Seconds before the walltime at which jobs of the service end themselves."""
    from hpcjobs.config.services import read_service
    from hpcjobs.plan import end_margin

    with suppress(HpcjobsError):
        return end_margin(read_service(workspace, name), trial)
    return 0
