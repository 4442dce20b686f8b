"""The append-only record of a workspace: jobs/journal.jsonl, one event a line.

Written by one process at a time (hpcjobs.lock), each event flushed to disk before what it announces
is done. A line that a crash or a full disk tore costs that one event.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcjobs.errors import StorageError
from hpcjobs.files import explained

FORMAT = 1

PLANNED = "planned"
"""A job is known: `spec`."""
SUBMITTING = "submitting"
"""About to submit an attempt: `name`, `place`."""
SUBMITTED = "submitted"
"""The scheduler took it: `native_id`."""
CANCELLING = "cancelling"
"""A person asked to cancel it."""
NOT_CANCELLED = "not_cancelled"
"""The scheduler did not take that."""
SEEN = "seen"
"""It stands otherwise than before: `state`, `detail`, `absent_since`."""
ENDED = "ended"
"""It is over: `state`, `reason`, `detail`; if it succeeded, what CHECKED tells, too."""
CHECKED = "checked"
"""The results of one that succeeded were looked at again: `suspect` (why, by task), `unread`."""

Event = Mapping[str, Any]


@dataclass
class JournalContent:
    """All events, and the lines that could not be read."""

    events: list[Event] = field(default_factory=list)
    broken_lines: list[int] = field(default_factory=list)


def event(kind: str, at: float, job: str, attempt: int | None = None, **more: Any) -> Event:
    """One event; `at` in epoch seconds."""
    when = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).isoformat()
    head = {"event": kind, "at": when, "job": job}
    return head | ({} if attempt is None else {"attempt": attempt}) | more


def epoch(when: str) -> float:
    """Epoch seconds of an event's `at`."""
    return datetime.datetime.fromisoformat(when).timestamp()


def append(path: Path, events: Iterable[Event]) -> None:
    """Add events and flush them to disk. The caller holds the workspace's lock.

    Raises:
        StorageError: they are not all on the disk (it is full, or read-only).
    """
    lines = [json.dumps({"v": FORMAT, **one}, ensure_ascii=False) + "\n" for one in events]
    if not lines:
        return
    with explained("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            data = "".join(lines).encode()
            if not _ends_whole(descriptor):
                data = b"\n" + data  # so that a torn line spoils only itself
            if os.write(descriptor, data) != len(data):
                raise StorageError(
                    f"cannot write {path}: the disk is full",
                    do="free some space and run the same command again",
                )
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path) -> JournalContent:
    """All events of a journal that may still be written to; none if there is no file.

    Raises:
        StorageError: it cannot be read.
    """
    content = JournalContent()
    with explained("read", path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return content
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line:
            continue
        try:
            value = json.loads(line)
            if not isinstance(value, dict) or "event" not in value:
                raise ValueError("not an event")
        except ValueError:
            content.broken_lines.append(number)
        else:
            content.events.append(value)
    return content


def _ends_whole(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
