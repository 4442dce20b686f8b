"""`hpcjobs cancel`."""

from __future__ import annotations

import click

from hpcjobs.cli.context import Context, interactive, pass_context, print_json, warn
from hpcjobs.errors import ExitCode, InputError


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--all", "every", is_flag=True, help="All that are queued or running.")
@click.option(
    "--forget",
    is_flag=True,
    help="Give up what cannot be reached from here: it counts as cancelled, and may still run.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def cancel(
    context: Context, jobs: tuple[str, ...], every: bool, forget: bool, yes: bool, as_json: bool
) -> int:
    """Cancel jobs, queued or running (the beginning of an id is enough)."""
    from hpcjobs.cancel import Outcome
    from hpcjobs.cancel import cancel as cancel_jobs
    from hpcjobs.cli.status import named, record_json
    from hpcjobs.config.services import read_service
    from hpcjobs.observe import refresh
    from hpcjobs.store import load

    if every == bool(jobs):
        raise InputError("name the jobs, or say --all", do="see them with: hpcjobs status")
    store = load(context.workspace.journal)
    chosen = list(store.jobs.values()) if every else named(store, jobs)
    records = [record for record in chosen if record.active]
    if every and records and not yes:
        if not interactive():
            raise InputError(f"{len(records)} job(s) would be cancelled", do="add --yes")
        click.confirm(f"Cancel {len(records)} job(s)?", abort=True, err=True)
    outcome = Outcome()
    if records:
        outcome = cancel_jobs(
            context.workspace,
            records,
            lambda name: read_service(context.workspace, name),
            forget=forget,
        )
    view = refresh(context.workspace)
    after = [view.store.jobs[record.job.id] for record in chosen]
    for warning in outcome.warnings:
        warn(warning)
    if as_json:
        print_json({"jobs": [record_json(context.workspace, record) for record in after]})
    else:
        click.echo(
            f"{outcome.asked} asked to end, {len(chosen) - len(records)} had ended already"
            + (f", {outcome.forgotten} given up" if outcome.forgotten else "")
        )
    return ExitCode.SOME_FAILED if outcome.warnings else ExitCode.OK
