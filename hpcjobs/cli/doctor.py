"""`hpcjobs doctor`: all that can be checked without submitting anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpcjobs.cli.context import Context, pass_context, print_json
from hpcjobs.cli.table import table
from hpcjobs.errors import ExitCode, InputError, StorageError

if TYPE_CHECKING:
    from hpcjobs.config.environment import PersonalValues
    from hpcjobs.doctor.check import Check, Subject

_SIGNS = {"ok": "✔", "warn": "⚠", "fail": "✘", "skipped": "·"}
_WORDS = {"ok": "ok", "warn": "WARN", "fail": "FAIL", "skipped": "skip"}


@click.command()
@click.option("--service", metavar="NAME", help="Also what this service needs.")
@click.option(
    "--model", "models", multiple=True, metavar="ORG/NAME", help="Also this model. Repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def doctor(context: Context, service: str | None, models: tuple[str, ...], as_json: bool) -> int:
    """Check all that can be checked without submitting anything, and say what to do.

    Nothing is spent, nothing is left behind. Ends with 1 if something failed; warnings do not
    count.
    """
    from hpcjobs.doctor.check import examine
    from hpcjobs.doctor.looks import looks

    subject, broken = _subject(context, service, models)
    found = [*broken, *examine(subject, looks(subject))]
    failed = any(check.state.value == "fail" for check in found)
    if as_json:
        checks = [
            {"name": one.name, "state": one.state.value, "what": one.what, "do": one.do or None}
            for one in found
        ]
        print_json({"ok": not failed, "service": service, "checks": checks})
    else:
        _show(found, context.emoji)
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _subject(
    context: Context, service: str | None, models: tuple[str, ...]
) -> tuple[Subject, list[Check]]:
    """What is to be examined, and what is wrong already.

    Raises:
        InputError: a name is unknown, or the service's file is wrong.
    """
    from hpcjobs.config.services import read_service
    from hpcjobs.doctor.check import Subject, fail
    from hpcjobs.doctor.personal import expand_service
    from hpcjobs.plan import check_model_name

    for model in models:
        check_model_name(model)
    chosen = read_service(context.workspace, service) if service else None
    broken = []
    try:
        personal = _personal(context)
    except (InputError, StorageError) as error:
        where = f"{error.where}: " if error.where else ""
        broken.append(fail(".env", f"{where}{error.what}", error.do or "mend that file"))
        personal = _nothing_personal(context)
    subject = Subject(context.workspace, personal, chosen, models)
    expand_service(subject)
    return subject, broken


def _personal(context: Context) -> PersonalValues:
    from hpcjobs.config.environment import read_personal_values

    return read_personal_values(context.workspace.env_file)


def _nothing_personal(context: Context) -> PersonalValues:
    from hpcjobs.config.environment import PersonalValues

    return PersonalValues(context.workspace.env_file, {})


def _show(found: list[Check], emoji: bool) -> None:
    """A line a check; below one that is not well, what to do."""
    signs = _SIGNS if emoji else _WORDS
    lines = table((signs[one.state.value], one.name, one.what) for one in found).splitlines()
    indent = "  " if emoji else "      "
    for check, line in zip(found, lines, strict=True):
        click.echo(line)
        if check.do:
            click.echo(f"{indent} do: {check.do.removeprefix('do: ')}")
    counts = {
        state: sum(one.state.value == state for one in found)
        for state in ("ok", "warn", "fail", "skipped")
    }
    click.echo(
        f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed, "
        f"{counts['skipped']} not checked"
    )
