"""`hpcjobs aggregate`."""

from __future__ import annotations

from typing import Any

import click

from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.table import table
from hpcjobs.errors import ExitCode, unknown


@click.command()
@click.option("--model", "models", multiple=True, metavar="ORG/NAME", help="Only of this model.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def aggregate(context: Context, models: tuple[str, ...], as_json: bool) -> int:
    """Collect the results of the jobs into results/.../aggregated_results.json.

    Ends with 0 if all that was submitted has its values, 1 if one is missing for good, 3 if jobs
    are under way.
    """
    from hpcjobs.config.metrics import read_metrics
    from hpcjobs.observe import refresh
    from hpcjobs.results.collect import collect
    from hpcjobs.results.report import aggregate_collected, as_document, write_report

    workspace = context.workspace
    metrics = read_metrics(workspace.find_file("conf", "metrics.yaml"))
    view = refresh(workspace)
    known = {record.job.model for record in view.store.jobs.values()}
    for model in models:
        if model not in known:
            raise unknown("model", model, known, where="--model")
    code = ExitCode.OK
    written = []
    for one in collect(workspace, view.store, models):
        document = as_document(workspace, metrics, one, aggregate_collected(metrics, one))
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
    for title, group in (("unfinished", about["unfinished"]), ("failed", about["failed"])):
        for key, why in group.items():
            click.echo(f"  {title}: {key}: {why}")
    for name, why in about["missing"].items():
        if not why.startswith("no result for"):
            click.echo(f"  missing: {name}: {why}")
    if about["missing"]:
        click.echo(f"  {len(about['missing'])} of {len(document['results'])} values missing (-1)")
    click.echo(f"  {path}")
