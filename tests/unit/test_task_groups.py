"""Which tasks `--tasks` means: keys, globs and groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs.config.groups import Group, members, read_groups, select
from hpcjobs.config.tables import read_tasks
from hpcjobs.errors import InputError
from hpcjobs.model import Task

DEFAULT = """
    ja_gpqa ja_jemhopqa_cot ja_math_100 ja_mmlu ja_mmlu_prox ja_mtbench ja_wmt20_en_ja
    ja_wmt20_ja_en ja_humaneval ja_mifeval en_hellaswag en_mtbench en_gpqa_diamond en_math_500
    en_aime_2024_2025 en_livecodebench_v5_v6 en_mmlu en_mmlu_pro en_mmlu_prox
"""


@pytest.fixture
def tasks(project: Path) -> dict[str, Task]:
    return read_tasks(project / "conf" / "tasks_runtime.csv")


@pytest.fixture
def groups(project: Path, tasks: dict[str, Task]) -> dict[str, tuple[str, ...]]:
    found = read_groups(project / "conf" / "task_groups.yaml", tasks)
    return {name: members(name, group, tasks) for name, group in found.items()}


def chosen(words: list[str], few: str = "ja_a ja_b en_a en_b") -> tuple[str, ...]:
    table = {key: Task(key, key, key, "lighteval") for key in few.split()}
    groups = {"both": Group(("en_a", "ja_a"), "x:1"), "mine": Group(("en_b",), "x:2")}
    return select(words, table, groups)


def test_the_default_is_the_19_tasks_that_models_are_compared_by(
    groups: dict[str, tuple[str, ...]],
) -> None:
    assert sorted(groups["default"]) == sorted(DEFAULT.split())
    assert len(groups["default"]) == 19


def test_the_group_of_a_language_is_all_its_tasks(
    groups: dict[str, tuple[str, ...]], tasks: dict[str, Task]
) -> None:
    assert set(groups["ja"]) == {key for key in tasks if key.startswith("ja_")}


def test_all_is_both_languages_without_the_demo(
    groups: dict[str, tuple[str, ...]], tasks: dict[str, Task]
) -> None:
    assert set(groups["all"]) == {key for key in tasks if not key.startswith("demo_")}


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        pytest.param(["en_a"], ("en_a",), id="a key"),
        pytest.param(["ja_*"], ("ja_a", "ja_b"), id="a glob, in the table's order"),
        pytest.param(["??_b"], ("ja_b", "en_b"), id="question marks"),
        pytest.param(["[je]?_a"], ("ja_a", "en_a"), id="a set of characters"),
        pytest.param(["both"], ("en_a", "ja_a"), id="a group, in its own order"),
        pytest.param(["en_b,ja_a"], ("en_b", "ja_a"), id="commas, in the order given"),
        pytest.param([" en_b , ja_a ,"], ("en_b", "ja_a"), id="spaces and a stray comma"),
        pytest.param(["mine", "ja_a"], ("en_b", "ja_a"), id="given several times"),
        pytest.param(["ja_a", "both", "*_a"], ("ja_a", "en_a"), id="each once"),
    ],
)
def test_words_mean_tasks(words: list[str], keys: tuple[str, ...]) -> None:
    assert chosen(words) == keys


def test_a_key_comes_before_a_group_of_the_same_name() -> None:
    assert chosen(["both"], few="both en_a ja_a") == ("both",)


def test_an_unknown_word_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        chosen(["ja_a", "botth"])
    assert "'botth'" in caught.value.what
    assert caught.value.nearest == "both"
    assert "both, mine" in str(caught.value.expected)


def test_a_glob_that_means_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"'fr_\*'"):
        chosen(["fr_*"])


@pytest.mark.parametrize("words", [[], [""], [" , "]])
def test_no_words_are_no_tasks(words: list[str]) -> None:
    with pytest.raises(InputError, match="no tasks are chosen"):
        chosen(words)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: [ja_gpqa]\nja_gpqa: [ja_mmlu]\n", "a task has the same name"),
        ("a: [ja_gpqa]\nmine: [1]\n", "not a text"),
        ("a: [ja_gpqa]\nmine:\n", "no value"),
        ("a: [ja_gpqa]\nmine: {b: c}\n", "not a text"),
    ],
)
def test_a_wrong_group_is_refused_by_its_line(
    write: Callable[..., Path], tasks: dict[str, Task], text: str, what: str
) -> None:
    path = write(text)
    with pytest.raises(InputError) as caught:
        read_groups(path, tasks)
    assert caught.value.where == f"{path}:2"
    assert what in caught.value.what


def test_a_misspelt_task_of_a_group_is_told_the_nearest(
    write: Callable[..., Path], tasks: dict[str, Task]
) -> None:
    groups = read_groups(write("a: [ja_gpqa]\nmine: [ja_gpqq]\n"), tasks)
    with pytest.raises(InputError, match="mine: no task 'ja_gpqq'") as caught:
        select(["mine"], tasks, groups)
    assert caught.value.nearest == "ja_gpqa"
    assert str(caught.value.where).endswith(":2")


@pytest.mark.parametrize("words", ["[]", '["fr_*"]'])
def test_a_group_that_means_nothing_is_refused_when_it_is_used(
    write: Callable[..., Path], tasks: dict[str, Task], words: str
) -> None:
    groups = read_groups(write(f"mine: {words}\n"), tasks)
    with pytest.raises(InputError, match="mine: the table has none of its tasks"):
        select(["mine"], tasks, groups)


def test_the_shipped_groups_go_with_a_table_that_has_fewer_tasks(project: Path) -> None:
    table = {key: Task(key, key, key, "lighteval") for key in ("ja_gpqa", "en_mmlu")}
    groups = read_groups(project / "conf" / "task_groups.yaml", table)
    assert select(["all"], table, groups) == ("ja_gpqa", "en_mmlu")
