"""A workspace with ended attempts: journal, markers and files as jobs leave them."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import journal
from hpcjobs.model import Job, TaskRun
from hpcjobs.store import job_to_json
from hpcjobs.workspace import Workspace

AT = 1_700_000_000.0
NONE: Mapping[str, str] = {}


class Ended:
    """Adds jobs and attempts to a workspace."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        self.count = 0

    def job(self, job_id: str = "", **changes: Any) -> Job:
        self.count += 1
        task = TaskRun("ja_a", "a", "ja/a", "lighteval", {})
        values: dict[str, Any] = {
            "id": job_id or f"job{self.count:04d}", "digest": f"d{self.count}",
            "service": "tsubame", "node": "node_q", "provider": "vllm", "model": "org/m-8B",
            "settings_name": "", "settings_version": "", "settings_path": "", "tasks": (task,),
            "walltime": 7200, "result_prefix": "hosted_vllm", "model_names": ("hosted_vllm/x",),
        }  # fmt: skip
        job = Job(**{**values, **changes})
        self.add(journal.event(journal.PLANNED, AT, job.id, spec=job_to_json(job)))
        return job

    def add(self, *events: Mapping[str, Any]) -> None:
        journal.append(self.workspace.journal, events)

    def attempt(
        self, job: Job, number: int = 1, *, state: str = "SUCCEEDED", reason: str | None = None,
        at: float = AT, end: float | None = AT + 3600, suspect: Mapping[str, str] | None = NONE,
        markers: Mapping[str, tuple[str, float]] | None = None,
    ) -> Path:  # fmt: skip
        """One attempt; `markers` are values and seconds after `at`; `end` None: it goes on."""
        name = f"{job.id}-{number:02d}_x"
        self.add(
            journal.event(journal.SUBMITTING, at, job.id, number, name=name, place="here"),
            journal.event(journal.SUBMITTED, at, job.id, number, native_id="7"),
        )
        if end is not None:
            self.add(
                journal.event(
                    journal.ENDED, end, job.id, number, state=state, reason=reason, detail="so",
                    suspect=suspect,
                )
            )  # fmt: skip
        directory = self.workspace.attempt(job.id, number)
        directory.mkdir(parents=True, exist_ok=True)
        for marker, (value, seconds) in (markers or {}).items():
            when = datetime.datetime.fromtimestamp(at + seconds, datetime.timezone.utc)
            (directory / marker).write_text(f"{value} {when:%Y-%m-%dT%H:%M:%SZ}\n")
        return directory

    def evaluated(self, number: int = 1, *, job: Job | None = None, end: float = AT) -> Job:
        """A job of lm_eval that succeeded with a whole result, all its files of that time."""
        run = TaskRun("ja_a", "sums", "ja/a", "lm_eval", {})
        made = job or self.job(tasks=(run,), model_names=("org/m-8B",), result_prefix="p")
        self.attempt(
            made, number, at=end - 100, end=end,
            markers={"started": ("n", 0), "server_version": ("vllm 0.10", 5),
                     "exit_code": ("0", 90)},
        )  # fmt: skip
        self.leave(made, number, end)
        return made

    def leave(self, job: Job, number: int, when: float = AT, value: float = 0.5) -> Path:
        """What an attempt leaves: logs, work, a raw result; and files that are not ours."""
        directory = self.workspace.attempt(job.id, number)
        result = {
            "results": {"sums": {"alias": "sums", "acc,none": value}},
            "config": {},
            "model_name": "org/m-8B",
            "n-samples": {"sums": {"original": 4, "effective": 4}},
        }
        for name, text in {
            "job.sh": "#!/bin/sh\n", "job.log": "log\n" * 10, "server.log": "s\n",
            "ja_a.log": "t\n", "mine.txt": "kept\n", "work/ja_a/cache": "c" * 1000,
            "results/ja/a/results_2026-01-01T00-00-00.000000.json": json.dumps(result),
        }.items():  # fmt: skip
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        samples = [{"doc_id": n, "resps": [["x"]], "arguments": [["q", {}]]} for n in range(4)]
        (directory / "results/ja/a/samples_sums_2026-01-01T00-00-00.000000.jsonl").write_text(
            "".join(json.dumps(one) + "\n" for one in samples)
        )
        for path in directory.rglob("*"):
            os.utime(path, (when, when))
        return directory

    def timed(
        self,
        seconds: float,
        *,
        server: float = 60,
        outcome: Mapping[str, Any] | None = None,
        **job: Any,
    ) -> Job:
        """A job that succeeded after so many seconds."""
        made = self.job(**job)
        self.attempt(
            made, **(outcome or {}),
            markers={
                "started": ("n", 0), "task.ja_a.started": ("-", server),
                "task.ja_a.exit_code": ("0", seconds - 5), "exit_code": ("0", seconds),
            },
        )  # fmt: skip
        return made

    def out_of_time(self, seconds: float, **job: Any) -> Job:
        """A job that was ended at its walltime, without a word."""
        made = self.job(walltime=int(seconds), **job)
        self.attempt(
            made, state="FAILED", reason="TIMEOUT",
            markers={"started": ("n", 0), "task.ja_a.started": ("-", 60)},
        )  # fmt: skip
        return made


@pytest.fixture
def ended(tmp_path: Path) -> Ended:
    return Ended(tmp_path)


METRICS = """
metrics:
  - {name: sums, aggregate: pick, task: sums, metric: "acc,none"}
"""


@pytest.fixture
def metrics(tmp_path: Path) -> None:
    """The one metric of `Ended.evaluated`."""
    path = tmp_path / "conf" / "metrics.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(METRICS)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Gives a command in that workspace; what it printed."""
    from hpcjobs.cli import main

    def run(*words: object, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as left:
            main(["-w", str(tmp_path), *map(str, words)])
        printed = capsys.readouterr()
        assert int(str(left.value.code or 0)) == code, printed
        return printed.out, printed.err

    return run
