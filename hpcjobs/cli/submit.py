"""`hpcjobs submit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.choices import assembled, pretend_gpus, show_plan, show_scripts, with_choices
from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.submitting import (
    confirmed,
    left_alone,
    pack_jobs,
    scripts_of,
    submit_planned,
    tell_repeats,
)
from hpcjobs.errors import ExitCode

if TYPE_CHECKING:
    from hpcjobs.assemble import Assembly


class _SubmitOrFrom(click.Command):
    """With `--from` or a campaign, a file says what the options would say: none is required."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:  # fmt: skip
        if any(word == "--from" or word.startswith("--from=") for word in args):
            from hpcjobs.cli.submit_from import submit_from

            return submit_from.make_context(info_name, args, parent, **extra)
        if any(word.endswith((".yaml", ".yml")) for word in args):
            from hpcjobs.cli.campaign import names_campaign
            from hpcjobs.cli.submit_campaign import FLAGS, submit_campaign

            if names_campaign(args, FLAGS):
                return submit_campaign.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=_SubmitOrFrom)
@with_choices
@click.option(
    "--from",
    "table",
    metavar="FILE.csv",
    help="Submit the rows of a table instead (hpcjobs aggregate --check writes one).",
)
@click.option("--dry-run", is_flag=True, help="Show scripts and commands; submit nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--again", is_flag=True, help="Also what is done already.")
@click.option("--wait", is_flag=True, help="Wait until all have ended.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def submit(
    context: Context,
    /,
    *,
    predownload: bool,
    dry_run: bool,
    yes: bool,
    again: bool,
    wait: bool,
    as_json: bool,
    table: None,
    **options: Any,
) -> int:
    """Evaluate models: one job for each model and task.

    What is in the queue or done already is left alone, so the same command can be given again.

    \b
    hpcjobs submit --service tsubame --node node_q --model ORG/NAME --dry-run
    hpcjobs submit --service local --node gpu_1 --model ORG/NAME --tasks 'ja_*' --yes --wait
    hpcjobs submit campaign.yaml                    # see docs/campaign.md
    hpcjobs submit --from missing.csv
    """
    from hpcjobs.schedulers import live
    from hpcjobs.submit import give_identity

    planned_as = context.workspace.identity
    assembly = assembled(context, options)
    for note in assembly.notes:
        warn(note)
    pack_jobs(assembly, again)
    if dry_run:
        pretend_gpus(assembly)
        scripts = scripts_of(assembly, again, every=True)
        show_scripts(assembly, scripts, as_json, left_alone(assembly, again))
        return ExitCode.OK
    live(assembly.service.scheduler)
    assembly.require_ready()
    scripts = scripts_of(assembly, again)
    assembly.personal.require_nothing_missing()  # rendering has found that out
    give_identity(context.workspace)  # nothing is written before all is right
    if context.workspace.identity != planned_as:  # the jobs' ids come of it
        assembly = assembled(context, options)
        pack_jobs(assembly, again)
        scripts = scripts_of(assembly, again)
    if not as_json:
        others = len(assembly.jobs) - len(scripts)
        show_plan(assembly.service, [script.attempt for script in scripts], others, assembly.saved)
        tell_repeats(assembly, [script.attempt.job for script in scripts])
    if scripts and not yes and not confirmed(len(scripts), as_json):
        click.echo("nothing was submitted", err=True)
        return ExitCode.INTERRUPTED
    if predownload and scripts:
        from hpcjobs.cli.predownload import wait_for_download

        chosen = [script.attempt.job for script in scripts]
        assembly.renderer.after = wait_for_download(assembly, chosen, as_json)
    return _submit(context, assembly, again, wait, as_json, len(scripts))


def _submit(
    context: Context, assembly: Assembly, again: bool, wait: bool, as_json: bool, planned: int
) -> int:
    code, outcome, document = submit_planned(context, assembly, again, as_json, planned)
    if as_json and not (wait and code == ExitCode.OK):  # else the waiting prints it
        print_json(document)
    if code == ExitCode.OK and wait:
        from hpcjobs.cli.status import wait_for

        jobs = [attempt.job.id for attempt in outcome.submitted]
        jobs += [record.job.id for record in outcome.kept]
        code = wait_for(context, list(dict.fromkeys(jobs)), None, as_json)
    elif outcome.submitted and not as_json:
        first = outcome.submitted[0].job.id
        click.echo(f"next: hpcjobs status | hpcjobs logs {first} -f | hpcjobs cancel {first}")
    return code
