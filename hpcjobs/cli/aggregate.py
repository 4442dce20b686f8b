"""`hpcjobs aggregate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.table import table
from hpcjobs.errors import ExitCode, InputError


@click.command()
@click.option(
    "--model", "models", multiple=True, metavar="ORG/NAME", help="Only of this model; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option(
    "--raw-results",
    metavar="DIR",
    help="Read DIR/MODEL/results_*.json, made by others, instead of the workspace's jobs.",
)
@click.option(
    "--output",
    metavar="PATH",
    help="With --raw-results: the directory to write to; with --check: the table.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="With --raw-results: an average that lacks subsets is -1 (else it is shown, and marked).",
)
@click.option(
    "--accept-suspect",
    is_flag=True,
    help="Count results that are suspect, too; the reasons stand beside them.",
)
@click.option(
    "--check",
    is_flag=True,
    help="List what is missing, failed, stale or suspect, and write missing.csv.",
)
@click.option(
    "--tasks",
    multiple=True,
    metavar="KEYS",
    help="With --check: the tasks that each model should have; else all that any was given.",
)
@pass_context
def aggregate(
    context: Context,
    /,
    *,
    models: tuple[str, ...],
    as_json: bool,
    raw_results: str | None,
    output: str | None,
    strict: bool,
    accept_suspect: bool,
    check: bool,
    tasks: tuple[str, ...],
) -> int:
    """Collect the results of the jobs into results/.../aggregated_results.json.

    Ends with 0 if all that was submitted has its values, 1 if one is missing for good, 3 if jobs
    are under way. A result that is not to be trusted does not count, and is named.

    \b
    hpcjobs aggregate
    hpcjobs aggregate --check --tasks ja
    hpcjobs aggregate --raw-results DIR --model hosted_vllm/ORG/NAME --output DIR
    """
    if check and raw_results is not None:
        raise InputError("--check is about the workspace's jobs", where="--raw-results")
    if tasks and not check:
        raise InputError("--tasks goes with --check", where="--tasks")
    if strict and raw_results is None:
        raise InputError("--strict goes with --raw-results", where="--strict")
    if accept_suspect and (check or raw_results is not None):
        other = "--check" if check else "--raw-results"
        raise InputError(f"--accept-suspect does not go with {other}", where="--accept-suspect")
    if raw_results is not None:
        return _raw(context, raw_results, models, output, strict, as_json)
    if check:
        from hpcjobs.cli.check import check_gaps

        return check_gaps(context, models, tasks, output, as_json)
    if output is not None:
        raise InputError("--output goes with --raw-results or --check", where="--output")
    return _of_jobs(context, models, accept_suspect, as_json)


def _of_jobs(context: Context, models: tuple[str, ...], accept_suspect: bool, as_json: bool) -> int:
    from hpcjobs.observe import refresh
    from hpcjobs.results.added_functions import read_table
    from hpcjobs.results.collect import collect
    from hpcjobs.results.report import aggregate_collected, as_document, write_report

    workspace = context.workspace
    metrics, functions = read_table(workspace.find_file("conf", "metrics.yaml"))
    view = refresh(workspace)
    view.store.require_models(models)
    code = ExitCode.OK
    written = []
    for one in collect(workspace, view.store, models, accept_suspect=accept_suspect):
        result = aggregate_collected(metrics, one, functions)
        document = as_document(workspace, metrics, one, result)
        path = write_report(workspace, one, document)
        written.append({"path": str(path), **document})
        if not as_json:
            _show(str(path), document)
        if document["hpcjobs"]["unfinished"]:
            code = ExitCode.NOT_FINISHED
        elif not document["hpcjobs"]["complete"] and code == ExitCode.OK:
            code = ExitCode.SOME_FAILED
    if as_json:
        print_json({"evaluations": written, "warnings": list(view.warnings)})
    elif not written:
        click.echo(f"no jobs in {workspace.root}")
    for warning in view.warnings:
        warn(warning)
    return code


def _raw(
    context: Context,
    root: str,
    models: tuple[str, ...],
    output: str | None,
    strict: bool,
    as_json: bool,
) -> int:
    """Ends with 0; with 1 if there is no result, or a file that may hold one cannot be read."""
    from hpcjobs.files import write_json
    from hpcjobs.results.added_functions import read_table
    from hpcjobs.results.raw_tree import (
        aggregate_tree,
        answers_in_doubt,
        find_tree,
        lost,
        not_counted,
        tree_document,
    )
    from hpcjobs.results.report import FILE_NAME

    if len(models) != 1 or output is None:
        missing = "--output DIR" if len(models) == 1 else "one --model NAME"
        raise InputError(
            f"--raw-results needs {missing}",
            where="--raw-results",
            expected="--raw-results DIR --model NAME --output DIR",
        )
    metrics, functions = read_table(context.workspace.find_file("conf", "metrics.yaml"))
    tree = find_tree(Path(root), models[0])
    document = tree_document(tree, aggregate_tree(metrics, tree, functions, strict=strict))
    path = Path(output, FILE_NAME)
    write_json(path, document)
    notes = [*not_counted(tree), *answers_in_doubt(tree)]
    if as_json:
        evaluation = {"path": str(path), **document}
        print_json({"evaluations": [evaluation], "warnings": notes})
    else:
        _show(str(path), document)
    for note in notes:
        warn(note)
    if not tree.results.files:
        warn(f"no result of {models[0]} in {tree.directory}")
    return ExitCode.OK if tree.results.files and not lost(tree) else ExitCode.SOME_FAILED


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{', '.join(names[:2])}{more}"


def _show(path: str, document: dict[str, Any]) -> None:
    about, settings = document["hpcjobs"], document["custom_settings"]["name"]
    limited = f", first {about['max_samples']} samples only" if about["max_samples"] else ""
    click.echo(f"{document['model']}{' ' + settings if settings else ''}{limited}")
    rows = [
        (f"  {name}", f"{document['results'][name]:.4f}", f"{value['samples'] or '?'} samples")
        for name, value in about["values"].items()
        if name not in about["missing"]
    ]
    if rows:
        click.echo(table(rows))
    titles = ("unfinished", "failed", "suspect")
    for title, group in ((title, about[title]) for title in titles):
        for key, why in group.items():
            click.echo(f"  {title}: {key}: {why}")
            for line in about["evidence"].get(key, ()) if title == "suspect" else ():
                click.echo(f"    {line}")
    if about["evidence"] and not about["accepted_suspect"]:
        click.echo(
            "  see them: hpcjobs details TASK --empty; count them: aggregate --accept-suspect"
        )
    for key, why in about["accepted_suspect"].items():
        click.echo(f"  counted, though suspect: {key}: {why}")
    for why in dict.fromkeys(about["missing"].values()):
        if (not why.startswith("no result for ") or ";" in why) and ": suspect: " not in why:
            names = [name for name, one in about["missing"].items() if one == why]
            click.echo(f"  missing: {_some(names)}: {why}")
    if about["missing"]:
        click.echo(f"  {len(about['missing'])} of {len(document['results'])} values missing (-1)")
    click.echo(f"  {path}")
