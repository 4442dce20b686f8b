"""Which results of which attempts count for a model: from the store to result files.

The job of a model that was submitted last says which settings are meant. For each task, only what
was made under exactly these counts, and of that the latest that can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hpcjobs.markers import read_markers
from hpcjobs.model import Job, JobState, TaskRun
from hpcjobs.parts import finished
from hpcjobs.plan import what_it_is
from hpcjobs.results.checking import task_results
from hpcjobs.results.judgement import Judgement, Trust
from hpcjobs.results.result_file import ResultFile, TaskResults
from hpcjobs.results.trust import task_trust
from hpcjobs.shares import shares
from hpcjobs.store import AttemptRecord, JobRecord, Store
from hpcjobs.workspace import Workspace


@dataclass(frozen=True)
class Evaluation:
    """What one aggregated_results.json is about."""

    result_prefix: str
    model: str
    settings_name: str
    max_samples: int | None
    """Trial runs on a few samples are another result, and are kept apart."""

    @property
    def subdirectory(self) -> str:
        """The last part of the path of its results."""
        limited = f"max_samples_{self.max_samples}" if self.max_samples is not None else ""
        return "/".join(filter(None, (self.settings_name, limited)))

    @property
    def name(self) -> str:
        """The model as it is named in result files: with the provider's prefix."""
        return "/".join(filter(None, (self.result_prefix, self.model)))


@dataclass
class Standing:
    """Where one task of an evaluation stands."""

    task: TaskRun
    job: Job
    attempt: AttemptRecord | None
    done: bool = False
    finished: bool = True
    """Whether nothing is under way that may still change it."""
    why: str = ""
    """Why it is not done, or is not finished though it is done."""
    stale: bool = False
    """It was made under other settings than those submitted last."""
    files: tuple[ResultFile, ...] = ()
    doubt: Judgement | None = None
    """Why its result is suspect. It counts only if it is done all the same: somebody said so."""

    @property
    def suspect(self) -> bool:
        """Whether there is a result that does not count because it is not to be trusted."""
        return self.doubt is not None and not self.done


@dataclass
class Collected:
    """All that is known of one evaluation."""

    evaluation: Evaluation
    settings_path: str = ""
    settings_version: str = ""
    standings: list[Standing] = field(default_factory=list)


def collect(
    workspace: Workspace,
    store: Store,
    models: Iterable[str] = (),
    *,
    accept_suspect: bool = False,
) -> list[Collected]:
    """Every evaluation of these models (none given: of all), with its result files.

    With `accept_suspect`, a result that is suspect counts where there is no better one.
    """
    wanted = set(models)
    groups: dict[Evaluation, list[JobRecord]] = {}
    for record in store.jobs.values():
        job = record.job
        if not wanted or job.model in wanted:
            key = Evaluation(job.result_prefix, job.model, job.settings_name, job.max_samples)
            groups.setdefault(key, []).append(record)
    return [_collected(workspace, key, records, accept_suspect) for key, records in groups.items()]


def _collected(
    workspace: Workspace, evaluation: Evaluation, records: list[JobRecord], accept_suspect: bool
) -> Collected:
    records = sorted(records, key=_last_submission)
    latest = records[-1].job
    by_task: dict[str, list[tuple[JobRecord, TaskRun]]] = {}
    for record in records:
        for share in _shares(workspace, record):
            task = share.job.tasks[0]
            by_task.setdefault(task.key, []).append((share, task))
    return Collected(
        evaluation,
        settings_path=latest.settings_path,
        settings_version=latest.settings_version,
        standings=[
            _standing(workspace, entries, latest, accept_suspect) for entries in by_task.values()
        ],
    )


def _shares(workspace: Workspace, record: JobRecord) -> list[JobRecord]:
    """The record task by task; a packed task is done with its own end, not only with the job's."""
    found = shares(record)
    if len(found) == 1 or not record.active:
        return found
    ended = {
        attempt.number: finished(read_markers(workspace.attempt(record.job.id, attempt.number)))
        for attempt in record.attempts
        if not attempt.state.final
    }
    for share in found:
        for index, attempt in enumerate(share.attempts):
            if share.job.tasks[0].key in ended.get(attempt.number, ()):
                share.attempts[index] = replace(attempt, state=JobState.SUCCEEDED)
    return found


def _standing(
    workspace: Workspace,
    entries: list[tuple[JobRecord, TaskRun]],
    latest: Job,
    accept_suspect: bool,
) -> Standing:
    """Where a task stands, given its jobs in the order of their submission, as if they had no other
    task.
    """
    newest, task = entries[-1]
    active = [
        record
        for record, earlier in entries
        if record.active and _same(earlier, task) and _settings(record.job) == _settings(newest.job)
    ]
    standing = Standing(task, newest.job, newest.last, finished=not active)
    if _settings(newest.job) != _settings(latest):
        standing.stale = True
        standing.why = (
            f"made under other settings (version {newest.job.settings_version or 'none'}) than "
            f"those submitted last (version {latest.settings_version or 'none'}): submit it again"
        )
        return standing
    made = [
        (attempt, record)
        for record, earlier in entries
        if _same(earlier, task) and _settings(record.job) == _settings(latest)
        for attempt in record.attempts
        if attempt.state is JobState.SUCCEEDED
    ]
    # A job may have been repeated, or packed anew, before and after another with the same task.
    made.sort(key=lambda one: one[0].submitting_at)
    for attempt, record in reversed(made):
        job = record.job_of(attempt)
        run = next((one for one in job.tasks if one.key == task.key), task)
        directory = workspace.attempt(job.id, attempt.number)
        found = task_results(job, run, directory)
        if not found.files or found.problems:
            standing.why = _fault(workspace, found)
            if attempt.ended_at is None:  # its job goes on: a shared disk may show it late
                standing.finished, standing.why = False, f"just ended: {standing.why}"
            continue
        judgement = task_trust(job, run, directory, found.files)
        if judgement.trust is Trust.DONE:
            standing.job, standing.attempt = job, attempt
            standing.done, standing.files, standing.doubt = True, found.files, None
            standing.why = f"done, and under way again: {_why(active[-1])}" if active else ""
            return standing
        if judgement.trust is Trust.FAILED:
            standing.why = judgement.why
        elif standing.doubt is None:
            standing.job, standing.attempt, standing.doubt = job, attempt, judgement
            standing.files = found.files
    if standing.doubt is not None:
        standing.done, standing.why = accept_suspect, f"suspect: {standing.doubt.why}"
        standing.files = standing.files if accept_suspect else ()
        return standing
    standing.why = standing.why or _why(active[-1] if active else newest)
    return standing


def _same(one: TaskRun, other: TaskRun) -> bool:
    """Whether both evaluate the same; where they leave it may have changed."""
    return what_it_is(one) == what_it_is(other)


def _settings(job: Job) -> tuple[str, str]:
    return job.settings_version, job.settings_digest


def _fault(workspace: Workspace, found: TaskResults) -> str:
    if not found.problems:
        return "its result is gone"
    problem = found.problems[0]
    return f"{workspace.shown(problem.path)}: {problem.why}"


def _why(record: JobRecord) -> str:
    attempt = record.last
    if attempt is None:
        return "not begun"
    reason = f"{attempt.reason.value}: " if attempt.reason else ""
    return f"{attempt.state.value} {reason}{attempt.detail}".rstrip(" :")


def _last_submission(record: JobRecord) -> float:
    return record.attempts[-1].submitting_at if record.attempts else 0.0
