"""`hpcjobs` with something wrong around it: python misbehaving.py HOW hpcjobs-arguments...

HOW is `die:N`: killed at the N-th step, where a step lies before and after each thing that leaves a
trace. Or how the scheduler's commands behave: `hang`, `lost` (done, but the answer is lost),
`refuse`, `garbage`, `empty`, `fail`. `any:SEED` is one of these or none at each command, by chance,
or `late`: done after the answer was given up; at the end it says how often there was each.
"""

from __future__ import annotations

import atexit
import os
import random
import signal
import subprocess
import sys
from collections import Counter
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


def late(argv: Sequence[str], *, timeout: float) -> CommandResult:
    subprocess.Popen(
        ["sh", "-c", 'sleep 0.5; exec "$@"', "sh", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    raise SchedulerUnavailableError("no answer in time")


def by_chance(seed: str) -> Callable[..., CommandResult]:
    chance, seen = random.Random(seed), Counter[str]()
    ways = {**SCHEDULERS, "late": late, "well": commands.run}
    del ways["refuse"]  # an answer, and a true one
    atexit.register(lambda: print("faults:", dict(seen), file=sys.stderr))

    def run(argv: Sequence[str], *, timeout: float) -> CommandResult:
        how = chance.choice([*ways, "well", "well", "well"])
        seen[how] += 1
        return ways[how](argv, timeout=timeout)

    return run


if __name__ == "__main__":
    how, *words = sys.argv[1:]
    if how.startswith("die:"):
        die(int(how[4:]))
    elif how.startswith("any:"):
        submit.run = ask.run = by_chance(how[4:])
    else:
        submit.run = ask.run = SCHEDULERS[how]
    hpcjobs.cli.main(words)
