"""What a server that a job starts is told: settings as the values of its template. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hpcjobs.evaluators import BY_DEFAULT_OF_VLLM, EVALUATOR_PARSERS
from hpcjobs.evaluators.served import as_json, parallel
from hpcjobs.model import Node, Provider, Service, TaskRun

PROOFS: Mapping[str, str] = {"lmdeploy": "key", "ollama": "name"}
"""By what a job knows a server for its own, where not by a second name and a key."""


def server_values(
    provider: Provider, service: Service, node: Node, tasks: tuple[TaskRun, ...], weights: str
) -> dict[str, object]:
    """The values for templates/servers/{server}.sh.j2."""
    settings = tasks[0].settings
    parser = settings.get("reasoning_parser")
    ours = parser in (None, "ignore") or parser in EVALUATOR_PARSERS
    tensor, data = parallel(settings, node.gpus)
    return {
        "weights": weights,
        "proof": PROOFS.get(provider.server or "", "name and key"),
        "max_model_length": settings.get("max_model_length"),
        "max_model_length_cap": settings.get("max_model_length_cap"),
        "reasoning_parser": None if ours else parser,
        "checked_parser": None if ours or _has_plugin(settings) else parser,
        "must_not_think": parser is None and _generates(tasks),
        "tensor_parallel": tensor,
        "data_parallel": data,
        "gpu_layers": 999 if node.gpus else 0,
        "use_v1": settings.get("vllm_use_v1"),
        "dtype": settings.get("dtype", "bfloat16"),
        "gpu_memory_utilization": settings.get(
            "gpu_memory_utilization", provider.gpu_memory_utilization
        ),
        "load_format": service.load_format,
        "stage_weights": service.stage_weights,
        "generation": _generation(tasks),
        "lora": None,
        "chat_template": None,
        "template_name": None,
        "start_timeout": settings.get("start_timeout", service.start_timeout),
        "arguments": _words(settings.get("server_args")),
        "loglikelihood": any(_output(task) != "generate" for task in tasks),
    }


def _has_plugin(settings: Mapping[str, object]) -> bool:
    """Whether parsers are added to those of vLLM."""
    return any(word.startswith("--reasoning-parser-plugin") for word in _words_of(settings))


def _words_of(settings: Mapping[str, object]) -> list[str]:
    return _words(settings.get("server_args"))


def _output(task: TaskRun) -> object:
    return task.options.get("output", "generate")


def _generates(tasks: tuple[TaskRun, ...]) -> bool:
    return any(_output(task) != "loglikelihood" for task in tasks)


def _generation(tasks: tuple[TaskRun, ...]) -> str | None:
    """Settings that reach vLLM only as its own defaults: lighteval does not send them."""
    if all(task.framework != "lighteval" for task in tasks):
        return None
    settings: Mapping[str, object] = tasks[0].settings
    given = {key: settings[key] for key in sorted(settings) if key in BY_DEFAULT_OF_VLLM}
    return as_json(given) if given else None


def _words(given: object) -> list[str]:
    return [str(word) for word in given] if isinstance(given, (list, tuple)) else []
