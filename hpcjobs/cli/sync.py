"""`hpcjobs sync` and `hpcjobs watch`: a campaign fed step by step.

All state is in the journal and the jobs' markers, so that either may be killed at any moment and
started again. A lock of its own keeps two from feeding at once.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from hpcjobs.cli import campaign as shown
from hpcjobs.cli.context import Context, interactive, pass_context, print_json, warn
from hpcjobs.cli.notify import notify_ends
from hpcjobs.cli.overview import overview
from hpcjobs.errors import (
    ExitCode,
    InputError,
    LockedError,
    SchedulerUnavailableError,
    StorageError,
    printable,
)

_PATH = click.argument("path", metavar="[CAMPAIGN.yaml]", required=False)
_YES = click.option("--yes", is_flag=True, help="Whatever it costs: do not ask.")


@dataclass
class _Step:
    """What one step found and did."""

    items: list[Any] = field(default_factory=list)
    """The evaluations, as they were decided about."""
    batches: list[Any] = field(default_factory=list)
    """The jobs that are to be submitted for them."""
    chosen: list[Any] = field(default_factory=list)
    """Those of them that were submitted now."""
    waiting: int = 0
    """Those for which there was no room."""
    code: int = ExitCode.OK
    """Of the submission."""
    documents: list[dict[str, Any]] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    active: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing is left to be done by itself."""
        return not (self.active or self.chosen or self.waiting)

    @property
    def exit_code(self) -> int:
        """As docs/exit-codes.md has it."""
        if self.code in (ExitCode.UNAVAILABLE, ExitCode.INTERRUPTED):
            return self.code
        if not self.ended:
            return ExitCode.NOT_FINISHED
        return ExitCode.SOME_FAILED if self.stopped else ExitCode.OK

    @property
    def stopped(self) -> list[Any]:
        """What is not repeated by itself."""
        return [one for one in self.items if shown.stands(one) == "stopped"]


@click.command()
@_PATH
@_YES
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def sync(context: Context, path: str | None, yes: bool, as_json: bool) -> int:
    """Bring a campaign one step further: look, decide, submit what fits below the limits.

    Made for cron: it says what it did, and nothing if that is nothing. Ends with 0 when all is
    done, 1 when what is not done has stopped, 3 when something is under way or waits, 6 when
    another sync or watch is at work. Without a name it is campaign.yaml of the workspace.

    \b
    */5 * * * * cd ~/eval && hpcjobs sync campaign.yaml --yes
    """
    try:
        step = _step(context, _file(context, path), yes, set(), ask=False, as_json=as_json)
    except LockedError as error:
        if interactive():
            click.echo(f"error: {error}", err=True)
        return ExitCode.LOCKED
    for warning in step.warnings:
        warn(warning)
    if as_json:
        print_json(
            {
                "groups": step.documents,
                "waiting_for_room": step.waiting,
                "items": shown.items_json(step.items, step.batches),
            }
        )
    else:
        _tell_stops(context, step)
    return step.exit_code


@click.command()
@_PATH
@_YES
@click.option(
    "--interval", default=30.0, show_default=True, type=click.FloatRange(min=0.2), help="Seconds."
)
@pass_context
def watch(context: Context, path: str | None, yes: bool, interval: float) -> int:
    """Bring a campaign to its end, and show how its jobs stand.

    It may be stopped at any moment (Ctrl-C, a closed terminal, kill -9) and started again: what is
    in the queue goes on without it. Ends as `sync` does.
    """
    file = _file(context, path)
    complained = ""
    agreed_to: set[str] = set()
    while True:
        try:
            step = _step(context, file, yes, agreed_to, ask=True, as_json=False)
        except (SchedulerUnavailableError, LockedError, StorageError) as error:
            if str(error) != complained:
                warn(str(error))
            complained = str(error)
            time.sleep(interval)
            continue
        complained = ""
        if sys.stdout.isatty():
            _show(context, step)
        else:
            _tell_stops(context, step)
        for warning in step.warnings:
            warn(warning)
        if step.ended or step.code == ExitCode.INTERRUPTED:
            if step.items:
                click.echo(shown.counts(step.items))
            return step.exit_code
        time.sleep(interval)


def _file(context: Context, path: str | None) -> Path | None:
    """The campaign's file; None where none was named and none is there.

    Raises:
        InputError: the one that was named is not there.
    """
    from hpcjobs.config.campaigns import FILE

    default = context.workspace.root / FILE
    if path is None:
        return default if default.is_file() else None
    if not Path(path).is_file():
        raise InputError("no such file", where=path, do="see docs/campaign.md")
    return Path(path)


def _step(
    context: Context, path: Path | None, yes: bool, agreed_to: set[str], ask: bool, as_json: bool
) -> _Step:
    """One step; `agreed_to` are the jobs that a person need not be asked about again."""
    from hpcjobs.observe import refresh
    from hpcjobs.store import load

    workspace = context.workspace
    if path is None:
        view = refresh(workspace)
        notify_ends(context, view.store)
        active = any(record.active for record in view.store.jobs.values())
        return _Step(warnings=view.warnings, active=active)
    shown.read(context, str(path))  # nothing is written for a file that is wrong
    with shown.feeding(context):
        step = _feed(context, path, yes, agreed_to, ask, as_json)
    if not step.waiting:  # what is repeated is in the queue by now: only the rest is over
        notify_ends(context, load(workspace.journal))
    return step


def _feed(
    context: Context, path: Path, yes: bool, agreed_to: set[str], ask: bool, as_json: bool
) -> _Step:
    from hpcjobs.campaign.batches import batched
    from hpcjobs.campaign.planned import plan_campaign
    from hpcjobs.campaign.rooms import fitting, rooms
    from hpcjobs.feeding import PER_MINUTE
    from hpcjobs.observe import refresh
    from hpcjobs.submit import give_identity

    workspace = context.workspace
    campaign = shown.read(context, str(path))
    view = refresh(workspace)
    planned = plan_campaign(workspace, campaign, view.store)
    items = batched(planned.to_submit, view.store)
    if items and not workspace.identity_file.exists():
        shown.require_ready(context, items)  # nothing is written before all is right
        give_identity(workspace)
        planned = plan_campaign(workspace, campaign, view.store)  # the jobs' ids come of it
        items = batched(planned.to_submit, view.store)
    services = shown.assemblies_of(items)
    found = rooms(workspace, campaign, view.store, services, PER_MINUTE)
    chosen = fitting(items, found)
    shown.require_ready(context, chosen)
    step = _Step(
        items=planned.items,
        batches=items,
        chosen=chosen,
        waiting=len(items) - len(chosen),
        warnings=view.warnings,
        active=any(shown.stands(one) == "under way" for one in planned.items),
    )
    new = [one for one in items if not {item.job.id for item in one.items} <= agreed_to]
    if ask and not yes and shown.why_ask(campaign, new):
        shown.show_submissions(context, items, found)
    if not shown.agreed(campaign, new, yes, ask):
        click.echo("nothing was submitted", err=True)
        step.chosen, step.code = [], ExitCode.INTERRUPTED
        return step
    agreed_to |= {item.job.id for one in items for item in one.items}
    if chosen:
        step.code, step.documents = shown.submit_items(context, chosen, as_json)
    return step


def _tell_stops(context: Context, step: _Step) -> None:
    """What has stopped, once; and what is repeated, which `submit_items` has told of."""
    from hpcjobs.files import write_json

    path = context.workspace.jobs / ".stops_told.json"
    try:
        told = {str(one) for one in json.loads(path.read_text())}
    except (OSError, ValueError, TypeError):
        told = set()
    lines = {f"{one.job_id}: {_stop(one)}" for one in step.stopped}
    for line in sorted(lines - told):
        click.echo(line)
    if lines - told:
        with suppress(StorageError):
            write_json(path, sorted(told | lines))


def _stop(item: Any) -> str:
    """On one line, whatever a scheduler or a log has said."""
    text = f"stopped: {item.row.task} of {item.job.model}: {item.decision.why}"
    return printable(text)[1:-1]


def _show(context: Context, step: _Step) -> None:
    """The table of all jobs of the campaign, over the one before."""
    from hpcjobs.store import load

    store = load(context.workspace.journal)
    ours = {one.job_id for one in step.items} | {one.job.id for one in step.chosen}
    records = [record for record in store.jobs.values() if record.job.id in ours]
    records = records if step.items else list(store.jobs.values())
    click.clear()
    if records:
        click.echo(overview(context, records, records))
    for one in step.stopped:
        click.echo(_stop(one))
    if step.waiting:
        click.echo(f"{step.waiting} wait for room")
    taken = step.chosen if step.code == ExitCode.OK else ()
    click.echo(shown.counts(step.items, taken))
