"""Single samples of an evaluation: prompt, answers, gold and scores, as a stream.

lighteval leaves them in Parquet (`--save-details`), lm_eval in JSONL (`--log_samples`). A file is
never held in memory as a whole.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.errors import InputError, printable
from hpcjobs.files import explained
from hpcjobs.results.sample import Sample

_NAME = re.compile(
    r"(?:details|samples)_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)"
    r"\.(?:parquet|jsonl)"
)


@dataclass(frozen=True)
class SampleFile:
    """A file of samples, and the evaluator's key of their task."""

    path: Path
    task: str
    time: str


def find_sample_files(directory: Path) -> list[SampleFile]:
    """The files of samples below a directory, by task; of several of a task, the newest.

    Raises:
        StorageError: a directory cannot be listed.
    """
    newest: dict[str, SampleFile] = {}
    with explained("list", directory):
        for place, directories, names in os.walk(directory, onerror=_raise):
            directories[:] = [name for name in directories if not name.startswith(".")]
            for name in names:
                if match := _NAME.fullmatch(name):
                    one = SampleFile(Path(place, name), match["task"], match["time"])
                    if one.task not in newest or newest[one.task].time < one.time:
                        newest[one.task] = one
    return [newest[task] for task in sorted(newest)]


def by_result(samples: Iterable[SampleFile]) -> Callable[[Path, str], SampleFile | None]:
    """Finds, of these, what was written together with a result file of a task (its own key)."""
    found = {(one.time, _plain(one.task)): one for one in samples}
    return lambda result, task: found.get((result.stem.removeprefix("results_"), _plain(task)))


def _plain(task: str) -> str:
    """A key as file names may have it."""
    return re.sub(r"[^\w]+", "_", task)


def read_samples(files: Iterable[SampleFile]) -> Iterator[Sample]:
    """The samples of all files, one after the other.

    Raises:
        ResultError: a file cannot be read whole, or is of an unknown shape.
        InputError: what reads Parquet is not installed.
        StorageError: a file cannot be opened.
    """
    for file in files:
        if file.path.suffix == ".jsonl":
            from hpcjobs.results.lm_eval_samples import read
        else:
            from hpcjobs.results.lighteval_samples import read
        yield from read(file.path, file.task)


def score_of(sample: Sample, metrics: Iterable[str]) -> tuple[str, float] | None:
    """Name and value of the first of these metrics that the sample has, else of its first."""
    for name in (*metrics, *sample.scores):
        if name in sample.scores:
            return name, sample.scores[name]
    return None


def is_wrong(sample: Sample, metrics: Iterable[str]) -> bool:
    """Whether its score is not the full one, 1.

    Raises:
        InputError: its score is not between 0 and 1: there is no right and wrong.
    """
    found = score_of(sample, metrics)
    if found is None:
        return False
    name, value = found
    if not 0 <= value <= 1:
        raise InputError(
            f"the metric {printable(name)} of {printable(sample.task)} is {value:g}: it does not "
            "tell right from wrong",
            where="--wrong",
            do="choose another by --metric NAME",
        )
    return value < 1


class Longest:
    """Keeps the samples with the longest answers, and no others."""

    def __init__(self, count: int) -> None:
        self._count, self._added = count, 0
        self._kept: list[tuple[int, int, Sample]] = []

    def add(self, sample: Sample) -> None:
        """Keep it if it is among the longest so far; of equals, the first."""
        self._added += 1
        entry = (sample.length, -self._added, sample)
        if len(self._kept) < self._count:
            heapq.heappush(self._kept, entry)
        elif entry > self._kept[0]:
            heapq.heapreplace(self._kept, entry)

    def __iter__(self) -> Iterator[Sample]:
        return (entry[2] for entry in sorted(self._kept, reverse=True))


def matching(
    samples: Iterable[Sample], conditions: Iterable[Callable[[Sample], bool]]
) -> Iterator[Sample]:
    """Those that meet all conditions."""
    wanted = list(conditions)
    return (sample for sample in samples if all(meets(sample) for meets in wanted))


def _raise(error: OSError) -> None:
    raise error
