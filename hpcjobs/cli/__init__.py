"""The `hpcjobs` command. Thin: each module parses options, calls, and prints.

Commands are imported when they are used, and heavy libraries where they are needed, so that
`hpcjobs status` on a cold shared disk stays quick.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from hpcjobs import __version__
from hpcjobs.cli.output import ONLY_SHOW, go_on_unheard, throw_away
from hpcjobs.errors import ExitCode, HpcjobsError

_COMMANDS = {
    "aggregate": ("hpcjobs.cli.aggregate", "aggregate", "Collect results."),
    "cancel": ("hpcjobs.cli.cancel", "cancel", "Cancel jobs."),
    "clean": ("hpcjobs.cli.clean", "clean", "Remove what old jobs have left."),
    "compare": ("hpcjobs.cli.compare", "compare", "Set models side by side."),
    "details": ("hpcjobs.cli.details", "details", "Show single samples."),
    "diagnose": ("hpcjobs.cli.diagnose", "diagnose", "Say why jobs failed."),
    "doctor": ("hpcjobs.cli.doctor", "doctor", "Check what can be checked without submitting."),
    "export": ("hpcjobs.cli.export", "export", "Write a table of models and values."),
    "init": ("hpcjobs.cli.init", "init", "Write a workspace to edit."),
    "logs": ("hpcjobs.cli.logs", "logs", "Show what a job has printed."),
    "notify": ("hpcjobs.cli.notify", "notify", "Tell people that jobs have ended."),
    "plan": ("hpcjobs.cli.plan", "plan", "Show what would be submitted, and why."),
    "predownload": ("hpcjobs.cli.predownload", "predownload", "Fetch models and data sets."),
    "publish": ("hpcjobs.cli.publish", "publish", "Copy results into a shared directory."),
    "render": ("hpcjobs.cli.render", "render", "Write job scripts."),
    "report": ("hpcjobs.cli.report", "report", "Write one HTML page of all results."),
    "runtimes": ("hpcjobs.cli.runtimes", "runtimes", "Learn walltimes from ended jobs."),
    "services": ("hpcjobs.cli.services", "services", "List, show and check services."),
    "status": ("hpcjobs.cli.status", "status", "Show how the jobs stand."),
    "submit": ("hpcjobs.cli.submit", "submit", "Submit evaluations as jobs."),
    "sync": ("hpcjobs.cli.sync", "sync", "Bring a campaign one step further."),
    "tasks": ("hpcjobs.cli.tasks", "tasks", "List tasks and groups."),
    "watch": ("hpcjobs.cli.sync", "watch", "Bring a campaign to its end, and show it."),
    "wait": ("hpcjobs.cli.status", "wait", "Wait until jobs have ended."),
}


class _LazyGroup(click.Group):
    """Imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][2]) for name in sorted(_COMMANDS)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS:
            from hpcjobs.errors import unknown

            raise unknown("command", args[0], _COMMANDS, do="see: hpcjobs --help")
        if args and args[0] not in ONLY_SHOW:
            go_on_unheard("stdout")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `| head` has seen enough; click would call that a failure
            throw_away(sys.stdout.fileno())
            return ExitCode.OK


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all is well, 1 something failed, 2 wrong input, 3 not finished, "
    "4 the scheduler does not answer, 5 a file cannot be read or written, 6 locked, "
    "130 interrupted.",
)
@click.version_option(__version__, prog_name="hpcjobs")
@click.option(
    "-w",
    "--workspace",
    metavar="DIR",
    help="The workspace; else $HPCJOBS_WORKSPACE, else the one around the current directory.",
)
@click.option("--no-emoji", is_flag=True, help="Plain ASCII (also by $NO_EMOJI).")
@click.pass_context
def group(ctx: click.Context, workspace: str | None, no_emoji: bool) -> None:
    """Submit, watch and aggregate language-model evaluations on clusters and GPU servers."""
    from hpcjobs import commands
    from hpcjobs.cli.context import Context, can_show_emoji

    commands.on_waiting = _tell_of_waiting()
    plain = no_emoji or os.environ.get("NO_EMOJI") or not can_show_emoji()
    ctx.obj = Context(workspace, emoji=not plain)


def _tell_of_waiting() -> Callable[[str, float], None]:
    """Says once of each program that it does not answer yet."""
    told: set[str] = set()

    def tell(program: str, seconds: float) -> None:
        if program not in told:
            told.add(program)
            click.echo(f"{program} does not answer yet, waiting (at most {seconds:g} s)", err=True)

    return tell


def _open_closed_streams() -> None:
    """After `>&-` what is printed goes nowhere, and no file of ours gets that number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            os.set_inheritable(opened, True)
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with its code; every error for people is printed here, once."""
    _open_closed_streams()
    if isinstance(sys.stdout, TextIOWrapper):  # a name that the terminal cannot show is no failure
        sys.stdout.reconfigure(errors="backslashreplace")
    go_on_unheard("stderr")
    try:
        code = group.main(arguments, standalone_mode=False)
        sys.stdout.flush()
    except HpcjobsError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except OSError as error:  # what we read and write is explained where it is; this is the output
        click.echo(f"error: cannot print: {error.strerror or error}", err=True)
        throw_away(sys.stdout.fileno())
        code = ExitCode.STORAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = ExitCode.INTERRUPTED
    sys.exit(code if isinstance(code, int) else ExitCode.OK)
