"""The choices that `submit` and `render` share, and how the jobs that they mean are shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcjobs.cli.context import Context, print_json, warn
from hpcjobs.cli.table import keys_of, table
from hpcjobs.durations import format_duration
from hpcjobs.errors import InputError
from hpcjobs.model import Attempt, Job, Service

if TYPE_CHECKING:
    from hpcjobs.assemble import Assembly
    from hpcjobs.queueing import Packing
    from hpcjobs.render import Script

F = TypeVar("F", bound=Callable[..., Any])

_TARGET = (
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
)
_CHOICES = (
    *_TARGET,
    click.option(
        "--max-samples",
        type=click.IntRange(min=1),
        help="Only the first N samples of each task, for trying; kept apart from full results.",
    ),
    click.option(
        "--predownload/--no-predownload",
        default=False,
        help="Fetch models and data sets first; see `hpcjobs predownload`.",
    ),
    click.option(
        "--pack", is_flag=True, help="Several tasks of a model in one job, behind one server."
    ),
    click.option(
        "--pack-walltime",
        metavar="HH:MM:SS",
        help="A packed job asks for this at most; else for what the service allows. Means --pack.",
    ),
    click.option(
        "--pack-at-once",
        type=click.IntRange(min=1, max=16),
        metavar="N",
        help="So many tasks of it ask the server at the same time; else 1. Means --pack.",
    ),
    click.option("--priority", metavar="P", help="In the scheduler's own scale."),
    click.option("--reservation", default="", metavar="ID", help="Run in this reservation."),
    click.option("--mail", default="", metavar="ADDRESS", help="The scheduler writes on the end."),
    click.option("--trial", is_flag=True, help="A free, short run without a group (TSUBAME)."),
    click.option(
        "--scheduler-option",
        "scheduler_options",
        multiple=True,
        metavar="NAME=VALUE",
        help="One more word for the scheduler, such as q=prior; repeatable.",
    ),
    click.option(
        "--cuda-visible-devices",
        "devices",
        default="",
        metavar="0,1",
        help="Exactly these GPUs (service local).",
    ),
)


def with_choices(function: F) -> F:
    """The options of these choices, for a command."""
    return _with(_CHOICES, function)


def with_target(function: F) -> F:
    """Those of them that say what is evaluated, and where."""
    return _with(_TARGET, function)


def _with(options: Sequence[Callable[[F], F]], function: F) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def assembled(context: Context, options: dict[str, Any]) -> Assembly:
    """What these choices mean.

    Raises:
        InputError: a name is unknown, or a file is wrong.
    """
    from hpcjobs.assemble import Choices, assemble
    from hpcjobs.queueing import Queueing

    options = dict(options)  # it is read again where the plan is made again
    given = options.pop("devices")
    devices = tuple(part.strip() for part in given.split(",") if part.strip())
    for device in devices:
        if not device.isdigit() or devices.count(device) > 1:
            raise InputError(
                f"'{device}' in '{','.join(devices)}'",
                where="--cuda-visible-devices",
                expected="indexes as nvidia-smi lists them, each once, such as 0,1",
            )
    further: dict[str, str] = {}
    for option in options.pop("scheduler_options"):
        name, _, value = option.partition("=")
        further[name] = value
    queueing = Queueing(
        **{name: options.pop(name) for name in ("priority", "reservation", "mail", "trial")},
        options=further,
        devices=devices,
    )
    packing = _packing(options)
    return assemble(context.workspace, Choices(**options, queueing=queueing, packing=packing))


def _packing(options: dict[str, Any]) -> Packing | None:
    """Taken out of the options: how jobs are packed, if at all."""
    from hpcjobs.durations import parse_duration
    from hpcjobs.queueing import Packing

    asked, walltime = options.pop("pack"), options.pop("pack_walltime")
    at_once = options.pop("pack_at_once")
    if not asked and walltime is None and at_once is None:
        return None
    try:
        seconds = parse_duration(walltime) if walltime is not None else None
    except ValueError as error:
        raise InputError(
            str(error), where="--pack-walltime", expected="HH:MM:SS, such as 12:00:00"
        ) from None
    return Packing(seconds, at_once or 1)


def pretend_gpus(assembly: Assembly, *, quiet: bool = False) -> None:
    """Where scripts are only shown, let this machine have the GPUs that its node names."""
    there, needed = len(assembly.renderer.devices), assembly.node.gpus
    if assembly.service.scheduler == "local" and there < needed:
        if not quiet:
            warn(f"{assembly.node.name} needs {needed} GPU(s); this machine shows {there}")
        assembly.renderer.devices = tuple(str(index) for index in range(needed))


def warn_of_missing(assembly: Assembly) -> None:
    """Name the personal values that the rendered scripts lack."""
    for name in assembly.personal.missing:
        warn(f"{name} is not set in {assembly.workspace.env_file}: shown as {name}_NOT_SET")


def show_plan(service: Service, attempts: list[Attempt], left_alone: int, saved: str = "") -> None:
    """A table of the attempts, and what they ask for and cost in all."""
    from hpcjobs.cli.prices import price_cell, price_header, price_lines

    rows = [
        (
            attempt.label,
            keys_of(attempt.job.tasks),
            attempt.job.model,
            attempt.job.settings_name or "-",
            f"{attempt.job.service}/{attempt.job.node}",
            format_duration(attempt.job.walltime),
            *price_cell(service, attempt.job),
        )
        for attempt in attempts
    ]
    if rows:
        header = ("job", "task", "model", "settings", "where", "walltime")
        click.echo(table(rows, (*header, *price_header(service))))
    total = sum(attempt.job.walltime for attempt in attempts)
    click.echo(
        f"{len(attempts)} job(s) to submit, {format_duration(total)} asked for in all"
        + (f"; {left_alone} in the queue or done already, left alone" if left_alone else "")
    )
    for line in filter(None, (saved, *price_lines(service, [one.job for one in attempts]))):
        click.echo(line)


def show_scripts(
    assembly: Assembly, scripts: list[Script], as_json: bool, left_alone: Collection[str] = ()
) -> None:
    """All scripts in full, and the commands that would submit them; not those left alone (ids)."""
    warn_of_missing(assembly)
    service = assembly.service
    if as_json:
        print_json(scripts_json(service, scripts, left_alone))
        return
    for script in scripts:
        click.echo(f"==> {script.path}")
        click.echo(script.text)
    for script in scripts:
        job = script.attempt.job
        if job.id in left_alone:
            keys = keys_of(job.tasks)
            click.echo(f"left alone, in the queue or done already: {job.id}  {keys}  {job.model}")
        else:
            click.echo(f"would run: {script.command}")
    chosen = [script.attempt for script in scripts if script.attempt.job.id not in left_alone]
    show_plan(service, chosen, len(scripts) - len(chosen), assembly.saved)


def scripts_json(
    service: Service, scripts: list[Script], left_alone: Collection[str] = ()
) -> dict[str, Any]:
    """Scripts, and the price of those not left alone, as plain values, for `--json`."""
    from hpcjobs.cli.prices import total_json

    jobs = [script.attempt.job for script in scripts]
    return {
        "price": total_json(service, [job for job in jobs if job.id not in left_alone]),
        "jobs": [
            {
                **job_json(script.attempt.job, service),
                "left_alone": script.attempt.job.id in left_alone,
                "attempt": script.attempt.number,
                "name": script.name,
                "path": str(script.path),
                "argv": list(script.argv),
                "script": script.text,
            }
            for script in scripts
        ],
    }


def job_json(job: Job, service: Service) -> dict[str, Any]:
    """A job and its price as plain values, for `--json`."""
    from hpcjobs.cli.prices import price_json
    from hpcjobs.price import price_of

    return {
        "job": job.id,
        "model": job.model,
        "provider": job.provider,
        "settings": job.settings_name,
        "tasks": [task.key for task in job.tasks],
        "service": job.service,
        "node": job.node,
        "walltime": format_duration(job.walltime),
        "price": price_json(price_of(service, job)),
    }
