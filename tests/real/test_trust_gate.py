"""Jobs that end with 0 and leave a score, and whose answers say otherwise; in a real queue."""

from __future__ import annotations

import json

import pytest
from command_line import DEMO, CommandLine
from quick_jobs import runs

pytestmark = pytest.mark.real

TASK = (*DEMO, "--tasks", "demo_sums")
ANSWER = '"resps": [["answer"]]'


def answers(line: CommandLine, text: str) -> None:
    """What the evaluator of the next jobs leaves of its answers."""
    path = line.root / "templates/schedulers/local.sh.j2"
    template = path.read_text()
    assert ANSWER in template
    path.write_text(template.replace(ANSWER, text))


def value(line: CommandLine, *words: str, code: int) -> object:
    line.run("aggregate", *words, code=code)
    (path,) = (line.root / "results").rglob("aggregated_results.json")
    return json.loads(path.read_text())["results"]["demo_sums"]


def test_a_score_without_a_single_answer_is_a_failure_and_repeated(quick: CommandLine) -> None:
    answers(quick, '"resps": [[""]]')
    quick.run(*TASK, "--wait", code=1)
    job = quick.status()["demo_sums"]
    assert (job["state"], job["reason"]) == ("FAILED", "NO_RESULT")
    assert job["detail"] == "exit code 0, but demo_sums: the only answer is empty"
    assert value(quick, "--accept-suspect", code=1) == -1
    quick.run(*TASK, "--wait", code=1)
    assert runs(quick)["demo_sums"] == 2


def test_a_suspect_one_is_neither_counted_nor_repeated_unless_asked_for(quick: CommandLine) -> None:
    answers(quick, '"resps": [["answer", ""]]')
    quick.run(*TASK, "--wait", code=1)
    job = quick.status()["demo_sums"]
    why = "1 of 2 answers are empty (sample demo_sums 0), and no log tells why"
    assert (job["state"], job["suspect"]) == ("SUCCEEDED", {"demo_sums": why})
    assert "suspect 1\n" in quick.run("--no-emoji", "status", "--all").stdout
    assert value(quick, code=1) == -1
    again = quick.run(*TASK)
    assert f"demo_sums is suspect: {why}" in again.stderr
    assert runs(quick)["demo_sums"] == 1
    assert value(quick, "--accept-suspect", code=0) == 0.5
    quick.run(*TASK, "--again", "--wait", code=1)
    assert runs(quick)["demo_sums"] == 2


def test_without_samples_it_is_suspect(quick: CommandLine) -> None:
    path = quick.root / "templates/schedulers/local.sh.j2"
    path.write_text(path.read_text().replace('"samples_"', '"elsewhere_"'))
    quick.run(*TASK, "--wait", code=1)
    assert quick.status()["demo_sums"]["suspect"] == {
        "demo_sums": "no samples are there of demo_sums"
    }
