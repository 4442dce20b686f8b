"""From result files and the table of metrics to the numbers of aggregated_results.json. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from hpcjobs.config.metrics import DEFAULT_SET, Metric, MetricTable
from hpcjobs.errors import unknown
from hpcjobs.results.functions import FUNCTIONS, AggregateFunction, Computed, Measured
from hpcjobs.results.result_file import ResultFile, split_subset

_Number = TypeVar("_Number", int, float)

NO_VALUE = -1
"""What stands for a missing value in aggregated_results.json."""


@dataclass(frozen=True)
class MetricValue:
    """One number of the aggregate, or why it is missing, and what it was made from.

    `samples` are those of all `tasks` together, `seconds` the evaluation times of all `files` (with
    whatever else they hold); None if one of them is not known. `at` is the newest file's time.
    `versions` are the evaluators (`lm_eval 0.4.13`; the bare name where the file tells no version).
    `missing` are subsets that the metric counts but that have no result: the value is then one of
    the others. `doubt` says why the value may not be what its name says.
    """

    value: float | None
    why: str | None
    files: tuple[Path, ...] = ()
    samples: int | None = None
    at: datetime | None = None
    seconds: float | None = None
    versions: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    doubt: str | None = None


@dataclass(frozen=True)
class Aggregate:
    """The values by name, in the order of the table.

    `unused` are the evaluated tasks that no metric of the table looks at.
    """

    values: Mapping[str, MetricValue]
    used_sets: tuple[str, ...]
    unused: tuple[str, ...] = ()


def aggregate(
    table: MetricTable,
    files: Iterable[ResultFile],
    sets: Collection[str] | None,
    functions: Mapping[str, AggregateFunction] = FUNCTIONS,
) -> Aggregate:
    """The values of all metrics of the `sets`; None: of the sets of which something was evaluated.

    Of several results for the same task and subset, the newest counts.

    Raises:
        InputError: a set, or a function that the table names, is not there.
    """
    measured = newest(files)
    sought = {task for metric in table.metrics for task in metric.tasks}
    used_sets = _used_sets(table, measured, sets)
    values = {}
    for metric in table.metrics:
        if metric.aggregate not in functions:
            raise unknown("aggregate function", metric.aggregate, functions)
        if metric.set in used_sets:
            values[metric.name] = _metric_value(
                _compute(metric, measured, functions[metric.aggregate])
            )
    unused = tuple(one.entry.task for one in measured if not _keys(one) & sought)
    return Aggregate(values, used_sets, unused)


def newest(files: Iterable[ResultFile]) -> tuple[Measured, ...]:
    """The newest entry of every task and subset, in an order that does not depend on the files'."""
    found: dict[str, Measured] = {}
    for file in sorted(files, key=lambda file: (file.at, str(file.path))):
        for entry in file.entries:
            found[entry.task] = Measured(entry, file)
    return tuple(found.values())


def without_partial(result: Aggregate) -> Aggregate:
    """The same without the values that lack subsets: each is of something else than its name."""
    values = {
        name: replace(
            value, value=None, why=f"no result for the subsets {', '.join(value.missing)}"
        )
        if value.missing and value.value is not None
        else value
        for name, value in result.values.items()
    }
    return replace(result, values=values)


def as_json(result: Aggregate, model: str) -> dict[str, Any]:
    """The part of aggregated_results.json that other programs of the field write and read."""
    values = {
        name: NO_VALUE if value.value is None else value.value
        for name, value in result.values.items()
    }
    return {
        "model": model,
        "results": values,
        "overall": ",".join(str(value) for value in values.values()),
        "tasks": list(values),
    }


def _used_sets(
    table: MetricTable, measured: Sequence[Measured], sets: Collection[str] | None
) -> tuple[str, ...]:
    if sets is None:
        present = {key for one in measured for key in _keys(one)}
        sets = {metric.set for metric in table.metrics if present & set(metric.tasks)}
        sets = sets or {DEFAULT_SET}
    else:
        for name in sets:
            if name not in table.sets:
                raise unknown("set of metrics", name, table.sets)
    return tuple(name for name in table.sets if name in sets)


def _keys(measured: Measured) -> set[str]:
    """The keys by which a metric may look for the entry: with its subset, and without."""
    return {measured.entry.task, split_subset(measured.entry.task)[0]}


def _compute(metric: Metric, measured: Sequence[Measured], function: AggregateFunction) -> Computed:
    computed = {task: function(metric, task, measured) for task in metric.tasks}
    if len(computed) == 1:
        return computed[metric.tasks[0]]
    present = {task: one for task, one in computed.items() if one.used}
    if len(present) > 1:
        used = tuple(measured for one in present.values() for measured in one.used)
        return Computed(None, f"several of its tasks have results: {', '.join(present)}", used)
    if present:
        return next(iter(present.values()))
    whys = [one.why for one in computed.values() if one.why]
    return Computed(None, "; ".join(whys))


def _metric_value(computed: Computed) -> MetricValue:
    files = {one.file.path: one.file for one in computed.used}
    samples = [one.entry.samples for one in computed.used]
    seconds = [file.seconds for file in files.values()]
    return MetricValue(
        value=computed.value,
        why=computed.why,
        files=tuple(sorted(files)),
        samples=_sum(samples),
        at=max((file.at for file in files.values()), default=None),
        seconds=_sum(seconds),
        versions=tuple(sorted({_version(file) for file in files.values()})),
        tasks=tuple(one.entry.task for one in computed.used),
        missing=computed.missing,
        doubt=computed.doubt,
    )


def _sum(values: Iterable[_Number | None]) -> _Number | None:
    """The sum; None if one is not known, or there is none."""
    known = list(values)
    present = [value for value in known if value is not None]
    return sum(present[1:], present[0]) if present and len(present) == len(known) else None


def _version(file: ResultFile) -> str:
    return f"{file.framework} {file.version}" if file.version else file.framework
