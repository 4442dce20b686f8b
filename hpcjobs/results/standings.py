"""A report's numbers: evaluations by category, and what each task of them took. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from hpcjobs.config.metrics import MetricTable
from hpcjobs.results.freshness import STALE
from hpcjobs.results.scores import Score, Scores

Spent = Callable[[str], tuple[Decimal, str] | None]
"""About what a job (`ID-NN`) cost, and in which unit; None if that is not known."""


@dataclass(frozen=True)
class Mean:
    """The plain mean of some values, or why there is none."""

    value: float | None
    why: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class TaskGroup:
    """The values that were made from the same results, and how those came to be."""

    name: str
    job: str
    node: str
    metrics: tuple[str, ...]
    score: Score
    """Of the first of them: what all have in common."""
    shared: int
    """How many such groups the same job made."""


def categories(table: MetricTable, metrics: Sequence[str]) -> dict[str, list[str]]:
    """The metrics of each category that are there; without any, each of a few metrics is one."""
    present = set(metrics)
    found = {
        name: [metric for metric in members if metric in present]
        for name, members in table.categories.items()
    }
    found = {name: members for name, members in found.items() if members}
    return found or {metric: [metric] for metric in metrics[:12]}


def mean(one: Scores, metrics: Sequence[str]) -> Mean:
    """The mean of all these metrics. If one is missing there is none: it would mean another thing.

    Nor is there one of values that are no shares of 1: their scales may differ.
    """
    scores = [one.values.get(metric, Score(None)) for metric in metrics]
    values = [score.value for score in scores if score.value is not None]
    doubt = "; ".join(dict.fromkeys(score.doubt for score in scores if score.doubt))
    if len(values) < len(scores):
        pairs = zip(metrics, scores, strict=True)
        return Mean(None, f"no value of {', '.join(n for n, s in pairs if s.value is None)}")
    if len(values) > 1 and not all(0 <= value <= 1 for value in values):
        return Mean(None, f"on different scales: {', '.join(metrics)}")
    return Mean(sum(values) / len(values), doubt=doubt) if values else Mean(None, "no metrics")


def overall(means: Sequence[Mean]) -> Mean:
    """The mean of the categories; only if there are all."""
    values = [one.value for one in means if one.value is not None]
    if len(values) < len(means):
        return Mean(None, f"{len(means) - len(values)} of {len(means)} categories have no value")
    if not values or not all(0 <= value <= 1 for value in values):
        return Mean(None, "on different scales")
    doubt = "; ".join(dict.fromkeys(one.doubt for one in means if one.doubt))
    return Mean(sum(values) / len(values), doubt=doubt)


def task_groups(one: Scores) -> list[TaskGroup]:
    """The values that are there, by what they were made from, in their order."""
    groups: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for name, score in one.values.items():
        if score.value is not None:
            key = (score.jobs, score.files, tuple(score.settings))
            groups.setdefault(key, []).append(name)
    jobs = [key[0] for key in groups]
    found = []
    for (labels, files, keys), names in groups.items():
        score = one.values[names[0]]
        places = dict.fromkeys(label.partition(" ")[2].strip("()") for label in labels)
        told = bool(labels or files or keys)
        found.append(
            TaskGroup(
                name=", ".join(keys or score.tasks) if told else "",
                job=", ".join(label.partition(" ")[0] for label in labels),
                node=", ".join(filter(None, places)),
                metrics=tuple(names),
                score=score,
                shared=sum(labels == other for other in jobs) if labels else 1,
            )
        )
    return found


def cost(one: Scores, spent: Spent) -> str:
    """What all jobs of the values cost together, each counted once; empty if no price is known."""
    labels = {label.partition(" ")[0] for score in one.values.values() for label in score.jobs}
    found = [spent(label) for label in sorted(labels)]
    sums: dict[str, Decimal] = {}
    for known in found:
        if known is not None:
            sums[known[1]] = sums.get(known[1], Decimal()) + known[0]
    if not sums:
        return ""
    told = " + ".join(f"{amount} {unit}" for unit, amount in sums.items())
    return f"more than {told}" if None in found else told


def state(one: Scores, late: Mapping[str, str]) -> tuple[str, str]:
    """A word for how it stands, and why."""
    if one.unfinished:
        return "unfinished", f"under way: {', '.join(one.unfinished)}"
    if one.failed:
        return "failed", f"failed: {', '.join(one.failed)}"
    if str(one.path) in late:
        return "outdated", late[str(one.path)]
    if one.doubts:
        stale = all(why.startswith(STALE) for why in one.doubts.values())
        return "stale" if stale else "suspect", f"in doubt: {', '.join(one.doubts)}"
    if one.complete is None:
        return "not told", "the file does not say what was asked for"
    if not one.complete:
        return "incomplete", "values are missing of tasks that were submitted"
    return "complete", "all that was submitted has its values"
