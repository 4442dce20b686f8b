"""`hpcjobs status` and `hpcjobs wait`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any

import click

from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.notify import notify_ends
from hpcjobs.cli.overview import detail, news, overview, remember
from hpcjobs.cli.prices import spent_json
from hpcjobs.cli.progress import progress_json
from hpcjobs.cli.table import keys_of, signed, table, word_of
from hpcjobs.durations import format_duration
from hpcjobs.errors import ExitCode, HpcjobsError
from hpcjobs.model import JobState
from hpcjobs.store import AttemptRecord, JobRecord, parts_to_json
from hpcjobs.workspace import Workspace


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--model", "models", multiple=True, metavar="ORG/NAME", help="Only of this model.")
@click.option("--all", "every", is_flag=True, help="Also what ended and was shown before.")
@click.option("--watch", is_flag=True, help="Again and again, until all have ended.")
@click.option(
    "--interval", default=5.0, show_default=True, type=click.FloatRange(min=0.2), help="Seconds."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def status(
    context: Context,
    jobs: tuple[str, ...],
    models: tuple[str, ...],
    every: bool,
    watch: bool,
    interval: float,
    as_json: bool,
) -> int:
    """Show how the jobs stand: in the queue, running, and ended since the last time.

    All are shown by --all and --json, and those that are named: by the beginning of an id, or by
    their model.
    """
    shown_before: set[str] = set()
    while True:
        view = _refreshed(context)
        records = _chosen(view.store, jobs, models)
        if as_json:
            print_json(
                {
                    "jobs": [record_json(context.workspace, record) for record in records],
                    "warnings": list(view.warnings),
                }
            )
        else:
            shown = records
            if not (every or jobs or models):
                # What ends while one watches stays.
                shown_before |= {record.job.id for record in news(context.workspace, records)}
                shown = [record for record in records if record.job.id in shown_before]
            if watch:
                click.clear()
            click.echo(overview(context, shown, records))
            remember(context.workspace, shown)
            for warning in view.warnings:
                warn(warning)
        notify_ends(context, view.store)
        if not watch or not any(record.active for record in records):
            return ExitCode.OK
        time.sleep(interval)


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def wait(context: Context, jobs: tuple[str, ...], timeout: float | None, as_json: bool) -> int:
    """Wait until jobs have ended: those named, else those that are not known to have ended.

    Ends with 0 if all of them succeeded, 1 if one did not or is suspect, 3 if time ran out or what
    is left cannot be asked for from here. What ended and was seen before, well or not, is not
    waited for. It may be interrupted and given again: the jobs do not depend on it.
    """
    if jobs:
        return wait_for(context, list(jobs), timeout, as_json)
    from hpcjobs.store import load

    # as recorded: what has ended meanwhile, and nobody has seen, is told
    active = [key for key, record in load(context.workspace.journal).jobs.items() if record.active]
    if not active and not as_json:
        click.echo("no job is under way")
    return wait_for(context, active, timeout, as_json)


def wait_for(context: Context, jobs: list[str], timeout: float | None, as_json: bool) -> int:
    """Wait for these jobs, of which there may be none, and tell each change; the exit code."""
    end = None if timeout is None else time.monotonic() + timeout
    told: dict[str, tuple[JobState, str]] = {}
    warned: set[str] = set()
    while True:
        view = _refreshed(context)
        records = named(view.store, jobs)
        jobs = [record.job.id for record in records]  # a beginning may soon be that of two
        for record in records:
            _tell(context, record, told, as_json)
        for warning in view.warnings:
            if warning not in warned:
                warned.add(warning)
                warn(warning)
        notify_ends(context, view.store)
        active = [record for record in records if record.active]
        elsewhere = _elsewhere(context.workspace, active) if active else []
        for record in elsewhere:
            if record.job.id not in warned:
                warned.add(record.job.id)
                warn(
                    f"not waited for: {record.job.id}: {detail(record)}; "
                    f"wait there, or give it up: hpcjobs cancel {record.job.id} --forget"
                )
        if len(elsewhere) == len(active):
            break
        if end is not None and time.monotonic() >= end:
            break
        time.sleep(0.5 if all(record.job.service == "local" for record in records) else 5.0)
    if as_json:
        print_json({"jobs": [record_json(context.workspace, record) for record in records]})
    if any(record.active for record in records):
        click.echo("not finished yet", err=True)
        return ExitCode.NOT_FINISHED
    good = all(
        record.state is JobState.SUCCEEDED and not (record.last and record.last.suspect)
        for record in records
    )
    return ExitCode.OK if good else ExitCode.SOME_FAILED


def _elsewhere(workspace: Workspace, records: list[JobRecord]) -> list[JobRecord]:
    """Those whose unfinished attempts can all be asked for at another place only."""
    from hpcjobs.config.services import read_service
    from hpcjobs.markers import read_markers
    from hpcjobs.place import place, reachable
    from hpcjobs.schedulers import live

    here: dict[str, str] = {}
    for name in {record.job.service for record in records}:
        # else the view has warned of it, and it may be mended while one waits
        with contextlib.suppress(HpcjobsError):
            here[name] = place(live(read_service(workspace, name).scheduler))

    def gone(record: JobRecord, attempt: AttemptRecord) -> bool:
        if reachable(attempt.place, here[record.job.service]):
            return False
        markers = read_markers(workspace.attempt(record.job.id, attempt.number))
        return markers.exit_code is None  # else it is judged without its scheduler

    return [
        record
        for record in records
        if record.job.service in here
        and all(gone(record, attempt) for attempt in record.attempts if not attempt.state.final)
    ]


def _tell(
    context: Context, record: JobRecord, told: dict[str, tuple[JobState, str]], as_json: bool
) -> None:
    attempt = record.last
    if attempt is None or told.get(record.job.id) == (attempt.state, attempt.detail):
        return
    told[record.job.id] = (attempt.state, attempt.detail)
    if not as_json:
        row = (
            time.strftime("%H:%M:%S"),
            signed(word_of(attempt), context.emoji),
            f"{record.job.id}-{attempt.number:02d}",
            keys_of(record.job.tasks),
            detail(record),
        )
        click.echo(table([row]))


def record_json(workspace: Workspace, record: JobRecord) -> dict[str, Any]:
    """A job as plain values, for `--json`."""
    job, attempt = record.job, record.last
    return {
        "job": job.id,
        "state": record.state.value,
        "reason": attempt.reason.value if attempt and attempt.reason else None,
        "detail": attempt.detail if attempt else "",
        "suspect": attempt.suspect if attempt else None,
        "model": job.model,
        "provider": job.provider,
        "settings": job.settings_name,
        "tasks": [task.key for task in job.tasks],
        "service": job.service,
        "node": job.node,
        "walltime": format_duration((record.job_of(attempt) if attempt else job).walltime),
        "attempt": attempt.number if attempt else None,
        "name": attempt.name if attempt else None,
        "native_id": attempt.native_id if attempt else None,
        "submitted_at": attempt.submitted_at if attempt else None,
        "ended_at": attempt.ended_at if attempt else None,
        "parts": parts_to_json(attempt.parts) if attempt and attempt.parts else None,
        "progress": progress_json(workspace, record),
        "spent": spent_json(workspace, record),
        "directory": str(workspace.attempt(job.id, attempt.number)) if attempt else None,
    }


def _refreshed(context: Context) -> Any:
    from hpcjobs.observe import refresh

    return refresh(context.workspace)


def _chosen(store: Any, jobs: tuple[str, ...], models: tuple[str, ...]) -> list[JobRecord]:
    store.require_models(models)
    records = named(store, jobs) if jobs else list(store.jobs.values())
    return [record for record in records if not models or record.job.model in models]


def named(store: Any, jobs: Iterable[str]) -> list[JobRecord]:
    """The jobs that these ids, or beginnings of ids, mean; each once."""
    records = [store.find(name, latest=True) for name in jobs]
    return list({record.job.id: record for record in records}.values())
