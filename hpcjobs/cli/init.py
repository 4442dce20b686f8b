"""`hpcjobs init`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import click

from hpcjobs.errors import ExitCode, InputError
from hpcjobs.files import explained, make_directory
from hpcjobs.workspace import defaults_root

_IGNORED = "/.env\n/jobs/\n"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--templates", is_flag=True, help="Also the script templates (they then no longer update)."
)
def init(directory: Path, templates: bool) -> int:
    """Write a workspace to edit: tables, services, settings and a template for .env.

    Nothing that is there is overwritten.
    """
    names = ["conf", "generation_settings", *(["templates"] if templates else [])]
    for name in [*names, ".env_template"]:
        if (directory / name).exists():
            raise InputError(
                f"{directory / name} exists already",
                do="choose another directory, or copy by hand what you miss from "
                f"{defaults_root()}",
            )
    make_directory(directory)
    with explained("write a workspace in", directory):
        _write(directory, names)
    click.echo(f"a workspace is in {directory}; next:")
    click.echo(f"  cd {directory} && cp .env_template .env && chmod 600 .env   # and fill it in")
    click.echo("  edit conf/ and generation_settings/ (template.yaml explains the settings)")
    click.echo("  hpcjobs submit --service ... --node ... --model ORG/NAME --dry-run")
    return ExitCode.OK


def _write(directory: Path, names: list[str]) -> None:
    """Copy all under another name first, so that a full disk leaves nothing half written."""
    with tempfile.TemporaryDirectory(prefix=".init.", dir=directory) as temporary:
        for name in names:
            copied = Path(temporary) / name
            copied.mkdir()
            for path in sorted((defaults_root() / name).rglob("*")):
                if "__pycache__" in path.parts:
                    continue
                to = copied / path.relative_to(defaults_root() / name)
                if path.is_dir():
                    to.mkdir()
                else:
                    shutil.copy(path, to)
        shutil.copy(defaults_root() / ".env_template", temporary)
        (Path(temporary) / ".gitignore").write_text(_IGNORED)
        for name in [*names, ".env_template"]:
            (Path(temporary) / name).rename(directory / name)
        if not (directory / ".gitignore").exists():
            (Path(temporary) / ".gitignore").rename(directory / ".gitignore")
