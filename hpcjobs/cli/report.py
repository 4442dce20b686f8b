"""`hpcjobs report`."""

from __future__ import annotations

import time
from decimal import Decimal
from functools import cache
from pathlib import Path

import click

from hpcjobs.cli.chosen import Chosen, chosen_scores, with_trials, write_new
from hpcjobs.cli.context import Context, pass_context
from hpcjobs.errors import ExitCode


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@with_trials
@click.option("--output", default="report.html", show_default=True, metavar="FILE")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@click.option("--title", default="Evaluation results", show_default=True, metavar="TEXT")
@pass_context
def report(
    context: Context,
    models: tuple[str, ...],
    trials: bool,
    output: str,
    overwrite: bool,
    title: str,
) -> int:
    """Write one HTML page of all models, or of these: a leaderboard, plots, and every value.

    The page needs no network and no other file. It shows what `hpcjobs aggregate` has written.
    """
    from hpcjobs.results.html_report import Page, render_page
    from hpcjobs.results.standard_errors import standard_errors

    chosen = chosen_scores(context, models, trials)
    workspace = context.workspace
    page = Page(
        evaluations=chosen.evaluations,
        table=chosen.table,
        errors=[
            standard_errors(one, chosen.table, [workspace.root, Path()])
            for one in chosen.evaluations
        ],
        spent=cache(lambda label: _spent(context, chosen, label)),
        made_at=time.strftime("%Y-%m-%d %H:%M %Z"),
        title=title,
        late=chosen.outdated,
        shown=workspace.shown,
    )
    text = render_page(page, workspace.layers("templates"))
    write_new(Path(output), text.encode(), overwrite)
    count = len(chosen.evaluations)
    click.echo(f"{output}: {count} evaluation{'' if count == 1 else 's'}")
    return ExitCode.OK


def _spent(context: Context, chosen: Chosen, label: str) -> tuple[Decimal, str] | None:
    """What the attempt `ID-NN` cost, if it is of this workspace."""
    from hpcjobs.spending import attempt_spent

    job, _, number = label.rpartition("-")
    record = chosen.store.jobs.get(job)
    for attempt in record.attempts if record else []:
        if f"{attempt.number:02d}" == number:
            return attempt_spent(context.workspace, record, attempt) if record else None
    return None
