"""`hpcjobs submit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.choices import (
    assembled,
    job_json,
    pretend_gpus,
    show_plan,
    show_scripts,
    with_choices,
)
from hpcjobs.cli.context import Context, interactive, pass_context, print_json, warn
from hpcjobs.cli.table import signed
from hpcjobs.errors import ExitCode, InputError, printable
from hpcjobs.model import Attempt, Service

if TYPE_CHECKING:
    from hpcjobs.assemble import Assembly
    from hpcjobs.render import Script
    from hpcjobs.submit import Outcome


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
        scripts = scripts_of(assembly, again)
    if not as_json:
        others = len(assembly.jobs) - len(scripts)
        show_plan(assembly.service, [script.attempt for script in scripts], others)
    if scripts and not yes and not confirmed(len(scripts), as_json):
        click.echo("nothing was submitted", err=True)
        return ExitCode.INTERRUPTED
    if predownload and scripts:
        from hpcjobs.cli.predownload import wait_for_download

        chosen = [script.attempt.job for script in scripts]
        assembly.renderer.after = wait_for_download(assembly, chosen, as_json)
    return _submit(context, assembly, again, wait, as_json, len(scripts))


def scripts_of(assembly: Assembly, again: bool, every: bool = False) -> list[Script]:
    """The scripts of the jobs that would be submitted, or of `every` job."""
    from hpcjobs.store import load
    from hpcjobs.submit import next_attempt, wanted

    records = load(assembly.workspace.journal).jobs
    chosen = [job for job in assembly.jobs if every or wanted(records.get(job.id), again)]
    attempts = [next_attempt(assembly.workspace, records.get(job.id), job) for job in chosen]
    return [assembly.renderer.render(attempt) for attempt in attempts]


def left_alone(assembly: Assembly, again: bool) -> set[str]:
    """The ids of the jobs that would not be submitted: in the queue or done already."""
    from hpcjobs.store import load
    from hpcjobs.submit import wanted

    records = load(assembly.workspace.journal).jobs
    return {job.id for job in assembly.jobs if not wanted(records.get(job.id), again)}


def confirmed(count: int, as_json: bool) -> bool:
    """Whether a person says yes.

    Raises:
        InputError: nobody can be asked.
    """
    if as_json or not interactive():
        raise InputError(
            f"{count} job(s) would be submitted, and nobody is there to be asked",
            do="add --yes (or --dry-run to see them first)",
        )
    return click.confirm("Submit?", default=True, err=True)


def _submit(
    context: Context, assembly: Assembly, again: bool, wait: bool, as_json: bool, planned: int
) -> int:
    code, outcome, document = submit_planned(context, assembly, again, as_json, planned)
    if as_json and not (wait and code == ExitCode.OK):  # else the waiting prints it
        print_json(document)
    if code == ExitCode.OK and wait:
        from hpcjobs.cli.status import wait_for

        code = wait_for(context, [job.id for job in assembly.jobs], None, as_json)
    elif outcome.submitted and not as_json:
        first = outcome.submitted[0].job.id
        click.echo(f"next: hpcjobs status | hpcjobs logs {first} -f | hpcjobs cancel {first}")
    return code


def submit_planned(
    context: Context,
    assembly: Assembly,
    again: bool,
    as_json: bool,
    planned: int,
    known: dict[str, int] | None = None,
) -> tuple[int, Outcome, dict[str, Any]]:
    """Submit, and tell of each; the exit code, what became of it, and that as plain values.

    `known` says how many attempts of each job this was decided by (see hpcjobs.submit).
    """
    from hpcjobs.submit import submit as submit_jobs

    native_ids: dict[str, str] = {}

    def report(attempt: Attempt, native_id: str) -> None:
        native_ids[attempt.label] = native_id
        if not as_json:
            keys = ",".join(task.key for task in attempt.job.tasks)
            click.echo(
                f"{signed('queue', context.emoji)}  {attempt.label}  {native_id}  "
                f"{keys}  {printable(attempt.job.model)[1:-1]}"
            )

    outcome = submit_jobs(
        assembly.workspace,
        assembly.service,
        assembly.renderer,
        assembly.jobs,
        again=again,
        known=known,
        report=report,
    )
    tried = len(outcome.submitted) + len(outcome.refused) + len(outcome.left)
    others = planned - tried - (outcome.unanswered is not None)
    if others > 0 and not as_json:
        click.echo(f"{others} were submitted by another hpcjobs meanwhile")
    code = _explain(outcome, as_json)
    return code, outcome, _outcome_json(assembly.service, outcome, native_ids)


def _explain(outcome: Outcome, as_json: bool) -> int:
    for record in outcome.kept:
        if record.last is not None and record.last.suspect:
            for key, why in record.last.suspect.items():
                warn(f"left alone: {record.job.id} {key} is suspect: {why}")
            warn("submit it with --again, or take it as it is: hpcjobs aggregate --accept-suspect")
    for attempt, error in outcome.refused:
        click.echo(f"error: {attempt.label}: {error}", err=True)
    if outcome.left:
        done = len(outcome.submitted) + len(outcome.kept)
        click.echo(
            f"{done} submitted or there before, {len(outcome.left)} not tried: "
            "run the same command again to go on",
            err=True,
        )
    if outcome.unanswered is not None:
        click.echo(f"error: {outcome.unanswered}", err=True)
        click.echo("  whether it took that job is looked up by name: run hpcjobs status", err=True)
        return ExitCode.UNAVAILABLE
    if outcome.interrupted:
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    return ExitCode.SOME_FAILED if outcome.refused else ExitCode.OK


def _outcome_json(service: Service, outcome: Outcome, native_ids: dict[str, str]) -> dict[str, Any]:
    return {
        "submitted": [
            {**job_json(attempt.job, service), "attempt": attempt.number,
             "native_id": native_ids[attempt.label]}
            for attempt in outcome.submitted
        ],
        "kept": [
            {**job_json(record.job, service), "state": record.state.value,
             "suspect": record.last.suspect if record.last else None}
            for record in outcome.kept
        ],
        "refused": [
            {**job_json(attempt.job, service), "attempt": attempt.number, "error": error.what}
            for attempt, error in outcome.refused
        ],
        "left": [job_json(job, service) for job in outcome.left],
        "interrupted": outcome.interrupted,
        "unanswered": outcome.unanswered.what if outcome.unanswered else None,
    }  # fmt: skip
