"""Aggregates made at once, while jobs are writing: the file is whole at every moment, and right."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from command_line import DEMO, CommandLine, command_line
from quick_jobs import use_quick_jobs

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
MODEL = "org/model"
TASKS = 40


def result(task: str, value: float) -> str:
    return json.dumps(
        {
            "config_general": {"model_name": MODEL},
            "results": {task: {"em": value}, "padding": {"em": 0.0} | dict.fromkeys("abcdef", 1)},
            "config_tasks": {},
        },
        indent=4,
    )


class Watcher(threading.Thread):
    """Reads a file again and again: it must be whole whenever it is there."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.ended, self.reads = path, threading.Event(), 0
        self.error: Exception | None = None
        self.seen: dict[str, Any] = {}

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self.seen = json.loads(self.path.read_text())
                self.reads += 1
            except FileNotFoundError:
                continue
            except Exception as error:
                self.error = error
                return


def test_several_at_once_while_results_are_being_written(tmp_path: Path) -> None:
    """One process writes results in small pieces, without renaming; six aggregate meanwhile."""
    directory = tmp_path / "raw" / MODEL
    directory.mkdir(parents=True)
    (tmp_path / "conf").mkdir()
    items = "".join(
        f"- {{name: m{n}, aggregate: pick, task: 't{n}|0', metric: em}}\n" for n in range(TASKS)
    )
    (tmp_path / "conf/metrics.yaml").write_text("metrics:\n" + items)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    words = ("--raw-results", "raw", "--model", MODEL, "--output", "out")
    argv = [sys.executable, "-m", "hpcjobs", "-w", str(tmp_path), "aggregate", *words]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            argv, cwd=tmp_path, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    watcher = Watcher(tmp_path / "out/aggregated_results.json")
    watcher.start()
    codes = []
    running = [start() for _ in range(3)]
    for number in range(TASKS):
        path = directory / f"results_2026-01-01T00-00-{number:02d}.000000.json"
        text = result(f"t{number}|0", number / 100)
        with path.open("w") as file:
            for position in range(0, len(text), 16):
                file.write(text[position : position + 16])
                file.flush()
                if running and running[0].poll() is not None:
                    codes.append(finished(running.pop(0)))
                    if len(codes) < 9:
                        running.append(start())
    codes += [finished(one) for one in running]
    last = start()
    assert finished(last) == 0
    watcher.ended.set()
    watcher.join()
    assert watcher.error is None
    assert watcher.reads > 0
    assert set(codes) <= {0, 1}  # 1: a file was cut off when it was read, and was named
    made = json.loads((tmp_path / "out/aggregated_results.json").read_text())
    assert made["results"] == {f"m{n}": n / 100 for n in range(TASKS)}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["aggregated_results.json"]


def finished(process: subprocess.Popen[str]) -> int:
    """The exit code; there was no traceback."""
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return process.returncode


def test_several_at_once_in_a_workspace(tmp_path: Path) -> None:
    with command_line(tmp_path) as line:
        use_quick_jobs(line)
        line.run(*DEMO, "--tasks", "demo")
        path = line.root / "results/llamacpp/hpcjobs/tiny-demo/demo/aggregated_results.json"
        watcher = Watcher(path)
        watcher.start()
        at_once = [line.start("aggregate") for _ in range(4)]  # while the jobs run
        for process in at_once:
            assert finished(process) in (0, 3)
        line.run("wait")
        for process in [line.start("aggregate") for _ in range(4)]:
            assert finished(process) == 0
        watcher.ended.set()
        watcher.join()
        assert watcher.error is None
        made = json.loads(path.read_text())
        assert made["results"] == {"demo_capitals": 0.5, "demo_sums": 0.5}
        assert made["hpcjobs"]["complete"] is True
        assert not [*line.run("status").stderr.splitlines()]
        assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_what_is_aggregated_while_a_disk_is_full_leaves_the_old_file(
    line_with_result: CommandLine,
) -> None:
    """A limit on the size of files is how a full disk is had without one."""
    line = line_with_result
    path = line.root / "results/llamacpp/hpcjobs/tiny-demo/demo/aggregated_results.json"
    before = path.read_bytes()
    limited = ["bash", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "-", *line.argv("aggregate")]
    done = line.run(argv=limited, code=None)
    assert done.returncode == 5, done
    assert "cannot write" in done.stderr
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.fixture
def line_with_result(tmp_path: Path) -> Any:
    """A workspace in which one job is done and aggregated."""
    with command_line(tmp_path) as line:
        use_quick_jobs(line)
        line.run(*DEMO, "--tasks", "demo_sums", "--wait")
        line.run("aggregate")
        yield line
