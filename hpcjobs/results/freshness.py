"""Whether values still stand for what the workspace says now: later jobs, changed settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from hpcjobs.config.changed_options import changed_options, current_options
from hpcjobs.config.settings import DIRECTORY, changes, read_model_settings, read_task_settings
from hpcjobs.errors import InputError
from hpcjobs.files import explained
from hpcjobs.model import Job, TaskRun
from hpcjobs.results.collect import Evaluation
from hpcjobs.results.report import FILE_NAME
from hpcjobs.results.scores import Scores, with_doubts
from hpcjobs.store import Store
from hpcjobs.workspace import Workspace

STALE = "stale: "
"""What such a doubt begins with."""


def outdated(workspace: Workspace, store: Store, one: Scores) -> str:
    """Why the file may not say what the jobs have found by now; empty if it does.

    Nobody is asked: it is what the journal says.
    """
    with explained("read", one.path):
        written = one.path.stat().st_mtime
    for record in store.jobs.values():
        job = record.job
        about = Evaluation(job.result_prefix, job.model, job.settings_name, job.max_samples)
        directory = workspace.results(about.result_prefix, about.model, about.subdirectory)
        if directory / FILE_NAME != one.path.absolute():
            continue
        if any((attempt.ended_at or 0) > written for attempt in record.attempts):
            return "jobs have ended since it was written: run hpcjobs aggregate again"
    return ""


def with_stale(workspace: Workspace, store: Store, one: Scores) -> Scores:
    """The same, in doubt where settings or options have changed since; files from elsewhere as they
    are.
    """
    if not one.path.absolute().is_relative_to(workspace.root / "results"):
        return one
    evaluated: dict[str, tuple[Job, TaskRun]] = {}
    for score in one.values.values():
        for label in score.jobs:
            record = store.jobs.get(label.partition(" ")[0].rpartition("-")[0])
            for run in record.job.tasks if record else ():
                if record and run.key in score.settings:
                    evaluated.setdefault(run.key, (record.job, run))
    for score in one.values.values():  # where its files tell more
        for source in score.files:
            evaluated |= {run.key: (job, run) for job, run in _made(store, PurePosixPath(source))}
    if not evaluated:
        return one
    try:
        tasks = read_task_settings(workspace.find_file(DIRECTORY, "task_settings.csv"))
        (job, _) = next(iter(evaluated.values()))
        settings = read_model_settings(workspace, job.model, job.settings_name)
        options = current_options(workspace, evaluated)
    except InputError as error:
        why = f"{STALE}its settings cannot be read any more: {error.what}"
        return with_doubts(one, dict.fromkeys(evaluated, why))
    found = {}
    for score in one.values.values():
        for key, then in score.settings.items():
            if key in evaluated:
                job, run = evaluated[key]
                changed = changes(then, job.settings_version, settings, tasks.get(run.script, {}))
                others = changed_options(run.options, options.get(key, run.options))
                whys = [
                    f"its {what} have changed since ({', '.join(names)})"
                    for what, names in (("settings", changed), ("options", others))
                    if names
                ]
                if whys:
                    found[key] = STALE + "; ".join(whys)
    return with_doubts(one, found)


def _made(store: Store, source: PurePosixPath) -> Iterator[tuple[Job, TaskRun]]:
    """By what a raw result, `jobs/ID/NN/results/...`, was made.

    Its job may have had other tasks, whose values were made by others since.
    """
    key, number = (*source.parts[1:3], "", "")[:2]
    record = store.jobs.get(key)
    for attempt in record.attempts if record else ():
        if record and f"{attempt.number:02d}" == number:
            job = record.job_of(attempt)
            for run in job.tasks:
                if PurePosixPath(*source.parts[:3], "results", run.result_dir) in source.parents:
                    yield job, run
