"""What is typed wrong is told in one clear message, before anything is written or submitted."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from hpcjobs import commands, journal
from hpcjobs.cli import _COMMANDS, main
from hpcjobs.config.services import read_service, service_names
from hpcjobs.model import Job, TaskRun
from hpcjobs.store import job_to_json
from hpcjobs.workspace import Workspace, defaults_root

ROOT = Path(__file__).resolve().parents[2]
SWALLOW = "tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5"
ON_TSUBAME = {"service": "tsubame", "node": "node_q", "model": "org/name", "tasks": "ja_mmlu"}
ON_LOCAL = {**ON_TSUBAME, "service": "local", "node": "gpu_1"}
DEMO = {
    "service": "local",
    "node": "cpu",
    "model": "hpcjobs/tiny-demo",
    "settings": "demo",
    "provider": "llamacpp",
    "tasks": "demo",
}


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path


@pytest.fixture
def run(
    tmp_path: Path,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Gives a command in the workspace, on a machine that has bash and no scheduler."""
    programs, here = tmp_path / "programs", tmp_path / "here"
    programs.mkdir()
    here.mkdir()
    (programs / "bash").symlink_to(shutil.which("bash") or "bash")
    for name in os.environ:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("HPCJOBS_LOCAL_DIR", str(tmp_path / "spool"))
    monkeypatch.chdir(here)

    def run(*words: object, where: Path = workspace) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(where), *map(str, words)])
        shown = capsys.readouterr()
        return Ended(ended.value.code, shown.out, shown.err)  # type: ignore[arg-type]

    return run


def submit(options: dict[str, str], *words: str, **changes: str) -> list[str]:
    """The words of a `submit`."""
    given = {**options, **changes}
    return ["submit", *(f"--{name.replace('_', '-')}={given[name]}" for name in given), *words]


def files(path: Path) -> list[Path]:
    return sorted(path.rglob("*"))


def assert_one_message(ended: Ended, code: int = 2) -> None:
    assert ended.code == code, ended
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("error: ") == 1
    assert "Traceback" not in ended.err


# ---- Names ---------------------------------------------------------------------------------------

WRONG_NAMES = {
    "service": (
        submit(ON_TSUBAME, service="tsubam"),
        ["--service: unknown service 'tsubam'", "one of: abci, local, slurm, tsubame"],
        "tsubame",
    ),
    "node": (
        submit(ON_TSUBAME, node="nodeq"),
        ["--node: unknown node of tsubame: 'nodeq'", "expected: one of: cpu_16, cpu_160"],
        "node_q",
    ),
    "task": (
        submit(ON_TSUBAME, tasks="ja_mmlo"),
        ["--tasks: no task, group or pattern 'ja_mmlo'", "see them all with: hpcjobs tasks"],
        "ja_mmlu",
    ),
    "group": (
        submit(ON_TSUBAME, tasks="defalt"),
        ["--tasks: no task, group or pattern 'defalt'", "a group: default, ja, en"],
        "default",
    ),
    "pattern": (
        submit(ON_TSUBAME, tasks="xx_*"),
        ["--tasks: no task, group or pattern 'xx_*'"],
        None,
    ),
    "no tasks": (submit(ON_TSUBAME, tasks=","), ["--tasks: no tasks are chosen"], None),
    "settings": (
        submit(DEMO, settings="dmo"),
        ["hpcjobs/tiny-demo.yaml: unknown settings of hpcjobs/tiny-demo: 'dmo'", "one of: demo"],
        "demo",
    ),
    "model without settings": (
        submit(DEMO, model="hpcjobs/tiny-dem"),
        ["--settings demo: the model 'hpcjobs/tiny-dem' has no settings", "template.yaml"],
        "hpcjobs/tiny-demo",
    ),
    "provider": (
        submit(ON_TSUBAME, provider="vlm"),
        ["--provider: unknown provider 'vlm'", "one of: anthropic, deepinfra, hf, "],
        "vllm",
    ),
    "priority of a site": (
        submit(ON_TSUBAME, priority="-6"),
        ["--priority: unknown priority of tsubame: '-6'", "one of: -3, -4, -5"],
        None,
    ),
    "priority": (
        submit(ON_LOCAL, priority="high"),
        ["--priority: 'high' is not allowed", "expected: a whole number"],
        None,
    ),
    "doubled device": (
        submit(ON_LOCAL, cuda_visible_devices="0,0"),
        ["--cuda-visible-devices: '0' in '0,0'", "each once, such as 0,1"],
        None,
    ),
    "no device": (
        submit(ON_LOCAL, cuda_visible_devices="GPU-1"),
        ["--cuda-visible-devices: 'GPU-1' in 'GPU-1'", "indexes as nvidia-smi lists them"],
        None,
    ),
    "number of devices": (
        submit(ON_LOCAL, cuda_visible_devices="0,1"),
        ["--cuda-visible-devices: 2 device(s) for gpu_1", "expected: 1 device(s)"],
        None,
    ),
    "devices of a site": (
        submit(ON_TSUBAME, cuda_visible_devices="0"),
        ["--cuda-visible-devices: on tsubame the scheduler gives out the GPUs", "leave it out"],
        None,
    ),
    "vllm without a GPU": (
        submit(ON_TSUBAME, node="cpu_4"),
        ["--node: vllm serves on GPUs, and the node cpu_4 has none", "another --provider"],
        None,
    ),
    "openai with a GPU": (
        submit(ON_TSUBAME, provider="openai"),
        ["--node: openai serves elsewhere", "choose a CPU node"],
        None,
    ),
    "no weights": (
        submit(DEMO, settings=""),
        ["--settings: llamacpp must be told which weights", "settings with the key 'weights'"],
        None,
    ),
    "command": (["sumbit"], ["unknown command 'sumbit'", "see: hpcjobs --help"], "submit"),
    "job": (["logs", "zzz"], ["unknown job 'zzz'", "see them with: hpcjobs status"], None),
    "no job": (["cancel"], ["name the jobs, or say --all"], None),
}


@pytest.mark.parametrize("words, parts, near", WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_a_wrong_name_is_told_with_what_is_right(
    run: Run, workspace: Path, words: list[str], parts: list[str], near: str | None
) -> None:
    for last in ("--dry-run", "--yes") if words[0] == "submit" else ("--json",):
        ended = run(*words, *([last] if words[0] != "logs" else []))
        assert_one_message(ended)
        for part in parts:
            assert part in ended.err
        assert near is None or f"did you mean: {near}\n" in ended.err
    assert files(workspace) == []


@pytest.mark.parametrize(
    "model",
    [
        *("", "../x", "/abs/path", "a/b/c", "a/", "/a", "a/..", "./a", "-x", "--help", "a/-x/.."),
        *("a\0b", "x" * 300, "日本" * 40, " a", "a ", "org/name\n", "org/\udcff"),
    ],
    ids=ascii,
)
def test_a_hostile_model_name_is_refused(run: Run, workspace: Path, model: str) -> None:
    ended = run(*submit(ON_TSUBAME, "--dry-run", model=model))
    assert_one_message(ended)
    assert "--model: the model name" in ended.err
    assert "expected: ORG/NAME" in ended.err
    assert files(workspace) == []


@pytest.mark.parametrize(
    "words",
    [
        ["--nonsense"],
        ["submit", "--nonsense"],
        ["submit"],
        ["status", "--interval", "x"],
        submit(ON_TSUBAME, "--dry-run", max_samples="0"),
        submit(ON_TSUBAME, "stray"),
        ["logs"],
        ["logs", "a", "--attempt", "0"],
        ["wait", "--timeout", "-1"],
        ["tasks", "--bad"],
    ],
    ids=" ".join,
)
def test_wrong_options_end_with_2_and_point_to_the_help(run: Run, words: list[str]) -> None:
    ended = run(*words)
    assert (ended.code, ended.out) == (2, "")
    assert "--help" in ended.err
    assert "Error: " in ended.err


# ---- Files ---------------------------------------------------------------------------------------


def written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "name, content",
    [
        ("conf/tasks_runtime.csv", ""),
        ("conf/tasks_runtime.csv", "key,script,result_dir,framework,hrt_q\n"),
        ("conf/tasks_runtime.csv", b"\xff\xfe"),
        ("conf/task_groups.yaml", "ja_mmlu: [ja_gpqa]\n"),
        ("conf/task_groups.yaml", b"\xff"),
        ("conf/providers.yaml", "vllm: [\n"),
        ("conf/providers.yaml", ""),
        ("conf/services/tsubame.yaml", "title: x\n"),
        ("conf/services/tsubame.yaml", b"\x93\xfa\x96\x7b"),
        ("generation_settings/task_settings.csv", "key\n"),
        (".env", b"A=\xff\n"),
    ],
)
def test_a_wrong_file_is_told_by_its_name(
    run: Run, workspace: Path, name: str, content: str | bytes
) -> None:
    written(workspace / name, content)
    ended = run(*submit(ON_TSUBAME, "--dry-run"))
    if (name, content) == ("conf/providers.yaml", ""):  # a file without any provider
        assert "unknown provider 'vllm'" in ended.err
    else:
        assert Path(name).name in ended.err
    assert_one_message(ended)


@pytest.mark.parametrize(
    "name", ["conf/tasks_runtime.csv", "conf/services/tsubame.yaml", "conf/providers.yaml"]
)
def test_a_directory_in_the_place_of_a_file_is_told(run: Run, workspace: Path, name: str) -> None:
    (workspace / name).mkdir(parents=True)
    ended = run(*submit(ON_TSUBAME, "--dry-run"))
    assert_one_message(ended, code=5)
    assert f"cannot read {workspace / name}: Is a directory" in ended.err


@pytest.mark.parametrize("name", ["conf/tasks_runtime.csv", "conf/services/tsubame.yaml", ".env"])
def test_a_file_without_the_right_to_read_it_is_told(workspace: Path, name: str) -> None:
    path = workspace / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == ".env":
        path.write_text("REPO_PATH=/somewhere\n")
    else:
        shutil.copy(defaults_root() / name, path)
    path.chmod(0)
    argv = [sys.executable, "-m", "hpcjobs", "-w", workspace, *submit(ON_TSUBAME, "--dry-run")]
    if os.geteuid() == 0:  # root, too, then has only the rights that the file gives
        if not shutil.which("setpriv"):
            pytest.skip("NOT TESTED: missing rights (no setpriv to give up root's)")
        argv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *argv]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert_one_message(Ended(done.returncode, done.stdout, done.stderr), code=5)
    assert f"cannot read {path}: Permission denied" in done.stderr
    assert "do: check who owns it" in done.stderr


NEEDY = {
    "scheduler": "local",
    "times": {"walltime_max": "01:00:00"},
    "options": {"cpu_slots": "1"},
    "exports": {"CACHE": "${REPO_PATH}"},
    "nodes": {"cpu": {"cores": 1, "memory_gb": 1, "runtime": "hrt_q"}},
}


@pytest.fixture
def needy(workspace: Path) -> Path:
    """A service that can be submitted to, if REPO_PATH is set."""
    return written(workspace / "conf/services/needy.yaml", yaml.safe_dump(NEEDY))


def test_without_env_file_a_real_submit_says_what_to_do(
    run: Run, workspace: Path, needy: Path, tmp_path: Path
) -> None:
    ended = run(*submit(DEMO, "--yes", service="needy"))
    assert_one_message(ended)
    assert f"{workspace}/.env, which does not exist: not set: REPO_PATH" in ended.err
    assert "do: copy .env_template to .env, fill it in, and: chmod 600 .env" in ended.err
    assert not (tmp_path / "spool").exists()
    assert not (workspace / "jobs").exists()


@pytest.mark.parametrize("value", ["/path/to/repo", "<your path>", ""])
def test_a_value_left_at_its_placeholder_counts_as_not_set(
    run: Run, workspace: Path, needy: Path, value: str
) -> None:
    written(workspace / ".env", f"REPO_PATH={value}\n").chmod(0o600)
    ended = run(*submit(DEMO, "--yes", service="needy"))
    assert_one_message(ended)
    assert "not set: REPO_PATH" in ended.err
    assert ("(REPO_PATH still at the placeholder of the template)" in ended.err) == bool(value)
    assert not (workspace / "jobs").exists()


def test_a_missing_key_is_told_before_anything_is_submitted(run: Run, workspace: Path) -> None:
    options = {**ON_LOCAL, "node": "cpu", "provider": "openai", "model": "openai/o3-mini"}
    ended = run(*submit(options, "--yes"))
    assert_one_message(ended)
    assert "not set: OPENAI_API_KEY" in ended.err
    assert files(workspace) == []


def test_an_env_file_that_others_can_read_is_warned_of(run: Run, workspace: Path) -> None:
    path = written(workspace / ".env", "REPO_PATH=/somewhere\n")
    path.chmod(0o644)
    ended = run(*submit(ON_TSUBAME, "--dry-run"))
    assert ended.code == 0
    assert ended.err.count("can be read by others (mode 644); do: chmod 600") == 1
    path.chmod(0o600)
    assert "can be read" not in run(*submit(ON_TSUBAME, "--dry-run")).err


def test_without_a_gpu_a_gpu_node_is_refused(run: Run, workspace: Path) -> None:
    ended = run(*submit(ON_LOCAL, "--yes"))
    assert_one_message(ended)
    assert "--node: gpu_1 needs 1 GPU(s); this machine shows 0" in ended.err
    assert files(workspace) == []


def test_with_nobody_to_ask_yes_must_be_said(
    run: Run, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        for more in ((), ("--json",)):
            ended = run(*submit(DEMO, *more))
            assert ended.code == 2
            assert "2 job(s) would be submitted, and nobody is there to be asked" in ended.err
            assert "do: add --yes" in ended.err
    assert not (tmp_path / "spool").exists()
    assert not (workspace / "jobs" / "journal.jsonl").exists()


def test_a_workspace_that_does_not_exist_is_told(run: Run, tmp_path: Path) -> None:
    ended = run("status", where=tmp_path / "absent")
    assert_one_message(ended)
    assert "--workspace: no such directory: " in ended.err
    assert "do: create it with: hpcjobs init " in ended.err


def test_a_workspace_whose_path_is_not_utf8_is_refused(run: Run, tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/\xc6\xfc\xcb\xdc"))
    path.mkdir()
    for words in (["status"], ["tasks"], submit(DEMO, "--yes")):
        ended = run(*words, where=path)
        assert_one_message(ended)
        assert "is not UTF-8" in ended.err
    assert files(path) == []


def test_init_writes_a_workspace_once_and_never_over_another(run: Run, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert run("init", new).code == 0
    before = {path: path.read_bytes() for path in files(new) if path.is_file()}
    assert {"conf", "generation_settings", ".env_template"} <= {p.name for p in new.iterdir()}
    ended = run("init", new)
    assert_one_message(ended)
    assert f"{new}/conf exists already" in ended.err
    assert {path: path.read_bytes() for path in files(new) if path.is_file()} == before
    assert run("submit", *submit(DEMO, "--dry-run")[1:], where=new).code == 0


# ---- Jobs ----------------------------------------------------------------------------------------


def job(key: str) -> Job:
    return Job(
        id=key,
        digest=key,
        service="local",
        node="cpu",
        provider="llamacpp",
        model="hpcjobs/tiny-demo",
        settings_name="demo",
        settings_version="1",
        settings_path="",
        tasks=(TaskRun("demo_sums", "demo_sums", "demo/sums", "lm_eval", {}),),
        walltime=600,
        result_prefix="llamacpp",
        model_names=("hpcjobs/tiny-demo",),
    )


@pytest.fixture
def ended_jobs(workspace: Path) -> tuple[str, ...]:
    """Two jobs that failed long ago."""
    keys = ("abc1234", "abd5678")
    for key in keys:
        facts: list[tuple[str, dict[str, Any]]] = [
            (journal.SUBMITTING, {"name": f"{key}-01_x", "place": "nowhere"}),
            (journal.SUBMITTED, {"native_id": "1"}),
            (journal.ENDED, {"state": "FAILED", "reason": "TIMEOUT", "detail": "too long"}),
        ]
        events = [journal.event(journal.PLANNED, 0.0, key, spec=job_to_json(job(key)))]
        events += [journal.event(kind, 1.0, key, 1, **more) for kind, more in facts]
        journal.append(Workspace(workspace).journal, events)
    return keys


@pytest.mark.parametrize("command", ["status", "wait", "logs", "cancel"])
def test_the_beginning_of_an_id_must_be_that_of_one_job(
    run: Run, ended_jobs: tuple[str, ...], command: str
) -> None:
    ended = run(command, "ab")
    assert_one_message(ended)
    assert "'ab' is the beginning of 2 jobs" in ended.err
    assert "expected: one of: abc1234, abd5678" in ended.err
    ended = run(command, "abx1234")
    assert_one_message(ended)
    assert "unknown job 'abx1234'" in ended.err
    assert "did you mean: abc1234" in ended.err
    for blank in ("", " ", "-"):
        assert_one_message(run(command, blank))
    shown = run(command, "abc", *(["--json"] if command != "logs" else []))
    assert shown.code == {"status": 0, "wait": 1, "logs": 2, "cancel": 0}[command]
    if command != "logs":
        assert [one["job"] for one in json.loads(shown.out)["jobs"]] == ["abc1234"]


def test_what_has_ended_is_shown_once_and_then_counted(
    run: Run, ended_jobs: tuple[str, ...]
) -> None:
    first, second = run("status").out, run("status").out
    for key in ended_jobs:
        assert f"{key}-01" in first
        assert key not in second
    assert second.startswith(f"{len(ended_jobs)} ended and shown before: see them with ")
    assert first.splitlines()[-1] == second.splitlines()[-1]  # the counts
    for words in (["--all"], ["abc1234"], ["--model", "hpcjobs/tiny-demo"]):
        assert "abc1234-01" in run("status", *words).out
    assert len(json.loads(run("status", "--json").out)["jobs"]) == len(ended_jobs)


def test_what_was_shown_as_json_was_not_shown_to_a_person(
    run: Run, ended_jobs: tuple[str, ...]
) -> None:
    run("status", "--json")
    assert "abc1234-01" in run("status").out


@pytest.mark.parametrize("kept", ["", "{", "{}", "[1]", '["abc1234-02"]'])
def test_what_is_not_known_to_have_been_shown_is_shown(
    run: Run, workspace: Path, ended_jobs: tuple[str, ...], kept: str
) -> None:
    (workspace / "jobs" / ".shown.json").write_text(kept)
    assert "abc1234-01" in run("status").out


def test_a_job_named_twice_is_shown_once(run: Run, ended_jobs: tuple[str, ...]) -> None:
    for command in ("status", "wait", "cancel"):
        shown = json.loads(run(command, "abc", "abc1234-01", "ABC", "--json").out)
        assert len(shown["jobs"]) == 1


def test_a_model_that_no_job_is_about_is_told(run: Run, ended_jobs: tuple[str, ...]) -> None:
    for command in ("status", "aggregate"):
        ended = run(command, "--model", "hpcjobs/tiny-dmo")
        assert_one_message(ended)
        assert "--model: unknown model 'hpcjobs/tiny-dmo'" in ended.err
        assert "did you mean: hpcjobs/tiny-demo" in ended.err


def test_logs_of_what_is_not_there_say_what_is(run: Run, ended_jobs: tuple[str, ...]) -> None:
    assert "expected: one of: 1" in run("logs", "abc", "--attempt", 2).err
    assert "expected: one of: demo_sums" in run("logs", "abc", "--task", "x").err
    ended = run("logs", "abc", "--server")
    assert_one_message(ended)
    assert "there is no server.log" in ended.err
    assert "do: see how it stands with: hpcjobs status abc1234" in ended.err


def test_a_torn_line_of_the_journal_is_told_and_costs_one_event(
    run: Run, workspace: Path, ended_jobs: tuple[str, ...]
) -> None:
    path = Workspace(workspace).journal
    path.write_bytes(path.read_bytes()[:-20])
    ended = run("status", "abc")
    assert ended.code == 0
    assert "timeout 1" in ended.out
    assert "warning: the journal has 1 torn line(s), passed over: 8" in ended.err


# ---- Dry runs ------------------------------------------------------------------------------------

NODES = [
    (service, node)
    for service in service_names(Workspace(defaults_root()))
    for node in read_service(Workspace(defaults_root()), service).nodes
]
SUBMIT = {"tsubame": "qsub", "abci": "qsub", "slurm": "sbatch", "local": "hpcjobs.local submit"}


def of_node(service: str, node: str) -> dict[str, str]:
    gpus = read_service(Workspace(defaults_root()), service).nodes[node].gpus
    provider, model = ("vllm", SWALLOW) if gpus else ("openai", "openai/o3-mini-2025-01-31")
    return {**ON_TSUBAME, "service": service, "node": node, "provider": provider, "model": model}


@pytest.mark.parametrize("service, node", NODES)
def test_a_dry_run_needs_neither_scheduler_nor_env_file(
    run: Run, workspace: Path, service: str, node: str
) -> None:
    ended = run(*submit(of_node(service, node), "--dry-run"))
    assert ended.code == 0, ended.err
    assert "#!/bin/bash\n" in ended.out
    (command,) = (one for one in ended.out.splitlines() if one.startswith("would run: "))
    assert SUBMIT[service] in command
    assert command.endswith("/01/job.sh")
    unset = [line for line in ended.err.splitlines() if "is not set in" in line]
    assert all(line.startswith("warning: ") for line in unset)
    assert bool(unset) == (service != "local")
    assert ("this machine shows 0" in ended.err) == (service == "local" and node != "cpu")
    assert files(workspace) == []


def test_a_dry_run_is_the_same_as_json(run: Run) -> None:
    for service, node in NODES[::5]:
        ended = run(*submit(of_node(service, node), "--dry-run", "--json"))
        (one,) = json.loads(ended.out)["jobs"]
        assert one["script"].startswith("#!/bin/bash\n")
        assert Path(one["argv"][-1]) == Path(one["path"])
        assert SUBMIT[service] in shlex.join(one["argv"])


def test_render_writes_one_script_a_job_and_the_same_again(
    run: Run, workspace: Path, tmp_path: Path
) -> None:
    seen = []
    for name in ("one", "two"):
        out = tmp_path / name
        words = submit({**ON_TSUBAME, "tasks": "ja_*", "output_dir": str(out)})
        ended = run("render", *words[1:])
        assert ended.code == 0, ended.err
        assert len(ended.out.splitlines()) == len(files(out)) > 5
        assert {path.suffix for path in files(out)} == {".sh"}
        seen.append({path.name: path.read_bytes() for path in files(out)})
    assert seen[0] == seen[1]
    assert files(workspace) == []


def test_render_into_a_file_is_refused(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "file", "")
    ended = run("render", *submit({**DEMO, "output_dir": str(path)})[1:])
    assert ended.code == 2
    ended = run("render", *submit({**DEMO, "output_dir": str(path / "below")})[1:])
    assert_one_message(ended, code=5)


# ---- For scripts ---------------------------------------------------------------------------------


def test_what_is_printed_for_scripts_can_be_parsed(
    run: Run, tmp_path: Path, ended_jobs: tuple[str, ...]
) -> None:
    rendered = submit({**ON_TSUBAME, "output_dir": str(tmp_path / "out")})[1:]
    commands: dict[tuple[str, ...], int] = {
        ("tasks",): 0,
        ("tasks", "ja"): 0,
        ("status",): 0,
        ("wait",): 0,
        ("wait", "abc"): 1,
        ("wait", "abc", "--timeout", "0"): 1,
        ("aggregate",): 1,
        ("cancel", "--all"): 0,
        ("render", *rendered): 0,
        tuple(submit(ON_TSUBAME, "--dry-run")): 0,
    }
    for words, code in commands.items():
        ended = run(*words, "--json")
        assert ended.code == code, (words, ended.err)
        assert isinstance(json.loads(ended.out), dict)
    for wrong in (["tasks", "x"], ["status", "x"], ["cancel", "x"], submit(ON_TSUBAME, tasks="x")):
        assert_one_message(run(*wrong, "--json"))


@pytest.mark.parametrize("command", ["", *_COMMANDS])
def test_every_command_has_help(run: Run, command: str) -> None:
    ended = run(*command.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Usage: ")
    assert "Options:" in ended.out


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "words", [["tasks"], ["submit", *submit(ON_TSUBAME, "--dry-run", tasks="all")[1:]]]
)
def test_a_reader_who_has_seen_enough_is_no_error(workspace: Path, words: list[str]) -> None:
    command = shlex.join([sys.executable, "-m", "hpcjobs", "-w", str(workspace), *words])
    for reader in ("head -n 1", "true", "head -c 1"):
        done = shell(f"{command} | {reader}")
        left = [one for one in done.stderr.splitlines() if not one.startswith("warning: ")]
        assert (done.returncode, left) == (0, [])


@pytest.mark.parametrize("streams", [("stdout",), ("stdout", "stderr")])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["wait", "abc1234"], 1),
        (["wait", "abc1234", "--json"], 1),
        (["aggregate"], 1),
        (["wait", "nobody"], 2),
        (["status", "nobody"], 2),
        (["cancel", "abc"], 0),
        (["services", "check"], 0),
    ],
)
def test_a_reader_who_goes_away_does_not_change_what_a_command_does_and_says(
    workspace: Path,
    ended_jobs: tuple[str, ...],
    words: list[str],
    code: int,
    streams: tuple[str, ...],
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hpcjobs", "-w", str(workspace), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            | dict.fromkeys(streams, writing),
        )
    finally:
        os.close(writing)
    assert done.returncode == code


def test_signs_that_the_terminal_cannot_show_are_no_error(
    workspace: Path, ended_jobs: tuple[str, ...]
) -> None:
    command = shlex.join([sys.executable, "-m", "hpcjobs", "-w", str(workspace), "status"])
    for encoding in ("ascii", "euc-jp", "latin-1"):
        done = shell(command, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert "timeout" in done.stdout
    done = shell(f"{command}", NO_EMOJI="1")
    assert done.stdout.isascii()


def test_a_rendered_script_that_somebody_changed_is_not_overwritten_unasked(
    run: Run, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["render", *submit({**ON_TSUBAME, "output_dir": str(output)})[1:]]
    assert run(*words).code == 0
    (path,) = output.iterdir()
    rendered = path.read_text()
    path.write_text("mine")
    refused = run(*words)
    assert refused.code == 2
    assert "with another content" in refused.err
    assert path.read_text() == "mine"
    assert run(*words, "--overwrite").code == 0
    assert path.read_text() == rendered


def test_a_task_that_a_model_judges_needs_its_key_before_it_is_submitted(
    run: Run, workspace: Path
) -> None:
    providers = (defaults_root() / "conf" / "providers.yaml").read_text()
    (workspace / "conf").mkdir()
    (workspace / "conf" / "providers.yaml").write_text(
        providers.replace("needs_gpu: true", "needs_gpu: false")
    )
    words = submit({**ON_LOCAL, "node": "cpu", "tasks": "ja_mtbench"})
    ended = run(*words, "--yes")
    assert ended.code == 2
    assert "not set: OPENAI_API_KEY" in ended.err
    assert not (workspace / "jobs").exists()


def test_what_cannot_be_reached_can_be_given_up(run: Run, workspace: Path) -> None:
    key = "abcdefg"
    job = Job(key, "d", "local", "cpu", "llamacpp", "org/name", "", "", "", (), 60)
    events = [
        journal.event(journal.PLANNED, 1.0, key, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, 1.0, key, 1, name=f"{key}-01_x", place="gone:/q"),
    ]
    journal.append(workspace / "jobs" / "journal.jsonl", events)
    assert "it can be asked for only at gone:/q" in run("status").out
    assert run("cancel", key).code == 1
    assert "❔ unknown" in run("status").out
    forgotten = run("cancel", key, "--forget")
    assert forgotten.code == 0
    assert "0 asked to end, 0 had ended already, 1 given up" in forgotten.out
    assert "given up by hand" in run("status").out


def elsewhere(workspace: Path, key: str) -> None:
    """A job that was submitted on another machine."""
    events = [
        journal.event(journal.PLANNED, 1.0, key, spec=job_to_json(job(key))),
        journal.event(journal.SUBMITTING, 1.0, key, 1, name=f"{key}-01_x", place="gone:/q"),
        journal.event(journal.SUBMITTED, 1.0, key, 1, native_id="1"),
    ]
    journal.append(Workspace(workspace).journal, events)


def test_wait_is_not_about_what_ended_and_was_seen_before(
    run: Run, ended_jobs: tuple[str, ...]
) -> None:
    assert run("wait") == (0, "no job is under way\n", "")
    assert json.loads(run("wait", "--json").out) == {"jobs": []}
    assert run("wait", "abc").code == 1


@pytest.mark.parametrize("words", [(), ("xyz",)])
def test_what_can_only_be_asked_for_elsewhere_is_not_waited_for(
    run: Run, workspace: Path, ended_jobs: tuple[str, ...], words: tuple[str, ...]
) -> None:
    elsewhere(workspace, "xyz1234")
    ended = run("wait", *words)
    assert ended.code == 3
    assert "warning: not waited for: xyz1234: it can be asked for only at gone:/q" in ended.err
    assert "hpcjobs cancel xyz1234 --forget" in ended.err
    assert ended.err.endswith("not finished yet\n")


def test_what_ended_and_nobody_has_seen_yet_is_told_by_wait(run: Run, workspace: Path) -> None:
    elsewhere(workspace, "xyz1234")
    directory = workspace / "jobs" / "xyz1234" / "01"
    directory.mkdir(parents=True)
    (directory / "exit_code").write_text("7 2026-01-01T00:00:00Z\n")
    ended = run("wait")
    assert ended.code == 1
    assert "xyz1234-01" in ended.out


def test_a_free_trial_that_failed_does_not_come_back_as_a_job_that_is_paid_for(
    run: Run, workspace: Path
) -> None:
    key = "trial12"
    trial = dataclasses.replace(job(key), max_samples=2, trial=True)
    events = [
        journal.event(journal.PLANNED, 1.0, key, spec=job_to_json(trial)),
        journal.event(journal.SUBMITTING, 1.0, key, 1, name=f"{key}-01_x", place="nowhere"),
        journal.event(journal.ENDED, 1.0, key, 1, state="FAILED", reason="TIMEOUT"),
    ]
    journal.append(Workspace(workspace).journal, events)
    ended = run("aggregate", "--check")
    assert ended.code == 1
    command = (
        "hpcjobs submit --service local --node cpu --provider llamacpp --model hpcjobs/tiny-demo "
        "--tasks demo_sums --settings demo --max-samples 2 --trial"
    )
    assert ended.out.splitlines()[-1] == f"a free trial run, not in missing.csv: {command}"
    assert len(Path("missing.csv").read_text().splitlines()) == 2  # the comment and the header
    (gap,) = json.loads(run("aggregate", "--check", "--json").out)["gaps"]
    assert (gap["state"], gap["trial"]) == ("failed", True)


def test_a_full_output_is_one_line_and_no_traceback(workspace: Path) -> None:
    words = [sys.executable, "-m", "hpcjobs", "-w", str(workspace), "tasks"]
    done = subprocess.run(
        f"{shlex.join(words)} >/dev/full", shell=True, capture_output=True, text=True
    )
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    assert "cannot print: No space left on device" in done.stderr


# ---- Names that would command the terminal, and files that others can read -----------------------


def test_a_model_that_would_command_the_terminal_is_refused_and_shown_escaped(run: Run) -> None:
    ended = run(*submit(ON_TSUBAME, "--dry-run", model="a/x\x1b]0;pwn\x07y"))
    assert_one_message(ended)
    assert r"--model: the model name 'a/x\x1b]0;pwn\x07y' is not allowed" in ended.err


def test_submit_tells_that_others_can_read_the_keys(run: Run, workspace: Path) -> None:
    (workspace / ".env").write_text("HF_TOKEN=hf_canary\nnot a value\n")
    (workspace / ".env").chmod(0o644)
    ended = run(*submit(ON_LOCAL, "--dry-run"))
    assert ended.code == 0
    assert ended.err.count(f"(mode 644); do: chmod 600 {workspace}/.env\n") == 1
    assert ended.err.count(f"{workspace}/.env:2: ") == 1


def test_each_program_that_is_awaited_is_told_of_once(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "on_waiting", None)
    run("services", "list")
    assert commands.on_waiting is not None
    for program in ("qstat", "qsub", "qstat"):
        commands.on_waiting(program, 60.0)
    assert capsys.readouterr().err.splitlines() == [
        "qstat does not answer yet, waiting (at most 60 s)",
        "qsub does not answer yet, waiting (at most 60 s)",
    ]


# ---- What only a shell can do to a command: closed streams, a limit on files ---------------------


def in_shell(command: str, here: Path) -> subprocess.CompletedProcess[str]:
    program = shlex.join([sys.executable, "-m", "hpcjobs"])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["bash", "-c", command.replace("hpcjobs", program, 1)],
        cwd=here, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["status", "status --json", "tasks", "--help", "services list"])
@pytest.mark.parametrize("closed", [">&-", "<&- >&-"])
def test_with_a_closed_output_a_command_does_its_work(
    workspace: Path, command: str, closed: str
) -> None:
    ended = in_shell(f"hpcjobs -w . {command} {closed}", workspace)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_with_all_closed_a_mistake_has_its_exit_code_and_no_file_is_printed_into(
    workspace: Path,
) -> None:
    assert in_shell("hpcjobs -w . statu <&- >&- 2>&-", workspace).returncode == 2
    made = in_shell("hpcjobs init new <&- >&- 2>&-", workspace)
    assert made.returncode == 0
    for path in (workspace / "new" / "conf").rglob("*.yaml"):
        shipped = defaults_root() / path.relative_to(workspace / "new")
        assert path.read_bytes() == shipped.read_bytes()


def test_init_that_cannot_write_all_leaves_nothing_and_can_be_given_again(workspace: Path) -> None:
    ended = in_shell("ulimit -f 4; exec hpcjobs init new", workspace)  # no file above 4 KiB
    assert ended.returncode == 5
    assert ended.stderr.startswith("error: cannot write a workspace in new: File too large")
    assert files(workspace / "new") == []
    assert in_shell("hpcjobs init new", workspace).returncode == 0
    assert list((workspace / "new").glob(".init*")) == []
