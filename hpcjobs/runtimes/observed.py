"""How long tasks took: from the journal and the markers of ended attempts.

The table's times are those of a whole job, so a task's time here is its own and all that its job
did besides: starting the server, ending it. Only full runs whose results are trusted count; one
that was ended at its walltime says "at least that long".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hpcjobs.config.services import read_service
from hpcjobs.errors import HpcjobsError
from hpcjobs.markers import Markers, read_markers
from hpcjobs.model import Job, JobState, Reason, Service, Task
from hpcjobs.runtimes.model_size import size_class, size_in_cache, size_in_name
from hpcjobs.store import AttemptRecord, Store
from hpcjobs.workspace import Workspace


@dataclass(frozen=True)
class Timing:
    """What one task took in one attempt."""

    task: str
    column: str
    """Of the table: the one that its node reads."""
    size: str
    """The class of its model."""
    service: str
    node: str
    label: str
    """Of the attempt, `ID-NN`."""
    seconds: float
    """As if the job had this task only."""
    server_seconds: float
    """Of these, until the first task could begin."""
    timed_out: bool = False
    """It was not done by then."""


@dataclass
class Timings:
    """All that was observed, and what was left out and why."""

    timings: list[Timing] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    """The longest walltime of each service that was observed."""
    left_out: Counter[str] = field(default_factory=Counter)


def observe_timings(
    workspace: Workspace,
    store: Store,
    tasks: Mapping[str, Task],
    columns: tuple[str, ...],
    hub: Path | None = None,
) -> Timings:
    """What the ended attempts of a workspace took, for the tasks and columns of its table.

    Args:
        workspace: whose attempts.
        store: its journal.
        tasks: the rows of the table, by key.
        columns: all columns of the table.
        hub: where models lie that were fetched; for those whose name does not tell their size.
    """
    found = Timings()

    @cache
    def service_of(name: str) -> Service | None:
        try:
            return read_service(workspace, name)
        except HpcjobsError:
            return None

    @cache
    def size_of(model: str) -> str:
        size = size_in_name(model)
        return size_class(size_in_cache(model, hub) if size is None and hub else size)

    for record in store.jobs.values():
        for attempt in record.attempts:
            job = record.job_of(attempt)
            if not attempt.state.final:
                continue
            timed_out = attempt.reason is Reason.TIMEOUT
            if attempt.state is not JobState.SUCCEEDED and not timed_out:
                found.left_out["did not succeed"] += 1
                continue
            if job.max_samples is not None or job.trial:
                found.left_out["trial runs of a few samples"] += 1
                continue
            if not timed_out and attempt.suspect is None:
                found.left_out["nobody has looked at their answers yet: hpcjobs status does"] += 1
                continue
            if attempt.suspect:  # lost answers take no time
                found.left_out["their results are suspect"] += 1
                continue
            service = service_of(job.service)
            node = service.nodes.get(job.node) if service else None
            if service is None or node is None:
                found.left_out[f"{job.service}/{job.node} is not described any more"] += 1
                continue
            markers = read_markers(workspace.attempt(job.id, attempt.number))
            if markers.server_deaths or job.at_once > 1:
                found.left_out["tasks at once, or a server that died meanwhile"] += 1
                continue
            taken = seconds_of_tasks(job, attempt, markers)
            if not taken:
                found.left_out["no whole record of their times"] += 1
            for key, (seconds, server) in taken.items():
                row = tasks.get(key)
                run = next(one for one in job.tasks if one.key == key)
                if row is None or (row.script, row.framework) != (run.script, run.framework):
                    found.left_out["the task is another one in the table now"] += 1
                    continue
                column = next(
                    (one for one in node.runtime if one in row.walltimes),
                    next((one for one in node.runtime if one in columns), None),
                )
                if column is None:
                    found.left_out[f"no column of the table is read by {job.node}"] += 1
                    continue
                found.limits[service.name] = service.walltime_max
                label = f"{job.id}-{attempt.number:02d}"
                found.timings.append(
                    Timing(
                        key, column, size_of(job.model), service.name, node.name, label, seconds,
                        server, timed_out,
                    )
                )  # fmt: skip
    return found


def seconds_of_tasks(
    job: Job, attempt: AttemptRecord, markers: Markers
) -> dict[str, tuple[float, float]]:
    """By task: seconds in all, and those until the first task began; pure.

    Of an attempt that ran out of time, the tasks that were begun and not done, with the least that
    they need. Nothing where a clock went backwards or a marker is missing.
    """
    timed_out = attempt.reason is Reason.TIMEOUT
    begins = [one.started.at for one in markers.tasks.values() if one.started is not None]
    if markers.started is None or markers.restarted is not None or not begins:
        return {}
    start, end = markers.started.at, markers.exit_code.at if markers.exit_code else None
    if end is None and timed_out:
        end = start + job.walltime  # killed at its walltime, it could not write more
    if end is None:
        return {}
    server = min(begins) - start
    ends = [one.exit_code.at for one in markers.tasks.values() if one.exit_code is not None]
    ending = 0.0 if timed_out or not ends else end - max(ends)
    found = {}
    for run in job.tasks:
        task = markers.tasks.get(run.key)
        if task is None or task.started is None:
            continue
        if timed_out:
            if task.exit_code is not None:
                continue
            own = end - task.started.at
        elif task.exit_code is None or task.exit_code.value != "0":
            continue
        else:
            own = task.exit_code.at - task.started.at
        if min(server, own, ending) >= 0 and server + own + ending > 0:
            found[run.key] = (server + own + ending, server)
    return found
