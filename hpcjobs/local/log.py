"""The supervisor's log: lines with a time on stderr, never failing, never flooding."""

from __future__ import annotations

import os
import time

_SAME_MESSAGE = 60.0
"""Seconds in which the same message is written only once."""


class Log:
    """Called with a message, it writes one line."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def __call__(self, message: str) -> None:
        """Write `message`, unless it was written a moment ago or cannot be written."""
        now = time.monotonic()
        self._said = {text: at for text, at in self._said.items() if now - at < _SAME_MESSAGE}
        if message in self._said:
            return
        self._said[message] = now
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {message}\n"
        try:
            os.write(2, line.encode(errors="backslashreplace"))
        except OSError:
            del self._said[message]
