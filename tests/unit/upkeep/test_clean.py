"""What old jobs have left: only what nobody needs goes, and only after it was shown."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., tuple[str, str]]
DAY = 86400


def names(directory: Path) -> set[str]:
    """All files; what the trust gate found out is no matter here."""
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    return {name for name in found if not name.endswith("trust.json")}


KEPT = {"job.sh", "mine.txt", "started", "exit_code", "server_version"}
LOGS = {"job.log", "server.log", "ja_a.log"}
RESULT = "results/ja/a/results_2026-01-01T00-00-00.000000.json"
SAMPLES = "results/ja/a/samples_sums_2026-01-01T00-00-00.000000.jsonl"


def found(command: Command, *words: str) -> Any:
    return json.loads(command("clean", "--json", *words)[0])


def test_the_work_of_an_old_attempt_goes_and_its_result_stays(
    ended: Any, command: Command, tmp_path: Path
) -> None:
    job = ended.evaluated()
    shown, _ = command("clean", "--dry-run")
    assert "work" in shown
    assert "1 in all, 1000 B" in shown
    directory = tmp_path / "jobs" / job.id / "01"
    assert (directory / "work" / "ja_a" / "cache").exists()
    gone = found(command, "--yes")
    assert [(one["kind"], one["bytes"]) for one in gone["removed"]] == [("work", 1000)]
    assert names(directory) == {*KEPT, *LOGS, RESULT, SAMPLES}
    assert not (directory / "work").exists()
    assert "nothing to remove" in command("clean", "--yes")[0]


def test_of_a_superseded_attempt_logs_and_results_go(
    ended: Any, command: Command, tmp_path: Path
) -> None:
    job = ended.evaluated(1)
    ended.evaluated(2, job=job)
    journal = ended.workspace.journal.read_bytes()
    gone = found(command, "--yes")
    directory = tmp_path / "jobs" / job.id
    assert names(directory / "01") == KEPT
    assert names(directory / "02") == {*KEPT, *LOGS, RESULT, SAMPLES}
    assert not (directory / "01" / "results" / "ja" / "a").exists()
    assert len(gone["removed"]) == 6
    assert ended.workspace.journal.read_bytes() == journal


def test_what_an_aggregate_names_stays(
    ended: Any, command: Command, tmp_path: Path, metrics: None
) -> None:
    job = ended.evaluated(1)
    command("aggregate")
    ended.evaluated(2, job=job)
    found(command, "--yes")
    assert RESULT in names(tmp_path / "jobs" / job.id / "01")
    command("aggregate")
    found(command, "--yes")
    assert RESULT not in names(tmp_path / "jobs" / job.id / "01")


def test_an_aggregate_that_cannot_be_read_keeps_all_results(
    ended: Any, command: Command, tmp_path: Path
) -> None:
    job = ended.evaluated(1)
    ended.evaluated(2, job=job)
    path = tmp_path / "results" / "x" / "aggregated_results.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"model"')
    gone = found(command, "--yes")
    assert {one["kind"] for one in gone["removed"]} == {"work"}
    assert "cannot be read" in gone["kept"][0]


def test_a_later_attempt_without_whole_results_supersedes_nothing(
    ended: Any, command: Command, tmp_path: Path
) -> None:
    job = ended.evaluated(1)
    ended.evaluated(2, job=job)
    (tmp_path / "jobs" / job.id / "02" / RESULT).write_text("{")
    os.utime(tmp_path / "jobs" / job.id / "02" / RESULT, (1, 1))
    found(command, "--yes")
    assert RESULT in names(tmp_path / "jobs" / job.id / "01")


def test_nor_does_one_whose_results_are_suspect(
    ended: Any, command: Command, tmp_path: Path
) -> None:
    job = ended.evaluated(1)
    ended.evaluated(2, job=job)
    (tmp_path / "jobs" / job.id / "02" / SAMPLES).unlink()
    assert {one["kind"] for one in found(command, "--yes")["removed"]} == {"work"}
    assert RESULT in names(tmp_path / "jobs" / job.id / "01")


def test_the_logs_of_a_job_that_never_succeeded_stay(
    ended: Any, command: Command, tmp_path: Path
) -> None:
    job = ended.job()
    for number in (1, 2):
        ended.attempt(job, number, state="FAILED", reason="EXIT_CODE",
                      markers={"started": ("n", 0)})  # fmt: skip
        ended.leave(job, number)
    gone = found(command, "--yes")
    assert [one["kind"] for one in gone["removed"]] == ["work", "work"]


@pytest.mark.parametrize(
    "case", ["unfinished", "another attempt", "recent", "written since", "never started"]
)
def test_what_may_still_be_needed_is_left_alone(
    ended: Any, command: Command, tmp_path: Path, case: str
) -> None:
    job = ended.job()
    now = time.time()
    end = None if case == "unfinished" else now - DAY if case == "recent" else now - 60 * DAY
    started = {} if case == "never started" else {"started": ("n", 0.0)}
    ended.attempt(job, 1, state="CANCELLED", end=end, markers=started)
    directory = ended.leave(job, 1, now - 60 * DAY)
    if case == "another attempt":
        ended.attempt(job, 2, end=None)
    if case == "written since":
        (directory / "work" / "ja_a" / "new").write_text("x")
    before = names(directory)
    assert found(command, "--yes")["removed"] == []
    assert names(directory) == before


@pytest.mark.parametrize("place", ["work", "results", "results/ja", "job.log"])
def test_links_are_not_followed(ended: Any, command: Command, tmp_path: Path, place: str) -> None:
    job = ended.evaluated(1)
    ended.evaluated(2, job=job)
    path = tmp_path / "jobs" / job.id / "01" / place
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = names(elsewhere) if elsewhere.is_dir() else elsewhere.read_text()
    gone = found(command, "--yes")
    assert gone["removed"]
    assert path.is_symlink()
    assert (names(elsewhere) if elsewhere.is_dir() else elsewhere.read_text()) == before


def test_a_link_within_goes_and_what_it_points_to_stays(
    ended: Any, command: Command, tmp_path: Path
) -> None:
    job = ended.evaluated()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w").write_text("w" * 9999)
    link = tmp_path / "jobs" / job.id / "01" / "work" / "ja_a" / "link"
    link.symlink_to(tmp_path / "weights")
    assert found(command, "--yes")["bytes"] == 1000
    assert (tmp_path / "weights" / "w").exists()
    assert not os.path.lexists(link)


@pytest.mark.parametrize("which", ["attempt", "job"])
def test_an_attempt_that_lies_elsewhere_is_kept_and_named(
    ended: Any, command: Command, tmp_path: Path, which: str
) -> None:
    job = ended.evaluated()
    path = tmp_path / "jobs" / job.id
    path = path / "01" if which == "attempt" else path
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    gone = found(command, "--yes")
    assert gone["removed"] == []
    assert "it is a link" in gone["kept"][0]


def test_what_a_broken_off_removal_left_goes(ended: Any, command: Command, tmp_path: Path) -> None:
    job = ended.evaluated()
    directory = tmp_path / "jobs" / job.id / "01"
    (directory / "work").rename(directory / ".removed-work")
    assert [one["kind"] for one in found(command, "--yes")["removed"]] == ["left over"]
    assert names(directory) == {*KEPT, *LOGS, RESULT, SAMPLES}


def test_nothing_goes_unasked(ended: Any, command: Command, tmp_path: Path) -> None:
    job = ended.evaluated()
    _, told = command("clean", code=2)
    assert "add --yes" in told
    assert (tmp_path / "jobs" / job.id / "01" / "work").exists()


@pytest.mark.parametrize("age", ["30", "0d", "-1d", "1y", "1.5d", ""])
def test_an_age_that_is_none_is_refused(command: Command, age: str) -> None:
    assert "--older-than" in command("clean", f"--older-than={age}", code=2)[1]


def test_what_was_submitted_again_while_one_read_the_list_stays(ended: Any, tmp_path: Path) -> None:
    from hpcjobs.clean import find, remove
    from hpcjobs.store import load

    job = ended.evaluated()
    shown = find(ended.workspace, load(ended.workspace.journal), time.time())
    assert shown.removals
    ended.attempt(job, 2, end=None)
    assert remove(ended.workspace, shown.removals, time.time()).removals == []
    assert (tmp_path / "jobs" / job.id / "01" / "work").exists()
