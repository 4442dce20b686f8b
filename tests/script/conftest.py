"""Jobs that are rendered into a workspace with a hostile path, and really run.

HPCJOBS_TEST_BASH names another bash to run them with, such as an old one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running_job import FAKES, RunningJob

from hpcjobs.config.environment import PersonalValues
from hpcjobs.config.providers import read_providers
from hpcjobs.config.services import read_service
from hpcjobs.model import Attempt, Job, TaskRun
from hpcjobs.render import Renderer, Script, write_script
from hpcjobs.workspace import Workspace

BASH = shutil.which(os.environ.get("HPCJOBS_TEST_BASH", "bash")) or "bash"
HOSTILE = "a 'q\" $(touch pwned) `touch pwned` \\ *\n日本語"
"""Part of every path and model name here."""

TASKS = {
    "demo_sums": TaskRun("demo_sums", "demo_sums", "demo/sums", "lm_eval", {"temperature": 0.0}),
    "demo_capitals": TaskRun("demo_capitals", "demo_capitals", "demo/capitals", "lm_eval", {}),
    "loglikelihood": TaskRun(
        "loglikelihood", "mmlu", "demo/mmlu", "lm_eval", {}, {"output": "loglikelihood"}
    ),
    "auto": TaskRun("auto", "gsm8k", "demo/gsm8k", "lighteval", {}, {"dialect": "auto"}),
    "parsed": TaskRun(
        "parsed", "demo_sums", "demo/sums", "lm_eval", {"reasoning_parser": "nobodys"}
    ),
    "ja_gpqa": TaskRun(
        "ja_gpqa", "swallow_gpqa_ja", "ja/gpqa", "lighteval", {"system_message": HOSTILE}
    ),
}


@pytest.fixture
def tag() -> str:
    """A word that is in every process of this test's jobs, and nowhere else."""
    return f"tag{uuid.uuid4().hex}"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace with a hostile path."""
    root = tmp_path / HOSTILE / "ws"
    root.mkdir(parents=True)
    return Workspace(root)


@pytest.fixture
def render(workspace: Workspace, tag: str) -> Callable[..., Script]:
    """Renders the script of a job and writes it; fields of the service may be overridden."""

    def render(
        *tasks: str,
        provider: str = "vllm",
        walltime: int = 600,
        label: str = "abcdefg",
        weights: str = "",
        needs: tuple[int, ...] = (),
        at_once: int = 1,
        **fields: Any,
    ) -> Script:
        shipped = read_service(workspace, "local")
        given = {"stop_grace": 1, "start_timeout": 60, "environments": {}, **fields}
        service = dataclasses.replace(shipped, **given)
        job = Job(
            id=label,
            digest="0",
            service="local",
            node="gpu_1" if provider.startswith("vllm") else "cpu",
            provider=provider,
            model=f"org/{tag} {HOSTILE.replace('/', '')}",
            settings_name="",
            settings_version="",
            settings_path="",
            tasks=tuple(_with_weights(TASKS[key], weights) for key in tasks or ("demo_sums",)),
            walltime=walltime,
            task_walltimes=needs or tuple(1 for _ in tasks),
            at_once=at_once,
        )
        chosen = read_providers(workspace.find_file("conf", "providers.yaml"))[provider]
        personal = PersonalValues(workspace.env_file, {})
        script = Renderer(workspace, personal, service, chosen, ("0",)).render(Attempt(job, 1))
        write_script(script, script.path)
        return script

    return render


def _with_weights(task: TaskRun, weights: str) -> TaskRun:
    settings = {**task.settings, **({"weights": weights} if weights else {})}
    return dataclasses.replace(task, settings=settings)


@pytest.fixture
def start(
    tmp_path: Path, tag: str, render: Callable[..., Script]
) -> Iterator[Callable[..., RunningJob]]:
    """Starts a job with the given faults; what is left of it is ended after the test."""
    records, programs = tmp_path / "records", tmp_path / "programs"
    records.mkdir()
    programs.mkdir()
    (programs / "bash").symlink_to(BASH)
    (programs / "python3").symlink_to(sys.executable)
    started: list[RunningJob] = []

    def start(
        *tasks: str,
        vllm: dict[str, Any] | None = None,
        evaluator: dict[str, Any] | None = None,
        script: Script | None = None,
        bash: tuple[str, ...] = (),
        fakes: Path = FAKES,
        **fields: Any,
    ) -> RunningJob:
        script = script or render(*tasks, **fields)
        path = [programs, fakes, "/usr/bin", "/bin"]
        environment = {
            "PATH": ":".join(map(str, path)),
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "FAKE_TAG": tag,
            "FAKE_RECORDS": str(records),
            "FAKE_VLLM": json.dumps(vllm or {}),
            "FAKE_EVALUATOR": json.dumps(evaluator or {}),
        }
        process = subprocess.Popen(
            [BASH, *bash, str(script.path)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(tmp_path / "stderr").open("ab"),
            start_new_session=True,
            preexec_fn=_default_signals,
        )
        job = RunningJob(process, script.path.parent, records, tag)
        started.append(job)
        return job

    yield start
    for job in started:
        job.kill_all()
    assert not [*tmp_path.rglob("pwned")], "a hostile name was executed"


def _default_signals() -> None:
    """Undo what a shell does to the signals of programs that it runs in the background."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
