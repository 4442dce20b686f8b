"""`hpcjobs submit --from FILE.csv`: the rows of a table instead of the options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcjobs.cli.choices import (
    assembled,
    pretend_gpus,
    scripts_json,
    show_plan,
    show_scripts,
    with_choices,
)
from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.submitting import (
    confirmed,
    left_alone,
    pack_jobs,
    scripts_of,
    submit_planned,
)
from hpcjobs.cli.table import keys_of
from hpcjobs.errors import ExitCode, InputError, printable

if TYPE_CHECKING:
    from hpcjobs.assemble import Assembly
    from hpcjobs.config.submissions import Submission
    from hpcjobs.model import Job

F = TypeVar("F", bound=Callable[..., Any])

_BY_ROW = ("service", "node", "models", "tasks", "settings", "provider", "max_samples")
_NOT_HERE = {
    **dict.fromkeys(_BY_ROW, "the table says that, row by row"),
    "trial": "a service runs one trial of a person at a time",
}
"""Options of `submit` that do not go with a table, and why."""


def _with_other_choices(function: F) -> F:
    """The options that `submit` has; those that a row says are not required."""
    function = with_choices(function)
    for parameter in getattr(function, "__click_params__", []):
        if parameter.name in _NOT_HERE:
            parameter.required = False
            parameter.hidden = True
    return function


@click.command()
@_with_other_choices
@click.option("--from", "path", required=True, metavar="FILE.csv", help="The table.")
@click.option("--dry-run", is_flag=True, help="Show scripts and commands; submit nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--again", is_flag=True, help="Also what is done already.")
@click.option("--wait", is_flag=True, help="Wait until all have ended.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
@pass_context
def submit_from(
    context: Context,
    click_context: click.Context,
    /,
    *,
    path: str,
    predownload: bool,
    dry_run: bool,
    yes: bool,
    again: bool,
    wait: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Submit the rows of a table: model, task, service, node, provider, settings, max_samples.

    All rows are checked before any is submitted. What is in the queue is left alone, on whatever
    node it is, and so is what is done.
    """
    from hpcjobs.schedulers import live
    from hpcjobs.submit import give_identity

    _refuse_options(click_context)
    for name in _NOT_HERE:
        options.pop(name)
    planned_as = context.workspace.identity
    groups = _read(context, Path(path))
    assemblies = _assembled(context, groups, options)
    if dry_run:
        _show_all(assemblies, again, as_json)
        return ExitCode.OK
    for assembly in assemblies:
        live(assembly.service.scheduler)
        assembly.require_ready()
    give_identity(context.workspace)  # nothing is written before all is right
    if context.workspace.identity != planned_as:  # the jobs' ids come of it
        assemblies = _assembled(context, groups, options)
    planned, chosen = [], []
    for assembly in assemblies:
        count = len(assembly.jobs)
        _leave_what_is_queued(assembly)
        count -= len(assembly.jobs)
        pack_jobs(assembly, again)
        count += len(assembly.jobs)
        scripts = scripts_of(assembly, again)
        assembly.personal.require_nothing_missing()
        planned.append(len(scripts))
        chosen.append([script.attempt.job for script in scripts])
        if not as_json:
            attempts = [script.attempt for script in scripts]
            show_plan(assembly.service, attempts, count - len(scripts), assembly.saved)
    if sum(planned) and not yes and not confirmed(sum(planned), as_json):
        click.echo("nothing was submitted", err=True)
        return ExitCode.INTERRUPTED
    if predownload:  # all of it before the first job: if it fails, nothing is submitted
        from hpcjobs.cli.predownload import wait_for_download

        for assembly, jobs in zip(assemblies, chosen, strict=True):
            if jobs:
                assembly.renderer.after = wait_for_download(assembly, jobs, as_json)
    return _submit(context, assemblies, planned, again, wait, as_json)


def _refuse_options(click_context: click.Context) -> None:
    from click.core import ParameterSource

    for parameter in click_context.command.params:
        name = parameter.name or ""
        given = click_context.get_parameter_source(name)
        if name in _NOT_HERE and given is not ParameterSource.DEFAULT:
            raise InputError(
                f"{parameter.opts[0]} does not go with --from: {_NOT_HERE[name]}",
                where=parameter.opts[0],
                do="leave it out",
            )


def _read(context: Context, path: Path) -> list[list[Submission]]:
    from hpcjobs.config.groups import read_task_table
    from hpcjobs.config.submissions import grouped, read_submissions

    tasks, _ = read_task_table(context.workspace)
    return grouped(read_submissions(path, tasks))


def _assembled(
    context: Context, groups: list[list[Submission]], options: dict[str, Any]
) -> list[Assembly]:
    """What the rows mean; an error names the first line of those that are alike.

    Raises:
        InputError: a name is unknown, or two jobs have the same id.
    """
    assemblies = []
    jobs: dict[str, Job] = {}
    for rows in groups:
        first = rows[0]
        choices = {
            "service": first.service,
            "node": first.node,
            "models": (first.model,),
            "settings": first.settings,
            "provider": first.provider,
            "max_samples": first.max_samples,
            "trial": False,
        }
        tasks = tuple(row.task for row in rows)
        try:
            assembly = assembled(context, {**options, **choices, "tasks": tasks})
        except InputError as error:
            raise InputError(
                f"{error.where}: {error.what}" if error.where else error.what,
                where=first.where,
                expected=error.expected,
                nearest=error.nearest,
                do=error.do,
            ) from error
        assembly.jobs[:] = _with_walltimes(assembly, rows)
        for job in assembly.jobs:
            if jobs.setdefault(job.id, job).digest != job.digest:
                raise InputError(
                    f"two of its jobs would have the id {job.id}",
                    where=first.where,
                    do="submit these rows from a table of their own",
                )
        for note in assembly.notes:
            warn(note)
        assemblies.append(assembly)
    return assemblies


def _with_walltimes(assembly: Assembly, rows: list[Submission]) -> list[Job]:
    """The jobs with the walltimes that their rows say; they are not part of a job's id."""
    from dataclasses import replace

    from hpcjobs.durations import format_duration, parse_duration

    by_task = {row.task: row for row in rows if row.walltime}
    most, least = assembly.service.walltime_max, assembly.service.end_margin
    jobs = []
    for job in assembly.jobs:
        row = by_task.get(job.tasks[0].key)
        if row is not None:
            seconds = parse_duration(row.walltime)
            if not least < seconds <= most:
                raise InputError(
                    f"column walltime: {row.walltime}",
                    where=row.where,
                    expected=f"more than {format_duration(least)}, and at most "
                    f"{format_duration(most)} on {assembly.service.name}",
                )
            job = replace(job, walltime=seconds)
        jobs.append(job)
    return jobs


def _leave_what_is_queued(assembly: Assembly) -> list[Job]:
    """Take out, and give, what another job, on another node or service, is evaluating."""
    from hpcjobs.campaign.past import Known
    from hpcjobs.shares import Works
    from hpcjobs.store import load

    known = Known(Works(load(assembly.workspace.journal)))
    kept, taken_out = [], []
    for job in assembly.jobs:
        other = known.elsewhere(job)
        if other is None or not other.active:
            kept.append(job)
            continue
        keys = keys_of(job.tasks)
        where = f"{other.job.service}/{other.job.node}"
        under_way = f"under way as {other.job.id} on {where}"
        text = f"left alone: {keys} of {printable(job.model)[1:-1]}: {under_way}"
        click.echo(text, err=True)
        taken_out.append(job)
    assembly.jobs[:] = kept
    return taken_out


def _show_all(assemblies: list[Assembly], again: bool, as_json: bool) -> None:
    """Every script, as `submit --dry-run` shows it."""
    shown = []
    for assembly in assemblies:
        pretend_gpus(assembly)
        queued = _leave_what_is_queued(assembly)
        pack_jobs(assembly, again)
        assembly.jobs += queued
        scripts = scripts_of(assembly, again, every=True)
        alone = left_alone(assembly, again) | {job.id for job in queued}
        if as_json:
            shown.append(scripts_json(assembly.service, scripts, alone))
        else:
            show_scripts(assembly, scripts, as_json=False, left_alone=alone)
    if as_json:
        print_json({"groups": shown})
    elif not assemblies:
        click.echo("the table has no rows")


def _waited_for(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [*document["submitted"], *document["kept"]]


def _submit(
    context: Context,
    assemblies: list[Assembly],
    planned: list[int],
    again: bool,
    wait: bool,
    as_json: bool,
) -> int:
    """One group after the other; a scheduler that does not answer is not asked again."""
    codes: list[int] = []
    documents = []
    silent: set[str] = set()
    for assembly, count in zip(assemblies, planned, strict=True):
        if assembly.service.name in silent:
            click.echo(
                f"{count} for {assembly.service.name} not tried: run the same command again",
                err=True,
            )
            continue
        code, _, document = submit_planned(context, assembly, again, as_json, count)
        codes.append(code)
        documents.append(document)
        if code == ExitCode.INTERRUPTED:
            break
        if code == ExitCode.UNAVAILABLE:
            silent.add(assembly.service.name)
    code = next((code for code in codes if code != ExitCode.OK), ExitCode.OK)
    jobs = [one["job"] for document in documents for one in _waited_for(document)]
    if not assemblies and not as_json:
        click.echo("the table has no rows")
    if code == ExitCode.OK and wait and jobs:
        from hpcjobs.cli.status import wait_for

        return wait_for(context, jobs, None, as_json)
    if as_json:
        print_json({"groups": documents})
    return code
