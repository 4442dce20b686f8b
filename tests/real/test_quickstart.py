"""The README's first command on a clean clone, from another directory, twice in a row."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, as they are now, in a directory with a blank in its name."""
    target = tmp_path_factory.mktemp("a clean") / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = REPOSITORY / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(source.read_bytes())
            (target / name).chmod(source.stat().st_mode)
    return target


def quickstart(clone: Path, cwd: Path) -> str:
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("VIRTUAL_ENV", "PYTHONPATH") and not key.startswith("HPCJOBS_")
    }
    done = subprocess.run(
        [clone / "scripts" / "quickstart.sh"],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def running_below(directory: Path) -> list[str]:
    """Command lines of the processes that name the directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in words:
            found.append(words)
    return found


def test_the_quickstart_prints_the_known_scores_twice_and_leaves_nothing_running(
    clone: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        output = quickstart(clone, tmp_path)
        path = Path(output.splitlines()[-1].strip())
        assert path.name == "aggregated_results.json"
        document = json.loads(path.read_text())
        assert document["results"] == {"demo_capitals": 0.75, "demo_sums": 0.875}
        assert document["hpcjobs"]["complete"] is True
        assert "0.7500" in output and "0.8750" in output
        assert running_below(clone) == []
