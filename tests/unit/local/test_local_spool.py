"""The spool: which directory is trusted, ids, names, and records that are written once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hpcjobs.errors import LockedError, StorageError
from hpcjobs.local.job import Job, read_job, start_path, write_end, write_once
from hpcjobs.local.spool import PRUNE_AFTER, NameUsedError, Spool
from hpcjobs.local.spool_directory import check, file_system, prepare, spool_directory

LOCAL = "/dev/sda1 / ext4 rw 0 0\n"


def a_job(name: str = "") -> Job:
    return Job(
        id=0,
        name=name,
        script="/x/job.sh",
        output="/x/out",
        gpus=1,
        devices=(0, 1),
        cpu_slots=1,
        walltime=60,
        grace=10.0,
        priority=0,
        submitted=1.5,
        umask=0o22,
        environment={"PATH": "/bin"},
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    prepare(tmp_path / "spool")
    return Spool(tmp_path / "spool")


def test_the_spool_is_per_user() -> None:
    assert spool_directory({}) == Path(f"/var/tmp/hpcjobs-{os.geteuid()}")


def test_a_named_spool_is_absolute_with_its_parents_resolved(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    found = spool_directory({"HPCJOBS_LOCAL_DIR": f"{tmp_path}/link/spool"})
    assert found == Path(os.path.realpath(tmp_path)) / "spool"


def test_a_new_spool_is_for_its_owner_alone(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "spool")
    assert (tmp_path / "a" / "spool").stat().st_mode & 0o777 == 0o700


def test_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "spool").symlink_to(tmp_path / "real")
    with pytest.raises(StorageError, match="symbolic link"):
        prepare(tmp_path / "spool")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    with pytest.raises(StorageError):
        prepare(tmp_path / "spool")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(StorageError, match="others may write"):
        check(tmp_path, LOCAL)


def test_a_directory_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StorageError, match="belongs to user"):
        check(tmp_path, LOCAL)


def test_a_shared_file_system_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(StorageError, match="lustre"):
        check(tmp_path, f"{LOCAL}mds@tcp:/x {tmp_path.parent} lustre rw 0 0\n")


def test_the_innermost_mount_tells_the_file_system() -> None:
    mounts = f"{LOCAL}a /home nfs4 rw 0 0\nb /home/my\\040own xfs rw 0 0\nbroken\n"
    assert file_system(Path("/home/x"), mounts) == "nfs4"
    assert file_system(Path("/home/my own/x"), mounts) == "xfs"
    assert file_system(Path("/homes"), mounts) == "ext4"


def test_an_enqueued_job_is_read_back(spool: Spool) -> None:
    job = spool.enqueue(a_job("a"))
    assert read_job(spool.path(1)).job == job
    assert read_job(spool.path(1)).view() == {
        "id": "1",
        "name": "a",
        "state": "queued",
        "submitted": 1.5,
        "started": None,
        "ended": None,
        "devices": [],
        "walltime": 60,
        "exit_status": None,
        "ended_because": None,
        "pid": None,
    }


def test_a_job_without_a_name_is_named_by_its_id(spool: Spool) -> None:
    assert spool.enqueue(a_job()).name == "job-1"


def test_a_used_name_is_refused_even_after_its_end(spool: Spool) -> None:
    spool.enqueue(a_job("a"))
    write_end(spool.path(1), time.time(), 0, None)
    with pytest.raises(NameUsedError, match="name already used: id 1") as caught:
        spool.enqueue(a_job("a"))
    assert caught.value.exit_code == 3


def test_a_failed_submission_leaves_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(StorageError, match="No space"):
        spool.enqueue(a_job())
    assert [path.name for path in spool.directory.iterdir()] == ["counter"]


def test_ids_are_not_given_again_after_pruning(spool: Spool) -> None:
    spool.enqueue(a_job("old"))
    write_end(spool.path(1), time.time() - PRUNE_AFTER - 1, 0, None)
    spool.tidy()
    assert spool.ids() == []
    assert spool.enqueue(a_job("new")).id == 2


def test_recent_and_unfinished_jobs_are_kept(spool: Spool) -> None:
    spool.enqueue(a_job("queued"))
    spool.enqueue(a_job("recent"))
    write_end(spool.path(2), time.time(), 0, None)
    (spool.directory / ".new-torn").mkdir()
    spool.tidy()
    assert spool.ids() == [1, 2]
    assert not (spool.directory / ".new-torn").exists()


def test_a_lost_counter_goes_on_after_the_newest_job(spool: Spool) -> None:
    spool.enqueue(a_job("a"))
    (spool.directory / "counter").unlink()
    assert spool.enqueue(a_job("b")).id == 2


def test_a_broken_counter_is_an_error(spool: Spool) -> None:
    (spool.directory / "counter").write_text("x")
    with pytest.raises(StorageError, match="counter"):
        spool.enqueue(a_job())


def test_a_name_is_not_called_absent_while_a_record_is_unreadable(spool: Spool) -> None:
    spool.enqueue(a_job("a"))
    (spool.path(2)).mkdir()
    (spool.path(2) / "job.json").write_text('{"name": "b"')
    assert spool.named("a")
    with pytest.raises(StorageError, match="cannot read"):
        spool.named("b")


def test_what_is_written_once_stays(tmp_path: Path) -> None:
    assert write_once(tmp_path / "claim", {"a": 1})
    assert not write_once(tmp_path / "claim", {"a": 2})
    assert (tmp_path / "claim").read_text() == '{"a": 1}'
    assert [path.name for path in tmp_path.iterdir()] == ["claim"]


def test_a_recorded_start_without_a_claim_is_still_queued(spool: Spool) -> None:
    spool.enqueue(a_job("a"))
    write_once(start_path(spool.path(1), 1), {"devices": [1]})
    snapshot = read_job(spool.path(1))
    assert (snapshot.state, snapshot.is_unclaimed, snapshot.devices) == ("queued", True, (1,))


def test_the_latest_start_counts(spool: Spool) -> None:
    spool.enqueue(a_job("a"))
    for number in (2, 9, 10):
        write_once(start_path(spool.path(1), number), {"devices": [number]})
    assert read_job(spool.path(1)).number == 10


def test_the_mutex_is_waited_for_only_so_long(spool: Spool) -> None:
    with spool.mutex(), pytest.raises(LockedError), spool.mutex(wait=0.05):
        pass
