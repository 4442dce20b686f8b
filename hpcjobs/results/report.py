"""aggregated_results.json: the numbers, and beside them what they were made from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcjobs import __version__
from hpcjobs.config.metrics import Metric, MetricTable
from hpcjobs.files import write_json
from hpcjobs.markers import read_markers
from hpcjobs.results.aggregate import Aggregate, MetricValue, aggregate, as_json, without_partial
from hpcjobs.results.collect import Collected, Standing
from hpcjobs.results.functions import FUNCTIONS, AggregateFunction
from hpcjobs.workspace import Workspace

FILE_NAME = "aggregated_results.json"


def aggregate_collected(
    table: MetricTable,
    collected: Collected,
    functions: Mapping[str, AggregateFunction] = FUNCTIONS,
) -> Aggregate:
    """The numbers of one evaluation.

    A value that lacks subsets would be the average of something else than its name says: it has no
    value here, and says why.
    """
    files = [file for standing in collected.standings for file in standing.files]
    sets = {metric.set for metric in _asked_for(table, collected)} or None
    return without_partial(aggregate(table, files, sets, functions))


def as_document(
    workspace: Workspace, table: MetricTable, collected: Collected, result: Aggregate
) -> dict[str, Any]:
    """The whole content of aggregated_results.json.

    It is complete if every task that was submitted is done, every value made of them is there, and
    nothing is under way that may change one.
    """
    document = as_json(result, collected.evaluation.name)
    asked_for = [one.name for one in _asked_for(table, collected) if one.name in result.values]
    waiting = [one for one in collected.standings if not one.finished]
    failed = [one for one in collected.standings if not (one.done or one.suspect) and one.finished]
    doubts = {one.task.key: one.doubt for one in collected.standings if one.doubt is not None}
    suspect = [one.task.key for one in collected.standings if one.suspect]
    accepted = {key: one.why for key, one in doubts.items() if key not in suspect}
    whys = {name: value.doubt for name, value in result.values.items() if value.doubt}
    for key in suspect:
        whys[key] = "; ".join(filter(None, (whys.get(key), doubts[key].why)))
    sources = {
        file.path: _Source(one, _server_version(workspace, one))
        for one in collected.standings
        for file in one.files
    }
    document["custom_settings"] = {
        "path": collected.settings_path,
        "name": collected.evaluation.settings_name,
        "version": collected.settings_version,
    }
    document["hpcjobs"] = {
        "version": __version__,
        "complete": not waiting
        and not failed
        and not suspect
        and not any(result.values[name].value is None for name in asked_for),
        "max_samples": collected.evaluation.max_samples,
        "missing": {
            name: _suspect_of(table, name, collected) or value.why or "no result"
            for name, value in result.values.items()
            if value.value is None
        },
        "unfinished": {one.task.key: one.why for one in waiting},
        "failed": {one.task.key: one.why for one in failed},
        "suspect": whys,
        "accepted_suspect": accepted,
        "evidence": {key: list(one.lines) for key, one in doubts.items()},
        "not_in_any_metric": list(result.unused),
        "values": {
            name: _provenance(workspace, sources, value)
            for name, value in result.values.items()
            if value.files
        },
    }
    return document


def _suspect_of(table: MetricTable, name: str, collected: Collected) -> str:
    """Why the task of a metric that has no value is suspect, if it is."""
    for one in collected.standings:
        if one.suspect and any(m.name == name for m in metrics_of(table, [one.task.script])):
            return f"{one.task.key}: {one.why}"
    return ""


def made_from(value: MetricValue, shown: Callable[[Path], str]) -> dict[str, Any]:
    """What a value was made from, as far as its files tell."""
    return {
        "files": [shown(path) for path in value.files],
        "tasks": list(value.tasks),
        "samples": value.samples,
        "at": value.at.isoformat() if value.at else None,
        "seconds": value.seconds,
        "versions": list(value.versions),
    }


def write_report(workspace: Workspace, collected: Collected, document: dict[str, Any]) -> Path:
    """Write the document below the workspace's `results/`, whole; its path."""
    evaluation = collected.evaluation
    directory = workspace.results(
        evaluation.result_prefix, evaluation.model, evaluation.subdirectory
    )
    path = directory / FILE_NAME
    write_json(path, document)
    return path


def metrics_of(table: MetricTable, scripts: Collection[str]) -> list[Metric]:
    """The metrics that are made of the tasks of these script names."""
    return [
        metric
        for metric in table.metrics
        if any(
            _script_of(key) in scripts or _script_of(key).partition(":")[0] in scripts
            for key in metric.tasks
        )
    ]


def _asked_for(table: MetricTable, collected: Collected) -> list[Metric]:
    """The metrics of the tasks that were submitted, evaluated or not."""
    return metrics_of(table, {one.task.script for one in collected.standings})


def _script_of(key: str) -> str:
    """The table's name of a raw task key: `swallow|aime|0`, and `aime|0` of 0.13, are `aime`."""
    parts = key.split("|")
    return parts[1] if len(parts) > 2 else parts[0]


@dataclass(frozen=True)
class _Source:
    """Where a result file comes from."""

    standing: Standing
    server_version: str


def _provenance(
    workspace: Workspace, sources: Mapping[Path, _Source], value: MetricValue
) -> dict[str, Any]:
    by_task = {one.standing.task.key: one for one in (sources[path] for path in value.files)}
    doubts = {key: x.standing.doubt.why for key, x in by_task.items() if x.standing.doubt}
    servers = (one.server_version for one in by_task.values() if one.server_version)
    return {
        **made_from(value, workspace.shown),
        "versions": [*value.versions, *dict.fromkeys(servers)],
        "jobs": [_job_of(one.standing) for one in by_task.values()],
        "settings": {key: dict(one.standing.task.settings) for key, one in by_task.items()},
        **({"suspect": doubts} if doubts else {}),
    }


def _server_version(workspace: Workspace, standing: Standing) -> str:
    """What served the model, as the job told; empty if it did not."""
    if standing.attempt is None:
        return ""
    markers = read_markers(workspace.attempt(standing.job.id, standing.attempt.number))
    return markers.server_version.value if markers.server_version is not None else ""


def _job_of(standing: Standing) -> str:
    number = standing.attempt.number if standing.attempt else 0
    return f"{standing.job.id}-{number:02d} ({standing.job.service}/{standing.job.node})"
