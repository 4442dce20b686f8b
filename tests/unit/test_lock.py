"""One writer at a time, and none that waits for the dead."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import ExitCode, LockedError
from hpcjobs.lock import workspace_lock
from hpcjobs.processes import ProcessIdentity, boot_id, hostname

SPAWN = multiprocessing.get_context("fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs" / "journal.lock"


@pytest.fixture
def dead() -> int:
    """The pid of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def lock_of(path: Path) -> Callable[..., None]:
    """Make the lock of some owner."""

    def make(pid: int, **changes: Any) -> None:
        owner = {
            "host": hostname(),
            "pid": pid,
            "start_time": 1,
            "boot_id": boot_id(),
            "since": time.time(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**owner, **changes}))

    return make


def hold(path: Path, held: Any, release: Any) -> None:
    with workspace_lock(path):
        held.set()
        release.wait(30)


def test_the_lock_is_there_during_the_block_only(path: Path) -> None:
    with workspace_lock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_the_lock_is_released_on_an_exception(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), workspace_lock(path):
        1 / 0  # noqa: B018
    with workspace_lock(path, wait=0):
        pass


def test_a_second_process_is_kept_out_and_told_who_is_in(path: Path) -> None:
    held, release = SPAWN.Event(), SPAWN.Event()
    other = SPAWN.Process(target=hold, args=(path, held, release))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(LockedError) as caught, workspace_lock(path, wait=0.2):
            pass
        assert f"process {other.pid} on {hostname()} since " in caught.value.what
        assert caught.value.where == str(path)
        assert caught.value.exit_code == ExitCode.LOCKED
    finally:
        release.set()
        other.join()


def test_a_second_process_waits_for_the_first(path: Path) -> None:
    held, release = SPAWN.Event(), SPAWN.Event()
    other = SPAWN.Process(target=hold, args=(path, held, release))
    other.start()
    assert held.wait(30)
    release.set()
    with workspace_lock(path, wait=30):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    other.join()


def test_the_lock_of_a_dead_process_is_taken_over(
    path: Path, lock_of: Callable[..., None], dead: int
) -> None:
    lock_of(dead)
    with workspace_lock(path, wait=5):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    "changes", [{"start_time": 1}, {"boot_id": "another"}], ids=["another process", "another boot"]
)
def test_the_lock_of_a_process_whose_pid_was_given_away_is_taken_over(
    path: Path, lock_of: Callable[..., None], changes: dict[str, Any]
) -> None:
    ours = ProcessIdentity.of(os.getpid())
    assert ours
    lock_of(os.getpid(), **{"start_time": ours.start_time, **changes})
    with workspace_lock(path, wait=5):
        assert json.loads(path.read_text())["start_time"] == ours.start_time


def test_the_lock_of_another_host_is_not_taken_over(
    path: Path, lock_of: Callable[..., None], dead: int
) -> None:
    lock_of(dead, host="login2", boot_id="another")
    refused = pytest.raises(LockedError, match=f"process {dead} on login2")
    with refused, workspace_lock(path, wait=0.3):
        pass
    assert json.loads(path.read_text())["host"] == "login2"


@pytest.mark.parametrize("content", ["", "garbage", "{}", "[]", '{"host": 1}'])
def test_a_lock_of_nobody_we_know_is_respected(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(LockedError, match="an unknown process"), workspace_lock(path, wait=0.1):
        pass
    assert path.read_text() == content


def test_a_lock_that_was_taken_from_us_is_left_alone(path: Path) -> None:
    with workspace_lock(path):
        path.write_text("another's")
    assert path.read_text() == "another's"


def enter(path: Path, start: Any, entered: Any, alone: Any) -> None:
    start.wait()
    with workspace_lock(path, wait=30):
        only_one = path.with_name("inside")
        descriptor = os.open(only_one, os.O_CREAT | os.O_EXCL)  # fails if anybody else is inside
        entered.put(os.getpid())
        time.sleep(0.01)
        os.close(descriptor)
        only_one.unlink()
        alone.put(True)


def test_of_eight_that_find_a_stale_lock_one_at_a_time_gets_in(
    path: Path, lock_of: Callable[..., None], dead: int
) -> None:
    lock_of(dead)
    start, entered, alone = SPAWN.Barrier(8), SPAWN.Queue(), SPAWN.Queue()
    racers = [SPAWN.Process(target=enter, args=(path, start, entered, alone)) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0] * 8
    assert {entered.get(timeout=5) for _ in racers} == {racer.pid for racer in racers}
    assert not path.exists()


def test_a_stale_lock_is_removed_by_one_process_only(
    path: Path, lock_of: Callable[..., None], dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who judged the old lock stale must not remove the new one that came meanwhile."""
    from hpcjobs import lock

    lock_of(dead)
    real = lock._is_stale

    def another_is_quicker(content: str) -> bool:
        stale = real(content)
        if stale:
            path.write_text("the lock of the quicker one")
        return stale

    monkeypatch.setattr(lock, "_is_stale", another_is_quicker)
    with pytest.raises(LockedError), workspace_lock(path, wait=0):
        pass
    assert path.read_text() == "the lock of the quicker one"
