"""conf/metrics.yaml: which numbers an aggregate has, and from what each is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import Document, read_yaml
from hpcjobs.errors import InputError, printable, unknown

PICK = "pick"
MICRO_AVERAGE = "micro_average"
AVERAGE_IN_ONE_TASK = "average_in_one_task"
AGGREGATES = (PICK, MICRO_AVERAGE, AVERAGE_IN_ONE_TASK)

ENTRY_POINTS = "hpcjobs.metrics"
"""The group of entry points by which installed packages add functions."""

DEFAULT_SET = "default"


@dataclass(frozen=True)
class Metric:
    """One number of an aggregate.

    `tasks` are alternatives, of which a model has results of one at most. `subsets` are the only
    ones that count; where it is empty, all of them do. `expected` are those that must have a result
    for the value to be whole: `subsets`, or else all that other metrics of the same task list.
    """

    name: str
    aggregate: str
    tasks: tuple[str, ...]
    metrics: tuple[str, ...]
    subsets: tuple[str, ...] = ()
    set: str = DEFAULT_SET
    expected: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricTable:
    """All metrics, in the order in which an aggregate shows them.

    `categories` are names of metrics by category: what a report shows as one number each.
    """

    metrics: tuple[Metric, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the sets, in the order of their first metrics."""
        return tuple(dict.fromkeys(metric.set for metric in self.metrics))


def read_metrics(path: Path, aggregates: Collection[str] | None = None) -> MetricTable:
    """Read a table of metrics.

    `aggregates` are the names of the functions that there are: ours, and those of installed
    packages, where it is not given.

    Raises:
        InputError: a key, a function or a list of subsets is unknown, a value is missing or of
            another kind, or a name stands twice. It names the file and the line.
        StorageError: the file cannot be read.
    """
    if aggregates is None:
        added = entry_points(group=ENTRY_POINTS)
        aggregates = dict.fromkeys([*AGGREGATES, *(one.name for one in added)])
    document = _list_as_mapping(read_yaml(path), "metrics")
    metrics = []
    with Fields(document) as top:
        lists = _lists(top.section("subsets"))
        for _, fields in top.sections("metrics"):
            with fields:
                metrics.append(_metric(fields, lists, aggregates))
        _refuse_second_names(document, metrics)
        categories = _categories(top.section("categories"), metrics)
    return MetricTable(tuple(_with_expected(metric, metrics) for metric in metrics), categories)


def _with_expected(metric: Metric, metrics: list[Metric]) -> Metric:
    """A whole is made of its parts: `jmmlu` of all that `jmmlu_stem` and the others list."""
    others = [one.subsets for one in metrics if set(one.tasks) & set(metric.tasks)]
    listed = dict.fromkeys(subset for subsets in others for subset in subsets)
    return dataclasses.replace(metric, expected=metric.subsets or tuple(listed))


def _list_as_mapping(document: Document, key: str) -> Document:
    """The document with the list below `key` as a mapping from positions, as Fields reads one."""
    top = document.value
    items: Any = top.get(key) if isinstance(top, dict) else None
    if not isinstance(items, list) or not items:
        raise InputError(
            f"there is no list '{key}'",
            where=document.where((key,)),
            expected=f"{key}: with one item (- name: …) for each metric",
        )
    return Document(document.path, {**top, key: dict(enumerate(items))}, document.lines)


def _categories(fields: Fields, metrics: list[Metric]) -> dict[str, tuple[str, ...]]:
    known = {metric.name for metric in metrics}
    categories = _lists(fields)
    for category, names in categories.items():
        for name in names:
            if name not in known:
                raise unknown("metric", name, known, where=fields.where(category))
    return categories


def _lists(fields: Fields) -> dict[str, tuple[str, ...]]:
    lists = {}
    for name in fields.names():
        lists[name] = _names(fields, name)
    return lists


def _metric(
    fields: Fields, lists: Mapping[str, tuple[str, ...]], aggregates: Collection[str]
) -> Metric:
    name = fields.text("name", pattern=r"\S+")
    aggregate = fields.text("aggregate", choices=aggregates)
    metrics = _names(fields, "metric")
    if aggregate in (PICK, MICRO_AVERAGE) and len(metrics) > 1:
        raise fields.error(f"{aggregate} takes one metric, not {len(metrics)}", "metric")
    list_name = fields.text("subsets", None)
    if list_name is not None and aggregate in (PICK, AVERAGE_IN_ONE_TASK):
        raise fields.error(f"{aggregate} takes no subsets", "subsets")
    if list_name is not None and list_name not in lists:
        raise unknown("list of subsets", list_name, lists, where=fields.where("subsets"))
    return Metric(
        name=name,
        aggregate=aggregate,
        tasks=_names(fields, "task"),
        metrics=metrics,
        subsets=() if list_name is None else lists[list_name],
        set=fields.text("set", DEFAULT_SET, pattern=r"[a-z][a-z0-9_-]*"),
    )


def _names(fields: Fields, key: str) -> tuple[str, ...]:
    """One name or a list of them, none of them empty or there twice."""
    names = fields.texts(key)
    if not names or not all(names):
        raise fields.error("an empty name, or none", key, expected="a name, or a list of names")
    for name in names:
        if names.count(name) > 1:
            raise fields.error(f"{printable(name)} stands here a second time", key)
    return names


def _refuse_second_names(document: Document, metrics: list[Metric]) -> None:
    first: dict[str, int] = {}
    for index, metric in enumerate(metrics):
        if metric.name in first:
            line = document.lines[("metrics", first[metric.name], "name")]
            raise InputError(
                f"the metric {printable(metric.name)} stands here a second time",
                where=document.where(("metrics", index, "name")),
                expected=f"each name once (it stands also in line {line})",
            )
        first[metric.name] = index
