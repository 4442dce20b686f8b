"""What old downloads have left: what says what is in the caches stays, and all that may run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.lock import workspace_lock
from hpcjobs.predownload.records import (
    Fetched,
    missing,
    new_directory,
    write_end,
)
from hpcjobs.predownload.request import MODEL, Request, Thing
from hpcjobs.workspace import Workspace

Command = Callable[..., tuple[str, str]]
DAY = 86400
PRINTED = ("7_0_log.out", "7_submitted.pkl", "7_submission.sh", "submitit.log")


class Downloads:
    """Downloads that have left all that they leave."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        self.cache = root / "cache"
        self.cache.mkdir()
        self.request = Request(
            things=(),
            exports={"HF_HOME": str(self.cache)},
            inherits=True,
            env_file=str(root / ".env"),
            umask="022",
        )
        self.count = 0

    def file(self, name: str) -> Path:
        return self.cache / name.replace("/", "--")

    def add(
        self,
        *names: str,
        days: float = 60,
        ended: bool = True,
        failed: Sequence[str] = (),
        **changes: Any,
    ) -> Path:
        """One that fetched these models so many days ago."""
        self.count += 1
        things = tuple(Thing(MODEL, name) for name in names)
        request = replace(self.request, things=things, **changes)
        made = new_directory(self.workspace, request)
        directory = made.with_name(f"20260101-0000{self.count:02d}-abcdef")
        made.rename(directory)
        for name in ("submission.json", "job.json", *PRINTED):
            (directory / name).write_text("{}")
        for name in names:
            self.file(name).write_text("weights")
        if ended:
            done = [
                Fetched(thing, {str(self.file(thing.name)): 7})
                for thing in things
                if thing.name not in failed
            ]
            write_end(directory, done, failed)
        when = time.time() - days * DAY
        for path in (*directory.iterdir(), directory):
            os.utime(path, (when, when))
        return directory

    def missing(self, *names: str) -> list[Thing]:
        things = tuple(Thing(MODEL, name) for name in names)
        return missing(self.workspace, replace(self.request, things=things))


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(tmp_path)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def cleaned(command: Command, *words: str, code: int = 0) -> dict[str, Any]:
    value = json.loads(command("clean", "--json", "--yes", *words, code=code)[0])
    assert isinstance(value, dict)
    return value


RECORDS = {"request.json", "submission.json", "job.json", "ended.json"}


def test_of_the_latest_download_of_a_thing_only_logs_go(
    downloads: Downloads, command: Command
) -> None:
    directory = downloads.add("acme/one")
    shown, _ = command("clean", "--dry-run")
    assert f"jobs/predownload/{directory.name}/7_0_log.out" in shown
    assert names(directory) == {*RECORDS, *PRINTED}
    gone = cleaned(command)
    assert [Path(one["path"]).name for one in gone["removed"]] == sorted(PRINTED)
    assert gone["bytes"] == 2 * len(PRINTED)
    assert names(directory) == RECORDS
    assert downloads.missing("acme/one") == []  # it is still known to be there
    assert cleaned(command)["found"] == []


def test_what_a_later_download_brought_too_goes_as_a_whole(
    downloads: Downloads, command: Command
) -> None:
    first = downloads.add("acme/one")
    both = downloads.add("acme/one", "acme/two", days=50)
    second = downloads.add("acme/two", days=1)
    cleaned(command)
    assert not first.exists()
    assert names(both) == RECORDS  # nobody else says that acme/one is there
    assert names(second) == {*RECORDS, *PRINTED}
    assert downloads.missing("acme/one", "acme/two") == []


def test_a_later_download_to_another_place_says_nothing_of_this_one(
    downloads: Downloads, command: Command, tmp_path: Path
) -> None:
    first = downloads.add("acme/one")
    downloads.add("acme/one", exports={"HF_HOME": str(tmp_path / "elsewhere")}, days=1)
    cleaned(command)
    assert names(first) == RECORDS


def test_what_brought_nothing_that_is_there_goes_as_a_whole(
    downloads: Downloads, command: Command
) -> None:
    failed = downloads.add("acme/one", failed=["acme/one"])
    lost = downloads.add("acme/two")
    downloads.file("acme/two").unlink()
    gone = cleaned(command)
    assert {one["kind"] for one in gone["removed"]} == {"download"}
    assert not failed.exists()
    assert not lost.exists()


@pytest.mark.parametrize("case", ["under way", "recent", "written since"])
def test_what_may_be_under_way_or_is_recent_stays(
    downloads: Downloads, command: Command, case: str
) -> None:
    directory = downloads.add(
        "acme/one", ended=case != "under way", days=1 if case == "recent" else 60,
        failed=["acme/one"],
    )  # fmt: skip
    if case == "written since":
        (directory / "7_0_log.out").write_text("more")
    before = names(directory)
    gone = cleaned(command)
    assert gone["removed"] == []
    assert names(directory) == before
    assert gone["kept"] == (
        ["1 download(s) that have not told how they ended: they may be under way"]
        if case == "under way"
        else []
    )


def test_files_that_are_not_ours_stay(downloads: Downloads, command: Command) -> None:
    directory = downloads.add("acme/one", failed=["acme/one"])
    (directory / "notes.txt").write_text("mine")
    os.utime(directory / "notes.txt", (1, 1))
    os.utime(directory, (1, 1))
    gone = cleaned(command)
    assert names(directory) == {*RECORDS, "notes.txt"}
    assert gone["kept"] == [f"predownload/{directory.name}: notes.txt is not of hpcjobs"]


def test_what_lies_behind_a_link_is_not_looked_at(
    downloads: Downloads, command: Command, tmp_path: Path
) -> None:
    directory = downloads.add("acme/one", failed=["acme/one"])
    elsewhere = tmp_path / "elsewhere"
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)
    assert cleaned(command)["found"] == []
    directory.unlink()
    (tmp_path / "jobs" / "predownload").rmdir()
    (tmp_path / "jobs" / "predownload").symlink_to(elsewhere.parent)
    assert cleaned(command)["found"] == []
    assert len(names(elsewhere)) == len(RECORDS) + len(PRINTED)


def test_what_an_earlier_removal_left_goes(downloads: Downloads, command: Command) -> None:
    directory = downloads.add("acme/one")
    aside = directory.with_name(f".removed-{directory.name}")
    directory.rename(aside)
    (aside / "ended.json").unlink()
    assert [one["kind"] for one in cleaned(command)["removed"]] == ["left over"]
    assert not aside.exists()


def test_another_hpcjobs_that_writes_is_waited_for(
    downloads: Downloads, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpcjobs import clean, lock

    directory = downloads.add("acme/one", failed=["acme/one"])
    monkeypatch.setattr(clean, "workspace_lock", lambda path: lock.workspace_lock(path, wait=0.0))
    with workspace_lock(downloads.workspace.jobs / "journal.lock"):
        assert "another hpcjobs is writing" in command("clean", "--yes", code=6)[1]
    assert names(directory) == {*RECORDS, *PRINTED}
