"""`hpcjobs init`."""

from __future__ import annotations

import shutil
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
    with explained("write in", directory):
        for name in names:
            shutil.copytree(
                defaults_root() / name,
                directory / name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        shutil.copy(defaults_root() / ".env_template", directory / ".env_template")
        if not (directory / ".gitignore").exists():
            (directory / ".gitignore").write_text(_IGNORED)
    click.echo(f"a workspace is in {directory}; next:")
    click.echo(f"  cd {directory} && cp .env_template .env && chmod 600 .env   # and fill it in")
    click.echo("  edit conf/ and generation_settings/ (template.yaml explains the settings)")
    click.echo("  hpcjobs submit --service ... --node ... --model ORG/NAME --dry-run")
    return ExitCode.OK
