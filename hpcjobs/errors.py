"""The errors that a person reads, and the exit codes they end with.

Every mistake that a user can make is raised as an :class:`HpcjobsError` and printed once, in
`hpcjobs.cli`, as what was wrong, where, what was expected, the nearest right name, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ExitCode:
    """The exit codes of every command (documented in docs/exit-codes.md)."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    NOT_FINISHED = 3
    UNAVAILABLE = 4
    STORAGE = 5
    LOCKED = 6
    INTERRUPTED = 130


class HpcjobsError(Exception):
    """A failure explained to a person; `str()` is the whole message."""

    exit_code = ExitCode.USAGE

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        nearest: str | None = None,
        do: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.nearest = nearest
        self.do = do
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.nearest:
            lines.append(f"  did you mean: {self.nearest}")
        if self.do:
            lines.append(f"  do: {self.do}")
        return "\n".join(lines)


class InputError(HpcjobsError):
    """A file, an option or a name from the user is wrong."""


class SchedulerUnavailableError(HpcjobsError):
    """The scheduler did not answer; nothing may be concluded from that."""

    exit_code = ExitCode.UNAVAILABLE


class SubmitRefusedError(HpcjobsError):
    """The scheduler answered, and refused the job."""

    exit_code = ExitCode.SOME_FAILED


class StorageError(HpcjobsError):
    """A directory or file of ours cannot be read or written (rights, full disk)."""

    exit_code = ExitCode.STORAGE


class LockedError(HpcjobsError):
    """Another hpcjobs is writing in this workspace."""

    exit_code = ExitCode.LOCKED


LISTED = 12
"""More names are not listed in a message."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None if none is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.55)
    return matches[0] if matches else None


def unknown(
    kind: str, name: str, known: Iterable[str], *, where: str | None = None, do: str | None = None
) -> InputError:
    """The error for a name that is not among `known`, listing what there is: if that is much, only
    what is nearest.
    """
    names = sorted(known)
    expected = f"one of: {', '.join(names) if names else 'none is defined'}"
    if len(names) > LISTED:
        near = difflib.get_close_matches(name, names, n=LISTED, cutoff=0.3)
        shown = list(dict.fromkeys([*near, *names]))[:LISTED]
        expected = f"one of {len(names)}, such as: {', '.join(shown)}"
    return InputError(
        f"unknown {kind} {printable(name)}",
        where=where,
        expected=expected,
        nearest=nearest(name, names),
        do=do,
    )


def printable(text: str) -> str:
    """`text` in quotes, on one line, with control characters shown as escapes."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{shown}'"
