"""How the answers to one task have ended, as its server counted them.

Evaluators that ask a server do not write it. The job keeps vLLM's counts before and after each
task. They are of the whole server: where tasks ran at once, nobody knows whose answers they were.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hpcjobs.files import explained
from hpcjobs.markers import Markers, TaskMarkers

DIRECTORY = "metrics"
"""Of an attempt: `KEY.begin.prom` and `KEY.end.prom`."""

LENGTH = "length"
UNANSWERED = frozenset({"abort", "error"})
"""Reasons to end without an answer; whoever asked has asked again, or tells that it gave up."""

_LINE = re.compile(r"vllm:request_success_total\{(?P<labels>.*)\} (?P<value>\d+(\.0*)?(e\+\d+)?)")
_REASON = re.compile(r'finished_reason="([^"]*)"')  # a quote within a label is `\"`

Counts = Mapping[str, float]
"""By the labels of a line."""


@dataclass(frozen=True)
class ServerFacts:
    """Counts over the requests of one task."""

    ended: Mapping[str, int] = field(default_factory=dict)
    """By the server's reason: `stop`, `length`, `abort`, ...; empty where nobody knows."""

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return sum(count for reason, count in self.ended.items() if reason not in UNANSWERED)

    @property
    def cut_off(self) -> int:
        """Those whose answer ended at the length limit."""
        return self.ended.get(LENGTH, 0)


def server_facts(attempt: Path, key: str, markers: Markers) -> ServerFacts:
    """The facts of one task of an attempt; none where they may be those of another, too.

    Raises:
        StorageError: a file cannot be read.
    """
    found = {
        name: (_read(path), _read(path.with_name(f"{name}.end.prom")))
        for name, path in _begun(attempt).items()
        if _touch(markers.tasks.get(key), markers.tasks.get(name))
    }
    begin, end = found.pop(key, ({}, {}))
    if not begin or begin.keys() != end.keys() or any(end[one] < begin[one] for one in end):
        return ServerFacts()
    if not _alone(key, markers) or any(_mixed((begin, end), other) for other in found.values()):
        return ServerFacts()
    ended: dict[str, int] = {}
    for labels, count in end.items():
        if match := _REASON.search(labels):
            ended[match[1]] = ended.get(match[1], 0) + round(count - begin[labels])
    return ServerFacts(ended)


def parsed(text: str) -> Counts:
    """The counts in what the job has kept; nothing else is taken."""
    lines = (_LINE.fullmatch(line) for line in text.split("\n"))
    return {line["labels"]: float(line["value"]) for line in lines if line}


def _begun(attempt: Path) -> dict[str, Path]:
    """By task: the counts before it."""
    directory = attempt / DIRECTORY
    with explained("list", directory):
        found = sorted(directory.glob("*.begin.prom")) if directory.is_dir() else []
    return {path.name.removesuffix(".begin.prom"): path for path in found}


def _read(path: Path) -> Counts:
    with explained("read", path):
        try:
            return parsed(path.read_text(errors="replace"))
        except FileNotFoundError:
            return {}


def _alone(key: str, markers: Markers) -> bool:
    """Whether no other task ran at the same time; tasks may follow each other within a second."""
    own = markers.tasks.get(key)
    if own is None or own.started is None or own.exit_code is None:
        return False
    return not any(
        _begins(other) < own.exit_code.at and own.started.at < _ends(other)
        for name, other in markers.tasks.items()
        if name != key
    )


def _touch(one: TaskMarkers | None, other: TaskMarkers | None) -> bool:
    """Whether both may have run at once; else the counts may be those of two servers."""
    if one is None or other is None:
        return True
    return _begins(other) <= _ends(one) and _begins(one) <= _ends(other)


def _begins(task: TaskMarkers) -> float:
    return task.started.at if task.started is not None else float("inf")


def _ends(task: TaskMarkers) -> float:
    return task.exit_code.at if task.exit_code is not None else float("inf")


def _mixed(one: tuple[Counts, Counts], other: tuple[Counts, Counts]) -> bool:
    """Whether requests ended while both were under way: the counts only grow."""
    begin, end, others_begin, others_end = (sum(counts.values()) for counts in (*one, *other))
    return min(end, others_end) > max(begin, others_begin)
