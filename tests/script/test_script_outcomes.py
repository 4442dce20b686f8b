"""How a job ends, what it tells of it, and that it leaves nothing running."""

from __future__ import annotations

import contextlib
import os
import shutil
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from running_job import FAKES, RunningJob, wait_until

from hpcjobs.render import Script

Start = Callable[..., RunningJob]


def test_a_job_that_succeeds_tells_each_step(start: Start) -> None:
    job = start("demo_sums", "ja_gpqa")
    assert job.wait() == 0, job.log()
    port = str(job.records_of("vllm")[0]["port"])
    assert job.markers() == {
        "started": "-",
        "host": os.uname().nodename,
        "ready": port,
        "server_version": "vllm 0.0.fake",
        "task.demo_sums.started": "-",
        "task.demo_sums.exit_code": "0",
        "task.ja_gpqa.started": "-",
        "task.ja_gpqa.exit_code": "0",
        "exit_code": "0",
    }
    assert len([*job.directory.rglob("results_*.json")]) == 2
    job.wait_until_gone()


def test_the_exit_code_is_written_last(start: Start) -> None:
    job = start()
    wait_until(lambda: (job.directory / "exit_code").exists(), "it ends", job.describe)
    times = {path.name: path.stat().st_mtime_ns for path in job.directory.iterdir()}
    assert max(times, key=lambda name: times[name]) == "exit_code"
    assert not [words for words in job.processes().values() if "vllm" in words]


def test_the_evaluators_exit_code_is_the_jobs(start: Start) -> None:
    job = start(evaluator={"exit": 3})
    assert job.wait() == 3
    assert job.markers()["task.demo_sums.exit_code"] == "3"
    assert job.markers()["exit_code"] == "3"
    assert "failure" not in job.markers()


def test_the_second_task_runs_after_the_first_failed(start: Start) -> None:
    job = start("demo_sums", "demo_capitals", evaluator={"demo_sums": {"exit": 3}})
    assert job.wait() == 3
    markers = job.markers()
    assert (markers["task.demo_sums.exit_code"], markers["task.demo_capitals.exit_code"]) == (
        "3",
        "0",
    )
    assert markers["exit_code"] == "3"


def test_what_an_evaluator_leaves_behind_is_ended_before_the_next(start: Start) -> None:
    job = start(
        "demo_sums",
        "demo_capitals",
        evaluator={"demo_sums": {"stray": "marked"}, "demo_capitals": {"hold": True}},
    )
    wait_until(lambda: len(job.records_of("lm_eval")) == 2, "the second runs", job.describe)
    assert not [words for words in job.processes().values() if " stray " in words]


FAILURES = {
    "server_ended": (96, {"vllm": {"exit_at_start": 1}}),
    "server_not_ready": (97, {"vllm": {"never_ready": True}, "start_timeout": 1}),
    "server_not_ours": (98, {"vllm": {"names": ["somebody's"], "no_key_check": True}}),
    "server_unprotected": (98, {"vllm": {"no_key_check": True}}),
    "server_died": (99, {"vllm": {"die_on_request": True}}),
    "server_died_by_its_word": (99, {"vllm": {"health": 503}}),
    "deadline": (95, {"evaluator": {"hold": True}, "walltime": 3, "end_margin": 1}),
}


@pytest.mark.parametrize("word", FAILURES)
def test_a_failure_has_its_own_code_and_word(start: Start, word: str) -> None:
    code, fields = FAILURES[word]
    job = start(**fields)
    assert job.wait() == code, job.log()
    assert job.markers()["exit_code"] == str(code)
    assert job.markers()["failure"] == word.removesuffix("_by_its_word")
    job.wait_until_gone()


def test_a_server_that_ends_at_once_is_not_started_again(start: Start) -> None:
    job = start(vllm={"exit_at_start": 1})
    job.wait()
    assert len(job.records_of("vllm")) == 1


@pytest.mark.parametrize("fault", [{"die_on_request": True}, {"health": 503}])
def test_a_server_that_died_is_not_an_exit_code_of_the_task(
    start: Start, fault: dict[str, object]
) -> None:
    """vLLM lives on for seconds after its engine, and answers 503 to who asks for its health."""
    job = start(vllm=fault)
    job.wait()
    assert "task.demo_sums.started" in job.markers()
    assert "task.demo_sums.exit_code" not in job.markers()


def test_a_server_without_a_word_on_its_health_is_believed_to_live(start: Start) -> None:
    job = start(vllm={"health": 404})
    assert job.wait() == 0, job.log()


def test_how_the_answers_ended_is_kept_by_task(start: Start) -> None:
    job = start("demo_sums", "demo_capitals", vllm={"finished_reason": "length"})
    assert job.wait() == 0, job.log()
    found = {
        path.name: [line.split()[-1] for line in path.read_text().splitlines()]
        for path in (job.directory / "metrics").iterdir()
    }
    before, first, second = ([f"{i}.0" for i in (0, n, 0, 0)] for n in (0, 1, 2))
    assert found == {
        "demo_sums.begin.prom": before,
        "demo_sums.end.prom": first,
        "demo_capitals.begin.prom": first,
        "demo_capitals.end.prom": second,
    }


def test_a_server_without_metrics_is_no_fault(start: Start) -> None:
    job = start(vllm={"no_metrics": True})
    assert job.wait() == 0, job.log()
    assert not [path.read_text() for path in job.directory.glob("metrics/*") if path.stat().st_size]


def test_the_deadline_also_holds_while_the_server_starts(start: Start) -> None:
    job = start(vllm={"never_ready": True}, walltime=1)
    assert job.wait() == 95
    assert job.markers()["failure"] == "deadline"


def test_a_server_that_hangs_is_not_ready(start: Start) -> None:
    job = start(vllm={"hang": True}, walltime=1)
    assert job.wait(20) == 95
    job.wait_until_gone()


def test_a_missing_command_is_named(start: Start, tmp_path: Path) -> None:
    for name in ("vllm", "faults.py"):
        shutil.copy(FAKES / name, tmp_path / name)
    job = start(fakes=tmp_path)
    assert job.wait() == 91
    assert job.markers()["failure"] == "command_not_found"
    assert "no command 'lm_eval'" in job.log()
    job.wait_until_gone()


def test_a_missing_key_is_named_before_anything_is_asked(start: Start) -> None:
    job = start(provider="openai")
    assert job.wait() == 91
    assert job.markers()["failure"] == "no_key"
    assert "OPENAI_API_KEY is not set in" in job.log()
    assert not job.records_of("lm_eval")


def test_a_port_that_a_stranger_took_is_left_to_it(start: Start, tmp_path: Path) -> None:
    job = start(vllm={"wait_for": str(tmp_path / "go")})
    taken = job.wait_for_record("vllm")["port"]
    with stranger(taken):
        (tmp_path / "go").touch()
        assert job.wait() == 0, job.log()
    first, second = (record["port"] for record in job.records_of("vllm"))
    assert (first, job.markers()["ready"]) == (taken, str(second))
    assert f"port {taken} belongs to another process" in job.log()


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "somebody else\'s"}]}')

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def stranger(port: int) -> Iterator[None]:
    """Somebody else's server, without a key."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", port), _Stranger) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield
        server.shutdown()


def test_an_attempt_is_never_run_twice(start: Start, render: Callable[..., Script]) -> None:
    script = render()
    first = start(script=script)
    assert first.wait() == 0
    before = contents(first.directory)
    second = start(script=script)
    assert second.wait() == 93
    assert second.markers()["restarted"] == "-"
    after = contents(first.directory)
    assert [name for name in before if after[name] != before[name]] == ["job.log"]
    assert len(first.records_of("lm_eval")) == 1


def contents(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_of_two_that_start_at_once_one_runs(start: Start, render: Callable[..., Script]) -> None:
    script = render()
    jobs = [start(script=script) for _ in range(4)]
    assert sorted(job.wait() for job in jobs) == [0, 93, 93, 93], jobs[0].log()
    assert len(jobs[0].records_of("lm_eval")) == 1


def test_a_directory_that_cannot_be_made_ends_the_job(
    start: Start, render: Callable[..., Script], tmp_path: Path
) -> None:
    script = render()
    text = script.path.read_text()
    script.path.unlink()
    script.path.parent.rmdir()
    script.path.parent.write_text("a file")
    moved = tmp_path / "job.sh"
    moved.write_text(text)
    job = start(script=Script(script.attempt, script.name, moved, text, script.argv))
    assert job.wait() == 90
