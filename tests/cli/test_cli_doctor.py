"""`hpcjobs doctor`: on a machine with the programs that a test gives it, and no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.cli import main

Run = Callable[..., tuple[int, str]]
BASICS = ("bash", "setsid", "timeout", "grep", "sed", "od", "env")
ENV = """\
REPO_PATH={root}/repo
HUGGINGFACE_CACHE={root}/cache/hf
UV_CACHE={root}/uv
VLLM_CACHE={root}/cache/vllm
TSUBAME_GROUP=tga-nobody
ABCI_GROUP=gnobody
HF_TOKEN=hf_secret
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in BASICS:
        (directory / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(directory))
    for name in ("NO_EMOJI", "HF_TOKEN", "OPENAI_API_KEY", "REPO_PATH", "TSUBAME_GROUP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HPCJOBS_LOCAL_DIR", str(tmp_path / "queue"))
    return directory


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "ws"
    path.mkdir()
    return path


@pytest.fixture
def run(workspace: Path, programs: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Gives `hpcjobs doctor` in the workspace; its exit code and what it printed."""

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(workspace), "--no-emoji", "doctor", *words])
        shown = capsys.readouterr()
        return int(str(ended.value.code)), shown.out + shown.err

    return run


def program(programs: Path, name: str, text: str) -> None:
    (programs / name).write_text(f"#!/bin/bash\n{text}\n")
    (programs / name).chmod(0o755)


def by_name(shown: str) -> dict[str, dict[str, Any]]:
    """The checks of `--json`; the worst of each name."""
    order = ["ok", "skipped", "warn", "fail"]
    found = sorted(json.loads(shown)["checks"], key=lambda one: order.index(one["state"]))
    return {one["name"]: one for one in found}


def test_without_a_service_only_general_things_are_checked(run: Run, workspace: Path) -> None:
    code, shown = run("--json")
    checks = by_name(shown)
    assert code == 0
    assert json.loads(shown)["ok"] is True
    assert checks["workspace"]["state"] == "ok"
    assert checks[".env"]["state"] == "warn"
    assert "service" not in checks
    assert list(workspace.iterdir()) == []


def test_env_that_others_can_read_fails_and_says_what_to_do(run: Run, workspace: Path) -> None:
    (workspace / ".env").write_text(ENV.format(root=workspace))
    (workspace / ".env").chmod(0o644)
    code, shown = run()
    assert code == 1
    assert "FAIL  .env " in shown
    assert f"do: chmod 600 {workspace}/.env" in shown
    assert "hf_secret" not in shown


def test_a_login_node_of_tsubame_that_is_half_prepared(
    run: Run, workspace: Path, programs: Path
) -> None:
    (workspace / ".env").write_text(ENV.format(root=workspace))
    (workspace / ".env").chmod(0o600)
    for name in ("qsub", "qdel", "qacct"):
        program(programs, name, f"touch '{workspace}/{name}-was-run'; exit 1")
    program(programs, "qstat", "exit 0")
    program(
        programs,
        "t4-user-info",
        'case "$1 $2" in\n'
        '"disk home") printf "uid name b_size(GB) b_quota(GB) i_files i_quota\\n--\\n";'
        ' echo "2011 me 24 25 100 2000000";;\n'
        '"group point") echo "2007 tga-nobody 100.00 0.00";;\nesac',
    )
    code, shown = run("--service", "tsubame", "--json")
    checks = by_name(shown)
    assert code == 1
    states = {name: one["state"] for name, one in checks.items()}
    assert states["commands"] == states["scheduler"] == states["accounting"] == "ok"
    assert states["group"] == states["points"] == "fail"
    assert states["quota"] == "warn"
    assert states["HF_HOME"] == "ok"
    assert states["environment vllm"] == "fail"
    assert states["script node_f"] == states["script cpu_160"] == "ok"
    assert all(one["do"] for one in checks.values() if one["state"] in ("warn", "fail"))
    assert {path.name for path in workspace.iterdir()} == {".env"}  # and qsub was not run


def test_a_workspace_whose_path_no_directive_can_hold_is_told(
    workspace: Path, programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "a b").mkdir()
    with pytest.raises(SystemExit):
        main(["-w", str(workspace / "a b"), "doctor", "--service", "tsubame", "--json"])
    check = by_name(capsys.readouterr().out)["scripts"]
    assert check["state"] == "fail"
    assert "cannot stand in a line" in check["what"]
    assert "move the workspace to a plain path" in check["do"]


def test_a_scheduler_that_is_down_is_told_in_its_own_words(run: Run, programs: Path) -> None:
    for name in ("qsub", "qselect", "qdel"):
        program(programs, name, "exit 1")
    program(
        programs, "qstat", 'echo "qstat: cannot connect to server pbs1 (errno=111)" >&2; exit 1'
    )
    code, shown = run("--service", "abci", "--json")
    checks = by_name(shown)
    assert code == 1
    assert checks["scheduler"]["state"] == "fail"
    assert "cannot connect to server pbs1" in checks["scheduler"]["what"]


def test_missing_commands_are_named(run: Run) -> None:
    code, shown = run("--service", "slurm", "--json")
    checks = by_name(shown)
    assert code == 1
    assert checks["commands"]["what"] == "not on PATH: sbatch squeue scancel"
    assert checks["scheduler"]["state"] == "skipped"
    assert "HUGGINGFACE_CACHE, VLLM_CACHE, REPO_PATH" in checks[".env values"]["what"]


def test_slurm_is_asked_and_nothing_is_submitted(run: Run, workspace: Path, programs: Path) -> None:
    program(programs, "sbatch", f"touch '{workspace}/submitted'")
    for name in ("squeue", "scancel"):
        program(programs, name, "exit 1")
    program(programs, "scontrol", "echo 'Slurmctld(primary) at vm is UP'")
    program(programs, "sinfo", "echo gpu")
    program(programs, "sacct", "exit 0")
    _, shown = run("--service", "slurm", "--json")
    checks = by_name(shown)
    assert checks["scheduler"]["state"] == checks["accounting"]["state"] == "ok"
    assert checks["partitions"]["state"] == "fail"
    assert "cpu (node cpu)" in checks["partitions"]["what"]
    assert not (workspace / "submitted").exists()


def test_the_local_service_works_where_tests_run(run: Run) -> None:
    _, shown = run("--service", "local", "--json")
    checks = by_name(shown)
    assert checks["local queue"]["state"] == "ok"
    assert checks["script gpu_1"]["state"] == checks["script cpu"]["state"] == "ok"
    assert checks["GPUs"]["state"] == "skipped"


def test_a_template_that_bash_cannot_read_fails(run: Run, workspace: Path) -> None:
    folder = workspace / "templates" / "servers"
    folder.mkdir(parents=True)
    (folder / "vllm.sh.j2").write_text("launch_server() {\n  if\n}\n")
    code, shown = run("--service", "local", "--json")
    assert code == 1
    assert "bash cannot parse" in by_name(shown)["scripts"]["what"]


def test_a_model_is_looked_for_in_the_cache_and_not_asked_for_offline(run: Run) -> None:
    _, shown = run("--model", "org/name", "--json")
    checks = by_name(shown)
    assert checks["cache org/name"]["state"] == "skipped"
    assert "HF_HUB_OFFLINE=1" in checks["access org/name"]["what"]


@pytest.mark.parametrize("words", [("--service", "tsubam"), ("--model", "a/b/c")])
def test_a_wrong_name_is_wrong_input(run: Run, words: tuple[str, ...]) -> None:
    code, shown = run(*words)
    assert code == 2
    assert "error:" in shown


def test_env_that_is_not_utf8_is_one_failure_among_other_checks(run: Run, workspace: Path) -> None:
    (workspace / ".env").write_bytes(b"A=\xff\n")
    (workspace / ".env").chmod(0o600)
    code, shown = run("--json")
    checks = by_name(shown)
    assert code == 1
    assert "not UTF-8" in checks[".env"]["what"]
    assert checks["journal"]["state"] == "ok"


def test_a_workspace_that_cannot_be_written_is_told(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcjobs.doctor.probe.write_failure", lambda path: "Read-only file system")
    code, shown = run("--json")
    assert code == 1
    assert "Read-only file system" in by_name(shown)["workspace"]["what"]


def test_a_torn_journal_is_told(run: Run, workspace: Path) -> None:
    (workspace / "jobs").mkdir()
    (workspace / "jobs" / "journal.jsonl").write_text('{"event": "planned", "job": "a"}\n{"torn\n')
    code, shown = run("--json")
    assert code == 0
    assert by_name(shown)["journal"]["state"] == "warn"


def test_a_key_that_is_only_in_the_environment_is_told_and_not_shown(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / ".env").write_text("A=b\n")
    (workspace / ".env").chmod(0o600)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code, shown = run("--json")
    assert code == 0
    assert "OPENAI_API_KEY" in by_name(shown)[".env keys"]["what"]
    assert "sk-secret" not in shown
