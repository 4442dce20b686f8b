"""The aggregate of real trees is the one that the group's own aggregator made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.metrics import read_metrics
from hpcjobs.results.aggregate import aggregate, as_json
from hpcjobs.results.reading import read_tree
from hpcjobs.results.result_file import TaskResults

TREES = ("complete", "partial", "no-mtbench-full")


def read(golden: Path, tree: str) -> tuple[dict[str, Any], TaskResults]:
    expected = json.loads((golden / tree / "expected/aggregated_results.json").read_text())
    return expected, read_tree(golden / tree / "raw" / expected["model"], expected["model"])


@pytest.mark.parametrize("tree", TREES)
def test_the_aggregate_is_that_of_the_group(golden: Path, metrics_yaml: Path, tree: str) -> None:
    expected, results = read(golden, tree)
    made = as_json(aggregate(read_metrics(metrics_yaml), results.files, None), expected["model"])
    assert list(made) == ["model", "results", "overall", "tasks"]
    assert made["model"] == expected["model"]
    assert made["tasks"] == expected["tasks"]
    assert list(made["results"]) == list(expected["results"])
    assert made["results"] == pytest.approx(expected["results"], rel=1e-12, abs=1e-12)
    overall = [float(value) for value in expected["overall"].split(",")]
    assert [float(value) for value in made["overall"].split(",")] == pytest.approx(
        overall, rel=1e-12, abs=1e-12
    )


@pytest.mark.parametrize("tree", TREES)
def test_files_that_do_not_count_are_named(golden: Path, tree: str) -> None:
    _, results = read(golden, tree)
    whys = {problem.path.name: problem.why for problem in results.problems}
    assert set(whys) == {"results_2031-01-01T00-00-00.000000.json", "results_latest.json"}
    assert whys["results_2031-01-01T00-00-00.000000.json"] == (
        "is of another model: 'someone/else'"
    )
    assert whys["results_latest.json"].startswith("its name tells no time")


@pytest.mark.parametrize("tree", TREES)
def test_every_missing_value_has_a_reason(golden: Path, metrics_yaml: Path, tree: str) -> None:
    expected, results = read(golden, tree)
    values = aggregate(read_metrics(metrics_yaml), results.files, None).values
    without = {name for name, value in expected["results"].items() if value == -1}
    assert {name for name, value in values.items() if value.why} == without
