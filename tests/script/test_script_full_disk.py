"""A disk that is full never makes a job look better than it is, or a marker half a marker."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_job import RunningJob

from hpcjobs.render import Script
from hpcjobs.workspace import Workspace

Start = Callable[..., RunningJob]


@pytest.fixture
def small_disk(workspace: Workspace) -> Iterator[Path]:
    """The workspace's jobs/ as a file system of 256 KiB."""
    workspace.jobs.mkdir()
    disk = ["-t", "tmpfs", "-o", "size=256k,mode=777", "hpcjobs-test", str(workspace.jobs)]
    for prefix in ([], ["sudo", "-n"]):
        try:
            tried = subprocess.run([*prefix, "mount", *disk], capture_output=True, text=True)
        except FileNotFoundError:
            continue
        if tried.returncode == 0:
            yield workspace.jobs
            subprocess.run([*prefix, "umount", "-l", str(workspace.jobs)], check=True)
            return
    pytest.skip(f"THE FULL DISK IS NOT TESTED, since nothing can be mounted: {tried.stderr}")


def fill(disk: Path) -> None:
    """Leave no room for a single byte in a new file."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_on_a_full_disk_nothing_is_started(
    start: Start, render: Callable[..., Script], small_disk: Path, tmp_path: Path
) -> None:
    script = render()
    fill(small_disk)
    job = start(script=script)
    assert job.wait() == 90
    assert job.markers() == {}
    assert not job.records_of("vllm")


def test_a_disk_that_fills_up_is_no_success(start: Start, small_disk: Path, tmp_path: Path) -> None:
    job = start(evaluator={"wait_for": str(tmp_path / "go"), "exit": 0})
    job.wait_for_record("lm_eval")
    fill(small_disk)
    (tmp_path / "go").touch()
    assert job.wait() == 90
    told = {"started", "host", "ready", "server_version", "task.demo_sums.started"}
    assert job.markers().keys() == told
    job.wait_until_gone()


def test_a_signal_on_a_full_disk_still_ends_everything(start: Start, small_disk: Path) -> None:
    job = start(evaluator={"hold": True})
    job.wait_for_record("lm_eval")
    fill(small_disk)
    job.process.terminate()
    assert job.wait() != 0
    assert not {"signal", "exit_code"} & job.markers().keys()
    job.wait_until_gone()
