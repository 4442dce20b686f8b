"""`hpcjobs submit` and `hpcjobs render`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hpcjobs.cli.context import Context, interactive, pass_context, print_json, warn
from hpcjobs.cli.table import signed, table
from hpcjobs.durations import format_duration
from hpcjobs.errors import ExitCode, InputError
from hpcjobs.files import make_directory
from hpcjobs.model import Attempt, Job

F = TypeVar("F", bound=Callable[..., Any])

_CHOICES = (
    click.option("--service", required=True, metavar="NAME", help="A file of conf/services/."),
    click.option("--node", required=True, metavar="NAME", help="The kind of node there."),
    click.option(
        "--model", "models", required=True, multiple=True, metavar="ORG/NAME", help="Repeatable."
    ),
    click.option(
        "--tasks",
        multiple=True,
        metavar="KEYS",
        help="Keys, globs ('ja_*') and groups, repeated or by commas; else 'default'.",
    ),
    click.option("--settings", default="", metavar="NAME", help="Named settings of the model."),
    click.option("--provider", default="vllm", show_default=True, help="Who serves the model."),
    click.option(
        "--max-samples",
        type=click.IntRange(min=1),
        help="Only the first N samples of each task, for trying; kept apart from full results.",
    ),
    click.option("--priority", metavar="P", help="In the scheduler's own scale."),
    click.option(
        "--cuda-visible-devices",
        "devices",
        default="",
        metavar="0,1",
        help="Exactly these GPUs (service local).",
    ),
)


def _with_choices(function: F) -> F:
    for option in reversed(_CHOICES):
        function = option(function)
    return function


def _assemble(context: Context, options: dict[str, Any]) -> Any:
    from hpcjobs.assemble import Choices, assemble

    devices = tuple(part.strip() for part in options["devices"].split(",") if part.strip())
    for device in devices:
        if not device.isdigit() or devices.count(device) > 1:
            raise InputError(
                f"'{device}' in '{','.join(devices)}'",
                where="--cuda-visible-devices",
                expected="indexes as nvidia-smi lists them, each once, such as 0,1",
            )
    return assemble(context.workspace, Choices(**{**options, "devices": devices}))


@click.command()
@_with_choices
@click.option("--predownload/--no-predownload", default=False, help="Fetch the model first.")
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
    **options: Any,
) -> int:
    """Evaluate models: one job for each model and task.

    What is in the queue or done already is left alone, so the same command can be given again.

    \b
    hpcjobs submit --service tsubame --node node_q --model ORG/NAME --dry-run
    hpcjobs submit --service local --node gpu_1 --model ORG/NAME --tasks 'ja_*' --yes --wait
    """
    from hpcjobs.schedulers import live
    from hpcjobs.submit import give_identity

    planned_as = context.workspace.identity
    assembly = _assemble(context, options)
    for note in assembly.notes:
        warn(note)
    if dry_run:
        _pretend_gpus(assembly)
        _show_scripts(assembly, _scripts(assembly, again, every=True), as_json)
        return ExitCode.OK
    live(assembly.service.scheduler)
    assembly.require_ready()
    scripts = _scripts(assembly, again)
    assembly.personal.require_nothing_missing()  # rendering has found that out
    give_identity(context.workspace)  # nothing is written before all is right
    if context.workspace.identity != planned_as:  # the jobs' ids come of it
        assembly = _assemble(context, options)
        scripts = _scripts(assembly, again)
    if not as_json:
        _show_plan([script.attempt for script in scripts], len(assembly.jobs) - len(scripts))
    if scripts and not yes and not _confirmed(len(scripts), as_json):
        click.echo("nothing was submitted", err=True)
        return ExitCode.INTERRUPTED
    if predownload:
        from hpcjobs.predownload import predownload as download

        for directory in download(assembly):
            click.echo(f"downloaded to {directory}", err=True)
    return _submit(context, assembly, again, wait, as_json)


def _scripts(assembly: Any, again: bool, every: bool = False) -> list[Any]:
    """The scripts of the jobs that would be submitted, or of `every` job."""
    from hpcjobs.store import load
    from hpcjobs.submit import next_attempt, wanted

    records = load(assembly.workspace.journal).jobs
    chosen = [job for job in assembly.jobs if every or wanted(records.get(job.id), again)]
    attempts = [next_attempt(assembly.workspace, records.get(job.id), job) for job in chosen]
    return [assembly.renderer.render(attempt) for attempt in attempts]


def _pretend_gpus(assembly: Any) -> None:
    """Where scripts are only shown, let this machine have the GPUs that its node names."""
    there, needed = len(assembly.renderer.devices), assembly.node.gpus
    if assembly.service.scheduler == "local" and there < needed:
        warn(f"{assembly.node.name} needs {needed} GPU(s); this machine shows {there}")
        assembly.renderer.devices = tuple(str(index) for index in range(needed))


def _submit(context: Context, assembly: Any, again: bool, wait: bool, as_json: bool) -> int:
    from hpcjobs.submit import Outcome
    from hpcjobs.submit import submit as submit_jobs

    native_ids: dict[str, str] = {}

    def report(attempt: Attempt, native_id: str) -> None:
        native_ids[attempt.label] = native_id
        if not as_json:
            keys = ",".join(task.key for task in attempt.job.tasks)
            click.echo(
                f"{signed('queue', context.emoji)}  {attempt.label}  {native_id}  "
                f"{keys}  {attempt.job.model}"
            )

    outcome: Outcome = submit_jobs(
        assembly.workspace,
        assembly.service,
        assembly.renderer,
        assembly.jobs,
        again=again,
        report=report,
    )
    code = _explain(outcome, as_json)
    if as_json and not (wait and code == ExitCode.OK):  # else the waiting prints it
        print_json(_outcome_json(outcome, native_ids))
    if code == ExitCode.OK and wait:
        from hpcjobs.cli.status import wait_for

        code = wait_for(context, [job.id for job in assembly.jobs], None, as_json)
    elif outcome.submitted and not as_json:
        first = outcome.submitted[0].job.id
        click.echo(f"next: hpcjobs status | hpcjobs logs {first} -f | hpcjobs cancel {first}")
    return code


def _explain(outcome: Any, as_json: bool) -> int:
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


def _outcome_json(outcome: Any, native_ids: dict[str, str]) -> dict[str, Any]:
    return {
        "submitted": [
            {**_job_json(attempt.job), "attempt": attempt.number,
             "native_id": native_ids[attempt.label]}
            for attempt in outcome.submitted
        ],
        "kept": [{**_job_json(record.job), "state": record.state.value} for record in outcome.kept],
        "refused": [
            {**_job_json(attempt.job), "attempt": attempt.number, "error": error.what}
            for attempt, error in outcome.refused
        ],
        "left": [_job_json(job) for job in outcome.left],
        "interrupted": outcome.interrupted,
        "unanswered": outcome.unanswered.what if outcome.unanswered else None,
    }  # fmt: skip


def _job_json(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "model": job.model,
        "provider": job.provider,
        "settings": job.settings_name,
        "tasks": [task.key for task in job.tasks],
        "service": job.service,
        "node": job.node,
        "walltime": format_duration(job.walltime),
    }


def _show_plan(attempts: list[Attempt], left_alone: int) -> None:
    rows = [
        (
            attempt.label,
            ",".join(task.key for task in attempt.job.tasks),
            attempt.job.model,
            attempt.job.settings_name or "-",
            f"{attempt.job.service}/{attempt.job.node}",
            format_duration(attempt.job.walltime),
        )
        for attempt in attempts
    ]
    if rows:
        click.echo(table(rows, ("job", "task", "model", "settings", "where", "walltime")))
    total = sum(attempt.job.walltime for attempt in attempts)
    click.echo(
        f"{len(attempts)} job(s) to submit, {format_duration(total)} asked for in all"
        + (f"; {left_alone} in the queue or done already, left alone" if left_alone else "")
    )


def _confirmed(count: int, as_json: bool) -> bool:
    if as_json or not interactive():
        raise InputError(
            f"{count} job(s) would be submitted, and nobody is there to be asked",
            do="add --yes (or --dry-run to see them first)",
        )
    return click.confirm("Submit?", default=True, err=True)


def _show_scripts(assembly: Any, scripts: list[Any], as_json: bool) -> None:
    for name in assembly.personal.missing:
        warn(f"{name} is not set in {assembly.workspace.env_file}: shown as {name}_NOT_SET")
    if as_json:
        print_json(
            {
                "jobs": [
                    {
                        **_job_json(script.attempt.job),
                        "attempt": script.attempt.number,
                        "name": script.name,
                        "path": str(script.path),
                        "argv": list(script.argv),
                        "script": script.text,
                    }
                    for script in scripts
                ]
            }
        )
        return
    for script in scripts:
        click.echo(f"==> {script.path}")
        click.echo(script.text)
    for script in scripts:
        click.echo(f"would run: {script.command}")
    _show_plan([script.attempt for script in scripts], 0)


@click.command()
@_with_choices
@click.option(
    "--output-dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the scripts are written, one NAME.sh a job.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def render(context: Context, /, *, output_dir: Path, as_json: bool, **options: Any) -> int:
    """Write the scripts that `submit` would submit, without a scheduler; for reading and for CI."""
    from hpcjobs.render import write_script

    assembly = _assemble(context, options)
    for note in assembly.notes:
        warn(note)
    _pretend_gpus(assembly)
    scripts = [assembly.renderer.render(Attempt(job, 1)) for job in assembly.jobs]
    for name in assembly.personal.missing:
        warn(f"{name} is not set in {assembly.workspace.env_file}: shown as {name}_NOT_SET")
    make_directory(output_dir)
    for script in scripts:
        write_script(script, output_dir / f"{script.name}.sh")
    if as_json:
        print_json(
            {
                "scripts": [
                    {**_job_json(script.attempt.job), "path": str(output_dir / f"{script.name}.sh"),
                     "submit": list(script.argv)}
                    for script in scripts
                ]
            }
        )  # fmt: skip
    else:
        for script in scripts:
            click.echo(output_dir / f"{script.name}.sh")
    return ExitCode.OK
