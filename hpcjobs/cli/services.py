"""`hpcjobs services list|show|check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.table import table
from hpcjobs.durations import format_duration
from hpcjobs.errors import ExitCode, HpcjobsError

if TYPE_CHECKING:
    from hpcjobs.model import Node, Service


@click.group()
def services() -> None:
    """Where jobs can run: the files of conf/services/."""


@services.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def list_services(context: Context, as_json: bool) -> int:
    """List the services, the workspace's own and the defaults."""
    from hpcjobs.config.services import read_service, service_names
    from hpcjobs.schedulers import LIVE

    found = [read_service(context.workspace, name) for name in service_names(context.workspace)]
    rows = [
        {
            "service": one.name,
            "title": one.title,
            "scheduler": one.scheduler,
            "driven": one.scheduler in LIVE,
            "nodes": list(one.nodes),
        }
        for one in found
    ]
    if as_json:
        print_json({"services": rows})
        return ExitCode.OK
    shown = [
        (
            row["service"],
            row["scheduler"],
            "submits and watches" if row["driven"] else "renders only",
            one.title,
            " ".join(one.nodes),
        )
        for row, one in zip(rows, found, strict=True)
    ]
    click.echo(table(shown, ("service", "scheduler", "hpcjobs", "what", "nodes")))
    return ExitCode.OK


@services.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def show(context: Context, name: str, as_json: bool) -> int:
    """Show one service: its nodes, limits and times."""
    from dataclasses import asdict

    from hpcjobs.config.services import read_service

    service = read_service(context.workspace, name)
    if as_json:
        print_json(asdict(service))
        return ExitCode.OK
    click.echo(f"{service.name}: {service.title} ({service.scheduler}; {service.where})")
    click.echo(
        table(
            [_node_row(node) for node in service.nodes.values()],
            ("node", "GPUs", "cores", "GB", "disk GB", "time from", "price", ""),
        )
    )
    limits = ", ".join(f"{count} {what}" for what, count in service.limits.items()) or "none told"
    click.echo(
        f"walltime at most {format_duration(service.walltime_max)}; limits: {limits}; "
        f"asked every {service.poll_seconds} s at most"
    )
    if service.price is not None:
        factors = ", ".join(f"{key} x{value}" for key, value in service.price.priorities.items())
        click.echo(
            f"price in {service.price.unit}, by {service.price.figure} with the formula "
            f"{service.price.formula}" + (f"; priorities: {factors}" if factors else "")
        )
    return ExitCode.OK


@services.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@pass_context
def check(context: Context, names: tuple[str, ...]) -> int:
    """Check services (default: all): their files, and a script rendered for each of their nodes.

    Ends with 2 if one is wrong. Nothing is asked of a scheduler, and nothing is written.
    """
    from hpcjobs.config.environment import read_personal_values
    from hpcjobs.config.services import read_service, service_names

    for note in read_personal_values(context.workspace.env_file).warnings():
        warn(note)
    wrong = 0
    for name in names or service_names(context.workspace):
        try:
            service = read_service(context.workspace, name)
            for node in service.nodes.values():
                _check_node(context, service, node)
        except HpcjobsError as error:
            wrong += 1
            click.echo(f"{name}: wrong\n  {str(error).replace(chr(10), chr(10) + '  ')}")
        else:
            click.echo(f"{name}: right, {len(service.nodes)} node(s)")
    return ExitCode.USAGE if wrong else ExitCode.OK


def _check_node(context: Context, service: Service, node: Node) -> None:
    """Render the script of every default task for this node, and let bash read one."""
    from hpcjobs.assemble import Choices, assemble
    from hpcjobs.cli.choices import pretend_gpus
    from hpcjobs.model import Attempt
    from hpcjobs.render import check_script

    provider, model = ("vllm", "org/name") if node.gpus else ("openai", "openai/name")
    choices = Choices(service.name, node.name, [model], provider=provider)
    assembly = assemble(context.workspace, choices)
    pretend_gpus(assembly, quiet=True)
    scripts = [assembly.renderer.render(Attempt(job, 1)) for job in assembly.jobs]
    check_script(scripts[0])


def _node_row(node: Node) -> tuple[object, ...]:
    price = ", ".join(f"{what} {value:g}" for what, value in node.price.items())
    return (
        node.name,
        node.gpus or "-",
        node.cores,
        f"{node.memory_gb:g}",
        f"{node.local_disk_gb:g}" if node.local_disk_gb else "-",
        " or ".join(node.runtime),
        price or "-",
        node.description,
    )
