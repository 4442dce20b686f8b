"""What travels inside the wheel: tables, templates, settings and the demo, as defaults."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", directory, REPOSITORY],
        check=True,
        timeout=300,
    )
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "site")
    return directory / "site"


def run(installed: Path, cwd: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    environment.pop("HPCJOBS_WORKSPACE", None)
    done = subprocess.run(
        [sys.executable, "-m", "hpcjobs", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_default_file_of_the_repository_is_in_the_wheel(installed: Path) -> None:
    names = ("conf", "templates", "generation_settings", "demo", ".env_template")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *names],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    missing = [
        name
        for name in listed.stdout.splitlines()
        if not (installed / "hpcjobs" / "defaults" / name).is_file()
    ]
    assert listed.stdout
    assert missing == []
    assert (installed / "hpcjobs" / "py.typed").is_file()


def test_without_any_workspace_the_defaults_of_the_wheel_are_used(
    installed: Path, tmp_path: Path
) -> None:
    assert "demo_sums" in run(installed, tmp_path, "tasks")
    shown = run(
        installed,
        tmp_path,
        *("submit", "--service", "local", "--node", "cpu", "--provider", "llamacpp"),
        *("--model", "hpcjobs/tiny-demo", "--settings", "demo", "--tasks", "demo", "--dry-run"),
    )
    assert str(installed / "hpcjobs" / "defaults" / "demo" / "tiny-demo.gguf") in shown


def test_a_workspace_written_by_the_wheel_can_be_used(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "init", "eval", "--templates")
    shown = run(
        installed,
        tmp_path / "eval",
        *("submit", "--service", "abci", "--node", "rt_HG", "--model", "org/name", "--dry-run"),
    )
    assert shown.count("#PBS -q rt_HG") == 19
