"""Generation settings: of models, of tasks, and what the two make together."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.settings import (
    DIRECTORY,
    KEYS,
    MODELS,
    merged,
    models_with_settings,
    read_model_settings,
    read_task_settings,
    settings_names,
)
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.config.tables import read_tasks
from hpcjobs.errors import InputError
from hpcjobs.workspace import Workspace

PROJECT = Path(__file__).parents[2]
SHIPPED = sorted((PROJECT / DIRECTORY / MODELS).rglob("*.yaml"))

Write = Callable[..., Path]
Of = Callable[..., Any]


@pytest.fixture
def settings_of(write: Write, shipped: Workspace) -> Of:
    """The settings `name` of a model whose file has this text."""

    def read(text: str, name: str = "mine") -> Any:
        write(text, f"{DIRECTORY}/{MODELS}/org/model.yaml")
        return read_model_settings(shipped, "org/model", name)

    return read


def refused(read: Callable[[], Any]) -> InputError:
    with pytest.raises(InputError) as caught:
        read()
    return caught.value


# ---- Of a model ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name"),
    [
        pytest.param(model, name, id=f"{model}: {name}")
        for path in SHIPPED
        for model in [str(path.relative_to(PROJECT / DIRECTORY / MODELS).with_suffix(""))]
        for name in read_yaml(path).value
    ],
)
def test_shipped_settings_load_with_a_version(shipped: Workspace, model: str, name: str) -> None:
    settings = read_model_settings(shipped, model, name)
    assert settings.version == "1"
    assert settings.values


def test_the_template_explains_every_key(project: Path) -> None:
    example = read_yaml(project / DIRECTORY / "template.yaml").value["example"]
    assert set(example) == set(KEYS)


def test_the_template_is_what_it_teaches(settings_of: Of, project: Path) -> None:
    text = (project / DIRECTORY / "template.yaml").read_text(encoding="utf-8")
    assert set(settings_of(text, "example").values) == set(KEYS) - {"version"}


def test_the_template_has_a_comment_for_every_key(project: Path) -> None:
    lines = (project / DIRECTORY / "template.yaml").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"  \w+: ", line) and "#" not in line and "system_message" not in line:
            assert lines[number - 1].startswith("  #"), line


def test_the_template_counts_for_no_model(shipped: Workspace) -> None:
    assert not [model for model in models_with_settings(shipped) if "template" in model]


def test_settings_keep_name_version_and_file(settings_of: Of) -> None:
    settings = settings_of("mine: {temperature: 0.5, version: '2b'}\n")
    assert (settings.name, settings.version, settings.path, dict(settings.values)) == (
        ("mine", "2b", f"{DIRECTORY}/{MODELS}/org/model.yaml", {"temperature": 0.5})
    )


def test_a_version_may_be_a_whole_number(settings_of: Of) -> None:
    assert settings_of("mine: {version: 3}\n").version == "3"


@pytest.mark.parametrize("text", ["1.10", "''", "a b", "true", "[1]", "ü"])
def test_a_version_that_could_be_mistaken_is_refused(settings_of: Of, text: str) -> None:
    error = refused(lambda: settings_of(f"mine:\n  version: {text}\n"))
    assert str(error.where).endswith("model.yaml:2")
    assert error.what.startswith("mine.version: ")


@pytest.mark.parametrize("text", ["mine:\n  seed: 1\n", "mine:\n", "mine: {version: ~}\n"])
def test_settings_without_a_version_are_refused(settings_of: Of, text: str) -> None:
    error = refused(lambda: settings_of(text))
    assert "the key 'version' is missing" in error.what
    assert error.do is not None


def test_null_is_kept_to_unset_what_the_task_says(settings_of: Of) -> None:
    assert settings_of("mine: {temperature: ~, version: '1'}\n").values == {"temperature": None}


def test_no_name_means_no_settings(shipped: Workspace) -> None:
    settings = read_model_settings(shipped, "any/model", "")
    assert (settings.name, settings.version, dict(settings.values)) == ("", "", {})


def test_an_unknown_key_is_refused_with_the_nearest(settings_of: Of) -> None:
    error = refused(lambda: settings_of("mine:\n  version: '1'\n  temprature: 0\n"))
    assert str(error.where).endswith("model.yaml:3")
    assert error.nearest == "temperature"


@pytest.mark.parametrize(
    "line",
    [
        *("temperature: hot", "temperature: -0.1", "temperature: '0'", "top_p: 1.1", "top_k: -2"),
        *("top_k: 1.5", "min_p: 2", "seed: -1", "seed: 1e3", "max_n: 0", "max_new_tokens: 0"),
        *("max_model_length: 32k", "reasoning_effort: 1", "reasoning_parser: a b", "weights: [a]"),
        *("system_message: true", "vllm_use_v1: yes", "version: 'a b'"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_line(settings_of: Of, line: str) -> None:
    error = refused(lambda: settings_of(f"mine:\n  {line}\n"))
    assert str(error.where).endswith("model.yaml:2")
    assert error.what.startswith(f"mine.{line.partition(':')[0]}: ")
    assert error.expected


def test_an_unknown_name_is_refused_with_those_that_there_are(settings_of: Of) -> None:
    text = "reasoning: {version: '1'}\nother: {version: '1'}\n"
    error = refused(lambda: settings_of(text, "reasonning"))
    assert error.expected == "one of: other, reasoning"
    assert error.nearest == "reasoning"


@pytest.mark.parametrize("text", ["mine: [a]\n", "mine: x\n", "mine: 1\n"])
def test_settings_that_are_no_mapping_are_refused(settings_of: Of, text: str) -> None:
    assert "not a mapping" in refused(lambda: settings_of(text)).what


def test_a_model_without_a_file_is_refused_with_the_nearest(shipped: Workspace) -> None:
    model = "tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.6"
    error = refused(lambda: read_model_settings(shipped, model, "default"))
    assert error.nearest == "tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5"
    assert f"{MODELS}/{model}.yaml" in str(error.expected)


def test_the_workspaces_own_file_comes_before_the_shipped_one(
    write: Write, shipped: Workspace
) -> None:
    model = "hpcjobs/tiny-demo"
    write("ours: {version: '9'}\n", f"{DIRECTORY}/{MODELS}/{model}.yaml")
    assert settings_names(shipped, model) == ["ours"]


def test_a_model_without_a_file_has_no_names(shipped: Workspace) -> None:
    assert settings_names(shipped, "nobody/nothing") == []


# ---- Of a task -----------------------------------------------------------------------------------


def test_every_task_of_the_users_has_settings(project: Path) -> None:
    table = read_task_settings(project / DIRECTORY / "task_settings.csv")
    tasks = read_tasks(project / "conf" / "tasks_runtime.csv").values()
    assert {task.script for task in tasks if task.framework == "lighteval"} <= set(table)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('"temperature=0.2,top_p=0.95"', {"temperature": 0.2, "top_p": 0.95}),
        ("temperature=0", {"temperature": 0.0}),
        ('" temperature = 1e-6 , , seed=3 "', {"temperature": 1e-6, "seed": 3}),
        ('""', {}),
        ("", {}),
        ("reasoning_effort=low", {"reasoning_effort": "low"}),
    ],
)
def test_task_settings_are_names_and_values(write: Write, text: str, values: Any) -> None:
    assert read_task_settings(write(f"key,generation_settings\nt,{text}\n")) == {"t": values}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("temperature", "column generation_settings: 'temperature'"),
        ('"temperature=0.5,0.6"', "'0.6'"),
        ("temprature=0.5", "unknown key 'temprature'"),
        ("temperature=warm", "'warm' is not allowed"),
        ("temperature=", "'' is not allowed"),
        ("temperature=nan", "nan is not allowed"),
        ("top_k=0.5", "0.5 is not allowed"),
        ('"seed=1,seed=2"', "'seed' stands twice"),
        ("=1", "unknown key ''"),
    ],
)
def test_wrong_task_settings_are_refused_by_their_line(write: Write, text: str, what: str) -> None:
    path = write(f"key,generation_settings\nok,seed=1\n\nt,{text}\n")
    error = refused(lambda: read_task_settings(path))
    assert error.where == f"{path}:4"
    assert what in error.what


def test_a_task_that_stands_twice_is_refused(write: Write) -> None:
    path = write("key,generation_settings\nt,\nt,\n")
    error = refused(lambda: read_task_settings(path))
    assert (error.where, error.what) == (f"{path}:3", "column key: 't' stands twice")


# ---- Both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "task", "both"),
    [
        ({}, {"temperature": 0.0}, {"temperature": 0.0}),
        ({"temperature": 0.6}, {"temperature": 0.0}, {"temperature": 0.6}),
        ({"temperature": None}, {"temperature": 0.0, "seed": 1}, {"seed": 1}),
        ({"temperature": None}, {}, {}),
        ({"seed": 0}, {"top_p": 0.9}, {"seed": 0, "top_p": 0.9}),
    ],
)
def test_the_model_comes_before_the_task(model: Any, task: Any, both: Any) -> None:
    assert merged(model, task) == both
