"""Generation settings: what a model and a task ask of the sampler, and where they are written.

`generation_settings/task_settings.csv` holds the defaults of each task (by its script name);
`generation_settings/custom_model_settings/{publisher}/{model}.yaml` the named settings of a model.
The model comes first; `null` there unsets what the task says.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import Document, KeyPath, read_yaml
from hpcjobs.config.tables import read_rows
from hpcjobs.errors import InputError, nearest, printable, unknown
from hpcjobs.model import Settings
from hpcjobs.workspace import Workspace

_VERSION = r"[A-Za-z0-9._+-]{1,40}"

_DTYPES = ("auto", "bfloat16", "float16", "float32", "half", "float")
_OURS = frozenset(
    {"--host", "--port", "--uds", "--api-key", "--api-keys", "--served-model-name", "--model-name"}
    | {"--ssl-keyfile", "--ssl-certfile", "--root-path", "--lora-modules", "--config"}
)
"""Arguments of servers by which a job could no longer tell its own."""

KEYS: Mapping[str, Callable[[Fields, str], object]] = {
    "temperature": lambda fields, key: fields.number(key, maximum=100.0),
    "top_p": lambda fields, key: fields.number(key, maximum=1.0),
    "top_k": lambda fields, key: fields.integer(key, minimum=-1),
    "min_p": lambda fields, key: fields.number(key, maximum=1.0),
    "seed": lambda fields, key: fields.integer(key),
    "max_n": lambda fields, key: fields.integer(key, minimum=1),
    "max_new_tokens": lambda fields, key: fields.integer(key, minimum=1),
    "max_model_length": lambda fields, key: fields.integer(key, minimum=1),
    "max_model_length_cap": lambda fields, key: fields.integer(key, minimum=1),
    "reasoning_effort": lambda fields, key: fields.text(key),
    "reasoning_parser": lambda fields, key: fields.text(key, pattern=r"[A-Za-z0-9_.-]+"),
    "system_message": lambda fields, key: fields.text(key),
    "vllm_use_v1": lambda fields, key: fields.integer(key),
    "weights": lambda fields, key: fields.text(key),
    "lora": lambda fields, key: fields.text(key),
    "chat_template": lambda fields, key: fields.text(key),
    "dtype": lambda fields, key: fields.text(key, choices=_DTYPES),
    "tensor_parallel": lambda fields, key: fields.integer(key, minimum=1),
    "data_parallel": lambda fields, key: fields.integer(key, minimum=1),
    "gpu_memory_utilization": lambda fields, key: fields.number(key, maximum=1.0),
    "start_timeout": lambda fields, key: fields.duration(key),
    "server_args": lambda fields, key: _server_args(fields, key),
    "version": lambda fields, key: fields.text(key, pattern=_VERSION),
}
"""Every key that settings may have, and how it is checked (template.yaml explains each)."""

WITHOUT_EFFECT = frozenset({"gpu_memory_utilization", "start_timeout"})
"""Settings that change no number: a job that is given others is still the same job."""

DIRECTORY = "generation_settings"
MODELS = "custom_model_settings"
SAME = "same_settings.yaml"
"""Which models without a file take the settings of which other model."""


def read_task_settings(path: Path) -> dict[str, dict[str, object]]:
    """Default settings by the task's script name.

    Raises:
        InputError: not `name=value,name=value`, or a name or value that is not allowed.
    """
    table: dict[str, dict[str, object]] = {}
    for line, row in read_rows(path, ("key", "generation_settings")):
        where = f"{path}:{line}"
        if row["key"] in table:
            raise InputError(f"column key: {printable(row['key'])} stands twice", where=where)
        values: dict[str, object] = {}
        for part in filter(None, (part.strip() for part in row["generation_settings"].split(","))):
            name, equals, text = part.partition("=")
            if not equals:
                raise InputError(
                    f"column generation_settings: {printable(part)}",
                    where=where,
                    expected="name=value, separated by commas",
                )
            if name.strip() in values:
                raise InputError(
                    f"column generation_settings: {printable(name.strip())} stands twice",
                    where=where,
                )
            values[name.strip()] = _number_or_text(text.strip())
        lines: dict[KeyPath, int] = {(): line, **{(name,): line for name in values}}
        table[row["key"]] = _checked(Document(path, values, lines), ())
    return table


def read_model_settings(workspace: Workspace, model: str, name: str) -> Settings:
    """The settings `name` of `model`; empty settings if `name` is empty.

    Raises:
        InputError: the model has no file, the file no such settings, or a key is wrong.
    """
    if not name:
        return Settings()
    path = _settings_file(workspace, model)
    if not path.is_file():
        raise InputError(
            f"the model {printable(model)} has no settings",
            where=f"--settings {name}",
            expected=f"a file {DIRECTORY}/{MODELS}/{model}.yaml",
            nearest=nearest(model, models_with_settings(workspace)),
            do=f"write one after {DIRECTORY}/template.yaml, or leave --settings out; "
            f"{DIRECTORY}/{SAME} says whose settings a model without a file takes",
        )
    document = read_yaml(path)
    fields = Fields(document)
    names = fields.names()
    if name not in names:
        raise unknown(f"settings of {model}:", name, names, where=str(path))
    if not isinstance(document.value[name], (dict, type(None))):
        raise fields.error("not a mapping of settings", name)
    values = _checked(document, (name,))
    version = values.pop("version", None)
    if version is None:
        raise fields.error(
            "the key 'version' is missing", name, do="add version: '1', and raise it on a change"
        )
    return Settings(name=name, version=str(version), path=workspace.shown(path), values=values)


def settings_names(workspace: Workspace, model: str) -> list[str]:
    """The named settings that a model has; empty if it has no file."""
    path = _settings_file(workspace, model)
    return Fields(read_yaml(path)).names() if path.is_file() else []


def _settings_file(workspace: Workspace, model: str) -> Path:
    """The model's own file, else that of the model whose settings it takes (`SAME`)."""
    own = workspace.find_file(DIRECTORY, MODELS, f"{model}.yaml")
    table = workspace.find_file(DIRECTORY, SAME)
    if own.is_file() or not table.is_file():
        return own
    with Fields(read_yaml(table)) as fields:
        for pattern in fields.names():
            # the part of each `*` by a group of its own; fnmatch has no such groups
            parts = [fnmatch.translate(part)[:-2] for part in pattern.split("*")]
            match = re.fullmatch("(.*)".join(parts), model, re.DOTALL)
            if match:
                first = match[1] if "*" in pattern else ""
                other = str(fields.text(pattern)).replace("*", first)
                return workspace.find_file(DIRECTORY, MODELS, f"{other}.yaml")
    return own


def models_with_settings(workspace: Workspace) -> list[str]:
    """All models that have a file of settings."""
    return sorted(
        {
            str(path.relative_to(directory).with_suffix(""))
            for directory in workspace.layers(DIRECTORY, MODELS)
            for path in directory.rglob("*.yaml")
        }
    )


def that_count(settings: Mapping[str, object]) -> dict[str, object]:
    """Those of them that may change a number."""
    return {key: value for key, value in settings.items() if key not in WITHOUT_EFFECT}


def changes(
    then: Mapping[str, object], version: str, now: Settings, task: Mapping[str, object]
) -> dict[str, tuple[object, object]]:
    """What a task would be evaluated with now, and was not: old and new value, by key.

    Args:
        then: the merged settings that it was evaluated with.
        version: of the model's settings then.
        now: the model's settings as they are.
        task: the task's own as they are.
    """
    old, new = that_count(then), that_count(merged(now.values, task))
    found: dict[str, tuple[object, object]] = {}
    if version != now.version:
        found["version"] = (version, now.version)
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            found[key] = (old.get(key), new.get(key))
    return found


def merged(model: Mapping[str, object], task: Mapping[str, object]) -> dict[str, object]:
    """The model's settings over the task's; what the model sets to null is left out."""
    both = {**task, **model}
    return {key: both[key] for key in sorted(both) if both[key] is not None}


def _server_args(fields: Fields, key: str) -> list[str]:
    words = list(fields.texts(key))
    for word in words:
        if not word or any(ord(character) < 32 for character in word):
            raise fields.error(f"{printable(word)} is not a word", key)
        if word.partition("=")[0].replace("_", "-") in _OURS:
            raise fields.error(f"{printable(word)} is the job's own business", key)
    return words


def _checked(document: Document, path: tuple[str, ...]) -> dict[str, object]:
    with Fields(document, path) as fields:
        fields.allow(KEYS)
        return {
            key: None if fields.is_null(key) else check(fields, key)
            for key, check in KEYS.items()
            if fields.has(key)
        }


def _number_or_text(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
