"""Differences between evaluations, and which of them are within noise. Pure.

All are compared with the first. The samples of two models are not known here, so the errors are
taken as independent: two models of the same samples differ by less than that says (docs/tables.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcjobs.results.result_file import finite
from hpcjobs.results.scores import Score, Scores
from hpcjobs.results.standard_errors import StandardError

LIMIT = 1.96
"""So many standard errors, or more, are beyond noise: once in twenty also where nothing differs."""

WITHIN, BEYOND, UNKNOWN = "within noise", "beyond noise", "unknown"


@dataclass(frozen=True)
class Difference:
    """How much a value is above the first one's."""

    value: float
    error: float | None
    """Its standard error, where both values have one."""
    verdict: str
    notes: tuple[str, ...] = ()
    """What else differs than the model."""


@dataclass(frozen=True)
class Row:
    """One metric, with a score and a difference for each evaluation; the first has none."""

    metric: str
    scores: tuple[Score, ...]
    errors: tuple[StandardError | None, ...]
    differences: tuple[Difference | None, ...]

    @property
    def empty(self) -> bool:
        """Whether no evaluation has a value."""
        return all(score.value is None for score in self.scores)


def compare(
    evaluations: Sequence[Scores],
    metrics: Sequence[str],
    errors: Sequence[Mapping[str, StandardError]],
) -> list[Row]:
    """A row for each of the metrics."""
    rows = []
    for metric in metrics:
        scores = tuple(one.values.get(metric, Score(None)) for one in evaluations)
        known = tuple(one.get(metric) for one in errors)
        others = zip(scores[1:], known[1:], strict=True)
        differences = (
            None,
            *(_difference(scores[0], known[0], score, error) for score, error in others),
        )
        rows.append(Row(metric, scores, known, differences))
    return rows


def _difference(
    first: Score, first_error: StandardError | None, other: Score, error: StandardError | None
) -> Difference | None:
    if first.value is None or other.value is None:
        return None
    value = other.value - first.value
    if finite(value) is None:
        return None
    combined = None
    if first_error is not None and error is not None:
        combined = math.hypot(first_error.value, error.value)
    return Difference(value, combined, verdict(value, combined), _notes(first, other))


def verdict(difference: float, error: float | None) -> str:
    """What a difference with this standard error says; an error of 0 is no certainty."""
    if not error:
        return UNKNOWN
    return WITHIN if abs(difference) < LIMIT * error else BEYOND


def _notes(first: Score, other: Score) -> tuple[str, ...]:
    notes = []
    if first.samples != other.samples and None not in (first.samples, other.samples):
        notes.append(f"{first.samples} and {other.samples} samples")
    if first.tasks != other.tasks and first.tasks and other.tasks:
        notes.append("other tasks or subsets")
    if first.versions[:1] != other.versions[:1] and first.versions and other.versions:
        notes.append(f"{first.versions[0]} and {other.versions[0]}")
    notes += [f"suspect: {score.doubt}" for score in (first, other) if score.doubt]
    return tuple(dict.fromkeys(notes))
