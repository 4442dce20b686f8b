"""How everything that a job started is ended, without waiting in one place."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable

RESCAN = 0.2
RESCAN_LATER = 1.0
"""Seconds between two looks at /proc, at first and after two seconds."""


class Ending:
    """TERM to all that `find` gives, KILL to what is left `grace` seconds later and ever after."""

    def __init__(self, find: Callable[[], Iterable[int]], grace: float) -> None:
        self._find = find
        self._began: float | None = None
        self._grace = grace
        self._next = 0.0

    def step(self) -> bool:
        """Do what is due now; True when nothing is left."""
        now = time.monotonic()
        if now < self._next:
            return False
        left = set(self._find())
        if not left:
            return True
        if self._began is None:
            self._began = now
            _signal(left, signal.SIGTERM)
        kill_at = self._began + self._grace
        if now >= kill_at:
            _signal(left, signal.SIGKILL)
        self._next = now + (RESCAN if now < self._began + 2 else RESCAN_LATER)
        if now < kill_at:
            self._next = min(self._next, kill_at)
        return False


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
