"""`hpcjobs plan`: what would be submitted, repeated or left, and why; nothing is submitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli import campaign as shown
from hpcjobs.cli.choices import assembled, with_choices
from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.durations import format_duration
from hpcjobs.errors import ExitCode

if TYPE_CHECKING:
    from hpcjobs.assemble import Assembly
    from hpcjobs.campaign.batches import Batch
    from hpcjobs.campaign.planned import Item, Planned
    from hpcjobs.config.campaigns import Campaign
    from hpcjobs.config.submissions import Submission

_FLAGS = ("--explain", "--overwrite", "--failed", "--json", "--trial")


class _CampaignOrChoices(click.Command):
    """With a campaign's file, that says what the options would say."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:  # fmt: skip
        if shown.names_campaign(args, _FLAGS):
            return plan_campaign.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


_EXPLAIN = click.option("--explain", is_flag=True, help="Why, for each; also what is left.")
_OUTPUT = click.option(
    "--output", metavar="FILE.csv", help="Write what would be submitted, to edit: submit --from."
)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace that file.")
_FAILED = click.option("--failed", is_flag=True, help="As if `submit --failed`.")
_JSON = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@click.command()
@click.argument("path", metavar="CAMPAIGN.yaml")
@_EXPLAIN
@_FAILED
@_OUTPUT
@_OVERWRITE
@_JSON
@pass_context
def plan_campaign(
    context: Context,
    path: str,
    explain: bool,
    failed: bool,
    output: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Show what a campaign would submit now, and with --explain what is done about each, and why.

    Nothing is submitted.
    """
    campaign = shown.read(context, path)
    store = _store(context)
    planned = shown.plan_again(context, campaign, store, even_failed=failed)
    return _show(context, planned, campaign, store, explain, output, overwrite, as_json)


@click.command(cls=_CampaignOrChoices, epilog="With a file: hpcjobs plan CAMPAIGN.yaml --help")
@with_choices
@_EXPLAIN
@_OUTPUT
@_OVERWRITE
@_JSON
@pass_context
def plan(
    context: Context,
    /,
    *,
    predownload: bool,
    explain: bool,
    output: str | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Show what would be submitted now, what not, and with --explain why. Nothing is submitted.

    Of a campaign, or of the same options as `submit`: what failed for good is then listed as such,
    though `submit` with these options repeats it.

    \b
    hpcjobs plan --explain campaign.yaml
    hpcjobs plan --explain --service local --node gpu_1 --model ORG/NAME
    """
    from hpcjobs.campaign.planned import plan_rows
    from hpcjobs.config.campaigns import Campaign
    from hpcjobs.config.submissions import Submission
    from hpcjobs.retry import Policy

    def make(row: Submission, models: Any, tasks: Any) -> Assembly:
        return assembled(
            context, {**options, "models": models, "tasks": tuple(tasks), "node": row.node}
        )

    store = _store(context)
    first = assembled(context, options)
    rows = [
        Submission(
            job.model, run.key, job.service, job.node, job.provider, job.settings_name,
            job.max_samples,
        )
        for job in first.jobs
        for run in job.tasks
    ]  # fmt: skip
    planned = plan_rows(context.workspace, rows, make, store, Policy())
    for note in first.notes:
        warn(note)
    return _show(context, planned, Campaign(rows), store, explain, output, overwrite, as_json)


def _store(context: Context) -> Any:
    from hpcjobs.observe import refresh

    view = refresh(context.workspace)
    for warning in view.warnings:
        warn(warning)
    return view.store


def _show(
    context: Context,
    planned: Planned,
    campaign: Campaign,
    store: Any,
    explain: bool,
    output: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    from hpcjobs.campaign.batches import batched, saved
    from hpcjobs.campaign.rooms import rooms
    from hpcjobs.errors import SchedulerUnavailableError

    items = batched(planned.to_submit, store)
    if output is not None:
        _write(Path(output), planned, overwrite)
    if as_json:
        print_json(
            {
                "items": shown.items_json(planned.items, items),
                "packed": saved(items),
                "price": shown.prices_json(items),
                "path": output,
            }
        )
        return ExitCode.OK
    if explain:
        shown.show_decisions(planned.items, items)
    try:
        found = rooms(context.workspace, campaign, store, _driven(items))
    except SchedulerUnavailableError as error:
        warn(error.what)
        found = {}
    shown.show_submissions(context, items, found)
    click.echo(shown.counts(planned.items))
    if output is not None:
        click.echo(f"edit {output}, then: hpcjobs submit --from {output}")
    return ExitCode.OK


def _driven(batches: Sequence[Batch]) -> list[Assembly]:
    """The services that this version can ask."""
    from hpcjobs.schedulers import LIVE

    found = shown.assemblies_of(batches)
    return [one for one in found if one.service.scheduler in LIVE]


def _write(path: Path, planned: Planned, overwrite: bool) -> None:
    """What would be submitted, as a table that `submit --from` reads."""
    from hpcjobs.cli.chosen import write_new
    from hpcjobs.config.submissions import as_table

    rows = [
        replace(
            one.row, node=one.job.node, state=one.decision.act.value,
            walltime=_walltime(one), why=one.decision.why,
        )
        for one in planned.to_submit
    ]  # fmt: skip
    write_new(path, as_table(rows).encode(), overwrite)


def _walltime(item: Item) -> str:
    """Where it is another than the table's."""
    changed = item.job.walltime != item.planned_walltime
    return format_duration(item.job.walltime) if changed else ""
