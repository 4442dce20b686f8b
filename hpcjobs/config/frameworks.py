"""conf/frameworks.yaml: what evaluators are told beside the generation settings.

Options stand there by framework and task (a glob over keys), or as further columns of
conf/tasks_runtime.csv. Those that may change a number are part of what a job is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import Document, KeyPath, read_yaml
from hpcjobs.errors import InputError, nearest, printable
from hpcjobs.model import Task

Check = Callable[[Fields, str], object]

OUTPUTS = ("generate", "loglikelihood", "mixed")
VERBOSITIES = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
DIALECTS = ("swallow", "0.8", "0.13", "auto")
_OURS = frozenset(
    {"__model", "__model_args", "__tasks", "__output_path", "__log_samples", "__output_dir"}
    | {"__save_details", "_m", "_a", "_t", "_o"}
)
"""Arguments without which a result would not be found, or be another's (`-` written as `_`)."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TAKEN = re.compile(r"PATH|PYTHONHOME|LD_.*|BASH.*|HPCJOBS_.*|.*(_KEY|_TOKEN|_SECRET|PASSWORD)")


def _boolean(fields: Fields, key: str) -> object:
    return fields.boolean(key)


def _text(fields: Fields, key: str) -> object:
    return fields.text(key, pattern=r"[^\x00-\x1f]+")


def _count(fields: Fields, key: str) -> object:
    return fields.integer(key)


def _from_one(fields: Fields, key: str) -> object:
    return fields.integer(key, minimum=1)


def _one_of(*choices: str) -> Check:
    return lambda fields, key: fields.text(key, choices=choices, pattern=".*")


def _like(pattern: str) -> Check:
    return lambda fields, key: fields.text(key, pattern=pattern)


def _true(fields: Fields, key: str) -> object:
    if not fields.boolean(key):
        raise fields.error("a result is judged by its answers: they are always kept", key)
    return True


def _true_or_text(fields: Fields, key: str) -> object:
    value = fields.document.value
    for step in (*fields.path, key):
        value = value[step]
    return fields.boolean(key) if isinstance(value, bool) else _text(fields, key)


def _true_or_refresh(fields: Fields, key: str) -> object:
    value = _true_or_text(fields, key)
    if value not in (True, "refresh"):
        raise fields.error("it is true or refresh", key)
    return "true" if value is True else value


def _arguments(fields: Fields, key: str) -> object:
    """A mapping of plain values."""
    outer = fields.section(key)
    value: Any = fields.document.value
    for step in outer.path:
        value = value[step]
    for name in outer.names():
        if not re.fullmatch(_NAME, name):
            raise outer.error("not the name of an argument", name)
    return dict(value or {})


def _extra_args(fields: Fields, key: str) -> object:
    words = list(fields.texts(key))
    for word in words:
        if not word or word.partition("=")[0].replace("-", "_") in _OURS or not word.isprintable():
            raise fields.error(f"{printable(word)} is the job's own business", key)
    return words


def _environment(fields: Fields, key: str) -> object:
    outer = fields.section(key)
    for name in outer.names():
        if not re.fullmatch(_NAME, name) or _TAKEN.fullmatch(name):
            raise outer.error(
                "not to be set here", name, do="keys stand in .env; paths are the service's exports"
            )
    return {name: str(outer.text(name, pattern=r"[^\x00-\x1f]*")) for name in outer.names()}


COMMON: Mapping[str, Check] = {
    "output": _one_of(*OUTPUTS),
    "generative": _text,
    "num_fewshot": _count,
    "model_args": _arguments,
    "environment": _environment,
    "extra_args": _extra_args,
}

OPTIONS: Mapping[str, Mapping[str, Check]] = {
    "lm_eval": {
        **COMMON,
        "endpoint": _one_of("chat", "completions"),
        "model": _like(r"[A-Za-z0-9_.-]+"),
        "arguments": _one_of("json", "text"),
        "num_concurrent": _from_one,
        "batch_size": _like(r"[1-9][0-9]*|auto(:[1-9][0-9]*)?"),
        "max_batch_size": _from_one,
        "limit": lambda fields, key: fields.number(key),
        "log_samples": _true,
        "use_cache": _boolean,
        "cache_requests": _true_or_refresh,
        "system_instruction": _text,
        "apply_chat_template": _true_or_text,
        "fewshot_as_multiturn": _boolean,
        "include_path": _text,
        "gen_kwargs": _arguments,
        "predict_only": _boolean,
        "seed": _like(r"([0-9]+|None)(,([0-9]+|None)){0,3}"),
        "trust_remote_code": _boolean,
        "confirm_run_unsafe_code": _boolean,
        "metadata": _arguments,
        "verbosity": _one_of(*VERBOSITIES),
        "write_out": _boolean,
        "show_config": _boolean,
        "hf_hub_log_args": _arguments,
        "wandb_args": _arguments,
        "device": _like(r"[a-z]+(:[0-9]+)?"),
    },
    "lighteval": {
        **COMMON,
        "dialect": _one_of(*DIALECTS),
        "suite": _like(r"[A-Za-z0-9_.-]+"),
        "concurrent": _from_one,
        "timeout": _from_one,
        "use_chat_template": _boolean,
        "custom_tasks": _text,
        "num_fewshot_seeds": _from_one,
        "dataset_loading_processes": _from_one,
        "output_subdir": _like(r"[A-Za-z0-9_.-]+"),
        "load_tasks_multilingual": _boolean,
        "remove_reasoning_tags": _boolean,
        "reasoning_tags": _text,
        "push_to_hub": _boolean,
        "public_run": _boolean,
        "results_org": _like(r"[A-Za-z0-9_.-]+"),
    },
}
"""Every option, and how it is checked (conf/frameworks.yaml explains each)."""

WITHOUT_EFFECT = frozenset(
    {"concurrent", "num_concurrent", "timeout", "verbosity", "write_out", "show_config"}
    | {"cache_requests", "hf_hub_log_args", "wandb_args", "dataset_loading_processes"}
    | {"push_to_hub", "public_run", "results_org", "output_subdir", "log_samples"}
)
"""Options that change no number: a job that is given others is still the same job."""

_NUMBERS = frozenset(
    {"num_fewshot", "max_batch_size", "limit", "num_concurrent", "concurrent", "timeout"}
    | {"num_fewshot_seeds", "dataset_loading_processes"}
)

COLUMNS = frozenset(name for options in OPTIONS.values() for name in options)


@dataclass(frozen=True)
class Rule:
    """Options of the tasks of one framework whose keys match a glob."""

    framework: str
    glob: str
    options: Mapping[str, object]


@dataclass(frozen=True)
class Frameworks:
    """What conf/frameworks.yaml says."""

    rules: tuple[Rule, ...] = ()
    loglikelihood: Mapping[str, str] = field(default_factory=dict)
    """lm_eval's tasks (names there, or globs) that need log-likelihoods, and what generates."""

    def options(self, task: Task) -> dict[str, object]:
        """The options of one task: those of the rules, a later one first; then its own columns.

        Raises:
            InputError: a column holds a value that the option cannot have.
        """
        chosen: dict[str, object] = {}
        for rule in self.rules:
            if rule.framework == task.framework and fnmatchcase(task.key, rule.glob):
                chosen.update(rule.options)
        chosen.update(_columns(task))
        if task.framework == "lm_eval" and "output" not in chosen:
            for glob, variant in self.loglikelihood.items():
                if fnmatchcase(task.script, glob):
                    chosen["output"] = "loglikelihood"
                    if variant:
                        chosen.setdefault("generative", variant)
        return {name: chosen[name] for name in sorted(chosen)}


def read_frameworks(path: Path) -> Frameworks:
    """The options of the file.

    Raises:
        InputError: an option is unknown, or cannot have that value.
    """
    rules = []
    with Fields(read_yaml(path)) as fields:
        fields.allow(OPTIONS)
        loglikelihood: dict[str, str] = {}
        for framework in OPTIONS:
            with fields.section(framework) as section:
                for glob, options in section.sections("tasks"):
                    rules.append(Rule(framework, glob, _checked(options, framework)))
                if framework == "lm_eval":
                    names = section.section("loglikelihood")
                    loglikelihood = {name: names.text(name, "") for name in names.names()}
    return Frameworks(tuple(rules), loglikelihood)


def _checked(outer: Fields, framework: str) -> dict[str, object]:
    with outer as fields:
        known = OPTIONS[framework]
        fields.allow(known)
        return {name: check(fields, name) for name, check in known.items() if fields.has(name)}


def _columns(task: Task) -> dict[str, object]:
    """The options among the further columns of the table; a value is read as in YAML."""
    given = {}
    for column, text in task.extra.items():
        if column in COLUMNS:
            if text:
                given[column] = _value(column, text)
        elif text and (close := get_close_matches(column, COLUMNS, 1, 0.85)):
            raise InputError(
                f"the column {printable(column)} is none that hpcjobs knows",
                where=task.where,
                nearest=close[0],
                do="correct it, or name it so that it cannot be meant for an option",
            )
    for name in given:
        if name not in OPTIONS[task.framework]:
            raise InputError(
                f"column {name}: {task.framework} has no such option",
                where=task.where,
                nearest=nearest(name, OPTIONS[task.framework]),
                do="leave the field empty in rows of this framework",
            )
    path, _, line = task.where.rpartition(":")
    lines: dict[KeyPath, int] = {(): int(line)} if line.isdigit() else {}
    return _checked(Fields(Document(Path(path or task.where), given, lines)), task.framework)


def _value(column: str, text: str) -> object:
    """As YAML would have it; a number only where one is wanted: the dialect 0.13 is a text."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    if column in _NUMBERS and re.fullmatch(r"-?(0|[1-9][0-9]*)", text):
        return int(text)
    if column in _NUMBERS and re.fullmatch(r"-?[0-9]+\.[0-9]+", text):
        return float(text)
    return text
