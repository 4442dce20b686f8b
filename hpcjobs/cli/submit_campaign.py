"""`hpcjobs submit campaign.yaml`: what a campaign lacks, as far as the limits allow."""

from __future__ import annotations

import click

from hpcjobs.cli import campaign as shown
from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.errors import ExitCode

FLAGS = ("--dry-run", "--yes", "--failed", "--wait", "--json", "--again",
         "--predownload", "--no-predownload", "--trial")  # fmt: skip


@click.command()
@click.argument("path", metavar="CAMPAIGN.yaml")
@click.option("--dry-run", is_flag=True, help="Show scripts and commands; submit nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--failed", is_flag=True, help="Also what is not repeated by itself.")
@click.option("--wait", is_flag=True, help="Wait until all that is submitted now has ended.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def submit_campaign(
    context: Context, path: str, dry_run: bool, yes: bool, failed: bool, wait: bool, as_json: bool
) -> int:
    """Submit what a campaign lacks: models x tasks x settings (docs/campaign.md).

    Given again, it submits only what is missing, what failed in a way that can change, and what was
    made under other settings. What is done or in the queue is left.
    """
    from hpcjobs.campaign.batches import batched
    from hpcjobs.campaign.rooms import fitting, rooms
    from hpcjobs.observe import refresh
    from hpcjobs.submit import give_identity

    campaign = shown.read(context, path)
    view = refresh(context.workspace)
    for warning in view.warnings:
        warn(warning)
    planned = shown.plan_again(context, campaign, view.store, even_failed=failed)
    if dry_run:
        shown.dry_run(context, batched(planned.to_submit, view.store), as_json)
        return ExitCode.OK
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
        return ExitCode.INTERRUPTED
    code, documents = shown.submit_items(context, chosen, as_json, again=failed)
    waiting = len(everything) - len(chosen)
    if as_json:
        print_json(
            {
                "groups": documents,
                "waiting_for_room": waiting,
                "items": [shown.item_json(one) for one in planned.items],
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
    if code == ExitCode.OK and wait and chosen:
        from hpcjobs.cli.status import wait_for

        return wait_for(context, [one.job.id for one in chosen], None, as_json)
    return code
