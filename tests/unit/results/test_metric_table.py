"""The table of metrics: what the project ships, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpcjobs.config.metrics import AGGREGATES, read_metrics
from hpcjobs.errors import InputError
from hpcjobs.results.functions import FUNCTIONS

ITEM = "metrics:\n- name: m\n  aggregate: pick\n  task: t\n  metric: em\n"


def test_the_shipped_table_has_the_metrics_of_the_group_in_its_order(
    metrics_yaml: Path, golden: Path
) -> None:
    expected = json.loads((golden / "complete/expected/aggregated_results.json").read_text())
    names = [m.name for m in read_metrics(metrics_yaml).metrics if m.set == "default"]
    assert names == expected["tasks"]


def test_the_demo_is_a_set_of_its_own(metrics_yaml: Path) -> None:
    table = read_metrics(metrics_yaml)
    demo = {m.name: (m.tasks, m.metrics) for m in table.metrics if m.set == "demo"}
    assert table.sets == ("default", "demo")
    assert demo == {
        "demo_capitals": (("demo_capitals",), ("exact_match,strip",)),
        "demo_sums": (("demo_sums",), ("exact_match,strip",)),
    }


def test_every_function_that_a_table_may_name_exists() -> None:
    assert set(AGGREGATES) == set(FUNCTIONS)


def test_a_list_of_subsets_is_named_and_resolved(tmp_path: Path) -> None:
    path = tmp_path / "metrics.yaml"
    path.write_text(
        "metrics:\n- {name: m, aggregate: micro_average, task: [t, u], metric: em, subsets: x}\n"
        "subsets:\n  x: [b, a]\n"
    )
    (metric,) = read_metrics(path).metrics
    assert (metric.tasks, metric.subsets) == (("t", "u"), ("b", "a"))


def test_a_function_from_elsewhere_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.yaml"
    path.write_text(ITEM.replace("pick", "median"))
    assert read_metrics(path, [*AGGREGATES, "median"]).metrics[0].aggregate == "median"


@pytest.mark.parametrize(
    ("text", "line", "fragments"),
    [
        (ITEM + "  metrik: x\n", 6, ["unknown key 'metrik'", "did you mean: metric"]),
        (ITEM + "subset: {}\n", 6, ["unknown key 'subset'", "did you mean: subsets"]),
        (ITEM.replace("pick", "pik"), 3, ["'pik' is not known", "did you mean: pick"]),
        (ITEM.replace("metric: em", "metric: [a, b]"), 5, ["pick takes one metric, not 2"]),
        (ITEM + "  subsets: x\nsubsets: {x: [a]}\n", 6, ["pick takes no subsets"]),
        (
            ITEM.replace("pick", "micro_average") + "  subsets: stm\nsubsets:\n  stem: [a]\n",
            6,
            ["unknown list of subsets 'stm'", "did you mean: stem"],
        ),
        (ITEM + ITEM.replace("metrics:\n", ""), 6, ["'m' stands here a second time", "line 2"]),
        (ITEM.replace("  task: t\n", ""), 2, ["'task' is missing"]),
        (ITEM.replace("task: t", "task: []"), 4, ["an empty name, or none"]),
        (ITEM.replace("task: t", "task: [t, t]"), 4, ["'t' stands here a second time"]),
        (ITEM.replace("name: m", "name: a b"), 2, ["'a b' is not allowed"]),
        (ITEM + "  set: Mine\n", 6, ["'Mine' is not allowed"]),
        (ITEM + "subsets:\n  x: [24]\n", 7, ["24 is not a text"]),
        (ITEM + "subsets:\n  x: []\n", 7, ["an empty name, or none"]),
        ("metrics:\n- pick\n", 2, ["a mapping"]),
        ("metrics: {}\n", 1, ["there is no list 'metrics'"]),
        ("subsets: {}\n", 1, ["there is no list 'metrics'"]),
        ("", 1, ["there is no list 'metrics'"]),
    ],
)
def test_a_mistake_is_explained_with_its_line(
    tmp_path: Path, text: str, line: int, fragments: list[str]
) -> None:
    path = tmp_path / "metrics.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_metrics(path)
    assert caught.value.where == f"{path}:{line}"
    for fragment in fragments:
        assert fragment in str(caught.value)
