#!/usr/bin/env python3
"""Allocated seconds of six short tasks: a job each, against packed behind one server. By hand.

    eval "$(scripts/testbeds/evaluation.sh up)"
    python benchmarks/serve_once.py [--rounds 3] [--tasks 6]

Real vLLM (on the CPU) and lm_eval, on a queue of its own that runs one job after the other. After a
warm-up, each round does all ways in turn, beginning with another one each time; what counts is the
ratio within a round. Every score must be the known one. Needs hpcjobs in the environment of this
Python, and a machine that nobody else keeps busy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.markers import Marker, read_markers

ROOT = Path(__file__).resolve().parents[1]
MODEL = "hpcjobs/tiny-demo"
PROVIDER = "vllm_cpu"
DEMO = (
    ("demo_capitals", "exact_match,strip", 6 / 8, ""),
    ("demo_sums", "exact_match,strip", 7 / 8, ""),
    ("demo_choices", "acc,none", 4 / 5, "loglikelihood"),
)
"""Task, metric, known score, what it asks for."""
WAYS = {
    "a job each": (),
    "packed": ("--pack",),
    "packed, 2 at once": ("--pack", "--pack-at-once", "2"),
}
SERVICE = """scheduler: local
times: {{walltime_max: "08:00:00", poll_seconds: 0, stop_grace: 5, start_timeout: 600}}
environments: {{vllm: {server}, lm_eval: {server}}}
exports:
  HF_HUB_OFFLINE: "1"
  HF_DATASETS_OFFLINE: "1"
  TRANSFORMERS_OFFLINE: "1"
  VLLM_NO_USAGE_STATS: "1"
  VLLM_CPU_KVCACHE_SPACE: "1"
options: {{devices: auto, cpu_slots: "1"}}
nodes: {{cpu: {{cores: 1, memory_gb: 4, runtime: hrt_q}}}}
"""
PROVIDERS = f"{PROVIDER}: {{server: vllm, result_prefix: bench, loglikelihood: true}}\n"
SETTINGS = """bench: {{version: "1", weights: {model}, temperature: 0.0, max_new_tokens: 16,
  server_args: [--enforce-eager, --enable-tokenizer-info-endpoint]}}
"""


@dataclass(frozen=True)
class Measured:
    """What the jobs of one way took."""

    jobs: int
    starts: int
    allocated: float
    """Seconds from the start to the exit of each job, summed up."""
    starting: float
    """Seconds until a server was ready, of the median job."""
    evaluating: float
    """Seconds from a task's start to its end, of the median task."""
    version: str


def make_workspace(directory: Path, tasks: int) -> dict[str, float]:
    """A workspace with so many short tasks; their known scores."""
    scores, rows, metrics, options = {}, [], [], {}
    source = Path(os.environ["HPCJOBS_TESTBED_TASKS"], "lm_eval")
    own = directory / "conf/lm_eval_tasks"
    shutil.copytree(source, own)
    for number in range(tasks):
        task, metric, score, output = DEMO[number % len(DEMO)]
        key = f"bench_{number}"
        text = (source / f"{task}.yaml").read_text().replace(f"task: {task}\n", f"task: {key}\n")
        (own / f"{key}.yaml").write_text(text)
        rows.append(f"{key},{key},{key},lm_eval,00:10:00\n")
        metrics.append(f"  - {{name: {key}, aggregate: pick, task: {key}, metric: '{metric}'}}\n")
        scores[key] = score
        if output:
            options[key] = {"output": output}
    for name, text in {
        "conf/services/local.yaml": SERVICE.format(server=os.environ["HPCJOBS_TESTBED_SERVER"]),
        "conf/providers.yaml": PROVIDERS,
        "conf/tasks_runtime.csv": "key,script,result_dir,framework,hrt_q\n" + "".join(rows),
        "conf/metrics.yaml": "metrics:\n" + "".join(metrics) + "subsets: {}\n",
        "conf/frameworks.yaml": json.dumps({"lm_eval": {"tasks": options}}),
        f"generation_settings/custom_model_settings/{MODEL}.yaml": SETTINGS.format(
            model=os.environ["HPCJOBS_TESTBED_MODEL"]
        ),
    }.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return scores


def run(workspace: Path, module: str, *words: str | Path) -> str:
    """What a command of the package prints; its queue lies beside the workspace."""
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        env={**os.environ, "HPCJOBS_LOCAL_DIR": str(workspace.parent / "queue")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def hpcjobs(workspace: Path, *words: str) -> str:
    """What `hpcjobs` prints, which must succeed."""
    return run(workspace, "hpcjobs", "-w", workspace, *words)


def evaluate(tasks: int, *words: str) -> Measured:
    """Evaluate so many tasks in a new workspace; ends with an error if a score is not known."""
    with tempfile.TemporaryDirectory(prefix="serve_once.") as name:
        workspace = Path(name) / "workspace"
        scores = make_workspace(workspace, tasks)
        choices = ("--service", "local", "--node", "cpu", "--provider", PROVIDER)
        try:
            hpcjobs(workspace, "submit", *choices, "--model", MODEL, "--settings", "bench",
                    "--tasks", "bench_*", "--yes", *words)  # fmt: skip
            hpcjobs(workspace, "wait")
        finally:  # also after Ctrl-C nothing is left running
            run(workspace, "hpcjobs.local", "shutdown", "--kill-jobs")
        hpcjobs(workspace, "aggregate")
        path = workspace / "results/bench" / MODEL / "bench/aggregated_results.json"
        found = json.loads(path.read_text())["results"]
        if found != scores:
            sys.exit(f"the scores are {found}, not {scores}")
        jobs = json.loads(hpcjobs(workspace, "status", "--all", "--json"))["jobs"]
        return measured([Path(job["directory"]) for job in jobs])


def seconds(begin: Marker | None, end: Marker | None) -> float:
    """Between two facts that a job must have told."""
    if begin is None or end is None:
        sys.exit("a job has not told when it began, or ended")
    return end.at - begin.at


def measured(directories: list[Path]) -> Measured:
    """What the jobs themselves have written."""
    found = [read_markers(directory) for directory in directories]
    logs = [(directory / "job.log").read_text() for directory in directories]
    starts = sum(log.count(f" starting {PROVIDER} on port ") for log in logs)
    allocated = sum(seconds(one.started, one.exit_code) for one in found)
    starting = [seconds(one.started, one.ready) for one in found]
    tasks = [task for one in found for task in one.tasks.values()]
    evaluating = [seconds(task.started, task.exit_code) for task in tasks]
    version = next((one.server_version.value for one in found if one.server_version), "")
    return Measured(
        len(directories),
        starts,
        allocated,
        statistics.median(starting),
        statistics.median(evaluating),
        version,
    )


def spread(values: list[float], form: str) -> str:
    """Median, lowest and highest."""
    texts = (format(value, form) for value in (statistics.median(values), min(values), max(values)))
    return "{} ({} to {})".format(*texts)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=6)
    options = parser.parse_args()
    if "HPCJOBS_TESTBED_SERVER" not in os.environ:
        sys.exit('first: eval "$(scripts/testbeds/evaluation.sh up)"')
    version = evaluate(1).version  # a warm-up: the files are in memory from here on
    print(f"{version}, {os.cpu_count()} cores, Python {platform.python_version()}", flush=True)
    found: dict[str, list[Measured]] = {way: [] for way in WAYS}
    names = list(WAYS)
    for number in range(options.rounds):
        for way in names[number % len(names) :] + names[: number % len(names)]:
            one = evaluate(options.tasks, *WAYS[way])
            found[way].append(one)
            print(
                f"round {number + 1}: {way}: {one.jobs} job(s), {one.starts} server start(s), "
                f"{one.allocated:.0f} s allocated; a server is ready after {one.starting:.0f} s, "
                f"a task takes {one.evaluating:.0f} s; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    print(f"\n{options.tasks} tasks, median of {options.rounds} rounds (lowest to highest)")
    for way, rounds in found.items():
        ratios = [
            one.allocated / each.allocated
            for one, each in zip(rounds, found[names[0]], strict=True)
        ]
        print(
            f"{way}: {rounds[0].starts} server start(s), "
            f"{spread([one.allocated for one in rounds], '.0f')} s, "
            f"ratio {spread(ratios, '.2f')}"
        )


if __name__ == "__main__":
    main()
