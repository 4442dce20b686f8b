"""Files are there whole, or as they were."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs.errors import ExitCode, StorageError
from hpcjobs.files import make_directory, replacing, write_atomic, write_json, write_once

Break = Callable[[str, int], None]


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Let a function of `os` fail with this error."""

    def arrange(function: str, number: int) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, function, fail)

    return arrange


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("content", ["text\n", "日本語", "", b"\x00\xff"])
def test_what_is_written_is_read_again(tmp_path: Path, content: str | bytes) -> None:
    write_atomic(tmp_path / "a" / "b", content)
    data = content.encode() if isinstance(content, str) else content
    assert (tmp_path / "a" / "b").read_bytes() == data


def test_nothing_else_is_left_behind(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "1")
    write_atomic(tmp_path / "a", "2")
    write_once(tmp_path / "b", "1")
    write_once(tmp_path / "b", "2")
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("function", ["fsync", "fchmod"])
@pytest.mark.parametrize("number", [28, 122, 5], ids=["ENOSPC", "EDQUOT", "EIO"])
def test_the_old_file_stays_where_writing_fails(
    tmp_path: Path, breaks: Break, function: str, number: int
) -> None:
    (tmp_path / "a").write_text("old")
    breaks(function, number)
    with pytest.raises(StorageError):
        write_atomic(tmp_path / "a", "new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_the_old_file_stays_on_a_disk_that_is_full(tmp_path: Path) -> None:
    import resource

    (tmp_path / "a").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError):
            write_atomic(tmp_path / "a", "x" * 100_000)
        with pytest.raises(StorageError):
            write_once(tmp_path / "b", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_an_interruption_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a", "new")
    assert names(tmp_path) == []


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path, breaks: Break) -> None:
    breaks("fsync", 28)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_atomic(tmp_path / "a", "new")
    assert str(tmp_path / "a") in caught.value.what
    assert "free some space" in str(caught.value.do)
    assert caught.value.exit_code == ExitCode.STORAGE


def test_a_file_in_the_way_of_a_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    for write in (write_atomic, write_once):
        with pytest.raises(StorageError):
            write(tmp_path / "a" / "b", "x")
    with pytest.raises(StorageError):
        make_directory(tmp_path / "a")


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    name = "日" * 80
    write_atomic(tmp_path / name, "x")
    assert write_once(tmp_path / f"{name}2", "x")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_has_the_rights_of_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    old = os.umask(mask)
    try:
        write_atomic(tmp_path / "a", "x")
        write_atomic(tmp_path / "b", "x", mode=0o755)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o755 & ~mask


def test_json_is_readable_and_keeps_its_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": "日本"})
    assert (tmp_path / "a").read_text(encoding="utf-8") == '{\n  "b": "日本"\n}\n'


def test_a_file_is_made_once(tmp_path: Path) -> None:
    assert write_once(tmp_path / "a", "first")
    assert not write_once(tmp_path / "a", "second")
    assert (tmp_path / "a").read_text() == "first"


def test_of_many_that_make_a_file_one_does(tmp_path: Path) -> None:
    barrier, made = threading.Barrier(8), []

    def make(number: int) -> None:
        barrier.wait()
        if write_once(tmp_path / "a", f"{number}"):
            made.append(number)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number) for number in made] == [(tmp_path / "a").read_text()]


def test_a_stream_replaces_the_file_at_its_end_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for content in ("old", "new\r\n\ud800"):
        with replacing(path) as file:
            file.write(content)
            file.flush()
            assert not path.exists() or path.read_text() == "old"
    assert path.read_bytes() == b"new\r\n\\ud800"
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]


def test_a_stream_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_a_stream_into_what_is_no_directory_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"), replacing(tmp_path / "file/a.txt"):
        pass
