"""What is thought of the result of a task, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

NOT_INSTALLED = "not_installed"
NO_SAMPLES = "no_samples"
BROKEN_SAMPLES = "broken_samples"
FEWER = "fewer"
"""Kinds of findings that something else depends on."""


class Trust(str, Enum):
    """What the result of a task is worth."""

    DONE = "done"
    SUSPECT = "suspect"
    FAILED = "failed"
    """It is no result at all: not even by a person's word does it count."""


@dataclass(frozen=True)
class Finding:
    """A reason not to trust a result."""

    kind: str
    why: str
    lines: tuple[str, ...] = ()
    """Of a log, with its name and their numbers."""
    trust: Trust = Trust.SUSPECT


@dataclass(frozen=True)
class Judgement:
    """What is to be thought of the result of one task."""

    findings: tuple[Finding, ...] = ()

    @property
    def trust(self) -> Trust:
        """The worst of all findings; done without any."""
        if any(one.trust is Trust.FAILED for one in self.findings):
            return Trust.FAILED
        return Trust.SUSPECT if self.findings else Trust.DONE

    @property
    def why(self) -> str:
        """All reasons, for people."""
        return "; ".join(one.why for one in self.findings)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of logs that show it."""
        return tuple(line for one in self.findings for line in one.lines)

    @property
    def unread(self) -> bool:
        """Whether samples were not looked at for want of a program: they may be, another time."""
        return any(one.kind == NOT_INSTALLED for one in self.findings)

    @property
    def incomplete(self) -> bool:
        """Whether something is not there, or not whole, which a slow disk may yet show."""
        return any(one.kind in (NO_SAMPLES, BROKEN_SAMPLES, FEWER) for one in self.findings)
