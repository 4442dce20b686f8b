"""`hpcjobs doctor` at a real Slurm, which answers, hangs and is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "testbeds" / "slurm.sh"


def missing(what: str) -> None:
    """Skip loudly; where CI runs, nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(f"NOT TESTED against a real Slurm: {what}")


@pytest.fixture
def cluster() -> Iterator[Path]:
    """The directory of a testbed of its own."""
    if os.geteuid() != 0:
        missing("the testbed needs root")
    directory = tempfile.mkdtemp(prefix="hpcjobs-doctor-", dir="/var/tmp")
    os.chmod(directory, 0o755)
    up = subprocess.run([SCRIPT, "up", "--directory", directory], capture_output=True, text=True)
    try:
        if up.returncode != 0:
            missing(f"{SCRIPT} up failed: {up.stderr[-500:]}")
        yield Path(directory)
    finally:
        subprocess.run([SCRIPT, "down", "--directory", directory], capture_output=True)


def doctor(cluster: Path, workspace: Path) -> dict[str, dict[str, Any]]:
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "hpcjobs",
            "-w",
            workspace,
            "doctor",
            "--service",
            "slurm",
            "--json",
        ],
        env={**os.environ, "SLURM_CONF": str(cluster / "etc" / "slurm.conf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr  # its environments do not exist
    return {one["name"]: one for one in json.loads(ended.stdout)["checks"]}


def test_a_controller_that_answers_and_one_that_hangs(cluster: Path, tmp_path: Path) -> None:
    checks = doctor(cluster, tmp_path)
    assert checks["scheduler"]["state"] == "ok"
    assert checks["scheduler"]["what"].endswith(" is UP")
    assert (checks["partitions"]["state"], checks["partitions"]["what"]) == ("ok", "cpu, gpu")
    assert checks["account"]["state"] == checks["accounting"]["state"] == "ok"

    pid = int((cluster / "run" / "pids" / "slurmctld").read_text().split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        checks = doctor(cluster, tmp_path)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert checks["scheduler"]["state"] == "fail"
    assert "concludes nothing" in checks["scheduler"]["do"]
    assert checks["partitions"]["state"] == "skipped"
