"""A workspace whose service is a cluster, and `hpcjobs` in it as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


def missing(what: str) -> None:
    """Skip loudly; where CI runs, nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(f"NOT TESTED: {what}")


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `condition` gives, once that is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.3)
    return value


@dataclass
class ClusterWorkspace:
    """The workspace and the commands given there."""

    root: Path
    service: str
    """The service that all is submitted to."""
    user: str
    """Who owns all and gives the commands; empty = who runs the tests."""
    environment: Mapping[str, str]
    """Of all commands: by it the scheduler is found."""

    def write(self, files: Mapping[str, str]) -> None:
        """Write these files, and give all to the user. What lies in `bin` is a program; `.env` is
        the user's alone.
        """
        (self.root / "wrappers").mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod({"bin": 0o755}.get(path.parent.name, 0o600 if name == ".env" else 0o644))
        if self.user:
            for path in (self.root, *self.root.rglob("*")):
                shutil.chown(path, self.user, self.user)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """`hpcjobs WORDS...`, to its end."""
        return subprocess.run(
            [
                *(("runuser", "-u", self.user, "--") if self.user else ()),
                *(sys.executable, "-m", "hpcjobs", "--workspace", str(self.root), *words),
            ],
            cwd=self.root,
            env={
                **self.environment,
                **({"HOME": f"/home/{self.user}"} if self.user else {}),
                "PYTHONPATH": str(REPOSITORY),
                "PATH": f"{self.root / 'wrappers'}:{self.environment['PATH']}",
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=280,
        )

    def submit(
        self, *models: str, node: str, provider: str, code: int = 0, words: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """What `submit --json` says; it must end with `code`."""
        chosen = [word for model in models for word in ("--model", model)]
        done = self.run(
            *("submit", "--service", self.service, "--node", node, "--provider", provider),
            *("--yes", "--json", *chosen, *words),
        )
        assert done.returncode == code, done.stdout + done.stderr
        outcome = json.loads(done.stdout)
        assert isinstance(outcome, dict)
        return outcome

    def status(self) -> dict[str, Any]:
        """By model; and under "" the warnings."""
        done = self.run("status", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        return {"": answer["warnings"], **{job["model"]: job for job in answer["jobs"]}}

    def state(self, model: str) -> str:
        return str(self.status()[model]["state"])

    def wait_for(self, model: str, *states: str, seconds: float = 60.0) -> dict[str, Any]:
        """The job, once it is in one of these states; another end fails at once."""
        last: dict[str, Any] = {}

        def there() -> bool:
            last.update(self.status()[model])
            print(model, last["native_id"], last["state"], last["reason"], last["detail"])
            assert last["state"] in states or last["state"] not in FINAL, last
            return last["state"] in states

        try:
            wait_until(f"{model}: {states}", there, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None
        return last

    def cancel(self, job: Mapping[str, Any]) -> None:
        done = self.run("cancel", job["job"], "--yes")
        assert done.returncode == 0, done.stdout + done.stderr

    def wrap(self, command: str, text: str) -> None:
        """Put a script before one of the scheduler's commands; `$REAL` is the real one."""
        path = self.root / "wrappers" / command
        real = shutil.which(command, path=self.environment["PATH"])
        path.write_text(f"#!/bin/bash\nREAL={real}\n{text}\n")
        path.chmod(0o755)

    def unwrap(self, command: str) -> None:
        (self.root / "wrappers" / command).unlink()

    def logs(self) -> str:
        """The ends of all logs of all jobs, for messages."""
        paths = sorted((self.root / "jobs").glob("*/*/*.log"))
        return "\n".join(f"== {path}\n{path.read_text()[-2000:]}" for path in paths)
