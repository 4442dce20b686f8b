"""Who a process is, and how everything it started is ended (Linux only).

A pid alone says little: it is recycled, and a zombie still answers `kill -0`. A process is known by
its pid, its start time (clock ticks after boot) and the boot it belongs to.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def hostname() -> str:
    """This host's name, as it is written into locks and the journal."""
    return socket.gethostname()


def user_name() -> str:
    """The effective user's name: not `$USER`, which may be anybody's.

    Raises:
        KeyError: the user has none on this machine.
    """
    return pwd.getpwuid(os.geteuid()).pw_name


def boot_id() -> str:
    """The kernel's id of the present boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one boot of this host."""

    pid: int
    start_time: int
    """In clock ticks after boot (field 22 of proc(5)'s stat)."""
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The identity of the living process `pid`; None if there is none (a zombie is none)."""
        stat = _stat(pid)
        if stat is None or stat[0] in "ZX":
            return None
        return cls(pid=pid, start_time=int(stat[19]), boot_id=boot_id())

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ProcessIdentity:
        """The reverse of `to_json`."""
        return cls(int(value["pid"]), int(value["start_time"]), str(value["boot_id"]))

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return {"pid": self.pid, "start_time": self.start_time, "boot_id": self.boot_id}

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessIdentity.of(self.pid) == self


def session_members(session: int) -> set[int]:
    """The pids of all living processes of this session."""
    return {pid for pid, stat in _all_stats() if stat[0] not in "ZX" and int(stat[3]) == session}


def marked(mark: str) -> set[int]:
    """The pids of our processes that were started with `mark` (NAME=VALUE) in the environment.

    This finds those that left their session as well.
    """
    wanted = mark.encode()
    found = set()
    for pid, _ in _all_stats():
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def end_all(find: Callable[[], Iterable[int]], *, grace: float) -> bool:
    """TERM to all that `find` gives, KILL after `grace` seconds; whether all ended."""
    _signal(find(), signal.SIGTERM)
    if _gone(find, grace):
        return True
    _signal(find(), signal.SIGKILL)
    return _gone(find, 5.0)


def _gone(find: Callable[[], Iterable[int]], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while set(find()):
        if time.monotonic() >= end:
            return False
        time.sleep(0.05)
    return True


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name: [0] state, [3] session, [19] start."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _all_stats() -> Iterable[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat:
                yield int(entry.name), stat
