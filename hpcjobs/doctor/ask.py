"""Asking a program: what it says, or that it is not there, or that it did not answer."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from hpcjobs.commands import run
from hpcjobs.errors import SchedulerUnavailableError

LIMIT = 15.0
"""Seconds for one program (a slow but living scheduler answers within ten)."""


@dataclass(frozen=True)
class Answer:
    """How it went."""

    returncode: int | None
    """None: it did not end in time, or could not be run."""
    stdout: str = ""
    complaint: str = ""
    """One line: why there is no answer."""

    @property
    def good(self) -> bool:
        """Whether it ended with 0."""
        return self.returncode == 0


def there(program: str) -> bool:
    """Whether `program` is on PATH."""
    return shutil.which(program) is not None


def ask(argv: Sequence[str], *, limit: float = LIMIT) -> Answer:
    """Run a command that only asks."""
    try:
        result = run(argv, timeout=limit)
    except SchedulerUnavailableError as error:
        return Answer(None, complaint=error.what)
    complaint = first_line(result.stderr) or first_line(result.stdout)
    return Answer(
        result.returncode,
        result.stdout,
        "" if result.returncode == 0 else f"{argv[0]}: {complaint or f'exit {result.returncode}'}",
    )


def first_line(text: str) -> str:
    """The first line that says something, not too long."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" -=\t\r")]
    return lines[0][:200] if lines else ""
