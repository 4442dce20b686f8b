"""Workspaces whose servers and evaluators are those of scripts/testbeds/evaluation.sh."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from command_line import ROOT, CommandLine, command_line

from hpcjobs.workspace import defaults_root

SCRIPT = ROOT / "scripts" / "testbeds" / "evaluation.sh"
MODEL = "hpcjobs/tiny-demo"
TASKS = """key,script,result_dir,framework,hrt_q
chat,demo_capitals,chat,lm_eval,00:20:00
choices,demo_choices,choices,lm_eval,00:20:00
both,demo_both,both,lighteval,00:20:00
capitals,demo_capitals,capitals,lighteval,00:20:00
newer,demo_both,newer,lighteval,00:20:00
api_killed,demo_many,api_killed,lighteval,00:20:00
engine_killed,demo_many,engine_killed,lighteval,00:20:00
cut_off,demo_capitals,cut_off,lm_eval,00:20:00
hasty,demo_capitals,hasty,lm_eval,00:20:00
no_weights,demo_capitals,no_weights,lm_eval,00:20:00
too_long,demo_capitals,too_long,lm_eval,00:20:00
"""
METRICS = """metrics:
  - {name: chat, aggregate: pick, task: demo_capitals, metric: "exact_match,strip"}
  - {name: choices, aggregate: pick, task: demo_choices, metric: "acc,none"}
  - {name: both, aggregate: micro_average, task: swallow|demo_both|0, metric: em}
  - {name: capitals, aggregate: pick, task: [swallow|demo_capitals|0, demo_capitals|0], metric: em}
  - {name: newer, aggregate: micro_average, task: demo_both|0, metric: em}
subsets: {}
"""
SCORES = {
    "chat": 6 / 8,
    "choices": 4 / 5,
    "both": 13 / 16,
    "capitals": 6 / 8,
    "newer": 13 / 16,
}
"""What the model is known to reach: see demo/README.md."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


@dataclass(frozen=True)
class Testbed:
    """Where it lies; see the script."""

    __test__ = False
    server: str
    model: str
    tasks: str
    lighteval: Mapping[str, str]
    """By version: `0.13`, `0.8`."""


def testbed() -> Testbed:
    """Install it, where that was not done before. Without it, skip; in CI that is a failure."""
    try:
        done = subprocess.run([SCRIPT, "up"], capture_output=True, text=True, timeout=1200)
    except subprocess.TimeoutExpired:
        missing("the testbed was not ready after 20 minutes")
    if done.returncode != 0:
        missing(done.stderr)
    words = [line.split("=", 1) for line in done.stdout.splitlines()]
    found = {name.removeprefix("export HPCJOBS_TESTBED_"): value for name, value in words}
    return Testbed(
        server=found["SERVER"],
        model=found["MODEL"],
        tasks=found["TASKS"],
        lighteval={"0.13": found["LIGHTEVAL_013"], "0.8": found["LIGHTEVAL_08"]},
    )


def any_lighteval(directory: Path, bed: Testbed) -> Path:
    """An environment whose lighteval is that of $TESTBED_LIGHTEVAL, which a task may set."""
    programs = directory / "lighteval" / "bin"
    programs.mkdir(parents=True)
    default = bed.lighteval["0.8"]
    for name in ("lighteval", "python3"):
        path = programs / name
        text = f'#!/bin/sh\nexec "${{TESTBED_LIGHTEVAL:-{default}}}/bin/{name}" "$@"\n'
        path.write_text(text)
        path.chmod(0o755)
    return programs.parent


def missing(why: str) -> None:
    """Skip loudly; where CI runs, nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(f"NOT TESTED with real evaluators: {why}")


def replaced(template: str, old: str, new: str) -> str:
    """A template of the package with one place of it changed."""
    text = (defaults_root() / "templates" / template).read_text()
    assert text.count(old) == 1, template
    return text.replace(old, new)


@contextlib.contextmanager
def evaluating(
    directory: Path,
    bed: Testbed,
    lighteval: str | None = None,
    dialect: str = "swallow",
    **options: object,
) -> Iterator[CommandLine]:
    """A workspace with the tasks above, whose provider vllm serves without a GPU.

    Without a version, lighteval is 0.13 for the task `newer`, 0.8 for all others.
    """
    door = replaced(
        "servers/llamacpp.sh.j2",
        "python3 serve_llamacpp.py",
        f"python3 {ROOT}/tests/fakes/faulty_server.py python3 serve_llamacpp.py",
    )
    providers = yaml.safe_load((defaults_root() / "conf/providers.yaml").read_text())
    providers["vllm"]["needs_gpu"] = False
    frameworks = {
        "lm_eval": {
            "tasks": {
                "choices": {"output": "loglikelihood"},
                "cut_off": {"gen_kwargs": {"min_tokens": 128}},
                "hasty": {"model_args": {"timeout": 1, "max_retries": 1}},
            }
        },
        "lighteval": {
            "tasks": {
                "*": {
                    "dialect": dialect,
                    **options,
                    "custom_tasks": f"{bed.tasks}/demo_tasks.py",
                },
                "newer": {
                    "dialect": "auto",
                    "environment": {"TESTBED_LIGHTEVAL": bed.lighteval["0.13"]},
                    "concurrent": 2,  # so that there is time to interrupt it
                    "model_args": {"api_max_retry": 2},
                },
            }
        },
    }
    common = {"temperature": 0.0, "max_new_tokens": 16, "version": "1"}
    quick = {"server_args": ["--enforce-eager", "--enable-tokenizer-info-endpoint"]}
    settings = {
        "demo": {**common, **quick, "weights": bed.model},
        "long": {**common, **quick, "weights": bed.model, "max_new_tokens": 128},
        "no_weights": {**common, **quick, "weights": "/no/such/weights"},
        "too_long": {**common, **quick, "weights": bed.model, "max_model_length": 1_000_000},
        "gguf": {**common, "weights": "demo/tiny-demo.gguf"},
    }
    with command_line(directory) as line:
        for name, text in {
            "conf/providers.yaml": yaml.safe_dump(providers),
            "conf/tasks_runtime.csv": TASKS,
            "conf/task_groups.yaml": "default: [chat]\n",
            "conf/metrics.yaml": METRICS,
            f"generation_settings/custom_model_settings/{MODEL}.yaml": yaml.safe_dump(settings),
            "templates/servers/llamacpp.sh.j2": door,
            "conf/frameworks.yaml": yaml.safe_dump(frameworks),
        }.items():
            path = line.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (line.root / "conf/lm_eval_tasks").symlink_to(Path(bed.tasks) / "lm_eval")
        line.service(
            environments={
                "vllm": bed.server,
                "lm_eval": bed.server,
                "lighteval": bed.lighteval[lighteval]
                if lighteval
                else str(any_lighteval(directory, bed)),
            },
            exports={**OFFLINE, "HPCJOBS_TESTBED_QUESTIONS": f"{bed.tasks}/questions"},
            times={"start_timeout": 300},
            options={"cpu_slots": "2"},
        )
        yield line


def submit(
    line: CommandLine,
    *tasks: str,
    settings: str = "demo",
    provider: str = "vllm",
    again: bool = False,
    pack: bool = False,
) -> None:
    """Submit these tasks: one job each, or (`pack`) one job."""
    line.run(
        *("submit", "--service", "local", "--node", "cpu", "--provider", provider),
        *("--model", MODEL, "--settings", settings, "--tasks", ",".join(tasks), "--yes"),
        *(["--again"] if again else []),
        *(["--pack"] if pack else []),
    )


@dataclass(frozen=True)
class Watched:
    """The last attempt of each task's job, watched by its files: that costs the machine nothing."""

    directories: Mapping[str, Path]

    @classmethod
    def of(cls, line: CommandLine) -> Watched:
        jobs = line.json("status", "--all")["jobs"]
        return cls({key: Path(job["directory"]) for job in jobs for key in job["tasks"]})

    def log(self, task: str, name: str = "job") -> str:
        path = self.directories[task] / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self, task: str, command: str) -> None:
        """Kill what the task's server runs by this command."""
        for pid in pids(self.directories[task] / "work", command):
            os.kill(pid, signal.SIGKILL)

    def finish(self, *actions: Callable[[], bool], seconds: float = 900.0) -> None:
        """Wait until all have ended; meanwhile try each action until it says that it is done."""
        undone, end = list(actions), time.monotonic() + seconds
        while not all((path / "exit_code").exists() for path in self.directories.values()):
            undone = [action for action in undone if not action()]
            assert time.monotonic() < end, "the jobs have not ended"
            time.sleep(0.1)
        assert not undone, "the jobs ended before what was to be done to them"


def pids(directory: Path, command: str) -> list[int]:
    """Of the programs that work in `directory`, those whose command line holds this."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if os.readlink(path / "cwd") == str(directory) and command in words:
                found.append(int(path.name))
    return found
