"""How long a running job will take yet, and whether that fits its walltime. Pure.

Only what the log shows is extrapolated, at the average pace since the samples began, and only once
that says something. What comes after the samples (metrics, a judge) is in no bar, nor here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpcjobs.durations import format_duration
from hpcjobs.markers import Markers, TaskMarkers
from hpcjobs.model import Job
from hpcjobs.progress.counting import Counted

FEWEST_SAMPLES, SMALLEST_PART, SHORTEST = 5, 0.05, 30.0
"""Less than so many samples, such a part of them, so many seconds say nothing of the pace."""
SILENT_AFTER = 600.0
"""Seconds after which a log that does not grow is worth a word..."""
PATIENCE = 5.0
"""... unless it is less than so many times what a sample takes."""
CLEARLY = 1.1
"""An estimate is this much off, at least: nearer to the end nothing is said of the fit."""
VAGUE = 1.25
"""Where the least and the most it may take are further apart, none is told."""


@dataclass(frozen=True)
class Log:
    """What was read of an evaluator's log."""

    counted: Counted | None
    written_at: float
    """Epoch seconds of its last change."""


@dataclass(frozen=True)
class TaskProgress:
    """A task that is being evaluated. Times are in seconds."""

    key: str
    counted: Counted | None
    silent: float | None
    """For how long its log has not grown; None = it has none."""
    stalled: bool
    """Whether that is longer than it should be."""
    least: float | None
    """What the samples that are counted will take, at least; None = it cannot be said."""
    most: float | None
    """The same, at most."""

    @property
    def remaining(self) -> float | None:
        """What they will take, where the two are near each other."""
        if self.least is None or self.most is None or self.most > VAGUE * self.least:
            return None
        return self.most

    @property
    def whole(self) -> bool:
        """Whether nothing else will be asked of the model for this task."""
        return self.counted is not None and self.counted.last


@dataclass(frozen=True)
class JobProgress:
    """A running job. Times are in seconds."""

    phase: str
    """What it is busy with, for people."""
    elapsed: float | None
    left: float | None
    """Until it must end: its walltime, less the time that the script keeps for ending."""
    tasks: int
    ended: int
    """Tasks that have ended, well or not."""
    not_begun: int
    """Tasks that the job leaves out, since no time is left for them."""
    running: tuple[TaskProgress, ...]
    remaining: float | None
    """Until all samples of all tasks are done; None = it cannot be said."""
    fits: bool | None
    """None = it cannot be said, or it is too near."""


def job_progress(
    job: Job, markers: Markers, logs: Mapping[str, Log], now: float, end_margin: float
) -> JobProgress:
    """How far a job is that runs.

    Args:
        job: as it was submitted for this attempt.
        markers: of the attempt.
        logs: of the tasks that are being evaluated, by key.
        now: epoch seconds.
        end_margin: seconds before the walltime at which the script ends itself.
    """
    elapsed = max(0.0, now - markers.started.at) if markers.started else None
    left = None if elapsed is None else job.walltime - end_margin - elapsed
    running = tuple(
        task_progress(key, markers.tasks[key], logs.get(key), now) for key in markers.running
    )
    ended = sum(task.exit_code is not None for task in markers.tasks.values())
    not_begun = sum(task.not_begun is not None for task in markers.tasks.values())
    remaining = None
    if running and ended + not_begun + len(running) == len(job.tasks):
        times = [task.remaining for task in running if task.whole]
        if len(times) == len(running) and None not in times:
            remaining = max(time for time in times if time is not None)
    return JobProgress(
        markers.phase, elapsed, left, len(job.tasks), ended, not_begun, running, remaining,
        False if not_begun else _fits(running, remaining, left),
    )  # fmt: skip


def task_progress(key: str, task: TaskMarkers, log: Log | None, now: float) -> TaskProgress:
    """How far one task is that is being evaluated."""
    if log is None:
        return TaskProgress(key, None, None, False, None, None)
    one, silent = log.counted, max(0.0, now - log.written_at)
    stalled = silent >= SILENT_AFTER
    if one is None or one.done == 0 or one.done == one.total:
        return TaskProgress(key, one, silent, stalled, None, None)
    # The clock of the bar stood when it was drawn, at the log's last change or before that.
    shortest = longest = one.elapsed + silent
    if not one.latest:
        longest = max(shortest, now - task.started.at if task.started else shortest)
    stalled = stalled and silent >= PATIENCE * one.elapsed / one.done
    early = one.done < FEWEST_SAMPLES or one.done < SMALLEST_PART * one.total
    if stalled or early or shortest < SHORTEST:
        return TaskProgress(key, one, silent, stalled, None, None)
    a_second = (one.total - one.done) / one.done
    return TaskProgress(key, one, silent, stalled, a_second * shortest, a_second * longest)


def _fits(
    running: tuple[TaskProgress, ...], remaining: float | None, left: float | None
) -> bool | None:
    if left is None:
        return None
    if _needed(running) > CLEARLY * max(left, 0.0):
        return False  # whatever comes after it
    return True if remaining is not None and remaining * CLEARLY <= left else None


def _needed(running: tuple[TaskProgress, ...]) -> float:
    """What the running tasks will take at least, as far as that can be said."""
    return max((task.least or 0.0 for task in running), default=0.0)


# ---- For people ----------------------------------------------------------------------------------


def described(progress: JobProgress) -> str:
    """One line: `evaluating ja_x 412/1000 requests, about 12 min more, fits`."""
    words = [f"{progress.ended}/{progress.tasks} tasks"] if progress.tasks > 1 else []
    if not progress.running:
        return ", ".join(filter(None, [*words, progress.phase]))
    words += [_task(task, progress) for task in progress.running]
    needed = _needed(progress.running)
    if progress.fits:
        words.append("fits")
    elif progress.left is not None and needed > CLEARLY * max(progress.left, 0.0):
        words.append(
            f"will not fit: needs about {format_duration(needed)} more, "
            f"{format_duration(progress.left)} left"
        )
    if progress.not_begun:
        words.append(f"no time left to begin {progress.not_begun}")
    return ", ".join(words)


def _task(task: TaskProgress, progress: JobProgress) -> str:
    words = [f"evaluating {task.key}"]
    if task.counted is not None:
        one = task.counted
        words[0] += f" {one.done}/{one.total} {one.what}"
        if one.part:
            words.append(one.part)
    if task.stalled and task.silent is not None:
        words.append(f"no progress for {_about(task.silent)}")
    elif task.remaining is not None and (progress.fits is not False or progress.not_begun):
        more = f"about {_about(task.remaining)} more"
        words.append(more if task.whole else f"{more} for these")
    return ", ".join(words)


def _about(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
