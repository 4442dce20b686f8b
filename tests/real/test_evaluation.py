"""Real vLLM on this machine's CPU in jobs of one task: what kills it, what cuts answers off."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from command_line import CommandLine
from evaluation_testbed import Testbed, Watched, evaluating, submit

pytestmark = pytest.mark.real


@dataclass
class Ended:
    """A workspace whose jobs have all ended."""

    line: CommandLine
    watched: Watched
    status: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def jobs(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """Jobs that fail in the way that their name says, or whose answers are cut off."""
    with evaluating(tmp_path_factory.mktemp("evaluation"), bed) as line, socket.socket() as taken:
        submit(line, "api_killed", "engine_killed")
        submit(line, "cut_off", settings="long")
        submit(line, "no_weights", settings="no_weights")
        submit(line, "too_long", settings="too_long")
        watched = Watched.of(line)

        def take_port() -> bool:
            """Of `cut_off`: before vLLM, which still imports, opens it."""
            port = re.search(r"starting vllm on port (\d+) [(]try 1[)]", watched.log("cut_off"))
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


def test_answers_that_are_cut_off_are_no_score(jobs: Ended) -> None:
    """Nothing in lm_eval's samples says it: vLLM does."""
    job = jobs.status["cut_off"]
    why = "8 of 8 answers are cut off at the length limit, as vLLM counted them"
    assert (job["state"], job["suspect"]) == ("SUCCEEDED", {"cut_off": why})


def test_a_port_that_somebody_takes_at_the_last_moment_is_left_to_them(jobs: Ended) -> None:
    assert "Address already in use" in jobs.watched.log("cut_off", "server")
    assert "belongs to another process" in jobs.watched.log("cut_off")
    assert jobs.status["cut_off"]["state"] == "SUCCEEDED"


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
