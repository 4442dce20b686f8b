"""The spool: all jobs of one user on one host, and the locks about them.

SPOOL/counter           the last id given; ids are never given twice
      ID/               a job (see job.py), renamed into place whole
      mutex             held while a job is enqueued, started or cancelled, or a supervisor ends
      supervisor.lock   held by the supervisor as long as it lives; holds its identity
      supervisor.log
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hpcjobs.errors import HpcjobsError, LockedError, StorageError
from hpcjobs.files import explained, sync_directory, write_json
from hpcjobs.local.job import BROKEN, JOB, Job, Snapshot, read_job

MUTEX_WAIT = 60.0
"""Seconds that a command waits for another one."""
PRUNE_AFTER = 30 * 86400
"""Seconds that an ended job stays in the spool."""


class NameUsedError(HpcjobsError):
    """A job of that name is in the spool already."""

    exit_code = 3


@dataclass(frozen=True)
class Spool:
    """An existing, checked spool directory."""

    directory: Path

    @property
    def log(self) -> Path:
        """Where the supervisor and failed starts leave their words."""
        return self.directory / "supervisor.log"

    @property
    def lock(self) -> Path:
        """The supervisor's lock file."""
        return self.directory / "supervisor.lock"

    def ids(self) -> list[int]:
        """The ids of all jobs, oldest first (none if there is no spool). Raises StorageError."""
        if not self.directory.exists():
            return []
        with explained("list", self.directory):
            return sorted(int(name) for name in os.listdir(self.directory) if name.isdecimal())  # noqa: PTH208

    def path(self, job_id: int) -> Path:
        """The directory of a job, whether it exists or not."""
        return self.directory / str(job_id)

    def read_all(self) -> tuple[list[Snapshot], list[int]]:
        """All jobs, and the ids of those whose records cannot be read. Raises StorageError."""
        jobs, broken = [], []
        for job_id in self.ids():
            try:
                jobs.append(read_job(self.path(job_id)))
            except BROKEN:
                if self.path(job_id).exists():  # else pruned just now
                    broken.append(job_id)
        return jobs, broken

    def named(self, name: str) -> Snapshot | None:
        """The job of that name, if there is one.

        Raises:
            StorageError: none is found, and a record cannot be read: it might be that one.
        """
        jobs, broken = self.read_all()
        for snapshot in jobs:
            if snapshot.job.name == name:
                return snapshot
        if broken:
            raise StorageError(
                f"cannot read the record in {self.path(broken[0])}, which may be the job '{name}'",
                do="if that is of no use any more, remove it and run the same command again",
            )
        return None

    def enqueue(self, job: Job) -> Job:
        """Put `job` into the spool under the next id; the mutex must be held.

        A job without a name is named `job-ID`.

        Raises:
            NameUsedError: a job of that name is there.
            StorageError: it could not be written; then it is not there.
        """
        if job.name and (other := self.named(job.name)):
            raise NameUsedError(f"name already used: id {other.job.id}")
        job_id = self._next_id()
        job = replace(job, id=job_id, name=job.name or f"job-{job_id}")
        with explained("write in", self.directory):
            temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=self.directory))
        try:
            write_json(temporary / JOB, job.to_json())
            with explained("write", self.path(job_id)):
                sync_directory(temporary)
                temporary.rename(self.path(job_id))
                sync_directory(self.directory)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return job

    def tidy(self) -> None:
        """Remove jobs that ended long ago and half-made ones; the mutex must be held."""
        for job_id in self.ids():
            with contextlib.suppress(*BROKEN):
                end = read_job(self.path(job_id)).end
                if end and end["time"] < time.time() - PRUNE_AFTER:
                    self.path(job_id).rename(self.directory / f".old-{job_id}")
        for pattern in (".new-*", ".old-*"):
            for path in self.directory.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def mutex(self, wait: float = MUTEX_WAIT) -> Iterator[None]:
        """Hold the spool's mutex inside the block, waiting for it up to `wait` seconds.

        Raises:
            LockedError: another process held it all the time.
            StorageError: the lock file cannot be opened.
        """
        end = time.monotonic() + wait
        while (descriptor := take_lock(self.directory / "mutex")) is None:
            if time.monotonic() >= end:
                raise LockedError(
                    f"the spool {self.directory} is locked by another process",
                    do="look for a stopped or hanging 'hpcjobs.local' (ps) and end it",
                )
            time.sleep(0.01)
        try:
            yield
        finally:
            os.close(descriptor)

    def _next_id(self) -> int:
        counter = self.directory / "counter"
        last = 0
        try:
            last = int(json.loads(counter.read_text()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(
                f"cannot read {counter}, where the last job id is kept: {error}",
                do="write into it a number above every id that was ever given",
            ) from error
        number = max([last, *self.ids()]) + 1
        write_json(counter, number)
        return number


def take_lock(path: Path) -> int | None:
    """A descriptor that holds the lock `path` until closed; None if another process holds it.

    Raises:
        StorageError: the file cannot be opened or locked.
    """
    with explained("open the lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
    return descriptor
