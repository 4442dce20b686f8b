"""What real evaluators left, good and bad: each is judged rightly, and says why."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import StorageError
from hpcjobs.markers import read_markers
from hpcjobs.model import Job, TaskRun
from hpcjobs.results import sample_facts, trust
from hpcjobs.results.checking import check_results, task_results
from hpcjobs.results.judgement import Judgement, Trust
from hpcjobs.results.sample_facts import NotInstalledError
from hpcjobs.results.samples import find_sample_files

EVALUATIONS = Path(__file__).parents[2] / "fixtures" / "evaluations"
DEMO = Path(__file__).parents[2] / "fixtures" / "lm_eval_demo"
NAMES = ("hosted_vllm/acme/tiny-1B", "openai/tiny", "acme/tiny-1B", "hpcjobs/tiny-demo")

Left = Callable[..., tuple[Job, Path]]


@pytest.fixture
def left(tmp_path: Path) -> Left:
    """The attempt that such a tree was left by."""

    def make(tree: Path, **settings: Any) -> tuple[Job, Path]:
        framework = "lm_eval" if "lm_eval" in str(tree) else "lighteval"
        limit = settings.pop("max_samples", None)
        run = TaskRun("ja_x", "x", "x/x", framework, settings)
        job = Job(
            id="abcdef0", digest="d", service="local", node="cpu", provider="p", model="m",
            settings_name="", settings_version="", settings_path="", tasks=(run,), walltime=60,
            max_samples=limit, model_names=NAMES,
        )  # fmt: skip
        attempt = tmp_path / "01"
        shutil.copytree(tree, attempt / "results/x/x")
        log = attempt / "results/x/x/stdout.log"
        if log.exists():
            log.rename(attempt / "ja_x.log")
        return job, attempt

    return make


def judged(job: Job, attempt: Path) -> Judgement:
    found = task_results(job, job.tasks[0], attempt)
    assert found.files
    assert not found.problems
    return trust.task_trust(job, job.tasks[0], attempt, found.files)


LOST = "lost: the requests failed, and count as wrong answers"
ALL_EMPTY = "all 4 answers are empty"
FAILURES = [
    ("0.13.0_refused", Trust.FAILED, f"4 answers {LOST}; {ALL_EMPTY}", "Connection error"),
    (
        "0.13.0_badmodel",
        Trust.FAILED,
        f"4 answers {LOST}; {ALL_EMPTY}",
        "The model `tiny` does not",
    ),
    ("0.13.0_err1", Trust.FAILED, f"4 answers {LOST}; {ALL_EMPTY}", "injected failure"),
    ("0.13.0_slow", Trust.FAILED, f"4 answers {LOST}; {ALL_EMPTY}", "Request timed out"),
    (
        "0.13.0_die2",
        Trust.SUSPECT,
        f"2 answers {LOST}; 2 of 4 answers are empty (sample tiny_gen|0 3, tiny_gen|0 0)",
        "Connection error",
    ),
    (
        "0.13.0_poisoned_cache",
        Trust.FAILED,
        "4 answers taken from a cache, not from this server: an earlier failure may have filled it"
        f"; {ALL_EMPTY}",
        "Cache: 4/4 samples are cached",
    ),
]


@pytest.mark.parametrize(("tree", "expected", "why", "line"), FAILURES, ids=lambda x: str(x)[:22])
def test_every_failure_that_lighteval_calls_a_success_is_caught(
    pyarrow: Any, left: Left, tree: str, expected: Trust, why: str, line: str
) -> None:
    found = judged(*left(EVALUATIONS / "lighteval-failures" / tree))
    assert (found.trust, found.why) == (expected, why)
    assert line in "\n".join(found.lines)
    assert all(one.startswith("ja_x.log:") for one in found.lines)


@pytest.mark.parametrize("case", ["refused", "die2", "slow"])
def test_the_log_alone_gives_the_forks_failures_away(left: Left, case: str) -> None:
    """(Of the fork's failures, logs were recorded.)"""
    job, attempt = left(EVALUATIONS / "lighteval-good/swallow-0.8.0")
    shutil.copy(EVALUATIONS / f"lighteval-failures/swallow_{case}/stdout.log", attempt / "ja_x.log")
    found = judged(job, attempt)
    assert found.trust is Trust.SUSPECT
    assert LOST in found.why
    assert "returning empty response" in found.lines[1]


@pytest.mark.parametrize(
    ("tree", "asked"),
    [
        ("lighteval-good/0.13.0", {"temperature": 0.0, "seed": 1, "max_new_tokens": 16}),
        ("lighteval-good/0.8.1", {"temperature": 0, "reasoning_effort": "low"}),
        ("lighteval-good/swallow-0.8.0", {"max_new_tokens": 16}),
        ("lm_eval-good/local-completions", {}),
        ("lm_eval-good/local-chat-completions", {"max_samples": 3}),
    ],
)
def test_every_good_one_is_done(pyarrow: Any, left: Left, tree: str, asked: dict[str, Any]) -> None:
    found = judged(*left(EVALUATIONS / tree, **asked))
    assert (found.trust, found.why) == (Trust.DONE, "")


@pytest.mark.parametrize("task", ["demo_capitals", "demo_sums"])
def test_wrong_answers_are_no_reason(left: Left, task: str) -> None:
    assert judged(*left(DEMO / task)).trust is Trust.DONE


# ---- What else it may be -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "asked", "why"),
    [
        ("lm_eval-good/local-chat-completions", {}, "tiny_gen: 3 samples evaluated, 4 asked for"),
        ("lm_eval-good/local-chat-completions", {"max_samples": 2}, "at most 2 asked for"),
        ("lighteval-good/0.8.1", {"max_samples": 2}, "4 samples evaluated, at most 2 asked for"),
        (
            "lighteval-good/0.13.0",
            {"temperature": 0.6, "max_new_tokens": 32},
            "made under other settings: max_new_tokens 16 instead of 32, temperature 0.0 instead",
        ),
    ],
)
def test_what_was_not_asked_for_is_suspect(
    pyarrow: Any, left: Left, tree: str, asked: dict[str, Any], why: str
) -> None:
    found = judged(*left(EVALUATIONS / tree, **asked))
    assert found.trust is Trust.SUSPECT
    assert why in found.why


def test_what_the_option_limit_left_out_is_missed(left: Left) -> None:
    """The tree was made with `--limit 3`, and holds 3 of 4 samples."""
    job, attempt = left(EVALUATIONS / "lm_eval-good/local-chat-completions")
    limited = dataclasses.replace(job.tasks[0], options={"limit": 3})
    whole = dataclasses.replace(job, tasks=(limited,))
    assert judged(whole, attempt).why == "tiny_gen: only 3 of 4 samples (the option limit, 3)"
    trial = dataclasses.replace(whole, max_samples=3)
    assert judged(trial, attempt).why == ""


def served(attempt: Path, *, cut: int, tokens: int) -> None:
    """The task's answers might have so many tokens, and so many of them ended there."""
    for when, count in (("begin", 1), ("end", 1 + cut)):
        path = attempt / f"metrics/ja_x.{when}.prom"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            'vllm:request_success_total{engine="0",finished_reason="length",model_name="m"}'
            f" {count}.0\n"
        )
    (attempt / "task.ja_x.started").write_text("- 2026-11-21T08:21:40Z\n")
    (attempt / "task.ja_x.exit_code").write_text("0 2026-11-21T08:21:50Z\n")
    for path in attempt.rglob("samples_*.jsonl"):
        text = path.read_text().replace('"max_gen_toks": 16', f'"max_gen_toks": {tokens}')
        path.write_text(text)


@pytest.mark.parametrize(
    ("cut", "tokens", "why"),
    [
        (3, 1024, "3 of 3 answers are cut off at the length limit, as vLLM counted them"),
        (1, 1024, ""),
        (3, 16, ""),
    ],
)
def test_what_the_server_counted_is_looked_at(left: Left, cut: int, tokens: int, why: str) -> None:
    job, attempt = left(EVALUATIONS / "lm_eval-good/local-chat-completions", max_samples=3)
    assert judged(job, attempt).why == ""
    served(attempt, cut=cut, tokens=tokens)
    assert judged(job, attempt).why == why


def test_among_log_likelihoods_the_server_counts_nothing(left: Left) -> None:
    job, attempt = left(EVALUATIONS / "lm_eval-good/local-completions")
    served(attempt, cut=100, tokens=1024)
    assert judged(job, attempt).why == ""


@pytest.mark.parametrize("output", ["mixed", "loglikelihood"])
def test_where_log_likelihoods_were_asked_for_it_does_not_count(left: Left, output: str) -> None:
    job, attempt = left(EVALUATIONS / "lm_eval-good/local-chat-completions", max_samples=3)
    served(attempt, cut=3, tokens=1024)
    run = dataclasses.replace(job.tasks[0], options={"output": output})
    assert judged(dataclasses.replace(job, tasks=(run,)), attempt).why == ""


def test_what_lighteval_did_not_count_is_counted(pyarrow: Any, left: Left) -> None:
    job, attempt = left(EVALUATIONS / "lighteval-good/0.13.0", max_samples=2)
    (file,) = task_results(job, job.tasks[0], attempt).files
    assert [entry.samples for entry in file.entries] == [4, 4]
    assert "4 samples evaluated, at most 2 asked for" in judged(job, attempt).why


def test_an_earlier_result_is_suspect(pyarrow: Any, left: Left) -> None:
    job, attempt = left(EVALUATIONS / "lm_eval-good/local-completions")
    (attempt / "started").write_text("17 2096-11-21T10:00:00Z\n")
    assert read_markers(attempt).started
    assert judged(job, attempt).why == "the result is older than this attempt"


def test_without_samples_nothing_is_believed(pyarrow: Any, left: Left) -> None:
    job, attempt = left(EVALUATIONS / "lighteval-good/0.13.0")
    first, second = sorted((attempt / "results").rglob("*.parquet"))
    second.unlink()
    assert judged(job, attempt).why == "no samples are there of tiny_gen|0"
    first.write_bytes(first.read_bytes()[:-9])
    found = judged(job, attempt)
    assert found.trust is Trust.SUSPECT
    assert found.incomplete
    assert "the samples cannot be read of tiny_gen:sub|0 (it cannot be read: Parquet" in found.why


def test_samples_of_another_time_are_not_these(left: Left) -> None:
    job, attempt = left(EVALUATIONS / "lm_eval-good/local-chat-completions", max_samples=3)
    (path,) = (attempt / "results").rglob("samples_*.jsonl")
    path.rename(path.with_name(path.name.replace("2026", "2025")))
    assert judged(job, attempt).why == "no samples are there of tiny_gen"


def test_samples_that_were_lost_from_their_file_are_missed(left: Left) -> None:
    job, attempt = left(EVALUATIONS / "lm_eval-good/local-chat-completions", max_samples=3)
    (path,) = (attempt / "results").rglob("samples_*.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert judged(job, attempt).why == "tiny_gen: 2 samples are there, of 3 evaluated"


def test_without_pyarrow_it_is_said_and_not_kept(
    left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, attempt = left(EVALUATIONS / "lighteval-good/0.13.0")

    def missing(*_: object) -> None:
        raise NotInstalledError("pyarrow is not installed")

    monkeypatch.setattr(trust, "read_facts", missing)
    checked = check_results(job, attempt)
    assert "answers were not looked at" in checked.suspect["ja_x"]
    assert "pip install 'hpcjobs[details]'" in checked.suspect["ja_x"]
    assert checked.unread
    monkeypatch.undo()
    pytest.importorskip("pyarrow")
    assert check_results(job, attempt).suspect == {}


# ---- What was found is kept ----------------------------------------------------------------------


def never(*_: object) -> None:
    raise AssertionError("the samples were read again")


def test_samples_are_read_once(pyarrow: Any, left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    job, attempt = left(EVALUATIONS / "lighteval-failures/0.13.0_die2")
    first = judged(job, attempt)
    monkeypatch.setattr(trust, "read_facts", never)
    assert judged(job, attempt) == first
    kept = json.loads((attempt / trust.FILE_NAME).read_text())
    assert kept["ja_x"]["trust"] == "suspect"


@pytest.mark.parametrize("spoil", ["result", "sample", "log", "settings"])
def test_they_are_read_again_if_anything_has_changed(
    left: Left, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    job, attempt = left(EVALUATIONS / "lm_eval-good/local-completions")
    assert judged(job, attempt).trust is Trust.DONE
    if spoil == "result":
        (path,) = attempt.rglob("results_*.json")
        path.write_text(path.read_text() + " ")
    elif spoil == "sample":
        path = min(attempt.rglob("samples_*.jsonl"))
        path.write_text(path.read_text() + "\n")
    elif spoil == "log":
        (attempt / "ja_x.log").write_text("returning empty response")
    else:
        job, attempt = Job(**{**vars(job), "max_samples": 2}), attempt
    monkeypatch.setattr(trust, "read_facts", never)
    with pytest.raises(AssertionError, match="read again"):
        judged(job, attempt)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"ja_x": 3}', '{"ja_x": {"made_from": "x"}}'])
def test_a_spoiled_memory_is_passed_over(left: Left, text: str) -> None:
    job, attempt = left(EVALUATIONS / "lm_eval-good/local-completions")
    (attempt / trust.FILE_NAME).write_text(text)
    assert judged(job, attempt).trust is Trust.DONE


def test_where_nothing_can_be_written_it_is_found_out_again(
    left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("cannot write")

    job, attempt = left(EVALUATIONS / "lm_eval-good/local-completions")
    monkeypatch.setattr(trust, "write_json", full)
    assert judged(job, attempt).trust is Trust.DONE
    (attempt / trust.FILE_NAME).mkdir()
    assert judged(job, attempt).trust is Trust.DONE


def test_others_results_are_judged_by_what_lies_beside_them(pyarrow: Any, left: Left) -> None:
    job, attempt = left(EVALUATIONS / "lighteval-failures/0.13.0_refused")
    files = task_results(job, job.tasks[0], attempt).files
    found = trust.judge_files(files, find_sample_files(attempt))
    assert found.why == ALL_EMPTY
    assert trust.judge_files(files, []).trust is Trust.DONE
    assert sample_facts.TAGS
