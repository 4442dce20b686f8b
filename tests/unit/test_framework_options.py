"""Options of evaluators: where they stand, which are refused, and what they make of a job's id."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.frameworks import OPTIONS, WITHOUT_EFFECT, Frameworks, read_frameworks
from hpcjobs.config.providers import choose_provider, read_providers
from hpcjobs.errors import InputError
from hpcjobs.evaluators import check_task
from hpcjobs.model import Job, Node, Provider, Settings, Task
from hpcjobs.plan import plan
from hpcjobs.thinking import refuse_unparsed_thinking
from hpcjobs.workspace import Workspace

Make = Callable[..., Any]
Write = Callable[..., Path]


@pytest.fixture(scope="session")
def providers(project: Path) -> dict[str, Provider]:
    return read_providers(project / "conf" / "providers.yaml")


@pytest.fixture(scope="session")
def shipped_options(project: Path) -> Frameworks:
    return read_frameworks(project / "conf" / "frameworks.yaml")


def test_every_option_is_explained(project: Path) -> None:
    text = (project / "conf" / "frameworks.yaml").read_text(encoding="utf-8")
    explained = text.split("\nlm_eval:\n")[0]
    assert {name for names in OPTIONS.values() for name in names} <= set(
        explained.replace(",", " ").replace("(", " ").replace(")", " ").split()
    ) | {"log_samples"}


def test_options_without_effect_are_options() -> None:
    assert {name for names in OPTIONS.values() for name in names} >= WITHOUT_EFFECT


def test_shipped_tasks_have_no_options_of_their_own(
    shipped_options: Frameworks, a_task: Make
) -> None:
    assert shipped_options.options(a_task()) == {}


def test_later_rules_and_then_columns_come_first(write: Write, a_task: Make) -> None:
    frameworks = read_frameworks(
        write(
            "lm_eval:\n  tasks:\n    'ja_*': {num_fewshot: 1, seed: 5, batch_size: auto}\n"
            "    ja_gpqa: {num_fewshot: 2, seed: 6}\n    en_*: {num_fewshot: 9}\n"
            "lighteval: {tasks: {'*': {num_fewshot: 8}}}\n"
        )
    )
    task = a_task(framework="lm_eval", extra={"num_fewshot": "3", "notes": "x", "limit": ""})
    assert frameworks.options(task) == {"batch_size": "auto", "num_fewshot": 3, "seed": "6"}


@pytest.mark.parametrize(
    ("framework", "column", "text", "value"),
    [
        ("lm_eval", "apply_chat_template", "true", True),
        ("lm_eval", "apply_chat_template", "rag", "rag"),
        ("lm_eval", "gen_kwargs", '{"until": ["a,b"]}', {"until": ["a,b"]}),
        ("lm_eval", "limit", "0.5", 0.5),
        ("lm_eval", "seed", "1,2,3,4", "1,2,3,4"),
        ("lm_eval", "batch_size", "8", "8"),
        ("lm_eval", "cache_requests", "true", "true"),
        ("lighteval", "dialect", "auto", "auto"),
        ("lighteval", "dialect", "0.13", "0.13"),
        ("lighteval", "concurrent", "8", 8),
    ],
)
def test_a_column_is_read_as_yaml_would_be(
    a_task: Make, framework: str, column: str, text: str, value: object
) -> None:
    task = a_task(framework=framework, extra={column: text})
    assert Frameworks().options(task) == {column: value}


@pytest.mark.parametrize(
    ("options", "near"),
    [
        ("{num_fewshots: 1}", "num_fewshot"),
        ("{num_fewshot: -1}", None),
        ("{log_samples: false}", None),
        ("{batch_size: some}", None),
        ("{output: logits}", None),
        ("{environment: {HF_TOKEN: x}}", None),
        ("{environment: {PATH: x}}", None),
        ("{model_args: {'a b': x}}", None),
        ("{seed: 1.5}", None),
        ("{dialect: swallow}", None),
    ],
)
def test_a_wrong_option_is_refused_by_its_line(
    write: Write, options: str, near: str | None
) -> None:
    path = write(f"# mine\nlm_eval:\n  tasks:\n    x: {options}\n")
    with pytest.raises(InputError) as caught:
        read_frameworks(path)
    assert caught.value.where == f"{path}:4"
    assert near is None or caught.value.nearest == near


@pytest.mark.parametrize(
    ("extra", "near"),
    [({"num_fewshots": "1"}, "num_fewshot"), ({"dialect": "0.13"}, None), ({"seed": "x"}, None)],
)
def test_a_wrong_column_is_refused_by_the_rows_line(
    a_task: Make, extra: dict[str, str], near: str | None
) -> None:
    with pytest.raises(InputError) as caught:
        Frameworks().options(a_task(framework="lm_eval", extra=extra))
    assert caught.value.where == "conf/tasks_runtime.csv:7"
    assert near is None or caught.value.nearest == near


# ---- What a provider can give --------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["openai", "deepinfra", "llamacpp", "anthropic"])
def test_log_likelihoods_are_refused_with_the_variant_that_generates(
    shipped_options: Frameworks, providers: dict[str, Provider], a_task: Make, provider: str
) -> None:
    task = a_task(framework="lm_eval", script="mmlu")
    with pytest.raises(InputError, match="needs log-likelihoods") as caught:
        check_task(task, providers[provider], shipped_options.options(task))
    assert "mmlu_generative" in (caught.value.do or "")


@pytest.mark.parametrize("provider", ["vllm", "hf", "vllm_engine"])
def test_log_likelihoods_are_taken_from_who_has_them(
    shipped_options: Frameworks, providers: dict[str, Provider], a_task: Make, provider: str
) -> None:
    task = a_task(framework="lm_eval", script="mmlu")
    check_task(task, providers[provider], shipped_options.options(task))


@pytest.mark.parametrize(
    ("framework", "provider", "options", "what"),
    [
        ("lighteval", "vllm", {"output": "loglikelihood"}, "lighteval, which asks vllm"),
        ("lighteval", "vllm-vlm", {}, "cannot load a model by vllm-vlm"),
        ("lighteval", "hf", {}, "takes no generation settings"),
        ("lighteval", "vllm_engine", {"dialect": "auto"}, "to be told the version"),
        ("lighteval", "vllm", {"reasoning_tags": "x"}, "no effect in the dialect swallow"),
        ("lighteval", "vllm", {"dialect": "0.13", "output_subdir": "x"}, "no effect"),
        ("lm_eval", "vllm", {"output": "mixed", "model": "local-chat-completions"}, "sends chats"),
        ("lm_eval", "openai", {"model": "local-completions"}, "takes chats only"),
        ("lm_eval", "served", {"output": "loglikelihood"}, "how long a question"),
        ("lm_eval", "vllm", {"apply_chat_template": False}, "always sends chats"),
        ("lm_eval", "vllm", {"arguments": "text", "gen_kwargs": {"a": "b,c"}}, "cannot stand in"),
    ],
)
def test_what_cannot_be_is_refused_before_submission(
    providers: dict[str, Provider],
    a_task: Make,
    framework: str,
    provider: str,
    options: dict[str, object],
    what: str,
) -> None:
    with pytest.raises(InputError, match=what):
        check_task(a_task(framework=framework), providers[provider], options)


def test_several_tasks_in_one_row_are_refused(providers: dict[str, Provider], a_task: Make) -> None:
    with pytest.raises(InputError, match="several tasks"):
        check_task(a_task(framework="lm_eval", script="mmlu,gsm8k"), providers["vllm"], {})


# ---- What makes a job ----------------------------------------------------------------------------


def planned(request: Any, **settings: object) -> Job:
    (job,) = plan(request, "org/model", Settings("mine", "1", "x.yaml", settings), {})
    return job


def test_an_option_that_may_change_a_number_makes_another_job(a_request: Make) -> None:
    plain = planned(a_request())
    shots = planned(a_request(options={"ja_gpqa": {"num_fewshot": 5}}))
    more = planned(a_request(options={"ja_gpqa": {"num_fewshot": 6}}))
    assert len({plain.id, shots.id, more.id}) == 3
    assert shots.tasks[0].options == {"num_fewshot": 5}


def test_what_changes_no_number_leaves_the_job_as_it_is(a_request: Make) -> None:
    plain = planned(a_request())
    assert planned(a_request(options={"ja_gpqa": {"concurrent": 64}})).id == plain.id
    slow = planned(a_request(), start_timeout=60, gpu_memory_utilization=0.8)
    assert (slow.id, slow.settings_digest) == (plain.id, plain.settings_digest)
    assert planned(a_request(), dtype="float16").settings_digest != plain.settings_digest


@pytest.mark.parametrize(
    ("gpus", "settings", "good"),
    [
        (4, {"tensor_parallel": 2}, True),
        (4, {"data_parallel": 4}, True),
        (4, {"tensor_parallel": 2, "data_parallel": 2}, True),
        (4, {"tensor_parallel": 8}, False),
        (4, {"tensor_parallel": 3}, False),
        (4, {"tensor_parallel": 1, "data_parallel": 2}, False),
        (1, {"data_parallel": 2}, False),
    ],
)
def test_all_gpus_of_a_node_are_used_or_it_is_refused(
    a_request: Make, a_node: Make, gpus: int, settings: dict[str, int], good: bool
) -> None:
    request = dataclasses.replace(a_request(), node=a_node(gpus=gpus))
    if good:
        planned(request, **settings)
    else:
        with pytest.raises(InputError, match="is not the"):
            planned(request, **settings)


def test_an_evaluator_that_loads_a_model_knows_it_by_its_path(
    a_request: Make, providers: dict[str, Provider], a_task: Make
) -> None:
    request = a_request(
        provider=providers["hf"],
        tasks=[a_task(framework="lm_eval")],
        path_of=lambda given: f"/workspace/{given}",
    )
    assert planned(request, weights="models/x").model_names == ("org/model", "/workspace/models/x")


# ---- Models that think ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokenizer", "settings", "refused"),
    [
        ('{"a": "</think>"}', {}, True),
        ('{"a": "</think>"}', {"reasoning_parser": "ignore"}, False),
        ('{"a": "</think>"}', {"reasoning_parser": "qwen3"}, False),
        ("{}", {}, False),
    ],
)
def test_a_model_that_thinks_is_refused_where_its_files_are_here(
    shipped: Workspace,
    a_request: Make,
    tmp_path: Path,
    tokenizer: str,
    settings: dict[str, str],
    refused: bool,
) -> None:
    (tmp_path / "tokenizer.json").write_text(tokenizer)
    jobs = [(planned(a_request(), **settings), str(tmp_path))]
    if refused:
        with pytest.raises(InputError, match="think tags"):
            refuse_unparsed_thinking(shipped, jobs, "")
    else:
        refuse_unparsed_thinking(shipped, jobs, "")


def test_a_node_without_gpus_may_be_served_by_a_vllm_of_ones_own(write: Write) -> None:
    path = write("vllm_cpu: {server: vllm, litellm: hosted_vllm, loglikelihood: true}\n")
    node = Node("n", gpus=0, cores=1, memory_gb=1, runtime=("hrt_q",))
    assert choose_provider(read_providers(path), "vllm_cpu", node).server == "vllm"


def test_options_of_a_table_go_with_the_tasks_framework_only() -> None:
    task = Task("k", "s", "d", "lighteval", extra={"batch_size": "8"}, where="t.csv:3")
    with pytest.raises(InputError, match="lighteval has no such option"):
        Frameworks().options(task)
