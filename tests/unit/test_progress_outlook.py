"""How long a running job will take, whether it fits, and when nothing is said of that."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.markers import Marker, Markers, TaskMarkers
from hpcjobs.model import Job, TaskRun
from hpcjobs.progress.counting import Counted
from hpcjobs.progress.outlook import JobProgress, Log, described, job_progress
from hpcjobs.progress.reading import read_progress

NOW = 1_000_000.0
STARTED = Marker("17", NOW - 1200)
"""Twenty minutes ago."""
BEGAN = Marker("", NOW - 1000)
HALF = Counted(500, 1000, "samples", elapsed=900.0, latest=True, last=True)

MakeJob = Callable[..., Job]


def tasks(*keys: str) -> tuple[TaskRun, ...]:
    return tuple(TaskRun(key, key, key, "lighteval", {}) for key in keys)


def one_task(
    a_job: MakeJob,
    counted: Counted | None,
    *,
    silent: float = 0.0,
    walltime: int = 7200,
    margin: float = 0.0,
) -> JobProgress:
    """Of a job that evaluates one task."""
    job = a_job(tasks=tasks("ja_x"), walltime=walltime)
    markers = Markers(started=STARTED, ready=STARTED, tasks={"ja_x": TaskMarkers(BEGAN)})
    return job_progress(job, markers, {"ja_x": Log(counted, NOW - silent)}, NOW, margin)


def changed(**changes: object) -> Counted:
    return Counted(**{**HALF.__dict__, **changes})  # type: ignore[arg-type]


# ---- One task ------------------------------------------------------------------------------------


def test_the_pace_so_far_goes_on(a_job: MakeJob) -> None:
    progress = one_task(a_job, HALF)
    assert (progress.remaining, progress.fits, progress.left) == (900.0, True, 6000.0)
    assert described(progress) == "evaluating ja_x 500/1000 samples, about 15 min more, fits"


def test_the_time_since_the_bar_was_drawn_counts(a_job: MakeJob) -> None:
    assert one_task(a_job, HALF, silent=90.0).remaining == 990.0


def test_what_will_not_fit_is_told_with_both_times(a_job: MakeJob) -> None:
    progress = one_task(a_job, changed(done=100), walltime=3600)
    assert progress.fits is False
    assert described(progress) == (
        "evaluating ja_x 100/1000 samples, will not fit: needs about 02:15:00 more, 00:40:00 left"
    )


def test_the_script_ends_itself_before_the_walltime(a_job: MakeJob) -> None:
    assert one_task(a_job, HALF, walltime=2200).fits is True
    assert one_task(a_job, HALF, walltime=2200, margin=300.0).fits is False


@pytest.mark.parametrize("walltime", [2020, 2100, 2180])
def test_near_the_end_nothing_is_promised(a_job: MakeJob, walltime: int) -> None:
    progress = one_task(a_job, HALF, walltime=walltime)
    assert progress.fits is None
    assert described(progress) == "evaluating ja_x 500/1000 samples, about 15 min more"


@pytest.mark.parametrize(
    "changes",
    [
        {"done": 0},
        {"done": 4, "total": 8},
        {"done": 49},
        {"elapsed": 29.0},
        {"done": 1000},
    ],
)
def test_from_little_nothing_is_extrapolated(a_job: MakeJob, changes: dict[str, object]) -> None:
    progress = one_task(a_job, changed(**changes))
    assert (progress.remaining, progress.fits) == (None, None)
    one = changed(**changes)
    assert described(progress) == f"evaluating ja_x {one.done}/{one.total} samples"


def test_without_a_number_none_is_shown(a_job: MakeJob) -> None:
    assert described(one_task(a_job, None)) == "evaluating ja_x"


def test_of_a_bar_of_unknown_age_nothing_is_said(a_job: MakeJob) -> None:
    """Whether it was drawn a moment or a quarter of an hour ago: warnings came after it."""
    progress = one_task(a_job, changed(elapsed=100.0, latest=False))
    assert (progress.remaining, progress.fits) == (None, None)
    assert described(progress) == "evaluating ja_x 500/1000 samples"


def test_even_so_it_may_be_certain_that_it_will_not_fit(a_job: MakeJob) -> None:
    progress = one_task(a_job, changed(done=60, elapsed=400.0, latest=False), walltime=3600)
    assert (progress.remaining, progress.fits) == (None, False)


def test_of_one_part_of_several_it_is_not_said_that_it_fits(a_job: MakeJob) -> None:
    progress = one_task(a_job, changed(last=False, part="part 1 of 2"))
    assert (progress.remaining, progress.fits) == (None, None)
    assert described(progress) == (
        "evaluating ja_x 500/1000 samples, part 1 of 2, about 15 min more for these"
    )
    assert one_task(a_job, changed(last=False), walltime=1800).fits is False


def test_a_log_that_does_not_grow_is_told(a_job: MakeJob) -> None:
    progress = one_task(a_job, HALF, silent=720.0)
    assert (progress.remaining, progress.fits) == (None, None)
    assert described(progress) == "evaluating ja_x 500/1000 samples, no progress for 12 min"
    assert described(one_task(a_job, None, silent=6000.0)) == (
        "evaluating ja_x, no progress for 1 h 40 min"
    )


def test_it_may_be_silent_where_a_sample_takes_long(a_job: MakeJob) -> None:
    slow = changed(done=5, total=10, elapsed=5 * 300.0)
    assert not one_task(a_job, slow, silent=720.0).running[0].stalled
    assert one_task(a_job, slow, silent=1501.0).running[0].stalled


def test_a_clock_that_is_behind_makes_nothing_negative(a_job: MakeJob) -> None:
    progress = one_task(a_job, HALF, silent=-50.0)
    assert progress.running[0].silent == 0.0
    assert progress.remaining == 900.0


# ---- Before the tasks, and several of them -------------------------------------------------------


def test_before_the_evaluation_the_phase_is_told(a_job: MakeJob) -> None:
    progress = job_progress(a_job(), Markers(started=STARTED), {}, NOW, 0)
    assert described(progress) == "starting the server"
    assert (progress.elapsed, progress.left) == (1200.0, 600.0)
    assert described(job_progress(a_job(), Markers(), {}, NOW, 0)) == ""


def several(a_job: MakeJob, logs: dict[str, Log], *ended: str, walltime: int = 7200) -> JobProgress:
    """Of a job of three tasks; those with a log run."""
    job = a_job(tasks=tasks("a", "b", "c"), walltime=walltime)
    found = {key: TaskMarkers(BEGAN, BEGAN) for key in ended}
    found |= {key: TaskMarkers(BEGAN) for key in logs}
    markers = Markers(started=STARTED, ready=STARTED, tasks=found)
    return job_progress(job, markers, logs, NOW, 0)


def test_while_tasks_have_not_begun_it_is_not_said_that_the_job_fits(a_job: MakeJob) -> None:
    progress = several(a_job, {"b": Log(HALF, NOW)}, "a")
    assert (progress.remaining, progress.fits) == (None, None)
    assert described(progress) == "1/3 tasks, evaluating b 500/1000 samples, about 15 min more"


def test_the_last_task_tells_of_the_job(a_job: MakeJob) -> None:
    progress = several(a_job, {"c": Log(HALF, NOW)}, "a", "b")
    assert (progress.remaining, progress.fits) == (900.0, True)
    assert (
        described(progress) == "2/3 tasks, evaluating c 500/1000 samples, about 15 min more, fits"
    )


def test_of_several_at_once_the_longest_counts(a_job: MakeJob) -> None:
    slow = changed(done=250)
    progress = several(a_job, {"b": Log(HALF, NOW), "c": Log(slow, NOW)}, "a")
    assert (progress.remaining, progress.fits) == (2700.0, True)
    assert described(progress) == (
        "1/3 tasks, evaluating b 500/1000 samples, about 15 min more, "
        "evaluating c 250/1000 samples, about 45 min more, fits"
    )
    unknown = several(a_job, {"b": Log(HALF, NOW), "c": Log(None, NOW)}, "a")
    assert (unknown.remaining, unknown.fits) == (None, None)


def test_one_task_that_does_not_fit_is_enough(a_job: MakeJob) -> None:
    assert several(a_job, {"a": Log(changed(done=100), NOW)}, walltime=3600).fits is False


def test_what_the_job_has_left_out_is_told(a_job: MakeJob) -> None:
    left_out = TaskMarkers(not_begun=BEGAN)
    found = {"a": TaskMarkers(BEGAN, BEGAN), "b": TaskMarkers(BEGAN), "c": left_out}
    job = a_job(tasks=tasks("a", "b", "c"), walltime=7200)
    markers = Markers(started=STARTED, ready=STARTED, tasks=found)
    progress = job_progress(job, markers, {"b": Log(HALF, NOW)}, NOW, 0)
    assert (progress.remaining, progress.fits, progress.not_begun) == (900.0, False, 1)
    assert described(progress) == (
        "1/3 tasks, evaluating b 500/1000 samples, about 15 min more, no time left to begin 1"
    )


def test_a_task_that_is_to_be_tried_again_has_no_log_for_a_while(a_job: MakeJob) -> None:
    """The server died; what was asked of it does not count."""
    job = a_job(tasks=tasks("a", "b"), walltime=7200)
    found = {"a": TaskMarkers(BEGAN), "b": TaskMarkers(BEGAN)}
    markers = Markers(started=STARTED, ready=STARTED, tasks=found)
    progress = job_progress(job, markers, {"b": Log(HALF, NOW)}, NOW, 0)
    assert (progress.remaining, progress.fits) == (None, None)
    assert described(progress) == (
        "0/2 tasks, evaluating a, evaluating b 500/1000 samples, about 15 min more"
    )


def test_between_two_tasks(a_job: MakeJob) -> None:
    assert described(several(a_job, {}, "a")) == "1/3 tasks, ready"


# ---- What holds for all of them ------------------------------------------------------------------

SECONDS = st.floats(-1e6, 1e6)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2000), st.integers(1, 2000), st.floats(0, 1e6), st.booleans(),
            st.booleans(), SECONDS, st.booleans(),
        ),
        max_size=3,
    ),
    st.integers(1, 10**6),
    SECONDS,
)  # fmt: skip
def test_whatever_was_counted(
    a_job: MakeJob,
    ones: list[tuple[int, int, float, bool, bool, float, bool]],
    walltime: int,
    since: float,
) -> None:
    job = a_job(tasks=tasks("a", "b", "c"), walltime=walltime)
    logs, found = {}, {}
    for key, (done, total, elapsed, latest, last, silent, ended) in zip("abc", ones, strict=False):
        one = Counted(min(done, total), total, "samples", elapsed, latest, "", last)
        logs[key] = Log(one, NOW - silent)
        found[key] = TaskMarkers(BEGAN, BEGAN if ended else None)
    markers = Markers(started=Marker("1", NOW - since), tasks=found)
    progress = job_progress(job, markers, logs, NOW, 60)
    text = described(progress)
    assert text.isprintable()
    assert ("fits" in text.replace("will not fit", "")) == (progress.fits is True)
    for task in progress.running:
        assert task.counted is None or task.counted.done <= task.counted.total
        if task.least is not None and task.most is not None:
            assert 0 <= task.least <= task.most
            assert not task.stalled
    if progress.fits:
        assert progress.remaining is not None and progress.left is not None
        assert progress.remaining <= progress.left
        assert progress.ended + len(progress.running) == progress.tasks


# ---- From files ----------------------------------------------------------------------------------


def test_only_logs_of_tasks_that_run_are_read(
    a_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    opened = Path.open

    def watched(path: Path, *words: object, **more: object) -> object:
        read.append(path)
        return opened(path, *words, **more)  # type: ignore[call-overload]

    for key in "abc":
        (tmp_path / f"{key}.log").write_text("x")
        os.utime(tmp_path / f"{key}.log", (NOW - 700, NOW - 700))
    monkeypatch.setattr(Path, "open", watched)
    found = {"a": TaskMarkers(BEGAN, BEGAN), "b": TaskMarkers(BEGAN)}
    markers = Markers(started=STARTED, tasks=found)
    progress = read_progress(tmp_path, a_job(tasks=tasks("a", "b", "c")), markers, NOW, 0)
    assert read == [tmp_path / "b.log"]
    assert progress.running[0].silent == 700.0


def test_a_log_that_cannot_be_read_tells_nothing(
    a_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, *words: object, **more: object) -> object:
        raise OSError(5, "Input/output error")

    (tmp_path / "b.log").write_text("x")
    monkeypatch.setattr(Path, "open", broken)
    markers = Markers(started=STARTED, tasks={"b": TaskMarkers(BEGAN)})
    progress = read_progress(tmp_path, a_job(tasks=tasks("b")), markers, NOW, 0)
    assert described(progress) == "evaluating b"
