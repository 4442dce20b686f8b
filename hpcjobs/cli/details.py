"""`hpcjobs details`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcjobs.cli.context import Context, pass_context, print_json
from hpcjobs.cli.sample_pages import Counts, pages, sample_json, show, write_samples
from hpcjobs.errors import ExitCode, InputError, printable, unknown

if TYPE_CHECKING:
    from hpcjobs.results.sample import Sample
    from hpcjobs.results.samples import SampleFile
    from hpcjobs.store import Store
    from hpcjobs.workspace import Workspace

SHOWN = 10
"""Samples on the terminal, where --limit does not say."""
CUT = 600
"""Characters of a prompt or an answer there, without --full."""
FORMATS = (".jsonl", ".csv")


@click.command()
@click.argument("what", metavar="JOB|TASK|PATH")
@click.option("--wrong", is_flag=True, help="Only those whose score is below 1.")
@click.option("--empty", is_flag=True, help="Only those with no answer, or a blank one.")
@click.option("--longest", type=click.IntRange(min=1), metavar="N", help="The N longest answers.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N samples.")
@click.option("--metric", metavar="NAME", help="The score that tells right from wrong.")
@click.option("--model", metavar="ORG/NAME", help="Of a TASK: of this model.")
@click.option("--settings", metavar="NAME", help="Of a TASK: under these settings.")
@click.option("--attempt", type=click.IntRange(min=1), help="Of a JOB; default: the latest.")
@click.option("--output", metavar="FILE", help="Write them all to FILE.jsonl or FILE.csv.")
@click.option("--full", is_flag=True, help="Do not shorten long texts.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def details(
    context: Context,
    /,
    *,
    what: str,
    wrong: bool,
    empty: bool,
    longest: int | None,
    limit: int | None,
    metric: str | None,
    model: str | None,
    settings: str | None,
    attempt: int | None,
    output: str | None,
    full: bool,
    as_json: bool,
) -> int:
    """Show single samples of an evaluation: prompt, answers, gold, score.

    \b
    hpcjobs details ja_mmlu --model ORG/NAME --wrong
    hpcjobs details m3k --empty --output empty.jsonl
    """
    from hpcjobs.results import samples

    if output is not None and Path(output).suffix not in FORMATS:
        raise InputError(
            f"what should {printable(output)} be?",
            where="--output",
            expected=f"a name that ends in {' or '.join(FORMATS)}",
        )
    files, metrics = _files(context, what, model, settings, attempt)
    metrics = [metric] if metric else metrics
    counts = Counts()
    conditions: list[Callable[[Sample], bool]] = []
    if metric:
        conditions.append(lambda one: _has(one, metric))
    if wrong:
        conditions.append(lambda one: samples.is_wrong(one, metrics))
    if empty:
        conditions.append(lambda one: one.empty)
    found: Iterable[Sample] = counts.matching(
        samples.matching(counts.read(samples.read_samples(files)), conditions)
    )
    if longest is not None:
        kept = samples.Longest(longest)
        for one in found:
            kept.add(one)
        found = kept
    if limit is None and output is None and longest is None:
        limit = SHOWN
    chosen = islice(found, limit)
    if output is not None:
        written = write_samples(Path(output), chosen, metrics)
        if as_json:
            print_json({"path": output, "samples": written})
        else:
            click.echo(f"{written} samples written to {output}")
        return ExitCode.OK
    if as_json:
        shown = [sample_json(one, metrics) for one in chosen]
        counts.finish(found)
        print_json({"samples": shown, "matching": counts.matched, "read": counts.all})
        return ExitCode.OK
    show(pages(chosen, found, counts, metrics, None if full else CUT))
    return ExitCode.OK


def _has(sample: Sample, metric: str) -> bool:
    if metric in sample.scores:
        return True
    raise InputError(
        f"sample {sample.id} of {printable(sample.task)} has no metric {printable(metric)}",
        where="--metric",
        expected=f"one of: {', '.join(sample.scores) or 'it has none'}",
    )


# ---- Which files ---------------------------------------------------------------------------------


def _files(
    context: Context, what: str, model: str | None, settings: str | None, attempt: int | None
) -> tuple[list[SampleFile], list[str]]:
    """The files of samples, and the metrics of the table that are made of them."""
    from hpcjobs.config.metrics import read_metrics
    from hpcjobs.results.samples import find_sample_files
    from hpcjobs.store import load

    workspace = context.workspace
    store = load(workspace.journal)
    tasks = {task.key for record in store.jobs.values() for task in record.job.tasks}
    if what not in tasks:
        if os.sep not in what:
            _require_known(workspace, store, tasks, what)
        _refuse({"--model": model, "--settings": settings}, "a task, which is a key")
    if what not in tasks or attempt is not None:
        if what in tasks:
            raise InputError("--attempt goes with a job", where="--attempt")
        directory = _directory(workspace, store, what, attempt)
    else:
        directory = _of_task(workspace, store, what, model, settings)
    files = find_sample_files(directory)
    if not files:
        raise InputError(
            f"no samples in {directory}",
            where="details",
            expected="details_*.parquet of lighteval (--save-details) or samples_*.jsonl of "
            "lm_eval (--log_samples)",
        )
    table = read_metrics(workspace.find_file("conf", "metrics.yaml"))
    names = [name for metric in table.metrics for name in metric.metrics]
    return files, list(dict.fromkeys(names))


def _refuse(options: dict[str, str | None], expected: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name} goes with {expected}", where=name)


def _directory(workspace: Workspace, store: Store, what: str, attempt: int | None) -> Path:
    """The results of a job's attempt, or a path."""
    path = Path(what)
    if os.sep in what:
        if not path.exists():
            raise InputError(f"no such directory: {what}")
        return path
    record = store.find(what)
    numbers = [one.number for one in record.attempts]
    number = attempt or (numbers[-1] if numbers else 0)
    if number not in numbers:
        raise InputError(
            f"{record.job.id} has no attempt {number}",
            expected=f"one of: {', '.join(map(str, numbers)) or 'none was submitted'}",
        )
    return workspace.attempt(record.job.id, number) / "results"


def _require_known(workspace: Workspace, store: Store, tasks: set[str], what: str) -> None:
    """Refuse what is no submitted task if it is not the beginning of a job's id either.

    Raises:
        InputError: so it is.
    """
    from hpcjobs.config.groups import read_task_table

    beginning = what.strip().lower().partition("-")[0]
    if beginning and any(key.startswith(beginning) for key in store.jobs):
        return
    if what in read_task_table(workspace)[0]:
        raise InputError(
            f"no job of the task {what} was submitted",
            do="see what was with: hpcjobs status --all",
        )
    raise unknown(
        "task or job",
        what,
        {*tasks, *store.jobs},
        do="see them with: hpcjobs status --all; a directory is given as DIR/",
    )


def _of_task(
    workspace: Workspace, store: Store, key: str, model: str | None, settings: str | None
) -> Path:
    """Where the result of a task lies that counts."""
    from hpcjobs.results.collect import collect

    found = {}
    for one in collect(workspace, store, (model,) if model else (), accept_suspect=True):
        evaluation = one.evaluation
        if settings is not None and evaluation.settings_name != settings:
            continue
        for standing in one.standings:
            if standing.task.key == key and standing.done and standing.attempt is not None:
                attempt = workspace.attempt(standing.job.id, standing.attempt.number)
                name = f"{evaluation.model} {evaluation.subdirectory}".rstrip()
                name = printable(name)[1:-1]
                label = f"{standing.job.id}-{standing.attempt.number:02d} ({name})"
                run = next(run for run in standing.job.tasks if run.key == key)
                found[label] = attempt / "results" / run.result_dir
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise InputError(
            f"no result of {key} counts"
            + (f" for {model}" if model else "")
            + (f" under the settings {settings}" if settings is not None else ""),
            do="see why with: hpcjobs aggregate; name a job to see what it left all the same",
        )
    raise InputError(
        f"{key} has several results",
        expected=f"one of: {', '.join(sorted(found))}",
        do="add --model and --settings, or name the job",
    )
