"""The append-only record: what was written is read again, and what was torn costs only itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs import journal
from hpcjobs.errors import StorageError

ONE = journal.event(journal.PLANNED, 1_767_323_045.25, "abcdef0", spec={"model": "モデル"})
TWO = journal.event(journal.SEEN, 1_767_323_046.0, "abcdef0", 1, state="RUNNING", detail="a\nb")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs" / "journal.jsonl"


def kinds(path: Path) -> list[str]:
    return [one["event"] for one in journal.read(path).events]


def test_what_is_appended_is_read_again(path: Path) -> None:
    journal.append(path, [ONE])
    journal.append(path, [TWO])
    version = {"v": journal.FORMAT}
    assert journal.read(path).events == [{**version, **ONE}, {**version, **TWO}]


def test_an_event_is_one_line_for_people(path: Path) -> None:
    journal.append(path, [ONE, TWO])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert "モデル" in lines[0]


def test_the_time_of_an_event_is_kept_to_the_microsecond() -> None:
    assert journal.epoch(str(ONE["at"])) == 1_767_323_045.25


def test_a_time_is_written_in_utc() -> None:
    assert ONE["at"] == "2026-01-02T03:04:05.250000+00:00"


def test_a_journal_that_is_not_there_is_empty(path: Path) -> None:
    assert journal.read(path).events == []


def test_no_events_make_no_file(path: Path) -> None:
    journal.append(path, [])
    assert not path.exists()


def test_appending_after_a_torn_line_keeps_the_new_event(path: Path) -> None:
    journal.append(path, [ONE])
    with path.open("ab") as file:
        file.write(b'{"event": "se')
    journal.append(path, [TWO])
    content = journal.read(path)
    assert [one["event"] for one in content.events] == ["planned", "seen"]
    assert content.broken_lines == [2]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"event": "seen", "jo', id="torn"),
        pytest.param('{"event": "seen", "job": "モ'.encode()[:-1], id="torn within a character"),
        pytest.param(b"\0\0\0\0", id="zeros"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[1, 2]", id="a list"),
        pytest.param(b"17", id="a number"),
        pytest.param(b'"event"', id="a text"),
        pytest.param(b'{"v": 1}', id="no event"),
        pytest.param(b"garbage", id="garbage"),
    ],
)
def test_a_broken_line_costs_only_itself(path: Path, line: bytes) -> None:
    journal.append(path, [ONE])
    with path.open("ab") as file:
        file.write(line + b"\n")
    journal.append(path, [TWO])
    assert kinds(path) == ["planned", "seen"]
    assert journal.read(path).broken_lines == [2]


def test_blank_lines_are_not_broken(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("\n\n")
    assert journal.read(path).broken_lines == []


def test_a_journal_can_be_read_up_to_any_byte(path: Path) -> None:
    journal.append(path, [ONE, TWO])
    data = path.read_bytes()
    ends = [index for index, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data)):
        path.write_bytes(data[:length])
        # The last newline may be missing: the event is whole without it.
        assert len(kinds(path)) == sum(end <= length for end in ends)


# ---- A disk that is full -------------------------------------------------------------------------


def test_a_short_write_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda to, data: real(to, data[: len(data) // 2]))
    with pytest.raises(StorageError, match="disk is full"):
        journal.append(path, [ONE])


def test_after_a_short_write_the_next_event_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda to, data: real(to, data[:20]))
        with pytest.raises(StorageError):
            journal.append(path, [ONE])
    journal.append(path, [TWO])
    assert kinds(path) == ["seen"]


@pytest.mark.parametrize("function", ["write", "fsync", "open"])
@pytest.mark.parametrize("number", [28, 122, 5], ids=["ENOSPC", "EDQUOT", "EIO"])
def test_an_error_of_the_disk_is_explained(
    path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(StorageError, match=r"cannot write .*journal\.jsonl"):
        journal.append(path, [ONE])


def test_a_real_limit_of_the_file_size_is_an_error(path: Path) -> None:
    import resource

    path.parent.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(StorageError):
            journal.append(path, [ONE])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kinds(path) == []


def test_a_directory_that_cannot_be_made_is_an_error(write: Callable[..., Path]) -> None:
    with pytest.raises(StorageError):
        journal.append(write("a file", "jobs") / "journal.jsonl", [ONE])


def test_a_journal_that_cannot_be_read_is_an_error(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StorageError):
        journal.read(path)


def test_an_event_is_on_the_disk_before_append_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: flushed.append(path.read_bytes()))
    journal.append(path, [ONE])
    assert [json.loads(data)["event"] for data in flushed] == ["planned"]
