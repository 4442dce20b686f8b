"""What one result file says, whichever evaluator wrote it.

The words for it, and the few checks that the readers of all evaluators share.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpcjobs.errors import ExitCode, HpcjobsError, printable

_NAME = re.compile(
    r"results_(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)(?:\.(\d{1,6}))?\.json", re.ASCII
)


class ResultError(HpcjobsError):
    """A result file cannot be read whole, and so does not count."""

    exit_code = ExitCode.SOME_FAILED


class ForeignError(ResultError):
    """A file is no result of the evaluator, or tells no time or model: nothing is lost by it."""


@dataclass(frozen=True)
class Entry:
    """The numbers of one task, or of one subset of it.

    `task` is the evaluator's own key (`swallow|mmlu_english:anatomy|0`, `demo_capitals`).
    `samples` is how many were evaluated, `original` how many the data set has; None: not told.
    `faults` say of metrics that are no finite numbers what they are instead; under the empty name,
    what is wrong with the entry as a whole. `members` are the tasks of a group. `answer_tokens` are
    those that an answer may have, as the task itself says.
    """

    task: str
    metrics: Mapping[str, float]
    stderrs: Mapping[str, float] = field(default_factory=dict)
    samples: int | None = None
    original: int | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    answer_tokens: int | None = None


@dataclass(frozen=True)
class Content:
    """What stands inside a result file.

    `seconds` is the time that the evaluator took; `limit` how many samples of a task it was told to
    evaluate at most (a share of them below 1), None: all. `generation` are the settings that the
    file repeats, in the evaluator's words.
    """

    model: str
    entries: tuple[Entry, ...]
    version: str | None = None
    seconds: float | None = None
    limit: float | None = None
    generation: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ResultFile:
    """A result file that was read whole.

    `at` is the time in its name, on the clock of the machine that wrote it. `version` is the
    evaluator's, where the file tells it; `seconds` is the time for all its entries together.
    """

    path: Path
    framework: str
    version: str | None
    model: str
    at: datetime
    seconds: float | None
    entries: tuple[Entry, ...]
    limit: float | None = None
    generation: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """A file that does not count, and why.

    `ours` is False where it was read and is nothing of this model's: nothing is lost then.
    """

    path: Path
    why: str
    ours: bool = True


@dataclass(frozen=True)
class TaskResults:
    """The result files of a directory that count, and those that do not."""

    files: tuple[ResultFile, ...]
    problems: tuple[Problem, ...]


def time_in_name(name: str) -> datetime:
    """The time in `results_2025-08-01T01-20-16.724248.json`; the fraction may be missing.

    Raises:
        ForeignError: there is none.
    """
    match = _NAME.fullmatch(name)
    try:
        if match:
            *parts, fraction = match.groups(default="0")
            year, month, day, hour, minute, second = map(int, parts)
            micro = int(fraction.ljust(6, "0"))
            return datetime(year, month, day, hour, minute, second, micro)
    except ValueError:
        pass
    raise ForeignError("its name tells no time", expected="results_YYYY-MM-DDTHH-MM-SS.ffffff.json")


@lru_cache(maxsize=65536)
def split_subset(task: str) -> tuple[str, str]:
    """A lighteval key without its subset, and the subset, which may be empty.

    `suite|task:subset|0` (0.8) and `task:subset|0` (0.13); keys without `|` have no subsets.
    """
    parts = task.split("|")
    if len(parts) < 2:
        return task, ""
    position = 0 if len(parts) == 2 else 1
    parts[position], _, subset = parts[position].partition(":")
    return "|".join(parts), subset


def mapping(value: Any, name: str, task: str | None = None) -> Mapping[str, Any]:
    """`value` if it is a JSON object; `name`, and the task, say what it should be.

    Raises:
        ResultError: it is something else, or missing.
    """
    if not isinstance(value, dict):
        shown = name if task is None else f"{name} {printable(task)}"
        raise ResultError(f"{shown} is missing" if value is None else f"{shown} is not an object")
    return value


def metric_values(values: Mapping[str, Any], task: str) -> tuple[dict[str, float], dict[str, str]]:
    """The finite numbers, left as int or float, and what the others are (see Entry.faults)."""
    metrics: dict[str, float] = {}
    faults: dict[str, str] = {}
    for name, value in values.items():
        if (number := finite(value)) is None:
            faults[name] = f"the metric {printable(name)} of {printable(task)} is {_shown(value)}"
        else:
            metrics[name] = number
    if not values:
        faults[""] = f"the result of {printable(task)} has no metric"
    return metrics, faults


def finite(value: Any) -> float | None:
    """`value` if it is a finite number, None otherwise; text and booleans are no numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def count(value: Any) -> int | None:
    """A number of samples; None for -1, by which evaluators mean that they did not count."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


def duration(value: Any) -> float | None:
    """Seconds, which evaluators write as a number or as text; None if it is neither."""
    try:
        seconds = finite(float(value) if isinstance(value, str) else value)
    except ValueError:
        return None
    return None if seconds is None or seconds < 0 else float(seconds)


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, str):
        return printable(value[:40])
    return "too large" if type(value) is int else json.dumps(value)
