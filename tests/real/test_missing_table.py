"""`aggregate --check` and `submit --from`, with the real local queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import DEMO, CommandLine, command_line
from quick_jobs import hold, let_go, runs, use_quick_jobs

pytestmark = pytest.mark.real


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    with command_line(tmp_path) as one:
        use_quick_jobs(one)
        yield one


def check(line: CommandLine, *words: str, code: int = 1) -> dict[str, str]:
    """State by task."""
    found = line.json("aggregate", "--check", *words, code=code)
    return {gap["task"]: gap["state"] for gap in found["gaps"]}


def test_what_is_missing_is_submitted_once_and_then_nothing_is_missing(line: CommandLine) -> None:
    table = line.elsewhere / "missing.csv"
    line.run(*DEMO, "--tasks", "demo_capitals", "--wait")
    assert check(line, "--tasks", "demo") == {"demo_sums": "missing"}
    hold(line)
    dry = line.json("submit", "--from", table, "--dry-run")
    assert [job["tasks"] for one in dry["groups"] for job in one["jobs"]] == [["demo_sums"]]
    first = line.json("submit", "--from", table, "--yes")
    again = line.json("submit", "--from", table, "--yes")
    assert [len(one["submitted"]) for one in first["groups"]] == [1]
    assert [(len(one["submitted"]), len(one["kept"])) for one in again["groups"]] == [(0, 1)]
    assert check(line, "--tasks", "demo", code=3) == {"demo_sums": "under way"}
    let_go(line)
    line.run("wait")
    assert check(line, "--tasks", "demo", code=0) == {}
    assert line.run("submit", "--from", table, "--yes").stdout == "the table has no rows\n"
    assert runs(line) == Counter({"demo_capitals": 1, "demo_sums": 1})


def test_what_is_in_the_queue_is_not_doubled_on_another_node(line: CommandLine) -> None:
    line.service(nodes={"cpu_2": {"gpus": 0, "cores": 2, "memory_gb": 1, "runtime": ["hrt_q"]}})
    line.run(*DEMO, "--tasks", "demo_sums", "--wait")
    hold(line)
    line.run(*DEMO, "--tasks", "demo_capitals")
    table = line.elsewhere / "missing.csv"
    check(line, "--tasks", "demo", code=3)
    head = "model,task,service,node,provider,settings\n"
    row = "hpcjobs/tiny-demo,demo_capitals,local,cpu_2,llamacpp,demo\n"
    table.write_text(head + row)
    dry = line.run("submit", "--from", table, "--dry-run")
    assert "left alone: demo_capitals of hpcjobs/tiny-demo: under way as " in dry.stderr
    assert "0 job(s) to submit, 00:00:00 asked for in all; 1 in the queue" in dry.stdout
    (group,) = line.json("submit", "--from", table, "--dry-run")["groups"]
    assert [one["left_alone"] for one in group["jobs"]] == [True]
    done = line.run("submit", "--from", table, "--yes")
    assert "left alone: demo_capitals of hpcjobs/tiny-demo: under way as " in done.stderr
    let_go(line)
    line.run("wait")
    assert runs(line) == Counter({"demo_capitals": 1, "demo_sums": 1})


def test_an_edited_table_is_not_written_over(line: CommandLine) -> None:
    line.run(*DEMO, "--tasks", "demo_capitals", "--wait")
    table = line.elsewhere / "missing.csv"
    check(line, "--tasks", "demo")
    check(line, "--tasks", "demo")  # as it was written, it may be
    table.write_text(table.read_text().replace(",cpu,", ",gpu_1,"))
    done = line.run("aggregate", "--check", code=2)
    assert "missing.csv was edited" in done.stderr
    assert ",gpu_1," in table.read_text()
    check(line, "--tasks", "demo", "--output", "other.csv")
    assert (line.elsewhere / "other.csv").exists()


def test_nothing_is_submitted_if_one_row_is_wrong(line: CommandLine) -> None:
    table = line.elsewhere / "mine.csv"
    head = "model,task,service,node,provider,settings\n"
    good = "hpcjobs/tiny-demo,demo_capitals,local,cpu,llamacpp,demo\n"
    table.write_text(head + good + good.replace("cpu", "cpuu").replace("capitals", "sums"))
    done = line.run("submit", "--from", table, "--yes", code=2)
    assert f"error: {table}:3: --node: unknown node of local: 'cpuu'" in done.stderr
    assert "did you mean: cpu" in done.stderr
    assert line.queue() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--service", "local"], "--service does not go with --from"),
        (["--model=org/m"], "--model does not go with --from"),
        (["--trial"], "--trial does not go with --from"),
        ([], "nobody is there to be asked"),
    ],
)
def test_options_that_the_table_makes_needless_are_refused(
    line: CommandLine, words: list[str], said: str
) -> None:
    table = line.elsewhere / "mine.csv"
    head = "model,task,service,node,provider,settings\n"
    table.write_text(head + "hpcjobs/tiny-demo,demo_capitals,local,cpu,llamacpp,demo\n")
    done = line.run("submit", "--from", table, *words, code=2)
    assert said in done.stderr
    assert line.queue() == []
