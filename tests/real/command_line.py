"""`hpcjobs` as people meet it: a program, in a workspace and with a local queue of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from hpcjobs.local import control
from hpcjobs.local.spool import Spool
from hpcjobs.processes import ProcessIdentity
from hpcjobs.workspace import defaults_root

ROOT = Path(__file__).resolve().parents[2]
DEMO = (
    *("submit", "--service", "local", "--node", "cpu", "--provider", "llamacpp"),
    *("--model", "hpcjobs/tiny-demo", "--settings", "demo", "--yes"),
)
"""Submits the demo; `--tasks demo` is still to be said."""

Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found], seconds: float = 30.0) -> Found:
    """What `condition` gives, once that is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.03)
    return found


def need(*modules: str) -> None:
    """Skip where one of these is not installed; in CI that is a failure."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        text = f"NOT TESTED: {', '.join(missing)} missing (pip install 'hpcjobs[demo]')"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)


def default_signals() -> None:
    """Undo what nohup, or a shell that runs us in the background, does to signals."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


class CommandLine:
    """One workspace, its queue, and the commands given there."""

    def __init__(self, root: Path, directory: Path) -> None:
        self.root = root
        self.spool = Spool(directory / "spool")
        root.mkdir(parents=True, exist_ok=True)
        (directory / "elsewhere").mkdir(exist_ok=True)
        self.elsewhere = directory / "elsewhere"
        """The current directory of every command: not the workspace."""
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "HPCJOBS_LOCAL_DIR": str(self.spool.directory),
        }

    def argv(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "hpcjobs", "-w", str(self.root), *map(str, words)]

    def run(
        self, *words: object, code: int | None = 0, argv: list[str] | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must be with exit code `code` and without a traceback."""
        done = subprocess.run(
            argv or self.argv(*words),
            cwd=self.elsewhere,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def start(self, *words: object, argv: list[str] | None = None) -> subprocess.Popen[str]:
        """Start a command as the leader of a process group, as a shell does."""
        return subprocess.Popen(
            argv or self.argv(*words),
            cwd=self.elsewhere,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=default_signals,
        )

    def json(self, *words: object, code: int | None = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def status(self, *words: object) -> dict[str, dict[str, Any]]:
        """What `status --json` says, by the first task of each job."""
        return {job["tasks"][0]: job for job in self.json("status", *words)["jobs"]}

    def wait_until(self, task: str, state: str, detail: str = "") -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            job = self.status()[task]
            return job if job["state"] == state and detail in job["detail"] else None

        return wait_for(reached)

    def queue(self, *words: str) -> list[dict[str, Any]]:
        """All that the local queue knows."""
        done = self.run(argv=[sys.executable, "-m", "hpcjobs.local", *(words or ("query",))])
        return [json.loads(line) for line in done.stdout.splitlines()]

    def service(self, **changes: Any) -> None:
        """The workspace's own services/local.yaml: the default one with these values changed."""
        path = self.root / "conf" / "services" / "local.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        source = path if path.exists() else defaults_root() / "conf/services/local.yaml"
        value = yaml.safe_load(source.read_text())
        for name, change in changes.items():
            value[name] = {**value[name], **change}
        path.write_text(yaml.safe_dump(value))

    def supervisor(self) -> ProcessIdentity | None:
        identity = control.read_identity(self.spool)
        return identity if identity and identity.is_alive() else None

    def processes(self) -> dict[int, str]:
        """Every living process of one of the jobs, and of their servers and evaluators."""
        mark = f"HPCJOBS_LOCAL_JOB={self.spool.directory}/".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                variables = (path / "environ").read_bytes().split(b"\0")
                command = (path / "cmdline").read_bytes()
                here = bytes(self.root) in command + os.fsencode(os.readlink(path / "cwd"))
                part = any(one.startswith(b"HPCJOBS_PART=") for one in variables)
                if any(one.startswith(mark) for one in variables) or (part and here):
                    found[int(path.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found


@contextlib.contextmanager
def command_line(directory: Path, workspace: str = "workspace") -> Iterator[CommandLine]:
    """A new workspace below `directory`; at the end its queue is ended, and nothing is left."""
    line = CommandLine(directory / workspace, directory)
    try:
        yield line
    finally:
        done = line.run(
            argv=[sys.executable, "-m", "hpcjobs.local", "shutdown", "--kill-jobs"], code=None
        )
        log = line.spool.log.read_text() if line.spool.log.exists() else ""
        assert done.returncode == 0, done.stderr + log
        wait_for(lambda: not line.processes(), 5.0)
        assert line.supervisor() is None
        assert "Traceback" not in log
        assert not [*directory.rglob("pwned")], "a hostile name was executed"
