"""Whether every task of an attempt has left a result that is whole, and can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcjobs.model import Job, TaskRun
from hpcjobs.results.counting import with_counts
from hpcjobs.results.judgement import Trust
from hpcjobs.results.reading import read_task_results
from hpcjobs.results.result_file import TaskResults
from hpcjobs.results.trust import task_trust


@dataclass
class Checked:
    """What was found in the results of an attempt, by task."""

    problems: dict[str, str] = field(default_factory=dict)
    """Why there is no whole result."""
    worthless: dict[str, str] = field(default_factory=dict)
    """Why a whole result is none all the same."""
    awaited: dict[str, str] = field(default_factory=dict)
    """What is not there yet, as it seems; where it never comes, the result is suspect."""
    suspect: dict[str, str] = field(default_factory=dict)
    """Why it is not to be trusted."""
    unread: bool = False
    """The answers could not be looked at here, for want of a program."""


def check_results(job: Job, attempt: Path) -> Checked:
    """Read the results of an attempt that ended with 0, and ask the trust gate.

    Raises:
        StorageError: a file cannot be read.
    """
    checked = Checked()
    for task in job.tasks:
        results = task_results(job, task, attempt)
        if problem := whole_problem(results):
            checked.problems[task.key] = problem
            continue
        judgement = task_trust(job, task, attempt, results.files)
        if judgement.trust is Trust.FAILED:
            checked.worthless[task.key] = judgement.why
        elif judgement.trust is Trust.SUSPECT:
            checked.suspect[task.key] = judgement.why
            checked.unread = checked.unread or judgement.unread
            if judgement.incomplete:
                checked.awaited[task.key] = judgement.why
    return checked


def whole_problem(results: TaskResults) -> str:
    """Why these are no whole result; empty if they are."""
    if results.problems:
        problem = results.problems[0]
        return f"{problem.path.name}: {problem.why}"
    return "" if results.files else "it left no result"


def task_results(job: Job, task: TaskRun, attempt: Path) -> TaskResults:
    """The result files of one task of an attempt: whole ones, of this model only."""
    directory = attempt / "results" / task.result_dir
    found = read_task_results(directory, task.framework, job.model_names)
    return replace(found, files=with_counts(found.files, [directory]))
