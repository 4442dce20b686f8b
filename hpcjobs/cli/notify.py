"""`hpcjobs notify`; and what `status` and `wait` do when they have seen jobs end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.errors import ExitCode, HpcjobsError, InputError

if TYPE_CHECKING:
    from hpcjobs.store import Store


def notify_ends(context: Context, store: Store) -> None:
    """Tell what has ended, where conf/notify.yaml says so; a failure is a warning, no more."""
    if not (context.workspace.root / "conf" / "notify.yaml").is_file():
        return
    from hpcjobs.notify.telling import tell

    try:
        _, warnings = tell(context.workspace, store)
    except HpcjobsError as error:
        warnings = [f"nobody is told: {error.where or 'conf/notify.yaml'}: {error.what}"]
    except OSError as error:
        warnings = [f"nobody is told: {error.strerror or error}"]
    for warning in warnings:
        if warning not in context.warned:
            context.warned.add(warning)
            warn(warning)


@click.command()
@click.option("--test", "is_test", is_flag=True, help="Send a test by every way that is set.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def notify(context: Context, is_test: bool, as_json: bool) -> int:
    """Tell who wants to know that jobs have ended, as conf/notify.yaml says.

    `status` and `wait` do so by themselves; this is for cron and for trying it out.
    """
    from hpcjobs.notify.telling import notify_file, tell, tell_test
    from hpcjobs.observe import refresh

    workspace = context.workspace
    if not notify_file(workspace).is_file():
        raise InputError(
            "nobody wants to know",
            where=f"{notify_file(workspace)}, which does not exist",
            expected="on: [failed, all_done], and command, webhook or mail (docs/upkeep.md)",
        )
    if is_test:
        found = tell_test(workspace)
        if as_json:
            print_json({"channels": {name: {"sent": not why, "why": why or None}
                                     for name, why in found.items()}})  # fmt: skip
        else:
            for name, why in found.items():
                click.echo(f"{name}: {why or 'sent'}")
        return ExitCode.SOME_FAILED if any(found.values()) else ExitCode.OK
    view = refresh(workspace)
    sent, warnings = tell(workspace, view.store)
    for warning in (*view.warnings, *warnings):
        warn(warning)
    if as_json:
        print_json({"sent": sent, "warnings": warnings})
    else:
        click.echo(f"told by {', '.join(sent)}" if sent else "nothing was to be told")
    return ExitCode.SOME_FAILED if warnings else ExitCode.OK
