"""What a known cause of failure is: how it shows, what to do, whether repeating can help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property


class Again(str, Enum):
    """Whether the same job may succeed when it is submitted again."""

    NEVER = "never"
    """Not as it is meant: model, task and provider do not fit each other."""
    CHANGED = "after a change"
    """Only when somebody has changed what is said in `do`."""
    ITSELF = "by itself"
    """The cause passes, or another node does not have it."""


class Kind(str, Enum):
    """What a finding is to the failure."""

    ROOT = "root"
    CONSEQUENCE = "consequence"
    """Something else caused it; it counts only where that is not seen."""
    ADVICE = "advice"
    """It made the job slow or its numbers doubtful, and did not end it."""


class When(str, Enum):
    """In which part of a job a cause can show in the server's log."""

    START = "start"
    """Until the server is ready: one that became ready after all had no such trouble."""
    LATER = "later"
    ANY = "any"


SERVER, TASK, JOB, SCHEDULER = "server", "task", "job", "scheduler"
"""Whose log it is: server.log, KEY.log of an evaluator, job.log, scheduler.out."""
ANY_LOG = (SERVER, TASK, JOB, SCHEDULER)


@dataclass(frozen=True)
class Sign:
    """How a cause shows in a line of a log."""

    text: str
    """Stands in the line, in just these letters: searching for it is what makes this quick."""
    logs: tuple[str, ...] = ANY_LOG
    form: str = ""
    """A regular expression that must be found in the line, too."""
    unless: str = ""
    """A regular expression that must not be found in the line."""
    weak: bool = False
    """It may have been overcome: a line of a warning, or of something that is tried again."""

    @cached_property
    def _form(self) -> re.Pattern[str]:
        return re.compile(self.form)

    @cached_property
    def _unless(self) -> re.Pattern[str]:
        return re.compile(self.unless or r"(?!)")

    def shows(self, line: str) -> bool:
        """Whether this line has it."""
        return (
            self.text in line
            and self._form.search(line) is not None
            and self._unless.search(line) is None
        )


@dataclass(frozen=True)
class Cause:
    """A line of the table."""

    id: str
    title: str
    """What happened, in one line."""
    do: str
    again: Again
    signs: tuple[Sign, ...] = ()
    kind: Kind = Kind.ROOT
    when: When = When.ANY
    warns: bool = False
    """It is worth telling of a job that succeeded, too."""
    failures: tuple[str, ...] = ()
    """The job script's own words (marker `failure`) that mean it."""
    reasons: tuple[str, ...] = ()
    """The reasons of a verdict that mean it."""
