"""`hpcjobs publish`."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcjobs.cli.chosen import with_trials
from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.errors import ExitCode, HpcjobsError, InputError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--model", "models", multiple=True, metavar="ORG/NAME", help="Only of this model; repeatable."
)
@with_trials
@click.option("--incomplete", is_flag=True, help="Also evaluations that lack values.")
@click.option(
    "--samples", is_flag=True, help="Also the single samples: prompts, answers, gold, scores."
)
@click.option("--replace", is_flag=True, help="Replace what was published there before.")
@click.option(
    "--umask",
    "mask",
    default="027",
    show_default=True,
    metavar="OCTAL",
    help="Rights that others do not get: 027 lets the group read, 007 write too, 022 all read.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def publish(
    context: Context,
    directory: Path,
    models: tuple[str, ...],
    trials: bool,
    incomplete: bool,
    samples: bool,
    replace: bool,
    mask: str,
    as_json: bool,
) -> int:
    """Copy results into a directory that others read: aggregates, raw results, and where from.

    It reads what `hpcjobs aggregate` has written. Giving it again changes nothing; what others put
    there is never written over, and an earlier copy only with --replace.
    """
    from hpcjobs.config.environment import is_secret, read_personal_values
    from hpcjobs.publishing.bundles import bundle
    from hpcjobs.publishing.publish import publish as write
    from hpcjobs.results.choosing import choose
    from hpcjobs.results.freshness import outdated
    from hpcjobs.store import load

    if not re.fullmatch(r"0?[0-7]{3}", mask) or int(mask, 8) & 0o700:
        raise InputError(
            f"{printable(mask)} is no umask", where="--umask", expected="octal, such as 027"
        )
    if not directory.is_dir():
        raise InputError(
            f"no such directory: {directory}",
            where="DIRECTORY",
            do=f"create it, with its group: mkdir {directory} && chgrp GROUP {directory} "
            f"&& chmod 2770 {directory}",
        )
    workspace = context.workspace
    root = directory.resolve()
    store = load(workspace.journal)
    personal = read_personal_values(workspace.env_file)
    secrets = [
        value
        for name, value in (*personal.values.items(), *os.environ.items())
        if is_secret(name) and personal.placeholders.get(name) != value
    ]
    done, problems = [], []
    for one in choose(workspace, models, trials):
        name = workspace.shown(one.path)
        if not one.complete and not incomplete:
            problems.append(f"{name}: it is not complete (publish it so with --incomplete)")
            continue
        if why := outdated(workspace, store, one):
            problems.append(f"{name}: {why}")
            continue
        try:
            content = bundle(workspace, store, one, secrets, samples=samples)
            with _umask(int(mask, 8)):
                found = write(root, content, replace=replace)
        except HpcjobsError as error:
            problems.append(f"{name}: {error}")
            continue
        done.append({
            "directory": str(found.directory), "state": found.state, "model": one.model,
            "settings": one.settings, "files": len(content.files),
            "bytes": content.size, "written": list(found.written),
            "replaced": list(found.replaced), "removed": list(found.removed),
        })  # fmt: skip
        problems += [f"{source}: it has no samples beside it" for source in content.lacking]
        if one.doubts:
            warn(f"{name}: published with what is suspect, as it says: {', '.join(one.doubts)}")
        if not as_json:
            click.echo(f"{found.state}: {found.directory}")
    if as_json:
        print_json({"published": done, "problems": problems})
    about = root.stat()
    if done and not about.st_mode & stat.S_ISGID and about.st_gid != os.getegid():
        warn(f"{root} does not pass its group on: chmod g+s {root}")
    for problem in problems:
        warn(f"not published: {problem}")
    return ExitCode.SOME_FAILED if problems else ExitCode.OK


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
