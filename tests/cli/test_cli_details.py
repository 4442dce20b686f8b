"""`hpcjobs details`: which samples are meant, and how they are shown and written."""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import journal
from hpcjobs.cli import main
from hpcjobs.model import Job, TaskRun
from hpcjobs.store import job_to_json
from hpcjobs.workspace import Workspace

STAMP = "2026-01-02T03-04-05.678901"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`hpcjobs details` in the workspace."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(tmp_path), "details", *map(str, words)])
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, shown.out, shown.err

    return run


def sample(number: int, answer: str, score: float = 1.0, metric: str = "em") -> dict[str, Any]:
    return {
        "doc_id": number, "resps": [[answer]], "target": "gold", "filter": "none",
        "arguments": {"gen_args_0": {"arg_0": f"question {number}", "arg_1": {}}},
        "metrics": [metric], metric: score,
    }  # fmt: skip


SAMPLES = [
    sample(0, "right"),
    sample(1, "wrong and long", 0.0),
    sample(2, "", 0.0),
    sample(3, "half", 0.5),
]


def leave(tmp_path: Path, key: str, model: str = "org/m", **changes: Any) -> None:
    """A job of the task `sums` that succeeded and left these samples."""
    workspace = Workspace(tmp_path)
    run = TaskRun("sums", "sums", "x/sums", "lm_eval", {})
    fields: dict[str, Any] = {
        "id": key, "digest": key, "service": "local", "node": "cpu", "provider": "p",
        "model": model, "settings_name": "", "settings_version": "", "settings_path": "",
        "tasks": (run,), "walltime": 60, "model_names": (model,), **changes,
    }  # fmt: skip
    job = Job(**fields)
    at = 1000.0
    events = [
        journal.event(journal.PLANNED, at, key, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, at, key, 1, name=f"{key}-01", place=""),
        journal.event(journal.SUBMITTED, at, key, 1, native_id="1"),
        journal.event(journal.ENDED, at, key, 1, state="SUCCEEDED", reason=None, detail=""),
    ]
    workspace.jobs.mkdir(exist_ok=True)
    journal.append(workspace.journal, events)
    results = workspace.attempt(key, 1) / "results/x/sums"
    results.mkdir(parents=True)
    document = {"results": {"sums": {"em,none": 0.375}}, "config": {}, "model_name": model}
    (results / f"results_{STAMP}.json").write_text(json.dumps(document))
    lines = "".join(json.dumps(one) + "\n" for one in SAMPLES)
    (results / f"samples_sums_{STAMP}.jsonl").write_text(lines)


def ids(out: str) -> list[str]:
    return [one["id"] for one in json.loads(out)["samples"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["0", "1", "2", "3"]),
        (["--wrong"], ["1", "2", "3"]),
        (["--empty"], ["2"]),
        (["--wrong", "--empty"], ["2"]),
        (["--longest", "2"], ["1", "0"]),
        (["--wrong", "--longest", "1"], ["1"]),
        (["--limit", "1"], ["0"]),
        (["--metric", "em,none", "--wrong", "--limit", "1"], ["1"]),
    ],
)
def test_filters_go_together(
    details: Command, tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    leave(tmp_path, "abcdefg")
    for what in ("abc", "abcdefg-01", "sums", tmp_path / "jobs/abcdefg"):
        code, out, _ = details(what, "--json", *words)
        assert (code, ids(out)) == (0, expected)
        assert json.loads(out)["read"] == 4


def test_they_are_shown_shortened_with_what_there_is(details: Command, tmp_path: Path) -> None:
    leave(tmp_path, "abcdefg")
    code, out, _ = details("sums", "--wrong", "--limit", "2")
    assert code == 0
    assert out == (
        "== sums  sample 1  em,none 0\n"
        "prompt: question 1\ngold: gold\nanswer: wrong and long\n\n"
        "== sums  sample 2  em,none 0\n"
        "prompt: question 2\ngold: gold\nanswer: (empty)\n\n"
        "2 shown, 3 match, 4 read (more with --limit N, or --output FILE)\n"
    )


def test_what_a_model_wrote_does_not_command_the_terminal(details: Command, tmp_path: Path) -> None:
    hostile = "\x1b]0;pwned\x07\x9b2J" + "x" * 5000 + "end"
    path = tmp_path / "raw" / f"samples_t_{STAMP}.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(sample(0, hostile)) + "\n")
    _, out, _ = details("raw/")
    assert r"answer: \x1b]0;pwned\x07\x9b2J" in out
    assert "characters ...]" in out
    assert len(out) < 1500
    _, out, _ = details("raw/", "--full")
    assert "x" * 5000 in out
    assert "\x1b" not in out


def test_all_of_them_are_written_as_jsonl_and_as_csv(details: Command, tmp_path: Path) -> None:
    leave(tmp_path, "abcdefg")
    for name in ("a.jsonl", "a.csv"):
        code, out, _ = details("sums", "--output", name)
        assert (code, out) == (0, f"4 samples written to {name}\n")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines[1] == {
        "task": "sums", "id": "1", "metric": "em,none", "score": 0.0, "prompt": "question 1",
        "answers": ["wrong and long"], "gold": ["gold"], "scores": {"em,none": 0.0},
    }  # fmt: skip
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["answers"] for row in rows] == ["right", "wrong and long", "", "half"]
    assert list(rows[0]) == list(lines[0])


def test_a_surrogate_in_an_answer_is_written_and_read_again(
    details: Command, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw" / f"samples_t_{STAMP}.jsonl"
    path.write_text(json.dumps(sample(0, "\ud800")) + "\n")
    assert details("raw/", "--output", "a.jsonl")[0] == 0
    assert json.loads((tmp_path / "a.jsonl").read_text())["answers"] == ["\ud800"]
    assert details("raw/")[0] == 0


def test_what_breaks_on_the_way_leaves_the_old_file(details: Command, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw" / f"samples_t_{STAMP}.jsonl"
    path.write_text(json.dumps(sample(0, "x")) + '\n{"doc_')
    (tmp_path / "a.jsonl").write_text("old")
    code, _, err = details("raw/", "--output", "a.jsonl")
    assert code == 1
    assert f"{path.relative_to(tmp_path)}:2: not JSON (cut off)" in err
    assert (tmp_path / "a.jsonl").read_text() == "old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.jsonl", "raw"]


@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
def test_a_file_that_cannot_be_written_whole_is_named(tmp_path: Path, name: str) -> None:
    leave(tmp_path, "abcdefg")
    (tmp_path / name).write_text("as it was")

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    done = subprocess.run(
        [sys.executable, "-B", "-m", "hpcjobs", "-w", ".", "details", "sums", "--output", name],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=small_files,
    )
    assert done.returncode == 5
    assert done.stderr == f"error: cannot write {name}: File too large\n"
    assert (tmp_path / name).read_text() == "as it was"
    assert not list(tmp_path.glob(f".{name}*"))


def test_a_task_with_several_results_asks_which(details: Command, tmp_path: Path) -> None:
    leave(tmp_path, "abcdefg")
    leave(tmp_path, "bcdefgh", "org/n")
    code, _, err = details("sums")
    assert code == 2
    assert "abcdefg-01 (org/m), bcdefgh-01 (org/n)" in err
    code, out, _ = details("sums", "--model", "org/n", "--json")
    assert (code, len(ids(out))) == (0, 4)
    assert details("sums", "--model", "org/x")[0] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "unknown task or job 'nothing'\n  expected: one of: abcdefg, sums\n"),
        (["sumz"], "did you mean: sums"),
        (["sumz", "--model", "org/m"], "did you mean: sums"),
        (["abcdefh"], "did you mean: abcdefg"),
        ([""], "unknown task or job ''"),
        (["ja_mmlu"], "no job of the task ja_mmlu was submitted"),
        (["no/where"], "no such directory: no/where"),
        (["abc", "--attempt", "2"], "has no attempt 2"),
        (["sums", "--attempt", "1"], "--attempt goes with a job"),
        (["abc", "--model", "org/m"], "--model goes with a task"),
        (["abc", "--output", "x.txt"], "expected: a name that ends in .jsonl or .csv"),
        (["abc", "--metric", "f1"], "has no metric 'f1'"),
        (["jobs/abcdefg/01/results/x/sums/none"], "no such directory"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    details: Command, tmp_path: Path, words: list[str], said: str
) -> None:
    leave(tmp_path, "abcdefg")
    code, _, err = details(*words)
    assert code == 2
    assert said in err


def test_a_directory_without_samples_says_how_they_come_about(
    details: Command, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    code, _, err = details("raw/")
    assert code == 2
    assert "--save-details" in err
    assert "--log_samples" in err


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / f"details_t_{STAMP}.parquet").write_bytes(b"")
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, "-m", "hpcjobs", "details", f"{tmp_path}/"],
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}", "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "pip install 'hpcjobs[details]'" in done.stderr
    assert "Traceback" not in done.stderr
