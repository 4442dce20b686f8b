"""Output whose reader may go away (`| head`), for commands that do more than print.

What such a command does is not for its reader to end: it goes on, what it prints is thrown away,
and its exit code is its own.
"""

from __future__ import annotations

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper

ONLY_SHOW = frozenset(("compare", "details", "diagnose", "logs", "status", "tasks"))
"""Commands that may end where nobody reads on: they change nothing and judge nothing."""


class _Unheard(FileIO):
    """Writes to the null device once the pipe is closed."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            throw_away(self.fileno())
            return super().write(data)  # type: ignore[arg-type]


def throw_away(descriptor: int) -> None:
    """Let what is written to this descriptor from now on go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def go_on_unheard(*names: str) -> None:
    """Let these streams of `sys` (real ones only, not a test's) outlive their readers."""
    for name in names:
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue
        stream.flush()
        unheard = TextIOWrapper(
            BufferedWriter(_Unheard(stream.fileno(), "w", closefd=False)),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, unheard)
