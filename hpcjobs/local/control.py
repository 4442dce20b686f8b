"""How commands reach the supervisor: start it, ask it to end a job, end it itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from hpcjobs.errors import HpcjobsError
from hpcjobs.files import explained
from hpcjobs.local import environment
from hpcjobs.local.job import CANCEL, Snapshot, read_job, write_end, write_once
from hpcjobs.local.spool import Spool, take_lock
from hpcjobs.processes import ProcessIdentity

_LOG_LIMIT = 1 << 20
"""Bytes after which the log is put aside when a supervisor starts."""
_TERM_WAIT = 5.0
_CANCEL_WAIT = 30.0
"""Seconds beyond the longest grace that `shutdown` waits for jobs to end."""


def ensure_supervisor(spool: Spool) -> None:
    """Start a supervisor if none lives; the mutex must be held.

    The lock is taken here and handed on, so that it is held without a gap and only one is started.

    Raises:
        StorageError: it cannot be started.
    """
    lock = take_lock(spool.lock)
    if lock is None:
        return
    try:
        with explained("start a supervisor with", spool.log):
            _put_long_log_aside(spool.log)
            with spool.log.open("ab") as log:
                subprocess.Popen(
                    [sys.executable, "-m", "hpcjobs.local", "supervise", "--lock-fd", str(lock)],
                    pass_fds=[lock],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=environment.of_ours(spool.directory),
                    start_new_session=True,
                )
    finally:
        os.close(lock)


def start_starter(directory: Path, number: int) -> subprocess.Popen[bytes]:
    """Start the program that claims start `number` of a job. Raises OSError."""
    return subprocess.Popen(
        [sys.executable, "-m", "hpcjobs.local.starter", str(directory), str(number)],
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=environment.of_ours(directory.parent),
        start_new_session=True,
    )


def cancel(spool: Spool, snapshot: Snapshot) -> None:
    """End a queued job, or ask the supervisor to end a running one; the mutex must be held.

    Raises:
        StorageError: that cannot be written.
    """
    directory = spool.path(snapshot.job.id)
    if snapshot.state == "queued" and not snapshot.is_unclaimed:
        write_end(directory, time.time(), None, "cancelled")
    elif snapshot.state != "ended":
        write_once(directory / CANCEL, {"time": time.time()})


def end_all_jobs(spool: Spool) -> None:
    """Cancel every job and wait until all have ended.

    Raises:
        HpcjobsError: some have not.
    """
    with spool.mutex():
        snapshots = [snapshot for snapshot in spool.read_all()[0] if snapshot.state != "ended"]
        for snapshot in snapshots:
            cancel(spool, snapshot)
        if snapshots:
            ensure_supervisor(spool)
    jobs = [snapshot.job for snapshot in snapshots]
    end = time.monotonic() + max((job.grace for job in jobs), default=0) + _CANCEL_WAIT
    while left := [job.id for job in jobs if read_job(spool.path(job.id)).state != "ended"]:
        if time.monotonic() > end:
            raise HpcjobsError(f"jobs {left} did not end", do=f"look into {spool.log}")
        time.sleep(0.05)


def end_supervisor(spool: Spool) -> None:
    """TERM to the supervisor, KILL five seconds later; running jobs go on.

    Raises:
        HpcjobsError: it did not end.
    """
    start = time.monotonic()
    while time.monotonic() < start + 2 * _TERM_WAIT:
        with spool.mutex():
            lock = take_lock(spool.lock)
            if lock is not None:
                os.close(lock)
                return
            identity = read_identity(spool)
            late = time.monotonic() > start + _TERM_WAIT
            if identity and identity.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(identity.pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.05)
    raise HpcjobsError("the supervisor did not end", do=f"look into {spool.log}")


def read_identity(spool: Spool) -> ProcessIdentity | None:
    """Who the supervisor is that last took the lock; None if it has not said yet."""
    try:
        return ProcessIdentity.from_json(json.loads(spool.lock.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_identity(lock: int) -> None:
    """Write this process's identity into the lock file it holds. Raises OSError."""
    identity = ProcessIdentity.of(os.getpid())
    text = json.dumps(identity.to_json() if identity else None) + "\n"
    written = os.pwrite(lock, text.encode(), 0)
    os.ftruncate(lock, written)


def _put_long_log_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.old"))
