#!/usr/bin/env python3
"""Submissions a second against a bare `sbatch` loop, and `status` of many jobs. Run by hand.

    eval "$(scripts/testbeds/slurm.sh up)"       # or any Slurm, by SLURM_CONF
    python benchmarks/submit_rate.py [--jobs 200] [--rounds 3] [--watched 1,100,1000]

Both submit the same scripts, held, to the same Slurm, in turn in one run; what counts is the ratio.
The jobs are cancelled at the end. Needs hpcjobs in the environment of this Python.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVICE = """scheduler: slurm
times: {walltime_max: "08:00:00", poll_seconds: 0, submit_timeout: 60}
options: {partition: cpu, hold: ""}
nodes: {cpu: {cores: 1, memory_gb: 1, runtime: hrt_q}}
"""
COUNTER = '#!/bin/sh\necho "${{0##*/}}" >>{log}\nexec {program} "$@"\n'


def make_workspace(directory: Path, jobs: int) -> None:
    """A workspace with as many tasks, whose jobs are held."""
    (directory / "conf" / "services").mkdir(parents=True)
    rows = [f"t_{n:05d},task{n},t/{n},lm_eval,00:10:00\n" for n in range(jobs)]
    table = "key,script,result_dir,framework,hrt_q\n" + "".join(rows)
    (directory / "conf" / "tasks_runtime.csv").write_text(table)
    (directory / "conf" / "services" / "slurm.yaml").write_text(SERVICE)


def hpcjobs(workspace: Path, *words: str, path: str | None = None) -> float:
    """Seconds that a whole `hpcjobs` process takes."""
    environment = {**os.environ, "PATH": path or os.environ["PATH"], "OPENAI_API_KEY": ""}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "hpcjobs", "-w", workspace, *words],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def submit(workspace: Path, model: str) -> float:
    """Seconds for one `hpcjobs submit` of all tasks."""
    choices = ("--service", "slurm", "--node", "cpu", "--provider", "llamacpp")
    return hpcjobs(workspace, "submit", *choices, "--model", model, "--settings", "s",
                   "--tasks", "t_*", "--yes")  # fmt: skip


def bare_loop(scripts: list[Path]) -> float:
    """Seconds for a shell that gives the same scripts to `sbatch`, one after the other."""
    loop = 'for script; do sbatch --parsable "$script"; done'
    start = time.perf_counter()
    subprocess.run(["bash", "-c", loop, "loop", *scripts], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def settings(workspace: Path, model: str) -> None:
    """Settings that name weights, since the provider wants some; the jobs never run."""
    path = workspace / "generation_settings" / "custom_model_settings" / f"{model}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = workspace / "weights.gguf"
    weights.touch()
    path.write_text(f"s: {{weights: {weights}, version: '1'}}\n")


def cancel_all() -> None:
    subprocess.run(["scancel", "--me"], check=True)


def compare(jobs: int, rounds: int) -> None:
    """Print both rates and their ratio."""
    ratios = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="rate.") as name:
            workspace = Path(name)
            make_workspace(workspace, jobs)
            settings(workspace, "bench/model")
            ours = submit(workspace, "bench/model")
            bare = bare_loop(sorted(workspace.glob("jobs/*/01/job.sh")))
            cancel_all()
            ratios.append(ours / bare)
            print(
                f"round {number + 1}: {jobs} jobs: hpcjobs {ours:.2f} s ({jobs / ours:.0f}/s), "
                f"bare loop {bare:.2f} s ({jobs / bare:.0f}/s), ratio {ours / bare:.2f}"
            )
    print(f"ratio, median of {rounds}: {statistics.median(ratios):.2f}")


def watch(jobs: int) -> None:
    """Print how long `status` of so many queued jobs takes, and what it asked of Slurm."""
    with tempfile.TemporaryDirectory(prefix="rate.") as name:
        workspace, programs = Path(name) / "w", Path(name) / "programs"
        workspace.mkdir()
        programs.mkdir()
        make_workspace(workspace, jobs)
        settings(workspace, "bench/model")
        submit(workspace, "bench/model")
        for program in ("squeue", "sacct"):
            found = subprocess.check_output(["which", program], text=True).strip()
            wrapper = programs / program
            wrapper.write_text(COUNTER.format(log=programs / "log", program=found))
            wrapper.chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        seconds = [hpcjobs(workspace, "status", path=path) for _ in range(3)]
        asked = (programs / "log").read_text().split()
        cancel_all()
    print(
        f"status of {jobs} queued jobs: {statistics.median(seconds):.2f} s, "
        f"{asked.count('squeue') / 3:g} squeue and {asked.count('sacct') / 3:g} sacct"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--watched", default="1,100,1000")
    options = parser.parse_args()
    if "SLURM_CONF" not in os.environ:
        sys.exit("SLURM_CONF is not set; start a testbed with: scripts/testbeds/slurm.sh up")
    compare(options.jobs, options.rounds)
    for jobs in options.watched.split(","):
        watch(int(jobs))


if __name__ == "__main__":
    main()
