"""What each evaluator is told: settings turned into the values of its command line. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatch

from hpcjobs.errors import InputError
from hpcjobs.model import Provider

OF_A_SERVER = frozenset({"weights", "max_model_length", "vllm_use_v1", "reasoning_parser"})
"""Settings that are the server's business, whatever evaluator asks it."""

OF_THE_SERVER: Mapping[str | None, frozenset[str]] = {
    None: frozenset({"reasoning_parser"}),  # who serves elsewhere parses the reasoning there
    "llamacpp": frozenset({"weights", "max_model_length"}),
}
"""Those that reach the server, by its template; all of them where it does not stand here."""

GENERATION: Mapping[str, Mapping[str, str]] = {
    "lighteval": {
        "temperature": "temperature",
        "top_p": "top_p",
        "top_k": "top_k",
        "min_p": "min_p",
        "seed": "seed",
        "max_n": "max_n",
        "max_new_tokens": "max_new_tokens",
        "reasoning_effort": "reasoning_effort",
    },
    "lm_eval": {
        "temperature": "temperature",
        "top_p": "top_p",
        "top_k": "top_k",
        "min_p": "min_p",
        "seed": "seed",
        "max_new_tokens": "max_gen_toks",
        "reasoning_effort": "reasoning_effort",
    },
}
"""The evaluator's own word for each of our settings."""

JUDGED = ("*mt_bench*",)
"""Tasks of lighteval whose answers a model of OpenAI judges, by script (Swallow's MT-Bench)."""

JUDGE_KEY = "OPENAI_API_KEY"

EVALUATOR_PARSERS = frozenset({"deepseek_r1_markup"})
"""Reasoning parsers of the Swallow fork of lighteval; all others are vLLM's."""


def check_settings(
    framework: str, provider: Provider, settings: Mapping[str, object], where: str
) -> None:
    """Refuse a setting that evaluator and server would ignore: the number would be mislabelled.

    Raises:
        InputError: there is one.
    """
    served = OF_THE_SERVER.get(provider.server, OF_A_SERVER)
    known = {*GENERATION[framework], *served, "system_message"}
    if framework == "lighteval" and settings.get("reasoning_parser") in EVALUATOR_PARSERS:
        known.add("reasoning_parser")
    for key in settings:
        if key not in known:
            raise InputError(
                f"the setting {key} has no effect in {framework} with {provider.name}",
                where=where,
                expected=f"one of: {', '.join(sorted(known))}",
                do="choose other settings, or unset it with null",
            )
    if framework == "lm_eval" and settings.get("reasoning_parser") in EVALUATOR_PARSERS:
        raise InputError(
            f"the reasoning parser {settings['reasoning_parser']} is lighteval's own",
            where=where,
            do="choose other settings for tasks of lm_eval",
        )


def needs_judge(framework: str, script: str) -> bool:
    """Whether the task cannot be scored without JUDGE_KEY."""
    return framework == "lighteval" and any(fnmatch(script, glob) for glob in JUDGED)


def result_model_names(provider: Provider, model: str) -> tuple[str, ...]:
    """The names under which this model stands in result files."""
    names = (model, _litellm_name(provider, model), _api_name(provider, model))
    return tuple(dict.fromkeys(names))


def evaluator_values(
    framework: str, script: str, settings: Mapping[str, object], provider: Provider, model: str
) -> dict[str, object]:
    """The values for templates/evaluators/{framework}.sh.j2; shell words are marked as such."""
    words = GENERATION[framework]
    generation = {words[key]: settings[key] for key in sorted(settings) if key in words}
    values: dict[str, object] = {
        "system_message": settings.get("system_message"),
        "base_url": provider.base_url or '"http://127.0.0.1:$port/v1"',  # a shell word
    }
    if framework == "lighteval":
        parser = settings.get("reasoning_parser")
        return values | {
            "argument": f"swallow|{script}|0|0",
            "model_json": _json(_litellm_name(provider, model)),
            "generation": [f"{key}: {_json(value)}" for key, value in generation.items()],
            "reasoning_parser": parser if parser in EVALUATOR_PARSERS else None,
        }
    if settings.get("temperature"):
        generation["do_sample"] = True  # else lm_eval sets the temperature to 0
    return values | {
        "model_json": _json(_api_name(provider, model)),
        "gen_kwargs": _json(generation) if generation else None,
        "concurrency": 4,
        "key_variable": f"${provider.key}" if provider.key else "$server_key",  # a shell word
    }


def _litellm_name(provider: Provider, model: str) -> str:
    return f"{provider.litellm}/{model}" if provider.litellm else model


def _api_name(provider: Provider, model: str) -> str:
    """What the provider itself calls the model: `openai/o3-mini` is `o3-mini` there."""
    return model.removeprefix(f"{provider.name}/") if provider.base_url else model


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
