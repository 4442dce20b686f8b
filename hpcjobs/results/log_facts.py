"""What the log of an evaluator says of lost and of cached answers, with the lines that say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hpcjobs.diagnosis.text import shown, without_ansi

LOST = re.compile(r"returning empty response", re.IGNORECASE)
"""lighteval, all versions: an answer is given up after its last try, and counts as an empty one."""

CACHED = re.compile(r"Cache: (\d+)/\d+ samples are cached|Loaded (\d+) cached indices")
"""lighteval 0.13: answers were not asked for, but taken from what was kept before."""

FAILED = re.compile(r"Error in API call|API request failed")
"""One try of many: told as the reason, where the last one failed as well."""

KEPT = 2
"""Lines that are kept of each kind."""


@dataclass(frozen=True)
class LogFacts:
    """Counts over one log."""

    there: bool = False
    """Whether there is a log."""
    lost: int = 0
    cached: int = 0
    lost_lines: tuple[str, ...] = ()
    """`LOG:NUMBER: TEXT`; the last failure before the first loss comes first."""
    cached_lines: tuple[str, ...] = ()


def log_facts(name: str, lines: Iterable[tuple[int, str]]) -> LogFacts:
    """The facts of the log of this name; of its lines, those that are told have no keys in them."""
    lost = cached = 0
    lost_lines: list[str] = []
    cached_lines: list[str] = []
    failure = ""
    for number, line in lines:
        if LOST.search(line):
            if not lost and failure:
                lost_lines.append(failure)
            lost += len(LOST.findall(line))
            if len(lost_lines) < KEPT:
                lost_lines.append(_told(name, number, line))
        elif not lost and FAILED.search(line):
            failure = _told(name, number, line)
        elif match := CACHED.search(line):
            cached = max(cached, int(match[1] or match[2]))
            if len(cached_lines) < KEPT and int(match[1] or match[2]):
                cached_lines.append(_told(name, number, line))
    return LogFacts(True, lost, cached, tuple(lost_lines), tuple(cached_lines))


def _told(name: str, number: int, line: str) -> str:
    """A progress bar writes over its own line: what matters is its last part with a sign."""
    parts = without_ansi(line).split("\r")
    part = next(
        (p for p in parts if LOST.search(p) or CACHED.search(p) or FAILED.search(p)), parts[-1]
    )
    return f"{name}:{number}: {shown(part)}"
