"""`hpcjobs clean`."""

from __future__ import annotations

import re
import time
from typing import Any

import click

from hpcjobs.cli.context import Context, interactive, pass_context, print_json, warn
from hpcjobs.cli.table import table
from hpcjobs.errors import ExitCode, InputError, printable

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


@click.command()
@click.option(
    "--older-than",
    "age",
    default="30d",
    show_default=True,
    metavar="AGE",
    help="Ended longer ago than this: 30d, 12h or 4w.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def clean(context: Context, age: str, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Remove what jobs that ended long ago have left and nobody needs.

    Working directories; of attempts that a later, whole one has replaced, logs and raw results;
    records and logs of downloads. Never the journal, nor what counts for an aggregate, nor anything
    that hpcjobs did not make.
    """
    from hpcjobs.clean import find, remove
    from hpcjobs.predownload.old import find as find_downloads
    from hpcjobs.store import load

    before = time.time() - _seconds(age)
    plan = find(context.workspace, load(context.workspace.journal), before)
    downloads = find_downloads(context.workspace, before)
    plan.removals += downloads.removals
    kept = [*plan.kept, *downloads.kept]
    removed = None
    if not as_json:
        _show(context, plan.removals)
    if plan.removals and not dry_run:
        if not yes:
            if not interactive():
                raise InputError(
                    f"{len(plan.removals)} file(s) and directories would be removed", do="add --yes"
                )
            click.confirm("Remove these?", abort=True, err=True)
        result = remove(
            context.workspace,
            plan.removals,
            before,
            lambda: find_downloads(context.workspace, before),
        )
        removed = result.removals
        kept = [*kept, *result.kept]
        if not as_json:
            click.echo(f"removed: {len(removed)}, {_bytes(sum(one.size for one in removed))}")
    if as_json:
        print_json(
            {
                "found": [_as_json(one) for one in plan.removals],
                "removed": [_as_json(one) for one in removed or ()],
                "bytes": sum(one.size for one in (plan.removals if dry_run else removed or ())),
                "dry_run": dry_run,
                "kept": kept,
            }
        )
    for why in kept:
        warn(f"kept: {why}")
    failed = removed is not None and len(removed) < len(plan.removals)
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _seconds(age: str) -> float:
    match = re.fullmatch(r"(\d{1,5})([hdw])", age)
    if match is None or not int(match[1]):
        raise InputError(
            f"{printable(age)} is no age",
            where="--older-than",
            expected="a whole number above zero of hours, days or weeks: 12h, 30d, 4w",
        )
    return int(match[1]) * _UNITS[match[2]]


def _show(context: Context, removals: list[Any]) -> None:
    rows = [
        (one.label, one.kind, _bytes(one.size), context.workspace.shown(one.path))
        for one in removals
    ]
    if not rows:
        click.echo("nothing to remove")
        return
    click.echo(table(rows, ("attempt", "what", "size", "path")))
    click.echo(f"{len(rows)} in all, {_bytes(sum(one.size for one in removals))}")


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _as_json(one: Any) -> dict[str, Any]:
    return {"path": str(one.path), "kind": one.kind, "attempt": one.label, "bytes": one.size}
