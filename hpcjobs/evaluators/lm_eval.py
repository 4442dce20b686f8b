"""The command line of lm_eval (0.4, and forks of it such as MERA's). Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from hpcjobs.errors import InputError, printable
from hpcjobs.evaluators.served import Served, as_json, as_text, mapping, parallel
from hpcjobs.model import Provider, Task

GENERATION: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "max_new_tokens": "max_gen_toks",
    "reasoning_effort": "reasoning_effort",
}
"""lm_eval's own word for each of our settings."""

CONCURRENCY = 4

CHATS = ("*-chat-completions", "anthropic-chat")
COMPLETIONS = ("*-completions",)
HF = ("hf", "hf-*", "huggingface")
VLLM = ("vllm", "vllm-*")
PATHS: Mapping[str, str] = {"anthropic-chat": "/v1/messages"}
"""What goes behind the base URL, where it is not OpenAI's."""

FLAGS = ("fewshot_as_multiturn", "predict_only", "trust_remote_code", "confirm_run_unsafe_code")
WORDS = ("num_fewshot", "batch_size", "max_batch_size", "device", "seed")
LOGGING_FLAGS = ("write_out", "show_config")
LOGGING = ("hf_hub_log_args", "wandb_args")


def model_of(provider: Provider, options: Mapping[str, object]) -> str:
    """Which of lm_eval's models asks the provider, or loads the model."""
    if "model" in options:
        return str(options["model"])
    if provider.in_process:
        return provider.in_process["lm_eval"]
    plain = options.get("output", "generate") != "generate" or not provider.chat
    plain = plain or options.get("endpoint") == "completions"
    kind = "completions" if plain else "chat"
    return provider.lm_eval.get(kind, f"local-{'chat-' if kind == 'chat' else ''}completions")


def is_chat(model: str) -> bool:
    """Whether this model of lm_eval sends chats."""
    return _is(model, CHATS)


def asks_completions(model: str) -> bool:
    """Whether it sends plain text to a server: it must be told how long that may be."""
    return _is(model, COMPLETIONS) and not is_chat(model)


def in_process_settings(provider: Provider, options: Mapping[str, object]) -> set[str]:
    """The settings that have an effect where lm_eval loads the model itself."""
    model = model_of(provider, options)
    known = {*GENERATION} - {"reasoning_effort"}
    if _is(model, VLLM):
        return known | {"lora", "tensor_parallel", "data_parallel", "gpu_memory_utilization"}
    return (known - {"seed"}) | ({"lora"} if _is(model, HF) else set())


def check(task: Task, provider: Provider, options: Mapping[str, object]) -> None:
    """Refuse options that contradict each other or the provider.

    Raises:
        InputError: they do.
    """
    model = model_of(provider, options)
    if is_chat(model) and options.get("output", "generate") != "generate":
        raise InputError(
            f"{task.key} needs log-likelihoods, and {model} sends chats",
            where=task.where,
            do="leave the option model out, or choose local-completions",
        )
    if is_chat(model) and not provider.chat:
        raise InputError(f"{provider.name} takes no chats ({model})", where=task.where)
    if asks_completions(model) and not provider.in_process and not provider.completions:
        raise InputError(
            f"{provider.name} takes chats only, and {model} sends plain text", where=task.where
        )
    arguments = mapping(options, "model_args")
    if asks_completions(model) and provider.base_url and "max_length" not in arguments:
        raise InputError(
            f"how long a question {provider.name} takes is not known; {model} cuts what is longer",
            where=task.where,
            expected="model_args: {max_length: ...} among the options (conf/frameworks.yaml)",
        )
    if options.get("endpoint") == "chat" and options.get("output", "generate") != "generate":
        raise InputError(f"{task.key} needs log-likelihoods, not chats", where=task.where)
    if is_chat(model) and options.get("apply_chat_template") is False:
        raise InputError(f"{model} always sends chats", where=task.where)
    if options.get("arguments") == "text":
        for name in ("model_args", "gen_kwargs"):
            for key, value in mapping(options, name).items():
                _as_one_word(key, value, task.where)


def values(
    script: str, settings: Mapping[str, object], served: Served, options: Mapping[str, object]
) -> dict[str, object]:
    """The values for templates/evaluators/lm_eval.sh.j2; shell words are marked as such."""
    model = model_of(served.provider, options)
    chat = is_chat(model)
    asked = not served.provider.in_process
    generation = _generation(settings, options)
    text = options.get("arguments") == "text"
    arguments = _model_args(model, settings, served, options)
    return {
        "model": model,
        "output": options.get("output", "generate"),
        "arguments": _shell_word(arguments, served, text),
        "url": f"{served.url}{_path(model)}" if asked else None,
        "length_word": ",max_length=" if text else ', "max_length": ',
        "api_name": served.api_name,
        "asks_length": _asks_length(model, served, arguments),
        "probe_key": served.key if served.key.startswith('"') else f'"{served.key}"',
        "key_assignment": f"{_key_name(model)}={served.key} " if asked else "",
        "chat_template": _chat_template(chat, options),
        "gen_kwargs": (as_text(generation) if text else as_json(generation)) or None
        if generation
        else None,
        "system_message": settings.get("system_message", options.get("system_instruction")),
        "lines": _lines(options),
        "own_include_path": options.get("include_path"),
        "limit": options.get("limit"),
        "use_cache": bool(options.get("use_cache")),
        "cache_requests": options.get("cache_requests"),
        "variables": options.get("environment", {}),
    }


def _generation(settings: Mapping[str, object], options: Mapping[str, object]) -> dict[str, Any]:
    given = mapping(options, "gen_kwargs")
    ours = {GENERATION[key]: settings[key] for key in sorted(settings) if key in GENERATION}
    generation = {**given, **ours}
    if ours.get("temperature"):
        generation["do_sample"] = True  # else lm_eval sets the temperature to 0
    elif "temperature" in ours and generation.get("do_sample"):
        generation["do_sample"] = False
    return generation


def _model_args(
    model: str, settings: Mapping[str, object], served: Served, options: Mapping[str, object]
) -> dict[str, object]:
    given = mapping(options, "model_args")
    if not served.provider.in_process:
        arguments: dict[str, object] = {"model": served.api_name}
        arguments["num_concurrent"] = options.get("num_concurrent", CONCURRENCY)
        if asks_completions(model) and served.provider.server:
            if "max_model_length" in settings:
                arguments["max_length"] = settings["max_model_length"]
            if "tokenizer_backend" not in given and not served.provider.needs_weights:
                arguments["tokenizer"] = served.loaded_from
        return {**arguments, **given}
    arguments = {"pretrained": served.loaded_from}
    if "dtype" in settings:
        arguments["dtype"] = settings["dtype"]
    length = settings.get("max_model_length")
    if _is(model, VLLM):
        tensor, data = parallel(settings, served.gpus)
        arguments["tensor_parallel_size"] = tensor
        if data > 1:
            arguments["data_parallel_size"] = data
        arguments["gpu_memory_utilization"] = settings.get(
            "gpu_memory_utilization", served.provider.gpu_memory_utilization
        )
        arguments |= {"max_model_len": length} if length else {}
        arguments |= {"lora_local_path": served.lora} if served.lora else {}
    else:
        arguments |= {"max_length": length} if length else {}
        arguments |= {"parallelize": True} if served.gpus > 1 and _is(model, HF) else {}
        arguments |= {"peft": served.lora} if served.lora else {}
    return {**arguments, **given}


def _asks_length(model: str, served: Served, arguments: Mapping[str, object]) -> bool:
    """Whether our server must be asked how long a question may be: lm_eval assumes 2048."""
    ours = served.provider.server is not None
    return ours and asks_completions(model) and "max_length" not in arguments


def _shell_word(arguments: dict[str, object], served: Served, text: bool) -> str:
    """The model's arguments in the shell's words; what only the job knows is filled in there."""
    if text:
        for name, value in arguments.items():
            _as_one_word(name, value, "lm_eval's model_args")
    written = as_text(arguments) if text else as_json(arguments)
    if served.provider.in_process:
        return shlex.quote(written)
    if text:
        return f'{shlex.quote(written)}",base_url=$url$length"'
    # {"a": 1} becomes '{"a": 1, "base_url": "'"$url"'"'"$length"'}'
    opened = written.removesuffix("}")
    return f"""{shlex.quote(opened + ', "base_url": "')}"$url"'"'"$length"'}}'"""


def _key_name(model: str) -> str:
    """The variable in which this model of lm_eval looks for its key."""
    return "ANTHROPIC_API_KEY" if model.startswith("anthropic") else "OPENAI_API_KEY"


def _path(model: str) -> str:
    if model in PATHS:
        return PATHS[model]
    if is_chat(model):
        return "/chat/completions"
    return "/completions" if asks_completions(model) else ""


def _as_one_word(name: object, value: object, where: str) -> None:
    """Refuse what `a=1,b=2` cannot hold."""
    text = str(value)
    if isinstance(value, (dict, list)) or set(text) & set(",={}") or not text:
        raise InputError(
            f"{name}: {printable(text)} cannot stand in `a=1,b=2`",
            where=where,
            do="leave the option arguments: text out, if this lm_eval reads JSON",
        )


def _chat_template(chat: bool, options: Mapping[str, object]) -> str | None:
    """The word behind --apply_chat_template; empty = it stands alone, None = it is not given."""
    given = options.get("apply_chat_template", chat)
    if isinstance(given, str):
        return given
    return "" if given else None


def _lines(options: Mapping[str, object]) -> list[list[str]]:
    """Further words of the command, one option a line."""
    lines = [[f"--{name}", str(options[name])] for name in WORDS if name in options]
    for name in FLAGS:
        if options.get(name):
            lines.append([f"--{name}"])
        elif name == "fewshot_as_multiturn" and name in options:
            lines.append([f"--{name}", "false"])
    if "metadata" in options:
        lines.append(["--metadata", as_json(options["metadata"])])
    if "verbosity" in options:
        lines.append(["--verbosity", str(options["verbosity"])])
    lines += [[f"--{name}"] for name in LOGGING_FLAGS if options.get(name)]
    for name in LOGGING:
        given = options.get(name)
        if isinstance(given, Mapping) and given:
            lines.append([f"--{name}", as_text(given)])
    return [*lines, *([word] for word in _extra(options))]


def _extra(options: Mapping[str, object]) -> list[str]:
    given = options.get("extra_args")
    return [str(word) for word in given] if isinstance(given, (list, tuple)) else []


def _is(model: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(model, glob) for glob in globs)
