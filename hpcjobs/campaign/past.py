"""What is known of a job beside its own record: the same elsewhere, its logs and markers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from hpcjobs.config.environment import is_secret
from hpcjobs.diagnosis.diagnose import Diagnosis
from hpcjobs.diagnosis.reading import diagnose_attempt
from hpcjobs.errors import StorageError
from hpcjobs.markers import read_markers
from hpcjobs.model import Job, JobState, Reason, Verdict
from hpcjobs.plan import work_of
from hpcjobs.retry import Past
from hpcjobs.shares import Works
from hpcjobs.store import JobRecord
from hpcjobs.workspace import Workspace


class Known:
    """The jobs of a journal, found by what they evaluate."""

    def __init__(self, works: Works) -> None:
        self._same: dict[tuple[object, ...], list[JobRecord]] = {}
        self._done: dict[tuple[object, ...], JobRecord] = {}
        for record in works.shares:
            self._same.setdefault(_what(record.job), []).append(record)
            if record.state is JobState.SUCCEEDED:
                self._done[_place(record.job)] = record

    def elsewhere(self, job: Job) -> JobRecord | None:
        """Another job that is evaluating the very same, or has, wherever it runs."""
        others = [one for one in self._same.get(_what(job), ()) if _work(one.job) != _work(job)]
        active = [one for one in others if one.active]
        done = [one for one in others if one.state is JobState.SUCCEEDED]
        trusted = [one for one in done if one.last and not one.last.suspect]
        return next(iter([*active, *reversed(trusted), *reversed(done)]), None)

    def made_before(self, job: Job) -> str:
        """Whether the same was made under other settings, in words; empty if not."""
        other = self._done.get(_place(job))
        if other is None or _what(other.job) == _what(job):
            return ""
        return f"made under other settings before ({other.job.id})"


def _work(job: Job) -> str:
    return work_of(job, job.tasks[0])


def _what(job: Job) -> tuple[object, ...]:
    runs = tuple((run.key, run.script, run.framework, str(run.settings)) for run in job.tasks)
    return (*_evaluation(job), job.settings_version, job.settings_digest, runs)


def _place(job: Job) -> tuple[object, ...]:
    return (*_evaluation(job), job.service, job.node, *(run.key for run in job.tasks))


def _evaluation(job: Job) -> tuple[object, ...]:
    return job.model, job.result_prefix, job.settings_name, job.max_samples


def past_of(
    workspace: Workspace, record: JobRecord | None, before: int, secrets: Mapping[str, str]
) -> Past:
    """What the policy should know of a job; `before`: attempts that failed on smaller nodes."""
    last = record.last if record else None
    if record is None or last is None:
        return Past(before=before)
    suspect = last.suspect or {}
    past = Past(before=before, suspect="; ".join(f"{key}: {why}" for key, why in suspect.items()))
    if last.state is not JobState.FAILED:
        return past
    job = record.job_of(last)
    past = replace(past, bad_nodes=_bad_nodes(workspace, record))
    keys = tuple(value for name, value in secrets.items() if is_secret(name))
    try:
        found = _diagnosed(
            workspace.attempt(job.id, last.number),
            tuple(run.key for run in job.tasks),
            Verdict(last.state, last.reason, last.detail),
            keys,
        )
    except StorageError:  # what cannot be read says nothing of why it failed
        return past
    cause = found.cause
    if cause is None or not found.findings[0].certain:
        return past
    return replace(past, again=cause.again, cause=cause.title, remedy=cause.do)


@lru_cache(maxsize=4096)
def _diagnosed(
    directory: Path, tasks: tuple[str, ...], verdict: Verdict, keys: tuple[str, ...]
) -> Diagnosis:
    """Logs of what has ended are read once, however long a campaign is watched."""
    return diagnose_attempt(directory, tasks, verdict, keys)


def _bad_nodes(workspace: Workspace, record: JobRecord) -> tuple[str, ...]:
    hosts: dict[str, None] = {}
    for attempt in record.attempts:
        if attempt.reason is Reason.NODE_FAILURE:
            host = read_markers(workspace.attempt(record.job_of(attempt).id, attempt.number)).host
            if host is not None:
                hosts[host.value] = None
    return tuple(hosts)
