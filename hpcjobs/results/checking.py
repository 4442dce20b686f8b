"""Whether every task of an attempt has left a result that can be read whole."""

from __future__ import annotations

from pathlib import Path

from hpcjobs.model import Job, TaskRun
from hpcjobs.results.reading import read_task_results
from hpcjobs.results.result_file import TaskResults


def result_problems(job: Job, attempt: Path) -> dict[str, str]:
    """By task: why it has no whole result; tasks that have one are left out."""
    problems = {}
    for task in job.tasks:
        results = task_results(job, task, attempt)
        if results.problems:
            problem = results.problems[0]
            problems[task.key] = f"{problem.path.name}: {problem.why}"
        elif not results.files:
            problems[task.key] = "it left no result"
    return problems


def task_results(job: Job, task: TaskRun, attempt: Path) -> TaskResults:
    """The result files of one task of an attempt: whole ones, of this model only."""
    directory = attempt / "results" / task.result_dir
    return read_task_results(directory, task.framework, job.model_names)
