"""`hpcjobs export`."""

from __future__ import annotations

from pathlib import Path

import click

from hpcjobs.cli.chosen import chosen_scores, with_trials, write_new
from hpcjobs.cli.context import Context, harmless, pass_context
from hpcjobs.errors import ExitCode, InputError

FORMATS = ("csv", "md", "latex", "json", "parquet")
ENDINGS = {"tex": "latex", "markdown": "md", **{name: name for name in FORMATS}}


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@with_trials
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Else by the file's ending; csv on the terminal.",
)
@click.option("--output", metavar="FILE", help="Else standard output.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@click.option(
    "--missing",
    type=click.Choice(["empty", "-1"]),
    default="empty",
    show_default=True,
    help="What stands for a missing value (md: –, latex: --, json and parquet: null).",
)
@click.option(
    "--rows",
    type=click.Choice(["models", "metrics"]),
    help="What is a row: models in csv, json and parquet; metrics in md and latex.",
)
@pass_context
def export(
    context: Context,
    models: tuple[str, ...],
    trials: bool,
    form: str | None,
    output: str | None,
    overwrite: bool,
    missing: str,
    rows: str | None,
) -> int:
    """Write one table of the values of all models, or of these.

    It reads what `hpcjobs aggregate` has written. Metrics have the order of conf/metrics.yaml. csv,
    json and parquet keep all digits; md and latex show four.
    """
    from hpcjobs.results import tables
    from hpcjobs.results.scores import columns

    form = form or _format_of(output)
    if form == "parquet" and output is None:
        raise InputError("Parquet is not text", where="--format", do="name a file: --output FILE")
    chosen = chosen_scores(context, models, trials)
    table = tables.frame(chosen.evaluations, columns(chosen.evaluations, chosen.table))
    by_metric = (rows or ("metrics" if form in ("md", "latex") else "models")) == "metrics"
    data = tables.FORMATS[form](table, tables.MISSING[missing], by_metric)
    if output is None:
        click.echo(harmless(data.decode()), nl=False)
        return ExitCode.OK
    write_new(Path(output), data, overwrite)
    count = len(chosen.evaluations)
    click.echo(f"{output}: {count} evaluation{'' if count == 1 else 's'}")
    return ExitCode.OK


def _format_of(output: str | None) -> str:
    if output is None:
        return "csv"
    ending = Path(output).suffix.lstrip(".").lower()
    if ending not in ENDINGS:
        raise InputError(
            f"no format is known by the ending of {output}",
            where="--output",
            expected=", ".join(f".{name}" for name in ENDINGS),
            do="or say --format",
        )
    return ENDINGS[ending]
