"""`hpcjobs services`: what there is, what a service offers, and whether a description is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs.cli import main
from hpcjobs.workspace import defaults_root

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Gives a command in the workspace; its exit code and what it printed."""

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(tmp_path), "services", *words])
        return int(str(ended.value.code)), capsys.readouterr().out

    return run


def own_service(workspace: Path, name: str, old: str, new: str) -> None:
    """A service of the workspace's own: the example of a Slurm cluster, with one change."""
    text = (defaults_root() / "conf" / "services" / "slurm.yaml").read_text()
    assert old in text
    (workspace / "conf" / "services").mkdir(parents=True, exist_ok=True)
    (workspace / "conf" / "services" / f"{name}.yaml").write_text(text.replace(old, new))


def test_what_is_wrong_in_the_env_file_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("TSUBAME_GROUP=g\nno value\n")
    (tmp_path / ".env").chmod(0o600)
    with pytest.raises(SystemExit):
        main(["-w", str(tmp_path), "services", "check", "tsubame", "local"])
    told = capsys.readouterr().err
    assert told == f"warning: {tmp_path}/.env:2: not NAME=value, so it is left out\n"


def test_the_defaults_and_the_workspaces_own_are_listed(run: Run, tmp_path: Path) -> None:
    own_service(tmp_path, "ours", "title: a Slurm cluster (example)", "title: Our cluster")
    code, shown = run("list", "--json")
    found = {one["service"]: one for one in json.loads(shown)["services"]}
    assert code == 0
    assert set(found) == {"abci", "local", "ours", "slurm", "tsubame"}
    assert found["ours"]["title"] == "Our cluster"
    assert [found[name]["driven"] for name in ("local", "tsubame", "abci")] == [True] * 3


def test_a_service_shows_its_nodes(run: Run) -> None:
    code, shown = run("show", "abci")
    assert code == 0
    assert "rt_HG  1     16" in shown
    assert "walltime at most 168:00:00; limits: 1000 unfinished, 200 running" in shown


def test_all_shipped_services_are_right(run: Run) -> None:
    code, shown = run("check")
    assert code == 0
    assert "tsubame: right, 12 node(s)" in shown
    assert "wrong" not in shown


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("walltime_max:", "waltime_max:", "expected: walltime_max, not 'waltime_max'"),
        ("runtime: [wlt_gpu_1, hrt_q]", "runtime: wlt_none", "has no time for the node gpu_1"),
        ("partition: gpu", "partition: g p u", "cannot stand in a line `#SBATCH --partition`"),
        ("template: services/slurm.sh.j2", "template: services/none.sh.j2", "no template"),
        ('walltime_max: "48:00:00"', 'walltime_max: "01:00:00"', "at most 01:00:00"),
    ],
)
def test_what_is_wrong_with_a_description_is_told(
    run: Run, tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    own_service(tmp_path, "ours", old, new)
    code, shown = run("check", "ours", "slurm")
    assert code == 2
    assert "ours: wrong" in shown
    assert complaint in shown
    assert "slurm: right" in shown
