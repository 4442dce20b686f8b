"""Plain text tables, and the words and signs for states."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hpcjobs.errors import printable
from hpcjobs.model import JobState, Reason, TaskRun

if TYPE_CHECKING:
    from hpcjobs.store import AttemptRecord

SIGNS = {
    "queue": "🟤",
    "running": "🔵",
    "done": "🟢",
    "suspect": "🟠",
    "timeout": "🟨",
    "error": "🟥",
    "deleted": "🔳",
    "unknown": "❔",
    "not submitted": "⬜",
}
"""The legend that the users know, by word."""


def word(state: JobState, reason: Reason | None = None, *, suspect: bool = False) -> str:
    """The users' word for a state; `suspect`: it succeeded, and a result is not to be trusted."""
    if state in (JobState.SUBMITTING, JobState.PENDING, JobState.HELD):
        return "queue"
    if state in (JobState.RUNNING, JobState.SUSPENDED):
        return "running"
    if state is JobState.SUCCEEDED:
        return "suspect" if suspect else "done"
    if state is JobState.FAILED:
        return "timeout" if reason is Reason.TIMEOUT else "error"
    if state is JobState.CANCELLED:
        return "deleted"
    return "unknown" if state is JobState.UNKNOWN else "not submitted"


def keys_of(tasks: Sequence[TaskRun], most: int = 3) -> str:
    """The keys of a job's tasks, as far as there is room for them."""
    keys = [task.key for task in tasks]
    more = f" and {len(keys) - most + 1} more" if len(keys) > most else ""
    return ",".join(keys[: most - 1] if more else keys) + more


def word_of(attempt: AttemptRecord | None) -> str:
    """The users' word for how an attempt stands."""
    if attempt is None:
        return word(JobState.PLANNED)
    return word(attempt.state, attempt.reason, suspect=bool(attempt.suspect))


def signed(name: str, emoji: bool) -> str:
    """The word with its sign, or alone."""
    return f"{SIGNS[name]} {name}" if emoji else name


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Columns two spaces apart; wide (East Asian) characters count as two."""
    lines = [[_clean(cell) for cell in row] for row in ([header] if header else [])]
    lines += [[_clean(cell) for cell in row] for row in rows]
    if not lines:
        return ""
    widths = [max(_width(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _clean(cell: object) -> str:
    return printable(str(cell))[1:-1]


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
