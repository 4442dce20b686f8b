"""GPUs that the scheduler names by UUID are given to the server by index, if that is the same."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from running_job import RunningJob, wait_until

Start = Callable[..., RunningJob]

A = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
B = "GPU-8932f9ff-1111-2222-3333-444455556666"
SLICE = "MIG-a25c8b5f-0b4e-5d6c-9a2b-1c0d3e4f5a6b"
OTHER_SLICE = "MIG-b35c8b5f-0b4e-5d6c-9a2b-1c0d3e4f5a6b"
OLD_SLICE = f"MIG-{A}/1/0"


def gpu(index: int, uuid: str) -> str:
    return f"GPU {index}: NVIDIA H100 80GB HBM3 (UUID: {uuid})\n"


def part(index: int, uuid: str) -> str:
    return f"  MIG 3g.40gb     Device  {index}: (UUID: {uuid})\n"


TWO = gpu(0, A) + gpu(1, B)
ONE_SLICE = gpu(0, A) + part(0, SLICE)


@pytest.fixture
def evaluate(start: Start, tmp_path: Path) -> Callable[[str, str | None], RunningJob]:
    """Runs a job that is given these devices where `nvidia-smi` is this script; None = there is
    none.
    """

    def evaluate(devices: str, nvidia_smi: str | None) -> RunningJob:
        if nvidia_smi is not None:
            program = tmp_path / "programs" / "nvidia-smi"
            program.write_text(f"#!/bin/bash\n{nvidia_smi}")
            program.chmod(0o755)
        exports = {"CUDA_VISIBLE_DEVICES": devices} if devices else {}
        return start(exports=exports)

    return evaluate


def shown(listing: str, status: int = 0) -> str:
    """A fake `nvidia-smi -L`."""
    return f'[ "$*" = -L ] || exit 9\ncat <<"EOF"\n{listing}EOF\nexit {status}\n'


@pytest.mark.parametrize(
    ("devices", "listing", "given"),
    [
        (A, TWO, "0"),
        (B, TWO, "1"),
        (f"{B},{A}", TWO, "1,0"),
        (f"{A}, {B}", TWO, "0,1"),
        (B, gpu(0, B), "0"),  # the others are hidden from the job
        ("GPU-8932f937", TWO, "0"),
        (SLICE, ONE_SLICE, "0"),
        (OLD_SLICE, gpu(0, A) + part(0, OLD_SLICE), "0"),
        (B, gpu(0, A) + part(0, SLICE) + gpu(3, B), "3"),
    ],
)
def test_uuids_become_indices(
    evaluate: Callable[..., RunningJob], devices: str, listing: str, given: str
) -> None:
    job = evaluate(devices, shown(listing))
    assert job.wait() == 0, job.log()
    environ = job.records_of("vllm")[0]["environ"]
    assert environ["CUDA_VISIBLE_DEVICES"] == given
    assert environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"  # as nvidia-smi counts
    assert f"GPUs: {given}, which are {devices}" in job.log()


@pytest.mark.parametrize(
    ("devices", "nvidia_smi"),
    [
        (SLICE, shown(gpu(0, A) + part(0, OTHER_SLICE) + part(1, SLICE))),  # 0 is another slice
        (SLICE, shown(gpu(0, A) + part(0, SLICE) + part(1, OTHER_SLICE))),
        (SLICE, shown(gpu(0, B) + ONE_SLICE.replace("GPU 0", "GPU 1"))),  # 0 is another GPU
        (OTHER_SLICE, shown(ONE_SLICE)),
        (A, shown(gpu(0, B))),
        (f"{A},{B}", shown(gpu(0, A))),
        ("GPU-8932f9", shown(TWO)),  # the beginning of both
        (f"0,{A}", shown(TWO)),
        (A, None),
        (A, shown(TWO, status=15)),
        (A, 'echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18\n'),
    ],
)
def test_what_no_index_is_known_to_mean_is_left(
    evaluate: Callable[..., RunningJob], devices: str, nvidia_smi: str | None
) -> None:
    job = evaluate(devices, nvidia_smi)
    assert job.wait() == 0, job.log()
    environ = job.records_of("vllm")[0]["environ"]
    assert environ["CUDA_VISIBLE_DEVICES"] == devices
    assert "CUDA_DEVICE_ORDER" not in environ
    assert f"GPUs: left as {devices}" in job.log()


@pytest.mark.parametrize("devices", ["", "0", "1,0", "NoDevFiles"])
def test_indices_are_left_and_nothing_is_asked(
    evaluate: Callable[..., RunningJob], tmp_path: Path, devices: str
) -> None:
    job = evaluate(devices, f"touch {tmp_path}/asked\n")
    assert job.wait() == 0, job.log()
    assert job.records_of("vllm")[0]["environ"].get("CUDA_VISIBLE_DEVICES", "") == devices
    assert not (tmp_path / "asked").exists()


def test_a_signal_does_not_wait_for_a_driver_that_hangs(
    evaluate: Callable[..., RunningJob], tmp_path: Path
) -> None:
    job = evaluate(A, f"touch {tmp_path}/asked\nexec sleep 60\n")
    wait_until((tmp_path / "asked").exists, "nvidia-smi runs", job.log)
    job.send(signal.SIGTERM, to_group=False)
    assert job.wait() == 143
    job.wait_until_gone()
