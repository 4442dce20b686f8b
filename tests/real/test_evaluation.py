"""Real vLLM, lm_eval and lighteval on this machine's CPU: known scores, and what kills a server."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from command_line import CommandLine
from evaluation_testbed import MODEL, SCORES, Testbed, Watched, evaluating, submit

from hpcjobs.markers import read_markers
from hpcjobs.progress.reading import read_log
from hpcjobs.results.server_facts import server_facts

pytestmark = pytest.mark.real


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
        submit(line, "cut_off", settings="long")
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


@pytest.mark.parametrize(
    ("task", "framework", "output", "expected"),
    [
        ("chat", "lm_eval", "generate", (8, 8, "requests", True)),
        ("choices", "lm_eval", "loglikelihood", (30, 30, "requests", True)),
        ("both", "lighteval", "generate", (16, 16, "samples", True)),
    ],
)
def test_how_far_it_is_can_be_read_from_its_log(
    jobs: Ended, task: str, framework: str, output: str, expected: tuple[object, ...]
) -> None:
    log = read_log(jobs.watched.directories[task] / f"{task}.log", framework, output)
    assert log and log.counted
    one = log.counted
    assert (one.done, one.total, one.what, one.last) == expected, jobs.watched.log(task, task)


@pytest.mark.parametrize(("task", "answers"), [("chat", 8), ("both", 16)])
def test_vllm_counts_how_the_answers_ended(jobs: Ended, task: str, answers: int) -> None:
    directory = jobs.watched.directories[task]
    found = server_facts(directory, task, read_markers(directory))
    assert (found.answered, found.cut_off) == (answers, 0)
    assert jobs.status[task]["suspect"] == {}


def test_answers_that_are_cut_off_are_no_score(jobs: Ended) -> None:
    """Nothing in lm_eval's samples says it: vLLM does."""
    job = jobs.status["cut_off"]
    why = "8 of 8 answers are cut off at the length limit, as vLLM counted them"
    assert (job["state"], job["suspect"]) == ("SUCCEEDED", {"cut_off": why})


def test_log_likelihoods_are_not_thought_to_be_cut_off(jobs: Ended) -> None:
    directory = jobs.watched.directories["choices"]
    found = server_facts(directory, "choices", read_markers(directory))
    assert 0 < found.cut_off <= found.answered
    assert jobs.status["choices"]["suspect"] == {}


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
