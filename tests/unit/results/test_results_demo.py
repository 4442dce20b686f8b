"""The demo's own results, as the real lm_eval wrote them against the real llama.cpp server."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcjobs.config.metrics import read_metrics
from hpcjobs.results.aggregate import aggregate
from hpcjobs.results.reading import read_task_results

ROOT = Path(__file__).resolve().parents[3]
TREE = ROOT / "tests" / "fixtures" / "lm_eval_demo"


def test_the_recorded_demo_has_the_known_scores() -> None:
    results = read_task_results(TREE, "lm_eval", ["hpcjobs/tiny-demo"])
    assert results.problems == ()
    table = read_metrics(ROOT / "conf" / "metrics.yaml")
    values = aggregate(table, results.files, None).values
    assert {name: one.value for name, one in values.items()} == {
        "demo_capitals": pytest.approx(0.75, abs=0),
        "demo_sums": pytest.approx(0.875, abs=0),
    }
    assert {one.samples for one in values.values()} == {8}
