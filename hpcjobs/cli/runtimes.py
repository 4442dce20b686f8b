"""`hpcjobs runtimes show|refresh`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.table import table
from hpcjobs.durations import format_duration
from hpcjobs.errors import ExitCode, InputError, StorageError, unknown

if TYPE_CHECKING:
    from hpcjobs.runtimes.proposal import Group, Proposal

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Learned:
    """The table as it is, and what is proposed."""

    path: Path
    text: str
    proposals: list[Proposal]
    left_out: dict[str, int]

    @property
    def changes(self) -> dict[tuple[str, str], str]:
        return {
            (one.task, one.column): format_duration(one.proposed)
            for one in self.proposals
            if one.proposed is not None
        }


def _with_rule(function: F) -> F:
    """The options that say how much is asked for."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="For scripts."),
        click.option("--raise-only", is_flag=True, help="Lower no time."),
        click.option(
            "--least",
            default=3,
            show_default=True,
            type=click.IntRange(min=1),
            help="Fewer observations of models of one size say nothing.",
        ),
        click.option(
            "--margin",
            default=1.5,
            show_default=True,
            type=click.FloatRange(min=1.0, max=100.0),
            help="Factor on the observed time; then up to whole 10 minutes.",
        ),
        click.option(
            "--quantile",
            default=1.0,
            show_default=True,
            type=click.FloatRange(min=0.5, max=1.0),
            help="Which observed time counts: 1 is the longest.",
        ),
        click.option("--service", "services", multiple=True, metavar="NAME", help="Only there."),
        click.option("--task", "tasks", multiple=True, metavar="KEY", help="Only this task."),
    ):
        function = option(function)
    return function


@click.group()
def runtimes() -> None:
    """Learn the walltimes of conf/tasks_runtime.csv from the jobs that have ended."""


@runtimes.command()
@_with_rule
@pass_context
def show(context: Context, /, as_json: bool, **rule: Any) -> int:
    """Show what tasks took, by size of the model, and what the table could say.

    A time is that of a whole job, with its server's start. A job that ran out of time means "at
    least that long": it may raise a time, and keeps it from being lowered.
    """
    learned = _learn(context, **rule)
    if as_json:
        print_json(_as_json(context, learned))
        return ExitCode.OK
    if not learned.proposals:
        click.echo(f"nothing was observed yet in {context.workspace.root}")
    else:
        rows = [row for one in learned.proposals for row in _rows(one)]
        titles = ("task", "column", "models", "n", "server", "median", "longest", "out of time",
                  "now", "proposed", "")  # fmt: skip
        click.echo(table(rows, titles))
    _tell_left_out(learned)
    return ExitCode.OK


@runtimes.command()
@click.option("--write", "output", metavar="FILE", help="Write the new table to a new file.")
@click.option("--in-place", is_flag=True, help="Replace the workspace's own table; needs --yes.")
@click.option("--yes", is_flag=True, help="With --in-place: yes, replace it (a copy is kept).")
@_with_rule
@pass_context
def refresh(
    context: Context, /, output: str | None, in_place: bool, yes: bool, as_json: bool, **rule: Any
) -> int:
    """Show the proposed table as a diff; nothing is written unless --write or --in-place says so.

    Comments, order, unknown columns and every other byte of the table stay as they are.
    """
    from hpcjobs.runtimes.table_text import edited, unified_diff

    if output is not None and in_place:
        raise InputError("--write and --in-place exclude each other", where="--in-place")
    if yes and not in_place:
        raise InputError("--yes goes with --in-place", where="--yes")
    learned = _learn(context, **rule)
    new = edited(learned.text, learned.changes)
    diff = unified_diff(learned.text, new, context.workspace.shown(learned.path))
    own = context.workspace.root / "conf" / "tasks_runtime.csv"
    if in_place and learned.path != own:
        raise InputError(
            f"the table in use is not the workspace's own: {learned.path}",
            where="--in-place",
            do=f"write one: hpcjobs runtimes refresh --write {own}",
        )
    if in_place and not yes:
        raise InputError("the table would be replaced", where="--in-place", do="add --yes")
    written: str | None = None
    backup: str | None = None
    if output is not None:
        written = str(_write(Path(output), new))
    elif in_place and diff:
        backup = str(_replace(own, learned.text, new))
        written = str(own)
    if as_json:
        print_json({**_as_json(context, learned), "diff": diff, "written": written,
                    "backup": backup})  # fmt: skip
        return ExitCode.OK
    click.echo(diff, nl=False)
    if not diff:
        click.echo("nothing to change: see hpcjobs runtimes show", err=True)
    _tell_left_out(learned)
    if written:
        click.echo(f"written: {written}" + (f" (before: {backup})" if backup else ""), err=True)
    elif diff:
        click.echo("nothing was written: --write FILE, or --in-place --yes", err=True)
    return ExitCode.OK


def _learn(
    context: Context,
    *,
    tasks: tuple[str, ...],
    services: tuple[str, ...],
    quantile: float,
    margin: float,
    least: int,
    raise_only: bool,
) -> _Learned:
    from hpcjobs.config.services import service_names
    from hpcjobs.config.tables import read_tasks
    from hpcjobs.files import explained
    from hpcjobs.runtimes.observed import observe_timings
    from hpcjobs.runtimes.proposal import Rule, propose
    from hpcjobs.runtimes.table_text import columns
    from hpcjobs.store import load

    workspace = context.workspace
    path = workspace.find_file("conf", "tasks_runtime.csv")
    known = read_tasks(path)
    for key in tasks:
        if key not in known:
            raise unknown("task", key, known, where="--task")
    for name in services:
        if name not in service_names(workspace):
            raise unknown("service", name, service_names(workspace), where="--service")
    with explained("read", path):
        text = path.read_bytes().decode()
    store = load(workspace.journal)
    found = observe_timings(workspace, store, known, columns(text), _hub(context))
    chosen = [
        one
        for one in found.timings
        if (not tasks or one.task in tasks) and (not services or one.service in services)
    ]
    rule = Rule(quantile=quantile, margin=margin, least=least, lower=not raise_only)
    return _Learned(path, text, propose(chosen, known, found.limits, rule), dict(found.left_out))


def _hub(context: Context) -> Path:
    """Where this machine keeps what it fetched from the hub."""
    import os

    from hpcjobs.config.environment import read_personal_values

    if given := os.environ.get("HF_HUB_CACHE"):
        return Path(given)
    personal = read_personal_values(context.workspace.env_file)
    home = personal.get("HUGGINGFACE_CACHE") or os.environ.get("HF_HOME")
    return Path(home or Path.home() / ".cache" / "huggingface") / "hub"


def _write(path: Path, text: str) -> Path:
    """A new file; one that is there is never replaced."""
    from hpcjobs.files import make_directory, write_once

    make_directory(path.absolute().parent)
    if not write_once(path, text):
        raise InputError("it is there already", where=str(path), do="name a new file")
    return path


def _replace(path: Path, old: str, new: str) -> Path:
    """Replace the table where it really lies; the copy that is kept of the old one."""
    from hpcjobs.files import explained, write_atomic

    path = path.resolve()
    backup = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.bak")
    with explained("read", path):
        if path.read_bytes() != old.encode():
            raise StorageError(f"{path} was changed meanwhile", do="run the same command again")
        mode = path.stat().st_mode & 0o777
    _write(backup, old)
    write_atomic(path, new, mode=mode)
    return backup


def _rows(one: Proposal) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for place, group in enumerate(one.groups):
        servers = group.server_seconds
        server = servers[len(servers) // 2] if servers else None
        numbers = (
            group.size,
            len(group.seconds),
            *(_time(x) for x in (server, group.median, group.longest)),
            len(group.timeouts),
        )
        now = (_time(one.present), _time(one.proposed), one.why) if not place else ("", "", "")
        rows.append((one.task, one.column, *numbers, *now))
    return rows


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _tell_left_out(learned: _Learned) -> None:
    for why, count in sorted(learned.left_out.items()):
        warn(f"{count} attempt(s) left out: {why}")


def _as_json(context: Context, learned: _Learned) -> dict[str, Any]:
    return {
        "table": context.workspace.shown(learned.path),
        "proposals": [
            {
                "task": one.task,
                "column": one.column,
                "present": one.present,
                "proposed": one.proposed,
                "why": one.why,
                "observed": [_group_json(group) for group in one.groups],
            }
            for one in learned.proposals
        ],
        "left_out": learned.left_out,
    }


def _group_json(group: Group) -> dict[str, Any]:
    values = asdict(group)
    del values["task"], values["column"]
    return {**values, "median": group.median, "longest": group.longest}
