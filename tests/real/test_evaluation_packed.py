"""Real vLLM, lm_eval and lighteval (two versions of it) in packed jobs: one start, known scores."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, wait_for
from evaluation_testbed import MODEL, SCORES, Testbed, Watched, evaluating, pids, submit

from hpcjobs.markers import read_markers
from hpcjobs.progress.reading import read_log
from hpcjobs.results.server_facts import server_facts

pytestmark = pytest.mark.real

TASKS = ("chat", "choices", "both", "newer")
"""lm_eval with answers, and with likelihoods; lighteval 0.8, and 0.13."""
ANSWERED = '"POST /v1/chat/completions HTTP/1.1" 200'


@dataclass
class Ended:
    """A workspace whose only job has ended."""

    line: CommandLine
    watched: Watched
    job: dict[str, Any]

    @classmethod
    def of(cls, line: CommandLine, watched: Watched) -> Ended:
        line.run("wait", code=None)
        (job,) = line.json("status", "--all")["jobs"]
        return cls(line, watched, job)

    @property
    def directory(self) -> Path:
        return Path(self.job["directory"])

    def log(self, name: str = "job") -> str:
        return self.watched.log(self.job["tasks"][0], name)

    def scores(self) -> dict[str, float]:
        """What the aggregate says of the tasks that have a value."""
        self.line.run("aggregate", code=None)
        path = self.line.root / "results/hosted_vllm" / MODEL / "demo/aggregated_results.json"
        values = json.loads(path.read_text())["results"]
        return {task: value for task, value in values.items() if value != -1}


@pytest.fixture(scope="module")
def ended(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    with evaluating(tmp_path_factory.mktemp("packed"), bed) as line:
        submit(line, *TASKS, pack=True)
        watched = Watched.of(line)
        watched.finish()
        yield Ended.of(line, watched)


def test_all_scores_are_the_known_ones(ended: Ended) -> None:
    assert (ended.job["state"], ended.job["suspect"]) == ("SUCCEEDED", {}), ended.log()
    assert ended.scores() == {task: SCORES[task] for task in TASKS}


def test_the_server_is_started_once(ended: Ended) -> None:
    assert ended.job["tasks"] == list(TASKS)
    assert ended.log().count("starting vllm on port") == 1
    assert ended.log().count("vllm is ready") == 1
    assert ended.log("server").count("Application startup complete") == 1
    assert [path.name for path in ended.directory.glob("server*.log")] == ["server.log"]
    assert read_markers(ended.directory).server_deaths == 0


@pytest.mark.parametrize("task", TASKS)
def test_each_task_has_its_own_exit_code_log_and_result(ended: Ended, task: str) -> None:
    code = read_markers(ended.directory).tasks[task].exit_code
    assert code and code.value == "0"
    assert ended.log(task)
    assert len([*(ended.directory / "results" / task).rglob("results_*.json")]) == 1


@pytest.mark.parametrize(
    ("task", "framework", "output", "expected"),
    [
        ("chat", "lm_eval", "generate", (8, 8, "requests", True)),
        ("choices", "lm_eval", "loglikelihood", (30, 30, "requests", True)),
        ("both", "lighteval", "generate", (16, 16, "samples", True)),
    ],
)
def test_how_far_it_is_can_be_read_from_its_log(
    ended: Ended, task: str, framework: str, output: str, expected: tuple[object, ...]
) -> None:
    log = read_log(ended.directory / f"{task}.log", framework, output)
    assert log and log.counted
    one = log.counted
    assert (one.done, one.total, one.what, one.last) == expected, ended.log(task)


@pytest.mark.parametrize(("task", "answers"), [("chat", 8), ("both", 16), ("newer", 16)])
def test_vllm_counts_how_the_answers_of_each_task_ended(
    ended: Ended, task: str, answers: int
) -> None:
    found = server_facts(ended.directory, task, read_markers(ended.directory))
    assert (found.answered, found.cut_off) == (answers, 0)


def test_log_likelihoods_are_not_thought_to_be_cut_off(ended: Ended) -> None:
    found = server_facts(ended.directory, "choices", read_markers(ended.directory))
    assert 0 < found.cut_off <= found.answered
    assert ended.job["suspect"] == {}


class Breakdown:
    """Kills the engine after the first answer to `newer`, while the job's shell is held up.

    So the evaluator comes to its end, and leaves a score of what it lost, before the job sees it.
    """

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.directory = watched.directories["newer"]
        self.shell: list[int] = []

    def begin(self) -> bool:
        if "newer: started" not in self.watched.log("newer"):
            return False
        self.shell = pids(self.directory, "job.sh")
        engine = pids(self.directory / "work", "VLLM::EngineCore")
        assert self.shell and engine
        wait_for(lambda: ANSWERED in self.watched.log("newer", "server"), seconds=100)
        self._signal(signal.SIGKILL, engine)
        self._signal(signal.SIGSTOP, self.shell)
        return True

    def end(self) -> bool:
        if not self.shell or pids(self.directory / "work/newer.1", "lighteval"):
            return False
        self._signal(signal.SIGCONT, self.shell)
        return True

    def _signal(self, number: int, found: list[int]) -> None:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):  # a subshell that has ended meanwhile
                os.kill(pid, number)


def test_an_engine_that_is_killed_costs_a_restart_and_no_score(
    bed: Testbed, tmp_path: Path
) -> None:
    with evaluating(tmp_path, bed) as line:
        line.service(exports={"HPCJOBS_TESTBED_IMPATIENT": "1"})
        (line.root / "conf/tasks_runtime.csv").write_text(ORDERED)
        submit(line, "newer", "chat", pack=True)
        watched = Watched.of(line)
        breakdown = Breakdown(watched)
        watched.finish(breakdown.begin, breakdown.end)
        ended = Ended.of(line, watched)
        assert (ended.job["state"], ended.job["suspect"]) == ("SUCCEEDED", {}), ended.log()
        assert ended.scores() == {"newer": SCORES["newer"], "chat": SCORES["chat"]}
        tries = [text.split(" ", 1)[1] for text in ended.log().splitlines() if ": started" in text]
        assert tries == [
            "newer: started (try 1)",
            "chat: started (try 1)",
            "newer: started (try 2)",
        ]
        deaths = [path.name for path in ended.directory.glob("server_died.*")]
        assert deaths == ["server_died.1"]
        facts = {
            task: server_facts(ended.directory, task, read_markers(ended.directory)).answered
            for task in ("newer", "chat")
        }
        assert facts == {"newer": 16, "chat": 8}  # of the second server only
        # The first try had ended, with a score of what it had lost; it stays aside.
        assert ended.log("server.1").count(ANSWERED) < 16
        assert em(ended.directory / "work/newer.1/results") < SCORES["newer"]
        assert em(ended.directory / "results/newer") == SCORES["newer"]


ORDERED = """key,script,result_dir,framework,hrt_q
newer,demo_both,newer,lighteval,00:10:00
chat,demo_capitals,chat,lm_eval,00:20:00
"""
"""`newer` goes first, for it is shorter."""


def em(directory: Path) -> float:
    """The score of the only result below this directory."""
    (path,) = directory.rglob("results_*.json")
    return float(json.loads(path.read_text())["results"]["demo_both:_average|0"]["em"])
