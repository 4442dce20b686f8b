"""`hpcjobs` with something wrong around it: python misbehaving.py HOW hpcjobs-arguments...

HOW is `die:N`: killed at the N-th step, where a step lies before and after each thing that leaves a
trace. Or how the scheduler's commands behave: `hang`, `lost` (done, but the answer is lost),
`refuse`, `garbage`, `empty`, `fail`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hpcjobs.cli
from hpcjobs import ask, commands, files, journal, lock, submit
from hpcjobs.commands import CommandResult
from hpcjobs.errors import SchedulerUnavailableError

steps = 0


def step(at: int) -> None:
    global steps
    steps += 1
    if steps == at:
        os.kill(os.getpid(), signal.SIGKILL)


def dying(function: Callable[..., Any], at: int) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **options: Any) -> Any:
        step(at)
        result = function(*arguments, **options)
        step(at)
        return result

    return wrapped


def torn_write(at: int) -> Callable[[int, bytes], int]:
    """Dies also with only half of the bytes written."""
    write = os.write

    def wrapped(descriptor: int, data: bytes) -> int:
        global steps
        steps += 1
        if steps == at:
            write(descriptor, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(descriptor, data)

    return wrapped


def die(at: int) -> None:
    for module, name in (
        (journal, "append"),
        (submit, "run"),
        (ask, "run"),
        (submit, "write_script"),
        (submit, "write_once"),
        (lock, "write_once"),
        (files.os, "link"),
        (Path, "replace"),
    ):
        setattr(module, name, dying(getattr(module, name), at))
    journal.os.write = torn_write(at)  # type: ignore[assignment]


def hang(argv: Sequence[str], *, timeout: float) -> CommandResult:
    return commands.run(["sleep", "1000"], timeout=0.2)


def lost(argv: Sequence[str], *, timeout: float) -> CommandResult:
    commands.run(argv, timeout=timeout)
    raise SchedulerUnavailableError("the answer was lost")


def answering(returncode: int, stdout: str, stderr: str) -> Callable[..., CommandResult]:
    return lambda argv, timeout: CommandResult(tuple(argv), returncode, stdout, stderr, 0.0)


SCHEDULERS: dict[str, Callable[..., CommandResult]] = {
    "hang": hang,
    "lost": lost,
    "refuse": answering(2, "", "no more jobs today"),
    "garbage": answering(0, "<html>\n", ""),
    "empty": answering(0, "", ""),
    "fail": answering(1, "", "cannot reach the master"),
}

if __name__ == "__main__":
    how, *words = sys.argv[1:]
    if how.startswith("die:"):
        die(int(how[4:]))
    else:
        submit.run = ask.run = SCHEDULERS[how]
    hpcjobs.cli.main(words)
