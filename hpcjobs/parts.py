"""How each task of a packed attempt ended, from how the whole of it did. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hpcjobs.markers import Markers, TaskMarkers
from hpcjobs.model import Job, JobState, Reason, Verdict
from hpcjobs.store import Part

NOT_BEGUN = Part(JobState.PLANNED, detail="not begun before its job ended")

_INTERRUPTED = "the server died, and the job ended before this was begun again"


def finished(markers: Markers) -> list[str]:
    """The tasks whose evaluators ended with 0, their server alive: results are expected."""
    return [key for key, task in markers.tasks.items() if _code(task) == "0"]


def awaited(
    job: Job, markers: Markers, missing: Mapping[str, str], now: float, seconds: float
) -> str:
    """Which results may just show late on a shared disk, for people; empty if none.

    Args:
        job: the packed job.
        markers: what the attempt has told.
        missing: by finished task: why there is no whole result.
        now: epoch seconds.
        seconds: how long a result may lag behind its task's exit code.
    """
    late = []
    for run in job.tasks:
        ended = markers.tasks.get(run.key, TaskMarkers()).exit_code
        if run.key in missing and ended is not None and now - ended.at < seconds:
            late.append(f"{run.key}: {missing[run.key]}")
    return f"it ended, its results are awaited ({'; '.join(late)})" if late else ""


def judge_parts(
    job: Job,
    markers: Markers,
    verdict: Verdict,
    problems: Mapping[str, str],
    suspect: Mapping[str, str],
    ended: float,
) -> dict[str, Part]:
    """By task: how it ended in an attempt that did not succeed.

    Args:
        job: the packed job.
        markers: what the attempt has told.
        verdict: on the attempt; final.
        problems: by finished task: why its result is none.
        suspect: by finished task: why its result is not to be trusted.
        ended: when the attempt ended, in epoch seconds.
    """
    begun = any(task.started for task in markers.tasks.values())
    needs = dict(zip((run.key for run in job.tasks), job.task_walltimes, strict=False))
    parts = {}
    for run in job.tasks:
        task = markers.tasks.get(run.key, TaskMarkers())
        if _code(task) == "0":
            if run.key in problems:
                parts[run.key] = Part(JobState.FAILED, Reason.NO_RESULT, problems[run.key])
            else:
                parts[run.key] = Part(JobState.SUCCEEDED, suspect=suspect.get(run.key, ""))
        elif task.exit_code is not None:
            parts[run.key] = _failed(task, task.exit_code.value, verdict)
        elif verdict.state is JobState.CANCELLED:
            parts[run.key] = Part(verdict.state, detail=verdict.detail)
        elif task.started is None and begun:
            parts[run.key] = NOT_BEGUN
        elif task.interrupted is not None:
            parts[run.key] = Part(JobState.FAILED, Reason.SERVER_FAILED, _INTERRUPTED)
        else:
            timed_out = verdict.reason is Reason.TIMEOUT and task.started is not None
            had = max(1.0, ended - task.started.at) if timed_out and task.started else 0.0
            # A job of its own with the time of the table would not have had more.
            had = max(had, needs.get(run.key, 0)) if timed_out else had
            parts[run.key] = Part(verdict.state, verdict.reason, verdict.detail, had)
    return parts


def parts_in_words(parts: Mapping[str, Part]) -> str:
    """How many of the packed tasks are done, and which of these are suspect; empty for others."""
    if not parts:
        return ""
    done = [key for key, part in parts.items() if part.state is JobState.SUCCEEDED]
    suspect = [key for key in done if parts[key].suspect]
    doubt = f" ({', '.join(suspect)} suspect)" if suspect else ""
    return f"{len(done)} of {len(parts)} tasks done{doubt}"


def _failed(task: TaskMarkers, code: str, verdict: Verdict) -> Part:
    if task.failure is None and code == "137" and verdict.reason is Reason.OUT_OF_MEMORY:
        return Part(JobState.FAILED, verdict.reason, f"exit code {code}")  # KILL: that was why
    if task.failure is None:
        return Part(JobState.FAILED, Reason.EXIT_CODE, f"exit code {code}")
    ours = task.failure.value.startswith("server_")
    reason = Reason.SERVER_FAILED if ours else Reason.EXIT_CODE
    return Part(JobState.FAILED, reason, task.failure.value.replace("_", " "))


def _code(task: TaskMarkers) -> str | None:
    return task.exit_code.value if task.exit_code is not None else None
