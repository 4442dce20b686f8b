"""`hpcjobs render`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.choices import (
    assembled,
    job_json,
    pretend_gpus,
    warn_of_missing,
    with_choices,
)
from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.prices import price_lines, total_json
from hpcjobs.errors import ExitCode, InputError
from hpcjobs.files import explained, make_directory
from hpcjobs.model import Attempt

if TYPE_CHECKING:
    from hpcjobs.render import Script


@click.command()
@with_choices
@click.option(
    "--output-dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the scripts are written, one NAME.sh a job.",
)
@click.option("--overwrite", is_flag=True, help="Also files that are there with another content.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def render(
    context: Context,
    /,
    *,
    predownload: bool,
    output_dir: Path,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Write the scripts that `submit` would submit, without a scheduler; for reading and for CI.

    It takes the same choices; nothing is downloaded.
    """
    from hpcjobs.render import write_script

    del predownload  # a choice of `submit`, which a script does not depend on
    assembly = assembled(context, options)
    for note in assembly.notes:
        warn(note)
    assembly.jobs[:] = [one.job for one in assembly.packed(assembly.jobs, {})]
    pretend_gpus(assembly)
    scripts = [assembly.renderer.render(Attempt(job, 1)) for job in assembly.jobs]
    warn_of_missing(assembly)
    make_directory(output_dir)
    written = [(script, output_dir / f"{script.name}.sh") for script in scripts]
    if not overwrite:
        _refuse_other_content(written)
    for script, path in written:
        write_script(script, path)
    jobs = [script.attempt.job for script in scripts]
    if as_json:
        shown = [
            {
                **job_json(script.attempt.job, assembly.service),
                "path": str(path),
                "submit": list(script.argv),
            }
            for script, path in written
        ]
        print_json({"price": total_json(assembly.service, jobs), "scripts": shown})
    else:
        for _, path in written:
            click.echo(path)
        for line in filter(None, (*price_lines(assembly.service, jobs), assembly.saved)):
            click.echo(line, err=True)  # standard output is a list of files
    return ExitCode.OK


def _refuse_other_content(written: list[tuple[Script, Path]]) -> None:
    for script, path in written:
        with explained("read", path):
            if path.exists() and path.read_bytes() != script.text.encode():
                raise InputError(
                    f"{path} is there, with another content",
                    where="--output-dir",
                    do="look at it, then add --overwrite, or choose another directory",
                )
