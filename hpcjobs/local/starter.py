"""The small program between the supervisor and a job: it claims one start, then becomes bash.

`python -m hpcjobs.local.starter JOBDIR NUMBER`, in a session of its own. The claim is made
exclusively, so that a start which a later supervisor gave up can never come about.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from hpcjobs.errors import HpcjobsError, StorageError
from hpcjobs.local import environment
from hpcjobs.local.job import START_FAILED, Snapshot, claim_path, read_job, write_once
from hpcjobs.processes import ProcessIdentity

LOST_THE_RACE = 3
CANNOT_CLAIM = 5
CANNOT_RUN = 127


def main(arguments: list[str]) -> int:
    """Claim start NUMBER of JOBDIR and run its script; returns only if that failed."""
    directory, number = Path(arguments[0]), int(arguments[1])
    try:
        return _start(directory, number)
    except HpcjobsError as error:
        print(error, file=sys.stderr)
        return CANNOT_CLAIM


def _start(directory: Path, number: int) -> int:
    snapshot = read_job(directory)
    identity = ProcessIdentity.of(os.getpid())
    if identity is None:
        raise RuntimeError("/proc does not show this process")
    claim = {**identity.to_json(), "time": time.time()}
    if not write_once(claim_path(directory, number), claim):
        return LOST_THE_RACE
    try:
        _become(snapshot, directory)
    except (OSError, ValueError) as error:
        print(f"{directory}: cannot run {snapshot.job.script}: {error}", file=sys.stderr)
        with contextlib.suppress(StorageError):
            write_once(directory / START_FAILED, {"error": str(error)})
    return CANNOT_RUN


def _become(snapshot: Snapshot, directory: Path) -> None:
    job = snapshot.job
    variables = environment.of_job(job, directory, snapshot.devices)
    bash = shutil.which("bash", path=variables["PATH"]) or "/bin/bash"
    os.umask(job.umask)
    os.chdir(Path(job.script).parent)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(job.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    log = os.dup(2)  # not inheritable: gone with a successful exec
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    _reset_signals()
    try:
        os.execve(bash, ["bash", job.script], variables)  # noqa: S606
    except OSError:
        os.dup2(log, 2)
        raise


def _reset_signals() -> None:
    """Undo what nohup, a background shell or Python made of signals."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
