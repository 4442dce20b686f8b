"""Packed tasks on the real local queue: what is done counts, the rest is done, nothing twice.

The script, its server (llama.cpp) and the queue are real; the evaluator is a fake that can be told
to fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, command_line, need, wait_for

pytestmark = pytest.mark.real

FAKES = Path(__file__).parents[1] / "fakes"
KEYS = ("ja_a", "ja_b", "ja_c", "ja_d")
TARGET = (
    *("--service", "local", "--node", "cpu", "--provider", "llamacpp"),
    *("--model", "hpcjobs/tiny-demo", "--settings", "demo", "--tasks", "ja_*"),
)


class Packs:
    """A workspace with four tasks, and an evaluator that does as it is told."""

    def __init__(self, line: CommandLine) -> None:
        self.line = line
        self.records = line.elsewhere / "records"
        self.records.mkdir()
        programs = line.elsewhere / "evaluator" / "bin"
        programs.mkdir(parents=True)
        (programs / "lm_eval").symlink_to(FAKES / "lm_eval")
        self.table("00:01:00")
        metrics = [
            f'  - {{name: {key}, aggregate: pick, task: {key}, metric: "exact_match,strip"}}'
            for key in KEYS
        ]
        path = line.root / "conf" / "metrics.yaml"
        path.write_text("\n".join(["metrics:", *metrics]) + "\n")
        self.tell()

    def table(self, *walltimes: str) -> None:
        """One walltime for all, or one for each."""
        times = walltimes if len(walltimes) > 1 else walltimes * len(KEYS)
        rows = [
            f"{key},{key},{key.replace('_', '/')},lm_eval,{time}"
            for key, time in zip(KEYS, times, strict=True)
        ]
        path = self.line.root / "conf" / "tasks_runtime.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["key,script,result_dir,framework,hrt_q", *rows]) + "\n")
        (self.line.root / "conf" / "task_groups.yaml").write_text("default: ['ja_*']\n")

    def tell(self, faults: dict[str, Any] | None = None, **times: object) -> None:
        """What the evaluator does from the next job on."""
        faults = {"no_question": True, **(faults or {})}
        self.line.service(
            exports={"FAKE_EVALUATOR": json.dumps(faults), "FAKE_RECORDS": str(self.records)},
            environments={"lm_eval": str(self.line.elsewhere / "evaluator")},
            times={"stop_grace": 1, **times},
        )

    def submit(self, *words: object, code: int = 0) -> dict[str, Any]:
        return dict(self.line.json("submit", *TARGET, "--yes", *words, code=code))

    def end(self) -> dict[str, Any]:
        """Wait until nothing runs; the latest job's state, by first task."""
        self.line.run("wait", code=None)
        return self.line.status("--all")

    def runs(self) -> Counter[str]:
        """How often each task's evaluator was started."""
        found = [json.loads(path.read_text()) for path in self.records.glob("lm_eval.*.json")]
        return Counter(one["task"] for one in found)

    def done(self) -> list[str]:
        """The tasks with a number."""
        self.line.run("aggregate", code=None)
        (path,) = (self.line.root / "results").rglob("aggregated_results.json")
        results = json.loads(path.read_text())["results"]
        return sorted(key for key, value in results.items() if value == 0.5)


@pytest.fixture
def packs(tmp_path: Path) -> Any:
    need("xllamacpp")
    with command_line(tmp_path) as line:
        yield Packs(line)


def test_a_failed_task_is_the_only_one_that_is_done_again(packs: Packs) -> None:
    packs.tell({"ja_b": {"exit": 3}})
    (job,) = packs.submit("--pack")["submitted"]
    assert job["tasks"] == list(KEYS)
    assert job["walltime"] == "00:04:00"
    (ended,) = packs.end().values()
    assert (ended["state"], ended["reason"]) == ("FAILED", "EXIT_CODE")
    assert ended["detail"] == "exit code 3 of ja_b"
    assert {key: part["state"] for key, part in ended["parts"].items()} == {
        "ja_a": "SUCCEEDED", "ja_b": "FAILED", "ja_c": "SUCCEEDED", "ja_d": "SUCCEEDED"
    }  # fmt: skip
    assert "3 of 4 tasks done" in packs.line.run("status", "--all").stdout
    told = packs.line.run("diagnose", job["job"]).stdout
    assert "ja_b" in told
    assert "ja_a" not in told
    assert packs.done() == ["ja_a", "ja_c", "ja_d"]
    packs.tell()
    warned = packs.line.run(
        "submit", *TARGET, "--pack", code=2
    ).stderr  # nobody is there to say yes
    assert f"ja_b failed before ({job['job']}) with EXIT_CODE: exit code 3" in warned
    second = packs.submit("--pack")
    assert [one["tasks"] for one in second["submitted"]] == [["ja_b"]]
    assert sorted(one["tasks"][0] for one in second["kept"]) == ["ja_a", "ja_c", "ja_d"]
    packs.end()
    rest = second["submitted"][0]["job"]
    assert f"3 of 4 tasks done; the rest done as {rest}" in packs.line.run("status", "--all").stdout
    assert packs.done() == list(KEYS)
    assert packs.line.run("diagnose").stdout == "no job has failed\n"
    assert "ja_b" in packs.line.run("diagnose", job["job"]).stdout  # if it is asked for
    assert packs.submit("--pack")["submitted"] == []
    assert packs.submit()["submitted"] == []  # packed or not: it is the same evaluation
    assert packs.runs() == {"ja_a": 1, "ja_b": 2, "ja_c": 1, "ja_d": 1}


def test_packed_and_alone_never_at_the_same_time(packs: Packs, tmp_path: Path) -> None:
    told = tmp_path / "told"
    packs.tell({"wait_for": str(told)})
    done = packs.line.json("submit", *TARGET[:-1], "ja_b", "--yes")
    assert [one["tasks"] for one in done["submitted"]] == [["ja_b"]]
    (rest,) = packs.submit("--pack")["submitted"]
    assert rest["tasks"] == ["ja_a", "ja_c", "ja_d"]
    told.touch()
    packs.end()
    assert packs.runs() == dict.fromkeys(KEYS, 1)


def test_what_is_packed_is_not_submitted_alone(packs: Packs, tmp_path: Path) -> None:
    told = tmp_path / "told"
    packs.tell({"wait_for": str(told)})
    (job,) = packs.submit("--pack")["submitted"]
    again = packs.submit()
    assert again["submitted"] == []
    assert {one["job"] for one in again["kept"]} == {job["job"]}
    shown = packs.line.run("submit", *TARGET, "--yes").stdout
    assert "4 in the queue or done already, left alone" in shown
    told.touch()
    packs.end()
    assert packs.runs() == dict.fromkeys(KEYS, 1)


def test_after_a_cancellation_what_was_done_counts_and_the_rest_is_done(
    packs: Packs, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    packs.tell({"ja_c": {"wait_for": str(told)}})
    (job,) = packs.submit("--pack")["submitted"]
    wait_for(lambda: packs.runs()["ja_c"])
    assert packs.done() == ["ja_a", "ja_b"]  # while it goes on
    packs.line.run("aggregate", code=3)
    packs.line.run("cancel", job["job"], "--yes")
    (ended,) = packs.end().values()
    assert ended["state"] == "CANCELLED"
    assert packs.done() == ["ja_a", "ja_b"]
    told.touch()
    (rest,) = packs.submit("--pack")["submitted"]
    assert rest["tasks"] == ["ja_c", "ja_d"]
    packs.end()
    assert packs.done() == list(KEYS)
    assert packs.runs() == {"ja_a": 1, "ja_b": 1, "ja_c": 2, "ja_d": 1}


def test_of_a_job_that_vanished_what_was_done_counts(packs: Packs) -> None:
    packs.tell({"ja_b": {"hold": True}})
    packs.submit("--pack")
    wait_for(lambda: packs.runs()["ja_b"])
    supervisor = packs.line.supervisor()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    for pid, words in packs.line.processes().items():
        if "job.sh" in words:
            os.kill(pid, signal.SIGKILL)
    (ended,) = packs.end().values()
    assert ended["state"] == "FAILED"
    assert packs.done() == ["ja_a"]
    packs.tell()
    (rest,) = packs.submit("--pack")["submitted"]
    assert rest["tasks"] == ["ja_b", "ja_c", "ja_d"]
    packs.end()
    assert packs.done() == list(KEYS)


CAMPAIGN = """\
service: local
node: cpu
provider: llamacpp
settings: demo
models: [hpcjobs/tiny-demo]
pack: {walltime: "00:00:20"}
ask_above: {jobs: 50}
retry: {attempts: 3, longer: 3}
"""


def test_a_campaign_of_packed_jobs_comes_to_its_end(packs: Packs) -> None:
    """One takes too long and gets more time by itself; what it kept from being begun is begun."""
    packs.table("00:00:04", "00:00:05", "00:00:05", "00:00:06")
    slow = packs.line.elsewhere / "slow"
    packs.tell({"ja_b": {"slow_once": str(slow)}}, end_margin=2)
    path = packs.line.elsewhere / "campaign.yaml"
    path.write_text(CAMPAIGN)
    plan = packs.line.json("plan", path)
    assert plan["packed"] == {"tasks": 4, "jobs": 1, "jobs_saved": 3}
    assert "4 tasks in 1 job(s)" in packs.line.run("plan", path).stdout
    packs.line.run("watch", path, "--interval", "0.3")
    assert packs.done() == list(KEYS)
    assert packs.runs() == {"ja_a": 1, "ja_b": 2, "ja_c": 1, "ja_d": 1}
    shown = {one["tasks"][0]: one for one in packs.line.json("plan", path)["items"]}
    assert {one["stands"] for one in shown.values()} == {"done"}
    assert shown["ja_b"]["attempts"] == 2
    assert shown["ja_d"]["attempts"] == 1


def test_a_task_that_fails_for_good_stops_alone(packs: Packs) -> None:
    packs.tell({"ja_b": {"exit": 3}})
    path = packs.line.elsewhere / "campaign.yaml"
    path.write_text(CAMPAIGN.replace('{walltime: "00:00:20"}', "true"))
    done = packs.line.run("watch", path, "--interval", "0.3", code=1)
    assert "stopped: ja_b of hpcjobs/tiny-demo: EXIT_CODE" in done.stdout
    stands = {one["tasks"][0]: one["stands"] for one in packs.line.json("plan", path)["items"]}
    assert stands == {"ja_a": "done", "ja_b": "stopped", "ja_c": "done", "ja_d": "done"}
    assert packs.runs() == dict.fromkeys(KEYS, 1)


def test_what_somebody_else_took_a_part_of_is_said_not_to_be_submitted(packs: Packs) -> None:
    """Of its tasks one was submitted between the question and the yes: the others are nobody's."""
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(
        packs.line.argv("submit", *TARGET, "--pack"),
        cwd=packs.line.elsewhere,
        env=packs.line.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while b"Submit?" not in shown:
        shown += os.read(ours, 4096)
    packs.line.json("submit", *TARGET[:-1], "ja_b", "--yes")
    os.write(ours, b"y\n")
    with contextlib.suppress(OSError):  # the end
        while more := os.read(ours, 4096):
            shown += more
    os.close(ours)
    assert asked.wait(30) == 1
    assert b"1 not tried: run the same command again" in shown
    assert b"by another hpcjobs" not in shown
    packs.end()
    assert [one["tasks"] for one in packs.submit("--pack")["submitted"]] == [
        ["ja_a", "ja_c", "ja_d"]
    ]
