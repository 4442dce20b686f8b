"""The supervisor: starts what may start, watches what runs, and ends when nothing is left.

All it knows is on disk: it may be killed at any moment, and the next one goes on. It survives
broken records and a full disk; what failed is logged and tried again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hpcjobs.errors import ExitCode, HpcjobsError, LockedError
from hpcjobs.local import slots
from hpcjobs.local.control import start_starter, write_identity
from hpcjobs.local.job import (
    CANCEL,
    ENDED,
    Job,
    claim_path,
    read_job,
    start_path,
    write_end,
    write_once,
)
from hpcjobs.local.log import Log
from hpcjobs.local.running import RunningJob
from hpcjobs.local.spool import Spool, take_lock

_TICK = 0.2
_IDLE = 2.0
_RETRY = 1.0
"""Seconds between two rounds, before it ends itself, and after something failed."""
_STARTS = 3
"""So many starters in a row may fail to claim a job before it counts as failed."""


def supervise(spool: Spool, lock: int | None) -> int:
    """Take the supervisor's lock (or take `lock` over), and work until nothing is left to do.

    Returns:
        0, or `ExitCode.LOCKED` if another supervisor lives.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    log = Log()
    with spool.mutex():
        lock = take_lock(spool.lock) if lock is None else lock
        if lock is None:
            return ExitCode.LOCKED
        os.set_inheritable(lock, False)
        try:
            write_identity(lock)
            spool.tidy()
        except (OSError, HpcjobsError) as error:
            log(f"at start: {error}")
    Supervisor(spool, lock, log).run()
    return ExitCode.OK


@dataclass(frozen=True)
class Starting:
    """A recorded start whose starter has not claimed it yet."""

    job: Job
    devices: tuple[int, ...]
    number: int
    process: subprocess.Popen[bytes] | None


class Supervisor:
    """What one living supervisor remembers; a job's id is a key of exactly one of its tables."""

    def __init__(self, spool: Spool, lock: int, log: Log) -> None:
        self._spool, self._lock, self._log = spool, lock, log
        self._waiting: dict[int, Job] = {}
        self._starting: dict[int, Starting] = {}
        self._running: dict[int, RunningJob] = {}
        self._ended: set[int] = set()
        self._failed_starts: dict[int, int] = {}
        self._not_before: dict[int, float] = {}
        self._busy_at = time.monotonic()

    def run(self) -> None:
        """Work until nothing is queued or running any more, or the spool was removed."""
        while self._spool_is_ours():
            self._each(self._unknown_ids(), self._meet)
            self._each(self._starting, self._follow_start)
            self._each(self._running, self._follow)
            self._each(self._waiting, self._drop_if_cancelled)
            self._start_what_may()
            if self._is_over():
                return
            time.sleep(_TICK)
        self._log("the spool was removed or made anew: this supervisor ends")

    def _each(self, ids: Iterable[int], step: Callable[[int], None]) -> None:
        """`step` for each job; what fails is logged and tried again a little later."""
        for job_id in list(ids):
            if self._not_before.get(job_id, 0.0) > time.monotonic():
                continue
            try:
                step(job_id)
            except Exception as error:
                known = isinstance(error, HpcjobsError | OSError | ValueError)
                self._log(f"job {job_id}: {error if known else traceback.format_exc()}")
                self._not_before[job_id] = time.monotonic() + _RETRY

    def _unknown_ids(self) -> list[int]:
        try:
            ids = self._spool.ids()
        except HpcjobsError as error:
            self._log(str(error))
            return []
        tables = (self._ended, self._waiting, self._starting, self._running)
        return [job_id for job_id in ids if not any(job_id in table for table in tables)]

    def _meet(self, job_id: int) -> None:
        """A job that this supervisor has not seen: new, or left by the last supervisor."""
        directory = self._spool.path(job_id)
        snapshot = read_job(directory)
        if snapshot.is_unclaimed:
            if write_once(claim_path(directory, snapshot.number), {"abandoned": True}):
                self._log(f"job {job_id}: start {snapshot.number} came to nothing")
            snapshot = read_job(directory)
        if snapshot.end is not None:
            self._ended.add(job_id)
        elif identity := snapshot.identity:
            self._log(f"job {job_id}: adopted, process {identity.pid}")
            self._running[job_id] = RunningJob(directory, snapshot.job, snapshot.devices, identity)
        else:
            self._waiting[job_id] = snapshot.job

    def _drop_if_cancelled(self, job_id: int) -> None:
        directory = self._spool.path(job_id)
        if (directory / CANCEL).exists():  # asked for while its start was in doubt
            write_end(directory, time.time(), None, "cancelled")
        if (directory / ENDED).exists() or not directory.exists():
            self._ended.add(job_id)
            del self._waiting[job_id]

    def _start_what_may(self) -> None:
        waiting = (
            slots.Waiting(job.id, job.gpus, job.devices, job.cpu_slots, job.priority)
            for job in self._waiting.values()
        )
        held = [start.devices for start in self._starting.values()]
        held += [running.devices for running in self._running.values()]
        devices = dict(slots.startable(waiting, held))
        self._each(devices, lambda job_id: self._start(job_id, devices[job_id]))

    def _start(self, job_id: int, devices: tuple[int, ...]) -> None:
        """Record a start, then let the starter try it."""
        directory = self._spool.path(job_id)
        try:
            with self._spool.mutex(wait=0):
                snapshot = read_job(directory)
                if snapshot.state != "queued" or snapshot.is_unclaimed or snapshot.cancelled:
                    return
                number = snapshot.number + 1
                start = {"devices": devices, "time": time.time()}
                write_once(start_path(directory, number), start)
        except LockedError:
            return  # a command holds it for a moment: next time
        process = None
        try:
            process = start_starter(directory, number)
        except OSError as error:
            self._log(f"job {job_id}: cannot start a process: {error}")
        self._starting[job_id] = Starting(self._waiting.pop(job_id), devices, number, process)

    def _follow_start(self, job_id: int) -> None:
        start, directory = self._starting[job_id], self._spool.path(job_id)
        over = start.process is None or start.process.poll() is not None
        identity = read_job(directory).identity  # read after the poll: final if it is over
        if identity:
            self._running[job_id] = RunningJob(
                directory, start.job, start.devices, identity, start.process
            )
            del self._starting[job_id]
        elif over:
            self._give_up_start(start)
        elif start.process and (directory / CANCEL).exists():
            start.process.terminate()

    def _give_up_start(self, start: Starting) -> None:
        job_id, directory = start.job.id, self._spool.path(start.job.id)
        write_once(claim_path(directory, start.number), {"abandoned": True})
        failures = self._failed_starts[job_id] = self._failed_starts.get(job_id, 0) + 1
        self._log(f"job {job_id}: start {start.number} failed without a claim")
        if failures >= _STARTS:
            write_end(directory, time.time(), None, "start_failed")
        self._waiting[job_id] = start.job  # and dropped at once if it has ended
        self._not_before[job_id] = time.monotonic() + (0 if failures >= _STARTS else failures)
        del self._starting[job_id]

    def _follow(self, job_id: int) -> None:
        end = self._running[job_id].step()
        if end is not None:
            write_end(self._spool.path(job_id), end.time, end.exit_status, end.because)
            self._log(f"job {job_id}: ended, {end.exit_status} {end.because or ''}")
            self._ended.add(job_id)
            del self._running[job_id]

    def _spool_is_ours(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._spool.lock), os.fstat(self._lock))  # noqa: PTH116
        except FileNotFoundError:
            return False
        except OSError as error:
            self._log(str(error))
            return True

    def _is_over(self) -> bool:
        """Whether nothing is left; then the lock is free before anybody can enqueue again."""
        now = time.monotonic()
        if self._waiting or self._starting or self._running:
            self._busy_at = now
        if now - self._busy_at < _IDLE:
            return False
        self._busy_at = now
        try:
            with self._spool.mutex(wait=0):
                if any(snapshot.state != "ended" for snapshot in self._spool.read_all()[0]):
                    return False
                os.close(self._lock)
                return True
        except HpcjobsError as error:
            self._log(f"cannot end yet: {error}")
            return False
