"""Aggregate functions of other packages: entry points of the group `hpcjobs.metrics`.

The name of the entry point is what `aggregate:` in conf/metrics.yaml says. Only what a table names
is imported, so that a broken package spoils nobody else's numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from hpcjobs.config.metrics import ENTRY_POINTS, Metric, MetricTable, read_metrics
from hpcjobs.errors import InputError, printable
from hpcjobs.results.functions import FUNCTIONS, AggregateFunction, Computed, Measured


def read_table(path: Path) -> tuple[MetricTable, dict[str, AggregateFunction]]:
    """A table of metrics, and every function that it names.

    Raises:
        InputError: the table is wrong, or a function of a package cannot be had.
        StorageError: the table cannot be read.
    """
    table = read_metrics(path)
    named = {metric.aggregate for metric in table.metrics} - set(FUNCTIONS)
    found = entry_points(group=ENTRY_POINTS) if named else ()
    return table, {**FUNCTIONS, **{name: _function(name, found) for name in sorted(named)}}


def _function(name: str, found: Collection[EntryPoint]) -> AggregateFunction:
    points = list({one.value: one for one in found if one.name == name}.values())
    if len(points) > 1:
        raise InputError(
            f"several packages bring the aggregate function {printable(name)}",
            where=ENTRY_POINTS,
            expected="one of: " + ", ".join(sorted(map(_origin, points))),
            do="uninstall all but one",
        )
    (point,) = points
    try:
        function = point.load()
    except Exception as error:
        raise InputError(
            f"the aggregate function {printable(name)} cannot be imported: {_said(error)}",
            where=_origin(point),
            do="mend or uninstall that package, or take the metric out of conf/metrics.yaml",
        ) from error
    if not callable(function):
        raise InputError(f"{printable(name)} is no function", where=_origin(point))
    return _guarded(function, _origin(point))


def _guarded(function: AggregateFunction, origin: str) -> AggregateFunction:
    """The function; where it breaks, or gives no number, its metric has no value and says why."""

    def guarded(metric: Metric, task: str, measured: Sequence[Measured]) -> Computed:
        try:
            computed = function(metric, task, measured)
        except Exception as error:
            return Computed(None, f"{origin} failed: {_said(error)}")
        if not isinstance(computed, Computed):
            return Computed(None, f"{origin} gave no Computed but {type(computed).__name__}")
        value = computed.value
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value)):
            return Computed(None, f"{origin} gave no finite number: {value!r}", computed.used)
        return computed

    return guarded


def _origin(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "a package"
    return f"{package} ({point.value})"


def _said(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}"[:200])
