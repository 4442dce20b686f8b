"""How sure a value is: its standard error, from the raw results that it was made of.

Nothing is invented. An error that the evaluator did not report, that cannot be combined from its
parts, and that the number of samples does not give, is not known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.config.metrics import MICRO_AVERAGE, PICK, Metric, MetricTable
from hpcjobs.errors import HpcjobsError
from hpcjobs.results.reading import READERS, read_result_file
from hpcjobs.results.result_file import Entry, ResultFile
from hpcjobs.results.scores import Score, Scores

REPORTED, SUBSETS, BINOMIAL = "reported", "subsets", "binomial"

_SHARE = re.compile(
    r"(acc|acc_norm|em|exact_match|extractive_match|(prefix_|quasi_|prefix_quasi_)exact_match"
    r"|pqem|qem|pem|prompt_level_(strict|loose)_acc|\w*pass@\d+(:\d+)?)(,.*)?"
)
"""Metrics that are a mean of one value from 0 to 1 for each sample: right or wrong, or a chance.

`inst_level_…` counts instructions, BLEU and F1 are something else: these are left out.
"""


@dataclass(frozen=True)
class StandardError:
    """The standard error of a value, and where it is from.

    `reported` by the evaluator; of the `subsets` that it reported, combined; or `binomial`: what a
    share of so many samples has at most.
    """

    value: float
    source: str


def standard_errors(
    one: Scores, table: MetricTable, roots: Sequence[Path] = ()
) -> dict[str, StandardError]:
    """The standard errors of the values of an evaluation that have one, by metric.

    Raw results are sought below the directories above its file, then below `roots`.
    """
    metrics = {metric.name: metric for metric in table.metrics}
    read = _reader([*one.path.absolute().parents, *roots])
    found = {}
    for name, score in one.values.items():
        if score.value is not None and name in metrics:
            error = standard_error(metrics[name], score, read(score))
            if error is not None:
                found[name] = error
    return found


def standard_error(metric: Metric, score: Score, entries: Sequence[Entry]) -> StandardError | None:
    """The standard error of one value, given the entries of its raw result files; pure.

    Entries count only if the value is really made of them: files may have changed since.
    """
    value = score.value
    if value is None:
        return None
    used = _used(score, entries)
    if used is not None:
        error = _reported(metric, value, used)
        if error is not None:
            return error
    if metric.aggregate not in (PICK, MICRO_AVERAGE) or not _SHARE.fullmatch(metric.metrics[0]):
        return None
    return _binomial(value, score.samples)


def _used(score: Score, entries: Sequence[Entry]) -> list[Entry] | None:
    """The entries that the score names; None if one is not there, or there are none."""
    by_task: dict[str, Entry] = {}
    for entry in entries:
        by_task[entry.task] = entry
    if not score.tasks or any(task not in by_task for task in score.tasks):
        return None
    return [by_task[task] for task in score.tasks]


def _reported(metric: Metric, value: float, used: list[Entry]) -> StandardError | None:
    name = metric.metrics[0]
    if any(name not in entry.metrics or name not in entry.stderrs for entry in used):
        return None
    if metric.aggregate == PICK and len(used) == 1:
        error, source, again = used[0].stderrs[name], REPORTED, used[0].metrics[name]
    elif metric.aggregate == MICRO_AVERAGE and all(entry.samples for entry in used):
        weights = [entry.samples or 0 for entry in used]
        pairs = list(zip(weights, used, strict=True))
        again = sum(weight * entry.metrics[name] for weight, entry in pairs) / sum(weights)
        parts = [(weight * entry.stderrs[name]) ** 2 for weight, entry in pairs]
        error, source = math.sqrt(sum(parts)) / sum(weights), SUBSETS
        # Of one sample, or of equal ones, evaluators say 0: the sum would be too small.
        if any(not entry.stderrs[name] for entry in used):
            return None
    else:
        return None
    if error <= 0 or not math.isclose(again, value, rel_tol=1e-9, abs_tol=1e-12):
        return None
    return StandardError(error, source)


def _binomial(value: float, samples: int | None) -> StandardError | None:
    """Of a share: never smaller than the true one, since no mean of values from 0 to 1 varies more.

    A share of 0 or 1 is no certainty: it is counted as with two more samples, one right and one
    wrong (Agresti and Caffo, 2000).
    """
    if not samples or not 0 <= value <= 1:
        return None
    if value in (0, 1):
        samples, value = samples + 2, (value * samples + 1) / (samples + 2)
    return StandardError(math.sqrt(value * (1 - value) / samples), BINOMIAL)


def _reader(roots: Iterable[Path]) -> Callable[[Score], list[Entry]]:
    """Gives the entries of a score's files; each file is read once, one that is gone has none."""
    places = list(roots)
    kept: dict[tuple[str, str], ResultFile | None] = {}

    def read(score: Score) -> list[Entry]:
        frameworks = [one for one in (v.split(" ")[0] for v in score.versions) if one in READERS]
        if len(set(frameworks)) != 1:
            return []
        found = []
        for name in score.files:
            key = (name, frameworks[0])
            if key not in kept:
                kept[key] = _file(name, frameworks[0], places)
            file = kept[key]
            if file is None:
                return []
            found.append(file)
        in_order = sorted(found, key=lambda file: (file.at, str(file.path)))
        return [entry for file in in_order for entry in file.entries]

    return read


def _file(name: str, framework: str, places: list[Path]) -> ResultFile | None:
    for place in places:
        path = place / name
        try:
            if path.is_file():
                return read_result_file(path, framework)
        except (HpcjobsError, OSError, ValueError):
            continue
    return None
