"""`hpcjobs diagnose`: one job, all that failed by cause, and for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hpcjobs import journal
from hpcjobs.cli import main
from hpcjobs.model import Job, TaskRun
from hpcjobs.store import job_to_json

Run = Callable[..., tuple[str, str]]
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(tmp_path), "--no-emoji", *words])
        printed = capsys.readouterr()
        assert int(str(ended.value.code or 0)) == code, printed
        return printed.out, printed.err

    return run


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., None]:
    """Puts a job that has ended into the journal, with the files of its attempt."""

    def job(name: str, logs: Mapping[str, str], state: str = "FAILED", **end: str) -> None:
        task = TaskRun(
            key="ja_x", script="s", result_dir="ja/x", framework="lighteval", settings={}
        )
        one = Job(
            id=name, digest=name, service="local", node="gpu_1", provider="vllm", model="org/name",
            settings_name="", settings_version="", settings_path="", tasks=(task,), walltime=3600,
        )  # fmt: skip
        events = [
            journal.event(journal.PLANNED, 0.0, name, spec=job_to_json(one)),
            journal.event(journal.SUBMITTING, 1.0, name, 1, name=f"{name}-01_x", place="here"),
            journal.event(journal.ENDED, 2.0, name, 1, state=state, **end),
        ]
        journal.append(tmp_path / "jobs" / "journal.jsonl", events)
        directory = tmp_path / "jobs" / name / "01"
        directory.mkdir(parents=True)
        for log, text in logs.items():
            (directory / log).write_text(text)

    return job


def test_one_job_is_told_with_cause_line_and_remedy(run: Run, job: Callable[..., None]) -> None:
    logs = {"server.log": f"INFO\n{OOM}\n", "failure": "server_ended 2026-01-01T00:00:00Z\n"}
    job("abcdef0", logs, reason="SERVER_FAILED", detail="server ended")
    shown, _ = run("diagnose", "abc")
    assert shown.splitlines() == [
        "abcdef0-01  error  ja_x  org/name  SERVER_FAILED: server ended",
        "  GPU memory ran out while the server started",
        f"    server.log:2  {OOM}",
        "    do: choose a node with more GPU memory or more GPUs, or a smaller max_model_length",
        "    submitting it again helps only after that change",
    ]
    assert "server.log" not in run("diagnose", "abc", "-n", "0")[0]


def test_all_failed_jobs_are_told_by_cause_the_most_frequent_first(
    run: Run, job: Callable[..., None]
) -> None:
    job("aaaaaa0", {"ja_x.log": "what is this error\n"}, reason="EXIT_CODE")
    job("bbbbbb0", {"server.log": OOM}, reason="SERVER_FAILED")
    job("cccccc0", {"server.log": OOM}, reason="SERVER_FAILED")
    job("dddddd0", {}, state="SUCCEEDED")
    job("eeeeee0", {}, state="CANCELLED")
    shown, _ = run("diagnose")
    first, second, _ = shown.split("\n\n")
    assert first.startswith("2 jobs: GPU memory ran out while the server started\n")
    assert "bbbbbb0-01  ja_x" in first
    assert "cccccc0-01  ja_x" in first
    assert second.startswith("1 job: no known cause\n")
    assert "aaaaaa0-01: ja_x.log:1  what is this error" in second
    assert "dddddd0" not in shown
    assert "eeeeee0" not in shown


def test_without_a_known_cause_it_says_so(run: Run, job: Callable[..., None]) -> None:
    job("abcdef0", {"ja_x.log": "FooError: bar\n"}, reason="EXIT_CODE", detail="exit code 1")
    shown, _ = run("diagnose", "abc")
    assert "  no known cause; the logs end with, or hold:\n    ja_x.log:1  FooError: bar" in shown


def test_a_job_without_logs_is_told_honestly(run: Run, job: Callable[..., None]) -> None:
    job("abcdef0", {}, reason="EXIT_CODE")
    assert "no known cause, and no log to look at" in run("diagnose", "abc")[0]


def test_a_job_that_succeeded_has_nothing_to_complain_of(
    run: Run, job: Callable[..., None]
) -> None:
    job("abcdef0", {"server.log": "INFO fine\n"}, state="SUCCEEDED")
    job("bbbbbb0", {"ja_x.log": "WARNING returning empty response\n"}, state="SUCCEEDED")
    assert "nothing to complain of" in run("diagnose", "abc")[0]
    assert "answers were lost and count as wrong" in run("diagnose", "bbb")[0]


def test_for_scripts_there_is_json(run: Run, job: Callable[..., None]) -> None:
    job("abcdef0", {"server.log": OOM}, reason="SERVER_FAILED", detail="server ended")
    [found] = json.loads(run("diagnose", "--json")[0])["jobs"]
    assert (found["job"], found["cause"], found["again"]) == (
        "abcdef0",
        "gpu_memory_start",
        "after a change",
    )
    [finding] = found["findings"]
    assert finding["lines"] == [{"file": "server.log", "line": 1, "text": OOM}]


def test_no_failed_job_is_said(run: Run) -> None:
    assert run("diagnose")[0] == "no job has failed\n"
    assert json.loads(run("diagnose", "--json")[0]) == {"jobs": []}


def test_an_attempt_can_be_named(run: Run, job: Callable[..., None]) -> None:
    job("abcdef0", {}, reason="NODE_FAILURE")
    assert "the node failed" in run("diagnose", "abc-01")[0]
    _, error = run("diagnose", "abc-07", code=2)
    assert "abcdef0 has no attempt '07'\n  expected: one of: 1" in error
    run("diagnose", "nobody", code=2)


def test_keys_are_not_shown(tmp_path: Path, run: Run, job: Callable[..., None]) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=plain_old_words\n")
    job("abcdef0", {"ja_x.log": "FooError: plain_old_words hf_abcdefghij0123456789\n"})
    for words in (("diagnose",), ("diagnose", "abc"), ("diagnose", "--json")):
        shown, error = run(*words)
        assert "<hidden> <hidden>" in shown
        assert "plain_old_words" not in shown + error
        assert "hf_abc" not in shown + error
