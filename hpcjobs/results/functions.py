"""How one metric's value is made from the entries of a task: a function for each way.

A function takes the metric, one of its tasks, and the newest entry of every task and subset. What
it could not use it says, rather than leave it out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpcjobs.config.metrics import AVERAGE_IN_ONE_TASK, MICRO_AVERAGE, PICK, Metric
from hpcjobs.results.result_file import Entry, ResultFile, split_subset


@dataclass(frozen=True)
class Measured:
    """An entry, and the file that it stands in."""

    entry: Entry
    file: ResultFile


@dataclass(frozen=True)
class Computed:
    """A value, or why there is none.

    `used` are the entries that it was, or would have been, made from: none means that the task has
    no result with this metric. `missing` are subsets that the metric counts but that gave nothing.
    `doubt` says why the value may not be what its name says, where nobody can know.
    """

    value: float | None
    why: str | None = None
    used: tuple[Measured, ...] = ()
    missing: tuple[str, ...] = ()
    doubt: str | None = None


AggregateFunction = Callable[[Metric, str, Sequence[Measured]], Computed]


def pick(metric: Metric, task: str, measured: Sequence[Measured]) -> Computed:
    """The value of one metric of one task."""
    return _from_one_task(metric, task, measured, lambda values: values[0])


def average_in_one_task(metric: Metric, task: str, measured: Sequence[Measured]) -> Computed:
    """The plain mean of the metrics of one task; all of them must be there."""
    return _from_one_task(metric, task, measured, lambda values: sum(values) / len(values))


def micro_average(metric: Metric, task: str, measured: Sequence[Measured]) -> Computed:
    """The mean over the subsets of a task, weighted by their numbers of samples."""
    name = metric.metrics[0]
    found = [one for one in measured if _counts(metric, task, one.entry)]
    if not found:
        return Computed(None, f"no result for {task}")
    used = tuple(one for one in found if name in one.entry.metrics)
    if not used:
        return Computed(None, _no_metric([name], task, found[0].entry))
    seen = {_subset(one) for one in used}
    expected = dict.fromkeys([*(metric.expected or metric.subsets), *map(_subset, found)])
    missing = tuple(subset for subset in expected if subset not in seen)
    doubt = None
    if not metric.expected and not metric.subsets and seen != {""}:
        doubt = f"no list says which subsets {task} has; these have a result: {_some(sorted(seen))}"
    weights = [one.entry.samples for one in used if one.entry.samples is not None]
    if len(weights) < len(used):
        uncounted = [one.entry.task for one in used if one.entry.samples is None]
        why = f"the number of samples is not known of {_some(uncounted)}"
        return Computed(None, why, used, missing)
    if sum(weights) == 0:
        return Computed(None, f"the results for {task} have no samples", used, missing)
    values = [one.entry.metrics[name] for one in used]
    weighted = sum(weight * value for weight, value in zip(weights, values, strict=True))
    return Computed(weighted / sum(weights), None, used, missing, doubt)


FUNCTIONS: dict[str, AggregateFunction] = {
    PICK: pick,
    MICRO_AVERAGE: micro_average,
    AVERAGE_IN_ONE_TASK: average_in_one_task,
}


def _from_one_task(
    metric: Metric,
    task: str,
    measured: Sequence[Measured],
    combine: Callable[[list[float]], float],
) -> Computed:
    found = next((one for one in measured if one.entry.task == task), None)
    if found is None:
        return Computed(None, f"no result for {task}")
    metrics = found.entry.metrics
    if absent := [name for name in metric.metrics if name not in metrics]:
        return Computed(None, _no_metric(absent, task, found.entry))
    return Computed(combine([metrics[name] for name in metric.metrics]), used=(found,))


def _counts(metric: Metric, task: str, entry: Entry) -> bool:
    """Whether the entry is of the task, and of a subset that the metric counts."""
    base, subset = split_subset(entry.task)
    return base == task and (not metric.subsets or subset in metric.subsets)


def _subset(measured: Measured) -> str:
    return split_subset(measured.entry.task)[1]


def _no_metric(names: Sequence[str], task: str, entry: Entry) -> str:
    if faults := [entry.faults[name] for name in names if name in entry.faults]:
        return "; ".join(faults)
    if not entry.metrics:
        return f"the result of {task} has answers, and no score: it was made with predict_only"
    return f"the result of {task} has no {_some(names)} (it has {_some(list(entry.metrics))})"


def _some(names: Sequence[str], limit: int = 4) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
