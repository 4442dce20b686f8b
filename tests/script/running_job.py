"""A rendered job script that really runs, with fake programs first on PATH."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAKES = Path(__file__).parents[1] / "fakes"

SOON = 15.0
"""Seconds within which anything must have happened, also on a busy machine."""

MARKER = re.compile(r"(?P<value>.+) \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", re.DOTALL)


@dataclass
class RunningJob:
    """One run of a job script."""

    process: subprocess.Popen[bytes]
    directory: Path
    """Of the attempt."""
    records: Path
    """Where the fakes leave what they were given."""
    tag: str
    """A word that is in the environment or the arguments of everything that the job starts."""

    def wait(self, timeout: float = SOON) -> int:
        """The exit status of the script, which must end by itself."""
        return self.process.wait(timeout)

    def markers(self) -> dict[str, str]:
        """The values of all markers; each must be whole."""
        found = {}
        for path in self.directory.iterdir():
            if path.is_file() and path.suffix not in (".log", ".sh", ".tmp"):
                match = MARKER.fullmatch(path.read_text())
                assert match, f"the marker {path.name} is not whole: {path.read_text()!r}"
                found[path.name] = match["value"]
        return found

    def log(self) -> str:
        """What the job said."""
        path = self.directory / "job.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def records_of(self, program: str) -> list[dict[str, Any]]:
        """What the runs of a fake program were given, oldest first."""
        paths = self.records.glob(f"{program}.*.json")
        ordered = sorted(paths, key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(path.read_text()) for path in ordered]

    def wait_for_record(self, program: str) -> dict[str, Any]:
        """What the first run of a fake program was given, once it runs."""
        wait_until(lambda: self.records_of(program), f"{program} runs", self.log)
        return self.records_of(program)[0]

    def processes(self) -> dict[int, str]:
        """All living processes that belong to the job, with their command lines."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes()
                about = words + b"\0" + (path / "environ").read_bytes()
                if self.tag.encode() in about:
                    found[int(path.name)] = words.decode(errors="replace").replace("\0", " ")
        return found

    def wait_until_gone(self, timeout: float = SOON) -> None:
        """Wait until nothing of the job is left; fails if something stays."""
        wait_until(lambda: not self.processes(), "nothing is left", self.describe, timeout)

    def describe(self) -> str:
        """For a test that failed."""
        return f"{self.processes()}\n{self.log()}"

    def send(self, number: signal.Signals, *, to_group: bool) -> None:
        """A signal to the shell alone, or to its whole process group."""
        if to_group:
            os.killpg(self.process.pid, number)
        else:
            os.kill(self.process.pid, number)

    def kill_all(self) -> None:
        """End whatever is left."""
        self.process.kill()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(SOON)


def wait_until(
    condition: Callable[[], object],
    what: str,
    describe: Callable[[], str] = str,
    timeout: float = SOON,
) -> None:
    """Wait until something holds, or fail and say what there is instead."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout} s: {what}\n{describe()}"
        time.sleep(0.02)
