"""What real evaluators make of a server that lives on, and answers wrongly or not at all.

It is llama.cpp's, behind a door that does wrong (faulty_server): HTTP 500, another model, no haste.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine
from evaluation_testbed import MODEL, SCORES, Testbed, Watched, evaluating, submit

pytestmark = pytest.mark.real


@pytest.fixture
def line(bed: Testbed, tmp_path: Path) -> Iterator[CommandLine]:
    with evaluating(tmp_path, bed) as line:
        yield line


def evaluate(
    line: CommandLine, *tasks: str, again: bool = False, pack: bool = False, **faults: object
) -> dict[str, tuple[str, str | None]]:
    """State and reason of the tasks, evaluated with a server whose door has these faults."""
    line.service(
        environments={"llamacpp": sys.prefix},
        exports={"HPCJOBS_TEST_FAULTS": json.dumps(faults), "HPCJOBS_TESTBED_IMPATIENT": "1"},
    )
    submit(line, *tasks, settings="gguf", provider="llamacpp", again=again, pack=pack)
    Watched.of(line).finish()
    line.run("wait", code=None)
    return {key: (job["state"], job["reason"]) for key, job in line.status("--all").items()}


def scores(line: CommandLine) -> dict[str, float]:
    """What the aggregate says of the tasks that have a value."""
    line.run("aggregate", code=None)
    path = line.root / "results/llamacpp" / MODEL / "gguf/aggregated_results.json"
    values = json.loads(path.read_text())["results"]
    return {task: value for task, value in values.items() if value != -1}


def test_some_http_errors_are_asked_again_and_change_no_score(line: CommandLine) -> None:
    """Of lm_eval, and of both versions of lighteval, in one job."""
    tasks = ("chat", "both", "newer")
    evaluate(line, *tasks, pack=True, error_every=3)
    assert scores(line) == {task: SCORES[task] for task in tasks}


def test_a_server_that_dies_during_the_evaluation_leaves_no_score(line: CommandLine) -> None:
    died = ("FAILED", "SERVER_FAILED")
    assert evaluate(line, "chat", "both", die_after=5) == {"chat": died, "both": died}
    assert scores(line) == {}


@pytest.mark.parametrize("fault", ["error_every", "rename"])
def test_lm_eval_without_answers_fails(line: CommandLine, fault: str) -> None:
    """`rename`: the model is served under another name."""
    assert evaluate(line, "chat", **{fault: 1}) == {"chat": ("FAILED", "EXIT_CODE")}


def test_lm_eval_whose_every_request_is_too_slow_fails(line: CommandLine) -> None:
    assert evaluate(line, "hasty", delay=3) == {"hasty": ("FAILED", "EXIT_CODE")}
    assert scores(line) == {}


def test_what_an_earlier_attempt_lost_is_asked_again(line: CommandLine) -> None:
    """lighteval keeps lost answers in a cache, as empty ones; each attempt has its own."""
    evaluate(line, "both", error_every=1)
    evaluate(line, "both", again=True)
    assert scores(line) == {"both": SCORES["both"]}


# ---- lighteval ends with 0 and a score, whatever it lost: what the trust gate says ---------------


def trust(line: CommandLine, task: str) -> tuple[str, str]:
    """`failed` or `suspect`, and why."""
    job = line.status("--all")[task]
    if job["state"] == "FAILED" and job["reason"] == "NO_RESULT":
        return "failed", job["detail"]
    return "suspect" if task in job["suspect"] else "done", job["suspect"].get(task, "")


BRIEFLY: dict[str, Any] = {"dialect": "0.13", "model_args": {"api_max_retry": 2}}


def test_lighteval_without_answers_is_no_result(bed: Testbed, tmp_path: Path) -> None:
    with evaluating(tmp_path, bed) as line:
        evaluate(line, "capitals", error_every=1)
        assert trust(line, "capitals")[0] == "failed"
        assert scores(line) == {}


def test_lighteval_that_asks_for_another_model_is_no_result(bed: Testbed, tmp_path: Path) -> None:
    with evaluating(tmp_path, bed, "0.13", **BRIEFLY) as line:
        evaluate(line, "capitals", rename=True)
        assert trust(line, "capitals")[0] == "failed"
        assert scores(line) == {}


def test_lighteval_whose_every_request_is_too_slow_is_no_result(
    bed: Testbed, tmp_path: Path
) -> None:
    with evaluating(tmp_path, bed, "0.13", timeout=1, **BRIEFLY) as line:
        evaluate(line, "capitals", delay=3)
        assert trust(line, "capitals")[0] == "failed"
        assert scores(line) == {}


@pytest.mark.parametrize("version", ["0.8", "0.13"])
def test_lighteval_that_lost_some_answers_is_suspect(
    bed: Testbed, tmp_path: Path, version: str
) -> None:
    options = BRIEFLY if version == "0.13" else {}
    with evaluating(tmp_path, bed, version, **options) as line:
        evaluate(line, "capitals", error_from=4)
        verdict, why = trust(line, "capitals")
        assert verdict == "suspect"
        assert "lost" in why
        assert scores(line) == {}
