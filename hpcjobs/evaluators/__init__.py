"""What each evaluator is told: settings and options turned into its command line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch

from hpcjobs.errors import InputError, printable
from hpcjobs.evaluators import lighteval, lm_eval
from hpcjobs.evaluators.served import Served
from hpcjobs.model import Provider, Task

__all__ = [
    "EVALUATOR_PARSERS",
    "JUDGE_KEY",
    "Served",
    "check_settings",
    "check_task",
    "evaluator_values",
    "known_settings",
    "needs_judge",
    "result_model_names",
]

OF_A_SERVER = frozenset(
    {"weights", "max_model_length", "vllm_use_v1", "reasoning_parser", "dtype", "chat_template"}
    | {"lora", "tensor_parallel", "data_parallel", "gpu_memory_utilization", "server_args"}
    | {"start_timeout", "max_model_length_cap"}
)
"""Settings that are the server's business, whatever evaluator asks it."""

OF_THE_SERVER: Mapping[str | None, frozenset[str]] = {
    None: frozenset({"reasoning_parser"}),  # who serves elsewhere parses the reasoning there
    "llamacpp": frozenset({"weights", "max_model_length", "start_timeout"}),
    "ollama": frozenset({"weights", "max_model_length", "start_timeout"}),
    "lmdeploy": frozenset(
        {"weights", "max_model_length", "dtype", "tensor_parallel", "reasoning_parser"}
        | {"server_args", "start_timeout"}
    ),
}
"""Those that reach the server, by its template; all of them where it does not stand here."""

GENERATION: Mapping[str, Mapping[str, str]] = {
    "lighteval": lighteval.GENERATION,
    "lm_eval": lm_eval.GENERATION,
}
"""The evaluator's own word for each of our settings."""

BY_DEFAULT_OF_VLLM = frozenset({"top_k", "min_p"})
"""Settings that lighteval does not send (litellm would drop them): vLLM is started with them."""

JUDGED = ("*mt_bench*",)
"""Tasks of lighteval whose answers a model of OpenAI judges, by script (Swallow's MT-Bench)."""

JUDGE_KEY = "OPENAI_API_KEY"

EVALUATOR_PARSERS = frozenset({"deepseek_r1_markup"})
"""Reasoning parsers of the Swallow fork of lighteval; all others are the server's."""


def check_settings(
    framework: str,
    provider: Provider,
    settings: Mapping[str, object],
    where: str,
    options: Mapping[str, object] | None = None,
) -> None:
    """Refuse a setting that evaluator and server would ignore: the number would be mislabelled.

    Raises:
        InputError: there is one.
    """
    known = known_settings(framework, provider, options or {})
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
    if settings.get("reasoning_parser") in EVALUATOR_PARSERS:
        if framework == "lm_eval":
            raise InputError(
                f"the reasoning parser {settings['reasoning_parser']} is lighteval's own",
                where=where,
                do="choose other settings for tasks of lm_eval",
            )
        if lighteval.dialect(options or {}) not in ("swallow", "auto"):
            raise InputError(
                f"the reasoning parser {settings['reasoning_parser']} is the Swallow fork's",
                where=where,
                do="lighteval 0.13 has the option reasoning_tags, in conf/frameworks.yaml",
            )


def known_settings(framework: str, provider: Provider, options: Mapping[str, object]) -> set[str]:
    """The settings that have an effect with this evaluator and this provider."""
    if provider.in_process:
        known = {"weights", "max_model_length", "dtype", "system_message"}
        if framework == "lm_eval":
            return known | lm_eval.in_process_settings(provider, options)
        return known | lighteval.in_process_settings(provider, options)
    known = {*GENERATION[framework], *OF_THE_SERVER.get(provider.server, OF_A_SERVER)}
    if framework == "lighteval":
        known -= lighteval.not_sent(options)
        if provider.server != "vllm":
            known -= BY_DEFAULT_OF_VLLM
    return known | {"system_message"}


def check_task(task: Task, provider: Provider, options: Mapping[str, object]) -> None:
    """Refuse what this provider cannot give to this task, before anything is submitted.

    Raises:
        InputError: so it is; the variant that generates is named, where it is known.
    """
    if task.framework == "lm_eval" and "," in task.script:
        raise InputError(
            f"column script: {printable(task.script)} are several tasks",
            where=task.where,
            expected="one: where one of them fails, lm_eval loses them all",
            do="give each a row of its own",
        )
    if provider.in_process and task.framework not in provider.in_process:
        raise InputError(
            f"{task.framework} cannot load a model by {provider.name}",
            where=f"--provider; {task.where}",
            expected=f"tasks of {', '.join(provider.in_process)}",
        )
    needs = options.get("output", "generate") != "generate"
    sent = task.framework == "lm_eval" or bool(provider.in_process)
    if needs and not (provider.loglikelihood and sent):
        variant = options.get("generative")
        who = provider.name if sent else f"lighteval, which asks {provider.name},"
        raise InputError(
            f"{task.key} ({printable(task.script)}) needs log-likelihoods, which {who} cannot give",
            where=f"--provider; {task.where}",
            do=f"evaluate the variant that generates: {variant}"
            if variant
            else "choose a provider that gives them, such as vllm, or a task that generates",
        )
    if task.framework == "lm_eval":
        lm_eval.check(task, provider, options)
    else:
        lighteval.check(task, provider, options)


def needs_judge(framework: str, script: str) -> bool:
    """Whether the task cannot be scored without JUDGE_KEY."""
    return framework == "lighteval" and any(fnmatch(script, glob) for glob in JUDGED)


def result_model_names(provider: Provider, model: str, *paths: str) -> tuple[str, ...]:
    """The names under which this model stands in result files.

    An evaluator that loads it by itself knows it by the `paths` of its weights.
    """
    served = Served(provider, model)
    names = (model, served.litellm_name, served.api_name, *(paths if provider.in_process else ()))
    return tuple(dict.fromkeys(names))


def evaluator_values(
    framework: str,
    script: str,
    settings: Mapping[str, object],
    served: Served,
    options: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The values for templates/evaluators/{framework}.sh.j2; shell words are marked as such."""
    if framework == "lm_eval":
        return lm_eval.values(script, settings, served, options or {})
    parser = settings.get("reasoning_parser")
    return lighteval.values(script, settings, served, options or {}) | {
        "reasoning_parser": parser if parser in EVALUATOR_PARSERS else None
    }
