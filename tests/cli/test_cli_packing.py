"""How `submit --pack` is shown before anything is submitted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcjobs.cli import main


@pytest.mark.parametrize(("provider", "at_once"), [("vllm", 2), ("vllm_engine", 1)])
def test_tasks_that_load_the_model_themselves_are_never_evaluated_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], provider: str, at_once: int
) -> None:
    words = ("--service", "local", "--node", "gpu_1", "--provider", provider, "--model", "org/m")
    packed = ("--pack", "--pack-at-once", "2", "--dry-run")
    with pytest.raises(SystemExit) as ended:
        main(["-w", str(tmp_path), "submit", *words, *packed])
    printed = capsys.readouterr()
    assert not ended.value.code, printed
    assert f"readonly at_once={at_once} " in printed.out
    assert ("one task after the other" in printed.out) == (at_once == 1)


def test_the_plan_of_the_default_tasks_says_what_packing_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--service", "tsubame", "--node", "node_q", "--model", "org/m", "--pack")
    with pytest.raises(SystemExit) as ended:
        main(["-w", str(tmp_path), "plan", *words])
    printed = capsys.readouterr()
    assert not ended.value.code, printed
    assert "2 job(s) to submit, 25:00:00 asked for in all\n" in printed.out
    assert "packed: 19 tasks in 2 job(s); 17 jobs and 17 server starts saved\n" in printed.out


def test_what_packing_saves_is_told_to_scripts_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--service", "tsubame", "--node", "node_q", "--model", "org/m")
    with pytest.raises(SystemExit):
        main(["-w", str(tmp_path), "plan", *words, "--pack", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["packed"] == {"tasks": 19, "jobs": 2, "jobs_saved": 17}
    assert len({one["job"] for one in shown["items"]}) == 2


@pytest.mark.parametrize("wrong", ["1:00", "25:00:00", "00:00:00"])
def test_a_walltime_that_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    words = ("--service", "tsubame", "--node", "node_q", "--model", "org/m", "--dry-run")
    with pytest.raises(SystemExit) as ended:
        main(["-w", str(tmp_path), "submit", *words, "--pack-walltime", wrong])
    assert ended.value.code == 2
    assert "--pack-walltime" in capsys.readouterr().err
