"""What is on disk about one job, and what state that makes.

    SPOOL/ID/job.json             as submitted; never changes
             start-N.json         the supervisor is about to start it, with these devices
             claim-N.json         whoever comes first: the starter, which then runs the script, or
                                  a later supervisor that gave start N up
             cancel.json          somebody asked for its end
             start_failed.json    claimed, but bash could not be run
             ended.json           its end; never changes

All but job.json are made exclusively: the first one to write a file is right.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcjobs import files
from hpcjobs.processes import ProcessIdentity

JOB, CANCEL, START_FAILED, ENDED = "job.json", "cancel.json", "start_failed.json", "ended.json"


@dataclass(frozen=True)
class Job:
    """One job as it was submitted; walltime and grace in seconds, submitted in epoch seconds."""

    id: int
    name: str
    script: str
    output: str
    gpus: int
    devices: tuple[int, ...]
    cpu_slots: int
    walltime: int | None
    grace: float
    priority: int
    submitted: float
    umask: int
    environment: dict[str, str]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Job:
        """The reverse of `to_json`; TypeError or KeyError if something is missing or too much."""
        return cls(**{**value, "devices": tuple(value["devices"])})

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class Snapshot:
    """A job as its directory showed it at one moment."""

    job: Job
    number: int
    """Of the latest start; 0 if none was tried."""
    devices: tuple[int, ...]
    claim: dict[str, Any] | None
    """Of the latest start: who claimed it (a process identity and `time`), or `abandoned`."""
    cancelled: bool
    end: dict[str, Any] | None

    @property
    def identity(self) -> ProcessIdentity | None:
        """The process that claimed the latest start."""
        if self.claim is None or "pid" not in self.claim:
            return None
        return ProcessIdentity.from_json(self.claim)

    @property
    def is_unclaimed(self) -> bool:
        """A start was recorded, and nobody knows yet whether it came about."""
        return self.end is None and self.number > 0 and self.claim is None

    @property
    def state(self) -> str:
        """`queued`, `running` or `ended`."""
        if self.end is not None:
            return "ended"
        return "running" if self.identity else "queued"

    def view(self) -> dict[str, Any]:
        """What `query` prints."""
        identity, end = self.identity, self.end or {}
        return {
            "id": str(self.job.id),
            "name": self.job.name,
            "state": self.state,
            "submitted": self.job.submitted,
            "started": self.claim["time"] if self.claim and identity else None,
            "ended": end.get("time"),
            "devices": list(self.devices) if identity else [],
            "walltime": self.job.walltime,
            "exit_status": end.get("exit_status"),
            "ended_because": end.get("because"),
            "pid": identity.pid if identity else None,
        }


def read_job(directory: Path) -> Snapshot:
    """What `directory` shows now.

    Raises:
        OSError, ValueError, KeyError, TypeError: a record is missing, unreadable or broken
            (`BROKEN` has them all).
    """
    end = _read(directory / ENDED)  # first: what came before it cannot change any more
    job = Job.from_json(json.loads((directory / JOB).read_text()))
    number = max((int(path.stem[6:]) for path in directory.glob("start-*.json")), default=0)
    start = _read(start_path(directory, number)) if number else None
    claim = _read(claim_path(directory, number)) if number else None
    return Snapshot(
        job=job,
        number=number,
        devices=tuple(start["devices"]) if start else (),
        claim=claim,
        cancelled=(directory / CANCEL).exists(),
        end=end,
    )


BROKEN = (OSError, ValueError, KeyError, TypeError)


def start_path(directory: Path, number: int) -> Path:
    """Where the supervisor records start `number`."""
    return directory / f"start-{number}.json"


def claim_path(directory: Path, number: int) -> Path:
    """Where start `number` is claimed or given up."""
    return directory / f"claim-{number}.json"


def write_once(path: Path, value: dict[str, Any]) -> bool:
    """Write `value` to `path` whole and for good; False if somebody was first.

    Raises:
        StorageError: it cannot be written.
    """
    return files.write_once(path, json.dumps(value))


def write_end(directory: Path, time: float, exit_status: int | None, because: str | None) -> bool:
    """Record a job's end for good; False if it had one. Raises StorageError."""
    end = {"time": time, "exit_status": exit_status, "because": because}
    return write_once(directory / ENDED, end)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"{path} does not hold an object")
    return value
