"""The facts that a job writes beside its script: read here, written by templates/job.sh.j2.

A marker is a file `VALUE TIME\\n`, written once by rename. One that is not whole does not count.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcjobs.files import explained

_CONTENT = re.compile(r"(?P<value>.*) (?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\n", re.DOTALL)
_TASK = re.compile(
    r"task\.(?P<key>.+)\.(?P<what>started|exit_code|failure|not_begun|interrupted|again)"
)
_DEATH = re.compile(r"server_died\.[0-9]+")
_OWN = ("started", "host", "restarted", "ready", "server_version", "signal", "failure", "exit_code")


@dataclass(frozen=True)
class Marker:
    """One fact."""

    value: str
    at: float
    """Epoch seconds, by the compute node's clock."""


@dataclass(frozen=True)
class TaskMarkers:
    """How far one task came."""

    started: Marker | None = None
    """The latest time."""
    exit_code: Marker | None = None
    failure: Marker | None = None
    """Why the job itself ended it, or did not begin it; of packed tasks."""
    not_begun: Marker | None = None
    """There was not enough time left for it; of packed tasks."""
    interrupted: Marker | None = None
    """Its server died, and it has not been begun again since; of packed tasks."""

    @property
    def running(self) -> bool:
        """Whether it is being evaluated, as far as the job could tell."""
        return bool(self.started and not self.exit_code and not self.interrupted)


@dataclass(frozen=True)
class Markers:
    """All that an attempt has told so far."""

    started: Marker | None = None
    host: Marker | None = None
    """The machine that it runs on."""
    restarted: Marker | None = None
    ready: Marker | None = None
    server_version: Marker | None = None
    signal: Marker | None = None
    failure: Marker | None = None
    exit_code: Marker | None = None
    tasks: Mapping[str, TaskMarkers] = field(default_factory=dict)
    server_deaths: int = 0
    """How often the server died and was started again."""

    @property
    def running(self) -> list[str]:
        """The tasks that are being evaluated."""
        return [key for key, task in self.tasks.items() if task.running]

    def of_task(self, key: str) -> Markers:
        """The same for one task: how another ended, and the job after it, says nothing of it."""
        task = self.tasks.get(key)
        if task is None:
            return self
        own = {key: task}
        if task.exit_code is None:
            return replace(self, tasks=own)
        return replace(self, tasks=own, failure=task.failure, signal=None, exit_code=task.exit_code)

    @property
    def phase(self) -> str:
        """What it is busy with, for people: empty before its start."""
        if self.started is None:
            return ""
        if self.exit_code is not None:
            return "ended"
        if self.running:
            return f"evaluating {', '.join(self.running)}"
        return "ready" if self.ready else "starting the server"


def read_markers(directory: Path) -> Markers:
    """The markers of an attempt; what is not there, or not whole, is None.

    The directory is listed first: that makes NFS look again.

    Raises:
        StorageError: the disk does not answer, which says nothing of the job.
    """
    own: dict[str, Marker | None] = {}
    tasks: dict[str, dict[str, Marker | None]] = {}
    with explained("list", directory):
        try:
            names = sorted(path.name for path in directory.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return Markers()
    deaths = sum(_DEATH.fullmatch(name) is not None for name in names)
    for name in names:
        match = _TASK.fullmatch(name)
        if name in _OWN:
            own[name] = _read(directory / name)
        elif match:
            tasks.setdefault(match["key"], {})[match["what"]] = _read(directory / name)
    by_task = {key: _of_task(found) for key, found in tasks.items()}
    return Markers(**own, tasks=by_task, server_deaths=deaths)


def _of_task(found: dict[str, Marker | None]) -> TaskMarkers:
    again = found.pop("again", None)
    if again is not None:
        found |= {"started": again, "interrupted": None}
    return TaskMarkers(**found)


def _read(path: Path) -> Marker | None:
    with explained("read", path):
        try:
            match = _CONTENT.fullmatch(path.read_text(errors="replace"))
        except (FileNotFoundError, IsADirectoryError):
            return None
    if match is None:
        return None
    try:
        when = datetime.datetime.strptime(match["at"], "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:  # digits, but no time
        return None
    return Marker(match["value"], when.replace(tzinfo=datetime.timezone.utc).timestamp())
