"""The command lines of lighteval: the Swallow fork of 0.8, 0.8 itself, and 0.13. Pure.

0.8 (and the fork) reads `model: base_params: / generation:` and tasks `suite|task|fewshots|0`; 0.13
reads `model_parameters:` and `task|fewshots`.
"""

from __future__ import annotations

from collections.abc import Mapping

from hpcjobs.errors import InputError
from hpcjobs.evaluators.served import Served, as_json, as_text, mapping, parallel
from hpcjobs.model import Provider, Task

GENERATION: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "max_n": "max_n",
    "max_new_tokens": "max_new_tokens",
    "reasoning_effort": "reasoning_effort",
}
"""lighteval's own word for each of our settings."""

OF_THE_FORK = frozenset({"max_n", "reasoning_effort"})
"""Settings that only the Swallow fork knows."""

OPTIONS_OF: Mapping[str, frozenset[str]] = {
    "load_tasks_multilingual": frozenset({"0.13"}),
    "remove_reasoning_tags": frozenset({"0.13"}),
    "reasoning_tags": frozenset({"0.13"}),
    "output_subdir": frozenset({"swallow"}),
    "suite": frozenset({"swallow", "0.8", "auto"}),
    "use_chat_template": frozenset({"swallow", "0.8", "auto"}),
}
"""The dialects that have an option, where not all do."""

COMMANDS: Mapping[str, str] = {
    "custom_tasks": "--custom-tasks",
    "num_fewshot_seeds": "--num-fewshot-seeds",
    "dataset_loading_processes": "--dataset-loading-processes",
    "reasoning_tags": "--reasoning-tags",
    "output_subdir": "--output-subdir",
    "results_org": "--results-org",
}
FLAGS: Mapping[str, tuple[str, str | None]] = {
    "load_tasks_multilingual": ("--load-tasks-multilingual", None),
    "remove_reasoning_tags": ("--remove-reasoning-tags", "--no-remove-reasoning-tags"),
    "push_to_hub": ("--push-to-hub", None),
    "public_run": ("--public-run", None),
}


def dialect(options: Mapping[str, object]) -> str:
    """Which command line: `swallow`, `0.8`, `0.13`, or `auto`."""
    return str(options.get("dialect", "swallow"))


def not_sent(options: Mapping[str, object]) -> frozenset[str]:
    """Settings that this lighteval does not know."""
    return frozenset() if dialect(options) == "swallow" else OF_THE_FORK


def in_process_settings(provider: Provider, options: Mapping[str, object]) -> set[str]:
    """The settings that have an effect where lighteval loads the model itself."""
    known = {*GENERATION} - {"max_n"} - not_sent(options)
    if provider.in_process.get("lighteval") == "vllm":
        known |= {"tensor_parallel", "data_parallel", "gpu_memory_utilization"}
        return known | ({"reasoning_parser"} if dialect(options) == "swallow" else set())
    return known - {"reasoning_effort"}


def check(task: Task, provider: Provider, options: Mapping[str, object]) -> None:
    """Refuse options that this lighteval does not have.

    Raises:
        InputError: there is one.
    """
    chosen = dialect(options)
    for name, dialects in OPTIONS_OF.items():
        if name in options and chosen not in dialects:
            raise InputError(
                f"the option {name} has no effect in the dialect {chosen} of lighteval",
                where=task.where,
                expected=f"a dialect of: {', '.join(sorted(dialects))}",
            )
    program = provider.in_process.get("lighteval")
    if program == "vllm" and "load_tasks_multilingual" in options:
        raise InputError("lighteval vllm has no load_tasks_multilingual", where=task.where)
    if program and chosen == "auto":
        raise InputError(
            f"{provider.name} needs to be told the version of lighteval",
            where=task.where,
            expected="the option dialect: swallow, 0.8 or 0.13 (conf/frameworks.yaml)",
        )
    if program == "accelerate" and chosen != "0.13":
        raise InputError(
            f"lighteval accelerate takes no generation settings in the dialect {chosen}",
            where=f"--provider; {task.where}",
            do="choose vllm_engine, or lighteval 0.13 with the option dialect: '0.13'",
        )
    if program and chosen != "0.13":
        arguments = mapping(options, "model_args")
        if any(set(str(value)) & set(",=") for value in arguments.values()):
            raise InputError("model_args: a value cannot stand in `a=1,b=2`", where=task.where)


def values(
    script: str, settings: Mapping[str, object], served: Served, options: Mapping[str, object]
) -> dict[str, object]:
    """The values for templates/evaluators/lighteval.sh.j2; shell words are marked as such."""
    chosen = dialect(options)
    shots = options.get("num_fewshot", 0)
    suite = options.get("suite", "lighteval" if chosen == "0.8" else "swallow")
    sent = {key: settings[key] for key in sorted(settings) if key in GENERATION}
    if not served.provider.in_process:
        sent = {key: value for key, value in sent.items() if key not in ("top_k", "min_p")}
    given = mapping(options, "model_args")
    program = served.provider.in_process.get("lighteval")
    return {
        "dialect": chosen,
        "program": program or "litellm",
        "command": [program] if program else ["endpoint", "litellm"],
        "argument": f"{suite}|{script}|{shots}|0",
        "argument_0_13": f"{script}|{shots}",
        "model_json": as_json(served.litellm_name),
        "base_url": served.url,
        "litellm_key": served.key
        if served.provider.litellm == "hosted_vllm" and not program
        else None,
        "generation": [f"{GENERATION[key]}: {as_json(value)}" for key, value in sent.items()],
        "parameters": [f"{key}: {as_json(value)}" for key, value in given.items()],
        "engine_json": as_json(as_text(_engine("pretrained", settings, served) | given)),
        "engine_0_13": [
            f"{key}: {as_json(value)}"
            for key, value in (_engine("model_name", settings, served) | given).items()
        ],
        "system_message": settings.get("system_message"),
        "system_json": as_json(settings.get("system_message")),
        "chat_template": options.get("use_chat_template", True),
        "concurrent": options.get("concurrent"),
        "timeout": options.get("timeout"),
        "lines": _lines(options),
        "variables": options.get("environment", {}),
    }


def _engine(name: str, settings: Mapping[str, object], served: Served) -> dict[str, object]:
    """The arguments by which lighteval loads the model itself."""
    arguments: dict[str, object] = {name: served.loaded_from}
    program = served.provider.in_process.get("lighteval")
    arguments["dtype"] = settings.get("dtype", "bfloat16")
    length = settings.get("max_model_length")
    if program == "vllm":
        tensor, data = parallel(settings, served.gpus)
        arguments["tensor_parallel_size"] = tensor
        arguments["data_parallel_size"] = data
        arguments["gpu_memory_utilization"] = settings.get(
            "gpu_memory_utilization", served.provider.gpu_memory_utilization
        )
        if length:
            arguments["max_model_length"] = length
        if name == "pretrained" and "reasoning_parser" in settings:
            arguments["reasoning_parser"] = settings["reasoning_parser"]
    else:
        if length:
            arguments["max_length"] = length
        if served.gpus > 1:
            arguments["model_parallel"] = True
        if not served.gpus:
            arguments["device"] = "cpu"
    return arguments


def _lines(options: Mapping[str, object]) -> list[list[str]]:
    """Further words of the command, one option a line."""
    lines = [[word, str(options[name])] for name, word in COMMANDS.items() if name in options]
    for name, (yes, no) in FLAGS.items():
        if options.get(name):
            lines.append([yes])
        elif name in options and no:
            lines.append([no])
    extra = options.get("extra_args")
    return [*lines, *([str(word)] for word in extra)] if isinstance(extra, (list, tuple)) else lines
