"""Real vLLM, lm_eval and lighteval on this machine's CPU: known scores, and what goes wrong.

Each failure is brought about for real (docs/states.md says what it is to end as); what the real
servers would not do by themselves, such as HTTP 500, is done by a door before one (faulty_server).
"""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evaluation_testbed
import pytest
from command_line import CommandLine, need
from evaluation_testbed import MODEL, SCORES, Testbed, Watched, evaluating, submit

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def bed() -> Testbed:
    need("xllamacpp")
    return evaluation_testbed.testbed()


# ---- vLLM: what is evaluated, and what kills it --------------------------------------------------


@dataclass
class Ended:
    """A workspace whose jobs have all ended."""

    line: CommandLine
    watched: Watched
    status: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def jobs(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """All jobs with vLLM: some are evaluated, some fail in the way that their name says."""
    with evaluating(tmp_path_factory.mktemp("evaluation"), bed) as line, socket.socket() as taken:
        submit(line, "chat", "choices", "both", "api_killed", "engine_killed")
        submit(line, "no_weights", settings="no_weights")
        submit(line, "too_long", settings="too_long")
        watched = Watched.of(line)

        def take_port() -> bool:
            """Of `chat`: before vLLM, which still imports, opens it."""
            port = re.search(r"starting vllm on port (\d+) [(]try 1[)]", watched.log("chat"))
            if port:
                taken.bind(("127.0.0.1", int(port[1])))
            return port is not None

        def killing(task: str, command: str) -> Callable[[], bool]:
            def kill() -> bool:
                """Once it has answered."""
                answered = '"POST /v1/chat/completions HTTP/1.1" 200'
                if answered not in watched.log(task, "server"):
                    return False
                watched.kill(task, command)
                return True

            return kill

        watched.finish(
            take_port,
            killing("api_killed", "vllm serve"),
            killing("engine_killed", "VLLM::EngineCore"),
        )
        line.run("wait", code=None)
        yield Ended(line, watched, line.status("--all"))


@pytest.mark.parametrize("task", ["chat", "choices", "both"])
def test_the_score_is_the_known_one(jobs: Ended, task: str) -> None:
    """Of lm_eval with answers and with likelihoods, and of lighteval, each with real vLLM."""
    assert jobs.status[task]["state"] == "SUCCEEDED", jobs.watched.log(task, task)
    jobs.line.run("aggregate", code=None)
    path = jobs.line.root / "results/hosted_vllm" / MODEL / "demo/aggregated_results.json"
    assert json.loads(path.read_text())["results"][task] == SCORES[task]


def test_a_port_that_somebody_takes_at_the_last_moment_is_left_to_them(jobs: Ended) -> None:
    assert "Address already in use" in jobs.watched.log("chat", "server")
    assert "belongs to another process" in jobs.watched.log("chat")
    assert jobs.status["chat"]["state"] == "SUCCEEDED"


@pytest.mark.parametrize("task", ["api_killed", "engine_killed"])
def test_a_server_that_dies_halfway_is_the_cause(jobs: Ended, task: str) -> None:
    job = jobs.status[task]
    assert (job["state"], job["reason"]) == ("FAILED", "SERVER_FAILED"), jobs.watched.log(task)
    assert job["detail"] == "server died"


@pytest.mark.parametrize(
    ("task", "words"),
    [("no_weights", "/no/such/weights"), ("too_long", "max_model_len")],
)
def test_a_server_that_cannot_start_is_the_cause(jobs: Ended, task: str, words: str) -> None:
    job = jobs.status[task]
    assert (job["state"], job["reason"]) == ("FAILED", "SERVER_FAILED")
    assert job["detail"] == "server ended"
    assert words in jobs.watched.log(task, "server")


def test_nothing_is_left_of_servers_that_were_killed(jobs: Ended) -> None:
    assert jobs.line.processes() == {}


# ---- Faults of a server that lives on: llama.cpp's, behind a door --------------------------------


@pytest.fixture
def line(bed: Testbed, tmp_path: Path) -> Iterator[CommandLine]:
    with evaluating(tmp_path, bed) as line:
        yield line


def evaluate(
    line: CommandLine, *tasks: str, again: bool = False, **faults: object
) -> dict[str, tuple[str, str | None]]:
    """State and reason of the tasks, evaluated with a server whose door has these faults."""
    line.service(
        environments={"llamacpp": sys.prefix},
        exports={"HPCJOBS_TEST_FAULTS": json.dumps(faults), "HPCJOBS_TESTBED_IMPATIENT": "1"},
    )
    submit(line, *tasks, settings="gguf", provider="llamacpp", again=again)
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
    evaluate(line, "chat", "both", error_every=3)
    assert scores(line) == {"chat": SCORES["chat"], "both": SCORES["both"]}


def test_a_server_that_dies_during_the_evaluation_leaves_no_score(line: CommandLine) -> None:
    died = ("FAILED", "SERVER_FAILED")
    assert evaluate(line, "chat", "both", die_after=5) == {"chat": died, "both": died}
    assert scores(line) == {}


@pytest.mark.parametrize("fault", ["error_every", "rename"])
def test_lm_eval_without_answers_fails(line: CommandLine, fault: str) -> None:
    """`rename`: the model is served under another name."""
    assert evaluate(line, "chat", **{fault: 1}) == {"chat": ("FAILED", "EXIT_CODE")}


def test_what_an_earlier_attempt_lost_is_asked_again(line: CommandLine) -> None:
    """lighteval keeps lost answers in a cache, as empty ones; each attempt has its own."""
    evaluate(line, "both", error_every=1)
    evaluate(line, "both", again=True)
    assert scores(line) == {"both": SCORES["both"]}


def test_lighteval_0_13_is_told_by_its_version_and_reaches_the_same_score(
    bed: Testbed, tmp_path: Path
) -> None:
    with evaluating(tmp_path, bed, lighteval="0.13", dialect="auto") as line:
        evaluate(line, "capitals", error_every=3)
        assert scores(line) == {"capitals": SCORES["capitals"]}


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
