"""What a result file of lm_eval (0.4) says.

A metric's key is `metric,filter`; keys without a comma (`alias`, `name`, `sample_len`, …) describe
the task. Groups stand among the tasks, some of them without any metric. With `--predict_only`, the
metric of every task is `bypass`, 999: that is no score, and is left out.
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
)

_STDERR = "_stderr"
_NO_METRIC = "bypass"


def read(document: Mapping[str, Any], known: Container[str] = ()) -> Content:
    """What the file's JSON object says; tasks that are known are left out.

    Raises:
        ResultError: a part is missing or of another shape, or no task is there.
    """
    if "config_general" in document or "config" not in document:
        raise ForeignError("not a result of lm_eval")
    results = mapping(document.get("results"), "results")
    entries = []
    for task, values in results.items():
        if task in known:
            continue
        entry = _entry(task, mapping(values, "the result of", task), document)
        if "" not in entry.faults or not _members(document, task):
            entries.append(entry)
    if not entries and not any(task in known for task in results):
        raise ResultError("it holds no results")
    version = document.get("lm_eval_version")
    generation = mapping(document["config"], "config").get("gen_kwargs")
    return Content(
        model=_model(document),
        entries=tuple(entries),
        version=version if isinstance(version, str) else None,
        seconds=duration(document.get("total_evaluation_time_seconds")),
        limit=finite(mapping(document["config"], "config").get("limit")),
        generation=generation if isinstance(generation, dict) else {},
    )


def _entry(task: str, values: Mapping[str, Any], document: Mapping[str, Any]) -> Entry:
    numbers, stderrs, scored = {}, {}, True
    for key, value in values.items():
        name, comma, filter_name = key.partition(",")
        if not comma:
            continue
        if name in (_NO_METRIC, _NO_METRIC + _STDERR):
            scored = False
            continue
        if name.endswith(_STDERR):
            if (number := finite(value)) is not None:  # `N/A` where there is none
                stderrs[name.removesuffix(_STDERR) + comma + filter_name] = number
        else:
            numbers[key] = value
    metrics, faults = metric_values(numbers, task) if numbers or scored else ({}, {})
    return Entry(
        task,
        metrics,
        stderrs,
        samples=_samples(document, task, "effective"),
        original=_samples(document, task, "original"),
        faults=faults,
        members=tuple(_members(document, task)),
    )


def _samples(
    document: Mapping[str, Any], task: str, kind: str, above: frozenset[str] = frozenset()
) -> int | None:
    """How many samples the task has, or all tasks of the group together; None if any is unknown."""
    counts = document.get("n-samples")
    if isinstance(counts, dict) and isinstance(counts.get(task), dict):
        return count(counts[task].get(kind))
    members = _members(document, task)
    if not members or task in above:
        return None
    numbers = [_samples(document, member, kind, above | {task}) for member in members]
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _members(document: Mapping[str, Any], task: str) -> list[str]:
    """The tasks of a group; none for a plain task."""
    groups = document.get("group_subtasks")
    members = groups.get(task) if isinstance(groups, dict) else None
    return [member for member in members if isinstance(member, str)] if members else []


def _model(document: Mapping[str, Any]) -> str:
    """`model_name`, which early 0.4 versions did not write; they had it in the arguments only."""
    model = document.get("model_name")
    if model is None:
        arguments = mapping(document["config"], "config").get("model_args")
        if isinstance(arguments, str):
            arguments = dict(part.partition("=")[::2] for part in arguments.split(","))
        if isinstance(arguments, dict):
            model = arguments.get("model", arguments.get("pretrained"))
    if not isinstance(model, str) or not model:
        raise ForeignError("it does not name the model")
    return model
