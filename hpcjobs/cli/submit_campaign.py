"""`hpcjobs submit campaign.yaml`: what a campaign lacks, as far as the limits allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpcjobs.cli import campaign as shown
from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.assemble import Assembly
    from hpcjobs.campaign.batches import Batch
    from hpcjobs.config.campaigns import Campaign
    from hpcjobs.model import Job
    from hpcjobs.observe import View

FLAGS = ("--dry-run", "--yes", "--failed", "--wait", "--json", "--again",
         "--predownload", "--no-predownload", "--trial")  # fmt: skip


@click.command()
@click.argument("path", metavar="CAMPAIGN.yaml")
@click.option("--dry-run", is_flag=True, help="Show scripts and commands; submit nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--failed", is_flag=True, help="Also what is not repeated by itself.")
@click.option(
    "--predownload/--no-predownload",
    default=False,
    help="Fetch models and data sets of what is submitted now first.",
)
@click.option("--wait", is_flag=True, help="Wait until all that is submitted now has ended.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def submit_campaign(
    context: Context,
    /,
    *,
    path: str,
    dry_run: bool,
    yes: bool,
    failed: bool,
    predownload: bool,
    wait: bool,
    as_json: bool,
) -> int:
    """Submit what a campaign lacks: models x tasks x settings (docs/campaign.md).

    Given again, it submits only what is missing, what failed in a way that can change, and what was
    made under other settings. What is done or in the queue is left. While a sync or watch is
    feeding a campaign of this workspace it ends with 6, and does nothing.
    """
    from hpcjobs.campaign.batches import batched
    from hpcjobs.observe import refresh

    campaign = shown.read(context, path)
    if dry_run:
        store = _told(refresh(context.workspace)).store
        planned = shown.plan_again(context, campaign, store, even_failed=failed)
        shown.dry_run(context, batched(planned.to_submit, store), as_json)
        return ExitCode.OK
    with shown.feeding(context):  # nobody else's step may use the same room
        code, submitted = _feed(context, campaign, path, yes, failed, predownload, as_json)
    if code == ExitCode.OK and wait and submitted:
        from hpcjobs.cli.status import wait_for

        return wait_for(context, submitted, None, as_json)
    return code


def _feed(
    context: Context,
    campaign: Campaign,
    path: str,
    yes: bool,
    failed: bool,
    predownload: bool,
    as_json: bool,
) -> tuple[int, list[str]]:
    """The exit code, and the ids of the jobs that there was room for."""
    from hpcjobs.campaign.batches import batched
    from hpcjobs.campaign.rooms import fitting, rooms
    from hpcjobs.observe import refresh
    from hpcjobs.submit import give_identity

    view = _told(refresh(context.workspace))
    planned = shown.plan_again(context, campaign, view.store, even_failed=failed)
    shown.require_ready(context, batched(planned.to_submit, view.store))
    planned_as = context.workspace.identity
    give_identity(context.workspace)  # nothing is written before all is right
    if context.workspace.identity != planned_as:  # the jobs' ids come of it
        planned = shown.plan_again(context, campaign, view.store, even_failed=failed)
    everything = batched(planned.to_submit, view.store)
    services = shown.assemblies_of(everything)
    found = rooms(context.workspace, campaign, view.store, services)
    chosen = fitting(everything, found)
    if not as_json:
        shown.show_submissions(context, everything, found)
        click.echo(shown.counts(planned.items))
    if not shown.agreed(campaign, everything, yes, ask=not as_json):
        click.echo("nothing was submitted", err=True)
        return ExitCode.INTERRUPTED, []
    if predownload and chosen:
        from hpcjobs.cli.predownload import wait_for_downloads

        wait_for_downloads(_jobs_of(chosen), as_json)
    code, documents = shown.submit_items(context, chosen, as_json, again=failed)
    waiting = len(everything) - len(chosen)
    if as_json:
        print_json(
            {
                "groups": documents,
                "waiting_for_room": waiting,
                "items": shown.items_json(planned.items, everything),
            }
        )
    elif chosen or waiting:
        more = f"; {waiting} wait for room" if waiting else ""
        click.echo(f"next: hpcjobs watch {path}{more}")
        click.echo(f"  or: hpcjobs sync {path} --yes (from cron) | hpcjobs status | "
                   f"hpcjobs plan --explain {path}")  # fmt: skip
    elif any(shown.stands(one) == "stopped" for one in planned.items):
        click.echo(f"next: hpcjobs plan --explain {path} | hpcjobs diagnose")
    elif all(shown.stands(one) == "done" for one in planned.items):
        click.echo("next: hpcjobs aggregate")
    return code, [one.job.id for one in chosen]


def _told(view: View) -> View:
    for warning in view.warnings:
        warn(warning)
    return view


def _jobs_of(items: Sequence[Batch]) -> list[tuple[Assembly, list[Job]]]:
    """By assembly: what is submitted of it."""
    return [
        (assembly, [one.job for one in items if one.assembly is assembly])
        for assembly in shown.assemblies_of(items)
    ]
