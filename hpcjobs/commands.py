"""The only place where the schedulers' programs are run.

Argument lists, never a shell; a time limit always, since a hung scheduler hangs its clients; an
environment without keys and without the job variables of an allocation we may be running in.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hpcjobs.config.environment import is_secret
from hpcjobs.errors import SchedulerUnavailableError

_JOB_VARIABLES = (
    "SBATCH_", "SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_", "PBS_", "SGE_",
    "HPCJOBS_PART", "HPCJOBS_LOCAL_",
)  # fmt: skip
"""Of an enclosing job; and those by which a person changes what Slurm's commands print."""

_KEPT = frozenset(
    {
        "SLURM_CONF",
        "PBS_CONF_FILE",
        "PBS_DEFAULT",
        "PBS_EXEC",
        "PBS_SERVER",
        "SGE_ROOT",
        "SGE_CELL",
        "SGE_CLUSTER_NAME",
        "SGE_QMASTER_PORT",
        "SGE_EXECD_PORT",
        "HPCJOBS_LOCAL_DIR",
    }
)


PATIENCE = 5.0
"""Seconds after which a person is told that an answer is awaited."""

on_waiting: Callable[[str, float], None] | None = None
"""Told then the program, and the seconds after which it is given up; set by hpcjobs.cli."""


@dataclass(frozen=True)
class CommandResult:
    """How a command ended."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


def run(argv: Sequence[str], *, timeout: float, given: str | None = None) -> CommandResult:
    """Run one command to its end.

    It runs in a session of its own, and with SIGINT blocked: Ctrl-C in the terminal must not reach
    a `qsub` whose answer would then be lost.

    Args:
        argv: the program and its arguments.
        timeout: seconds after which it and its children are killed.
        given: what it may read; None = nothing.

    Raises:
        SchedulerUnavailableError: there is no such program, or it did not end in time.
    """
    start = time.monotonic()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            start_new_session=True,
        )
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise SchedulerUnavailableError(
            f"cannot run {argv[0]}: {error.strerror}",
            do="run this where the scheduler's commands are on PATH (a login node)",
        ) from error
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        data = None if given is None else given.encode(errors="backslashreplace")
        stdout, stderr = _answer(process, data, timeout, argv[0])
    except BaseException as error:
        # Its pipes are closed, not read to their end: who left the group may hold them open.
        with process, suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if isinstance(error, subprocess.TimeoutExpired):
            raise SchedulerUnavailableError(
                f"{argv[0]} did not answer within {timeout:g} s"
            ) from error
        raise
    return CommandResult(
        tuple(argv),
        process.returncode,
        stdout.decode(errors="backslashreplace"),
        stderr.decode(errors="backslashreplace"),
        time.monotonic() - start,
    )


def _answer(
    process: subprocess.Popen[bytes], given: bytes | None, timeout: float, program: str
) -> tuple[bytes, bytes]:
    if on_waiting is None or timeout <= PATIENCE:
        return process.communicate(given, timeout=timeout)
    try:
        return process.communicate(given, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        on_waiting(program, timeout)
    return process.communicate(timeout=timeout - PATIENCE)  # goes on where it was


def attend(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command in the foreground, for as long as it takes; it prints to our standard error.

    Returns:
        Its exit status.

    Raises:
        SchedulerUnavailableError: there is no such program.
    """
    try:
        return subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, stdout=2, env=dict(environment), check=False
        ).returncode
    except OSError as error:
        raise SchedulerUnavailableError(f"cannot run {argv[0]}: {error.strerror}") from error


def clean_environment() -> dict[str, str]:
    """Our environment without keys and without the variables of an enclosing job."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not (name.startswith(_JOB_VARIABLES) or is_secret(name))
    }
    return {**kept, "LC_ALL": "C.UTF-8"}
