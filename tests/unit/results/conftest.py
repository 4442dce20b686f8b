"""Result files of our own making, in the shapes that the evaluators write."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
NAME = "results_2026-01-02T03-04-05.678901.json"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Result files that real evaluators wrote."""
    return ROOT / "tests" / "fixtures" / "results"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Raw results of whole models, and what the group's own aggregator made of them."""
    return ROOT / "tests" / "golden" / "aggregates"


@pytest.fixture(scope="session")
def metrics_yaml() -> Path:
    """The table of metrics that the project ships."""
    return ROOT / "conf" / "metrics.yaml"


@pytest.fixture
def lighteval_document() -> dict[str, Any]:
    """A small result of lighteval 0.8."""
    return {
        "config_general": {"model_name": "org/model", "total_evaluation_time_secondes": "1.5"},
        "results": {"s|t:a|0": {"em": 0.5, "em_stderr": 0.1}, "all": {"em": 0.5}},
        "config_tasks": {"s|t:a": {"effective_num_docs": 4, "original_num_docs": 5}},
    }


@pytest.fixture
def lm_eval_document() -> dict[str, Any]:
    """A small result of lm_eval 0.4."""
    return {
        "results": {"t": {"alias": "tâche", "acc,none": 0.5, "acc_stderr,none": "N/A"}},
        "n-samples": {"t": {"original": 5, "effective": 4}},
        "config": {"model_args": {}},
        "model_name": "org/model",
        "total_evaluation_time_seconds": "1.5",
    }


@pytest.fixture
def pyarrow() -> Any:
    """What reads Parquet; without it the test is skipped, and fails in CI."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        text = "NOT TESTED: pyarrow missing (pip install 'hpcjobs[details]')"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a document under a name, and return its path."""

    def write(document: Any, name: str = NAME) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, ensure_ascii=False))
        return path

    return write
