"""What a result file of lighteval says.

0.8 (also Swallow's fork) writes keys `suite|task:subset|fewshots`, and the same without `|fewshots`
in config_tasks; 0.13 writes `task:subset|fewshots` in both, and -1 for every number of samples.
Only what is named here is taken: config_general also holds the API key, in clear.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from hpcjobs.results.result_file import (
    Content,
    Entry,
    ForeignError,
    ResultError,
    count,
    duration,
    finite,
    mapping,
    metric_values,
    split_subset,
)

_STDERR = "_stderr"


def read(document: Mapping[str, Any], known: Container[str] = ()) -> Content:
    """What the file's JSON object says; averages over tasks are left out, and tasks that are known.

    Raises:
        ResultError: a part is missing or of another shape, or no task is there.
    """
    if "config_general" not in document:
        raise ForeignError("not a result of lighteval: config_general is missing")
    general = mapping(document["config_general"], "config_general")
    configs = mapping(document.get("config_tasks"), "config_tasks")
    results = mapping(document.get("results"), "results")
    entries = tuple(
        _entry(task, mapping(values, "the result of", task), configs)
        for task, values in results.items()
        if task not in known and not _is_average(task)
    )
    if not entries and all(map(_is_average, results)):
        raise ResultError("it holds no results")
    return Content(
        model=_model(general),
        entries=entries,
        version=_version(general),
        seconds=_seconds(general),
        limit=finite(general.get("max_samples")),
        generation=_generation(general),
    )


def _is_average(task: str) -> bool:
    """Whether the key is of an average that lighteval adds: `all`, `task:_average|0`."""
    return task == "all" or split_subset(task)[1].split(":")[-1] == "_average"


def _entry(task: str, values: Mapping[str, Any], configs: Mapping[str, Any]) -> Entry:
    metrics, faults = metric_values(
        {name: value for name, value in values.items() if not name.endswith(_STDERR)}, task
    )
    stderrs = {
        name.removesuffix(_STDERR): number
        for name, value in values.items()
        if name.endswith(_STDERR) and (number := finite(value)) is not None
    }
    config = configs.get(task, configs.get(task.rpartition("|")[0]))
    if not isinstance(config, dict):
        return Entry(task, metrics, stderrs, faults=faults)
    return Entry(
        task,
        metrics,
        stderrs,
        samples=count(config.get("effective_num_docs")),
        original=count(config.get("original_num_docs")),
        answer_tokens=count(config.get("generation_size")),
        faults=faults,
    )


def _model(general: Mapping[str, Any]) -> str:
    model = general.get("model_name")
    if model is None and isinstance(general.get("model_config"), dict):
        model = general["model_config"].get("model_name")
    if not isinstance(model, str) or not model:
        raise ForeignError("config_general does not name the model")
    return model


def _generation(general: Mapping[str, Any]) -> Mapping[str, Any]:
    given = general.get("generation_parameters")
    if given is None and isinstance(general.get("model_config"), dict):
        given = general["model_config"].get("generation_parameters")
    return given if isinstance(given, dict) else {}


def _version(general: Mapping[str, Any]) -> str | None:
    """The commit of lighteval, which is `?` unless it ran from a checkout."""
    sha = general.get("lighteval_sha")
    return sha if isinstance(sha, str) and sha not in ("", "?") else None


def _seconds(general: Mapping[str, Any]) -> float | None:
    """lighteval's start and end are not times of day, but their difference is in seconds."""
    if "total_evaluation_time_secondes" in general:
        return duration(general["total_evaluation_time_secondes"])
    start, end = finite(general.get("start_time")), finite(general.get("end_time"))
    return None if start is None or end is None else duration(end - start)
