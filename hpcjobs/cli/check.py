"""`hpcjobs aggregate --check`: what lacks, and a table to submit it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.context import Context, print_json, warn
from hpcjobs.cli.table import table
from hpcjobs.errors import ExitCode, InputError

if TYPE_CHECKING:
    from hpcjobs.results.gaps import Gap

DEFAULT_FILE = "missing.csv"


def check_gaps(
    context: Context,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    output: str | None,
    as_json: bool,
) -> int:
    """List the gaps, and write those that can be submitted.

    Ends with 0 if there is none, 1 if something is to be submitted, 3 if all is under way. A free
    trial run is not written: its row would be submitted as a job that is paid for.
    """
    from hpcjobs.config.changed_options import current_options
    from hpcjobs.config.groups import read_task_table, select
    from hpcjobs.config.settings import DIRECTORY, read_task_settings
    from hpcjobs.observe import refresh
    from hpcjobs.results.added_functions import read_table
    from hpcjobs.results.collect import collect
    from hpcjobs.results.gaps import UNDER_WAY, AsNow, find_gaps, wanted_tasks
    from hpcjobs.results.report import aggregate_collected

    workspace = context.workspace
    path = Path(output or DEFAULT_FILE)
    _require_free(path)
    metrics, functions = read_table(workspace.find_file("conf", "metrics.yaml"))
    task_settings = read_task_settings(workspace.find_file(DIRECTORY, "task_settings.csv"))
    chosen = select(tasks, *read_task_table(workspace)) if tasks else None
    view = refresh(workspace)
    view.store.require_models(models)
    found = collect(workspace, view.store, models)
    evaluated = {standing.task.key for one in found for standing in one.standings}
    now = AsNow(task_settings, current_options(workspace, evaluated))
    gaps = [
        gap
        for one in found
        for gap in find_gaps(
            workspace,
            metrics,
            now,
            one,
            aggregate_collected(metrics, one, functions),
            wanted_tasks(found, one) if chosen is None else chosen,
        )
    ]
    rows = [gap.row for gap in gaps if gap.in_table]
    _write(path, gaps)
    if as_json:
        print_json(
            {"path": str(path), "gaps": [_as_json(gap) for gap in gaps],
             "warnings": list(view.warnings)}
        )  # fmt: skip
    else:
        _show(path, gaps, len(rows))
    for warning in view.warnings:
        warn(warning)
    if any(gap.state != UNDER_WAY for gap in gaps):
        return ExitCode.SOME_FAILED
    return ExitCode.NOT_FINISHED if gaps else ExitCode.OK


def _require_free(path: Path) -> None:
    from hpcjobs.config.submissions import is_edited
    from hpcjobs.files import explained

    with explained("read", path):
        try:
            text = path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return
    if is_edited(text):
        raise InputError(
            f"{path} was edited",
            where="--output",
            do="submit it, or delete it, or give another name: --output FILE.csv",
        )


def _write(path: Path, gaps: list[Gap]) -> None:
    from hpcjobs.config.submissions import as_table
    from hpcjobs.files import write_atomic

    write_atomic(path, as_table(gap.row for gap in gaps if gap.in_table))


def _show(path: Path, gaps: list[Gap], rows: int) -> None:
    from hpcjobs.results.gaps import SUSPECT, UNDER_WAY

    if not gaps:
        click.echo("nothing is missing")
        return
    lines = [
        (gap.state, gap.row.task, gap.row.model, gap.row.settings or "-", gap.row.why)
        for gap in gaps
    ]
    click.echo(table(lines, ("state", "task", "model", "settings", "why")))
    if rows:
        again = any(gap.state == SUSPECT for gap in gaps)
        option = " (with --again, what is suspect too)" if again else ""
        click.echo(f"edit {path}, then: hpcjobs submit --from {path}{option}")
    for gap in gaps:
        if gap.trial and gap.state != UNDER_WAY:
            click.echo(f"a free trial run, not in {path}: {_trial(gap)}")


def _trial(gap: Gap) -> str:
    """The command that makes the same trial run."""
    from hpcjobs.results.gaps import SUSPECT

    row = gap.row
    options = {
        "--service": row.service, "--node": row.node, "--provider": row.provider,
        "--model": row.model, "--tasks": row.task, "--settings": row.settings,
        "--max-samples": str(row.max_samples or ""),
    }  # fmt: skip
    words = [word for name, value in options.items() if value for word in (name, value)]
    return f"hpcjobs submit {shlex.join(words)} --trial" + " --again" * (gap.state == SUSPECT)


def _as_json(gap: Gap) -> dict[str, Any]:
    row = gap.row
    return {
        "state": gap.state,
        "trial": gap.trial,
        "model": row.model,
        "task": row.task,
        "service": row.service,
        "node": row.node,
        "provider": row.provider,
        "settings": row.settings,
        "max_samples": row.max_samples,
        "why": row.why,
    }
