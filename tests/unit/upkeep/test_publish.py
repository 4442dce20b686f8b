"""A copy of results for others: whole, readable by the group, nothing written over, no keys."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., tuple[str, str]]
PLACE = "p/org/m-8B"
RAW = "results_2026-01-01T00-00-00.000000.json"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o2770)
    return path


@pytest.fixture
def job(ended: Any, command: Command, metrics: None) -> Any:
    """A job whose result was aggregated."""
    made = ended.evaluated()
    command("aggregate")
    return made


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(directory)): one.read_bytes()
        for one in directory.rglob("*")
        if one.is_file()
    }


def published(command: Command, *words: object, code: int = 0) -> Any:
    return json.loads(command("publish", *words, "--json", code=code)[0])


def test_an_evaluation_is_published_whole(
    job: Any, command: Command, shared: Path, tmp_path: Path
) -> None:
    shown, _ = command("publish", shared)
    assert shown == f"written: {shared}/{PLACE}\n"
    found = tree(shared / PLACE)
    raw = f"raw/{job.id}-01/ja/a/{RAW}"
    assert set(found) == {"aggregated_results.json", "provenance.json", raw}
    own = tmp_path / "results" / PLACE / "aggregated_results.json"
    assert found["aggregated_results.json"] == own.read_bytes()
    source = f"jobs/{job.id}/01/results/ja/a/{RAW}"
    assert found[raw] == (tmp_path / source).read_bytes()
    about = json.loads(found["provenance.json"])
    assert about["files"][raw]["from"] == source
    (attempt,) = about["attempts"]
    assert (attempt["node"], attempt["native_id"]) == ("node_q", "7")
    assert attempt["server_version"] == "vllm 0.10"


def test_the_group_may_read_whatever_the_umask_of_the_shell_is(
    job: Any, command: Command, shared: Path
) -> None:
    before = os.umask(0o077)
    try:
        command("publish", shared)
    finally:
        assert os.umask(before) == 0o077
    for path in (shared / PLACE).rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o2750 if path.is_dir() else 0o640)
    assert stat.S_IMODE((shared / "p").stat().st_mode) == 0o2750


def test_a_umask_of_ones_own(job: Any, command: Command, shared: Path) -> None:
    command("publish", shared, "--umask", "007")
    assert stat.S_IMODE((shared / PLACE / "provenance.json").stat().st_mode) == 0o660
    for wrong in ("8", "27", "0777", "x"):
        assert "--umask" in command("publish", shared, "--umask", wrong, code=2)[1]


def test_publishing_again_changes_nothing(job: Any, command: Command, shared: Path) -> None:
    command("publish", shared)
    before = {path: path.stat().st_mtime_ns for path in shared.rglob("*")}
    assert published(command, shared)["published"][0]["state"] == "up to date"
    assert {path: path.stat().st_mtime_ns for path in shared.rglob("*")} == before


def test_a_copy_that_was_broken_off_is_completed(job: Any, command: Command, shared: Path) -> None:
    command("publish", shared)
    before = tree(shared)
    for name in ("provenance.json", "aggregated_results.json"):
        (shared / PLACE / name).unlink()
        assert published(command, shared)["published"][0]["written"] == [name]
    assert tree(shared) == before


def test_a_later_result_replaces_the_earlier_one_only_if_asked(
    ended: Any, job: Any, command: Command, shared: Path
) -> None:
    command("publish", shared)
    (shared / PLACE / "notes.txt").write_text("of a colleague")
    before = tree(shared)
    ended.evaluated(2, job=job)
    command("aggregate")
    (problem,) = published(command, shared, code=1)["problems"]
    assert "--replace" in problem
    assert tree(shared) == before
    (one,) = published(command, shared, "--replace")["published"]
    assert one["state"] == "replaced"
    assert set(tree(shared / PLACE)) == {
        "aggregated_results.json", "provenance.json", "notes.txt", f"raw/{job.id}-02/ja/a/{RAW}",
    }  # fmt: skip
    assert published(command, shared)["published"][0]["state"] == "up to date"


@pytest.mark.parametrize("name", ["aggregated_results.json", "provenance.json"])
@pytest.mark.parametrize("first", [True, False], ids=["changed", "of others"])
def test_what_others_wrote_is_never_written_over(
    job: Any, command: Command, shared: Path, name: str, first: bool
) -> None:
    if first:
        command("publish", shared)
    path = shared / PLACE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    (problem,) = published(command, shared, "--replace", code=1)["problems"]
    assert "something else is there" in problem
    assert path.read_text() == "{}"


def test_links_below_the_shared_directory_are_refused(
    job: Any, command: Command, shared: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (shared / "p").symlink_to(tmp_path / "elsewhere")
    (problem,) = published(command, shared, code=1)["problems"]
    assert "it is a link" in problem
    assert not [*(tmp_path / "elsewhere").iterdir()]


@pytest.mark.parametrize("secret", ["a-key-of-mine", "hf_" + "a" * 34, "sk-proj-" + "b" * 40])
def test_a_key_stops_it(
    job: Any, command: Command, shared: Path, tmp_path: Path, secret: str
) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=a-key-of-mine\n")
    (path,) = (tmp_path / "jobs").rglob(RAW)
    content = json.loads(path.read_text()) | {"config": {"key": secret}}
    path.write_text(json.dumps(content))
    os.utime(path, (1, 1))
    shown, told = command("publish", shared, code=1)
    assert "what looks like one" in told
    assert secret not in shown + told
    assert not [*shared.iterdir()]


def test_a_raw_result_that_is_gone_or_changed_stops_it(
    job: Any, command: Command, shared: Path, tmp_path: Path
) -> None:
    (path,) = (tmp_path / "jobs").rglob(RAW)
    os.utime(path, (4e9, 4e9))
    assert "later than the aggregate" in command("publish", shared, code=1)[1]
    path.unlink()
    assert "it is gone" in command("publish", shared, code=1)[1]
    assert not [*shared.iterdir()]


def test_an_evaluation_that_lacks_values_is_published_only_if_asked(
    ended: Any, job: Any, command: Command, shared: Path
) -> None:
    from hpcjobs.model import TaskRun

    run = TaskRun("ja_b", "towns", "ja/b", "lm_eval", {})
    other = ended.job(tasks=(run,), model_names=("org/m-8B",), result_prefix="p")
    ended.attempt(other, state="FAILED", reason="EXIT_CODE")
    command("aggregate", code=1)
    assert "--incomplete" in command("publish", shared, code=1)[1]
    assert not [*shared.iterdir()]
    command("publish", shared, "--incomplete")
    about = json.loads((shared / PLACE / "provenance.json").read_text())
    assert about["complete"] is False


def test_what_has_ended_since_the_aggregate_stops_it(
    ended: Any, job: Any, command: Command, shared: Path
) -> None:
    ended.evaluated(2, job=job, end=4e9)
    assert "run hpcjobs aggregate again" in command("publish", shared, code=1)[1]


def test_a_directory_that_is_not_there_is_not_made(
    job: Any, command: Command, tmp_path: Path
) -> None:
    assert "chmod 2770" in command("publish", tmp_path / "typo", code=2)[1]
    assert not (tmp_path / "typo").exists()


def test_an_unknown_model_is_refused(job: Any, command: Command, shared: Path) -> None:
    assert "org/m-8B" in command("publish", shared, "--model", "org/m-8", code=2)[1]
