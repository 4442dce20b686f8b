"""When a job ends with 0, its results are looked at before anybody calls it done."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs import ask, journal, observe
from hpcjobs.commands import CommandResult
from hpcjobs.model import Job, JobState, Reason, TaskRun
from hpcjobs.store import (
    AttemptRecord,
    Part,
    Store,
    fold,
    job_to_json,
    load,
    parts_to_json,
)
from hpcjobs.workspace import Workspace

EVALUATIONS = Path(__file__).parents[1] / "fixtures" / "evaluations"
NAME = "abcdef0-01_ja_x_m"

End = Callable[..., AttemptRecord]


@pytest.fixture
def end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a_job: Callable[..., Job]) -> End:
    """A job that left these results, `ago` seconds after it ended with 0."""
    silent = lambda argv, timeout: CommandResult(tuple(argv), 0, "", "", seconds=0.0)  # noqa: E731
    monkeypatch.setattr(ask, "run", silent)
    workspace = Workspace(tmp_path)
    framework = "lm_eval"

    def look(tree: str, ago: float = 3600.0, without: str = "") -> AttemptRecord:
        run = TaskRun("ja_x", "x", "x/x", framework, {})
        job = a_job(
            id="abcdef0", service="slurm", node="cpu", tasks=(run,), max_samples=3,
            model_names=("acme/tiny-1B",),
        )  # fmt: skip
        if not workspace.journal.exists():
            attempt = workspace.attempt(job.id, 1)
            shutil.copytree(EVALUATIONS / tree, attempt / "results/x/x")
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))
            (attempt / "exit_code").write_text(f"0 {when}\n")
            events = [
                journal.event(journal.PLANNED, 1.0, job.id, spec=job_to_json(job)),
                journal.event(journal.SUBMITTING, 1.0, job.id, 1, name=NAME, place=""),
                journal.event(journal.SUBMITTED, 1.0, job.id, 1, native_id="7"),
            ]
            journal.append(workspace.journal, events)
            for path in attempt.rglob(without) if without else ():
                path.unlink()
        last = observe.refresh(workspace).store.jobs[job.id].last
        assert last is not None
        return last

    return look


GOOD = "lm_eval-good/local-chat-completions"


def test_a_good_one_is_done_and_said_to_be_looked_at(end: End, tmp_path: Path) -> None:
    found = end(GOOD)
    assert (found.state, found.suspect, found.unread) == (JobState.SUCCEEDED, {}, False)
    last = load(Workspace(tmp_path).journal).jobs["abcdef0"].last
    assert last is not None
    assert last.suspect == {}


def test_samples_that_show_late_are_awaited_and_then_missed(end: End) -> None:
    found = end(GOOD, ago=1.0, without="samples_*")
    assert found.state is JobState.UNKNOWN
    assert "results are awaited (ja_x: no samples are there of tiny_gen)" in found.detail


def test_samples_that_never_come_make_it_suspect(end: End, tmp_path: Path) -> None:
    found = end(GOOD, without="samples_*")
    assert found.state is JobState.SUCCEEDED
    assert found.suspect == {"ja_x": "no samples are there of tiny_gen"}
    kept = load(Workspace(tmp_path).journal).jobs["abcdef0"].last
    assert kept is not None
    assert kept.suspect == found.suspect


def test_what_holds_no_answer_at_all_is_no_result(end: End, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    shutil.copytree(EVALUATIONS / GOOD, tmp_path / "tree", dirs_exist_ok=True)
    (path,) = (tmp_path / "tree").rglob("samples_*.jsonl")
    text = path.read_text()
    for answer in ("5", "Paris", "Tokyo"):
        text = text.replace(f'"resps": [["{answer}"]]', '"resps": [[""]]')
    path.write_text(text)
    found = end(str(tmp_path / "tree"))
    assert (found.state, found.reason) == (JobState.FAILED, Reason.NO_RESULT)
    assert found.detail == "exit code 0, but ja_x: all 3 answers are empty"


def test_what_was_not_read_for_want_of_a_program_is_read_when_it_is_there(
    end: End, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(GOOD)
    path = Workspace(tmp_path).journal
    journal.append(
        path,
        [journal.event(journal.CHECKED, 9.0, "abcdef0", 1, suspect={"ja_x": "?"}, unread=True)],
    )
    monkeypatch.setattr(observe, "find_spec", lambda name: None)
    assert end(GOOD).suspect == {"ja_x": "?"}
    monkeypatch.setattr(observe, "find_spec", lambda name: object())
    assert end(GOOD).suspect == {}
    record = fold(journal.read(path).events).jobs["abcdef0"].last
    assert record is not None
    assert (record.suspect, record.unread, record.state) == ({}, False, JobState.SUCCEEDED)


def test_what_a_packed_job_that_failed_has_done_is_read_when_the_program_is_there(
    end: End, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a_job: Callable[..., Job]
) -> None:
    end(GOOD)
    runs = tuple(TaskRun(key, "x", f"x/{key[-1]}", "lm_eval", {}) for key in ("ja_x", "ja_y"))
    job = a_job(id="packed0", tasks=runs, max_samples=3, model_names=("acme/tiny-1B",))
    workspace = Workspace(tmp_path)
    shutil.copytree(EVALUATIONS / GOOD, workspace.attempt(job.id, 1) / "results/x/x")
    done, failed = Part(JobState.SUCCEEDED, suspect="?"), Part(JobState.FAILED, Reason.TIMEOUT)
    parts = parts_to_json({"ja_x": done, "ja_y": failed})
    events = [
        journal.event(journal.PLANNED, 1.0, job.id, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, 1.0, job.id, 1, name="packed0-01", place=""),
        journal.event(
            journal.ENDED, 2.0, job.id, 1, state="FAILED", reason="TIMEOUT", parts=parts,
            unread=True,
        ),
    ]  # fmt: skip
    journal.append(workspace.journal, events)

    def looked(store: Store) -> tuple[AttemptRecord, dict[str, Part]]:
        last = store.jobs[job.id].last
        assert last is not None
        return last, dict(last.parts)

    monkeypatch.setattr(observe, "find_spec", lambda name: None)
    assert looked(observe.refresh(workspace).store)[1] == {"ja_x": done, "ja_y": failed}
    monkeypatch.setattr(observe, "find_spec", lambda name: object())
    trusted = {"ja_x": Part(JobState.SUCCEEDED), "ja_y": failed}
    assert looked(observe.refresh(workspace).store)[1] == trusted
    last, parts_kept = looked(load(workspace.journal))
    assert (last.state, last.suspect, last.unread, parts_kept) == (
        JobState.FAILED, None, False, trusted
    )  # fmt: skip


def test_a_check_says_nothing_of_what_failed(a_job: Callable[..., Job]) -> None:
    job = a_job(id="abcdef0")
    events = [
        journal.event(journal.PLANNED, 1.0, job.id, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, 1.0, job.id, 1, name=NAME, place=""),
        journal.event(journal.ENDED, 1.0, job.id, 1, state="FAILED", reason="TIMEOUT"),
        journal.event(journal.CHECKED, 2.0, job.id, 1, suspect={"x": "y"}),
    ]
    last = fold(events).jobs["abcdef0"].last
    assert last is not None
    assert (last.state, last.suspect) == (JobState.FAILED, None)
