"""Samples that lighteval 0.13 did not count: counted in its details, or not at all."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.metrics import Metric, MetricTable
from hpcjobs.results.aggregate import aggregate
from hpcjobs.results.counting import with_counts
from hpcjobs.results.functions import FUNCTIONS
from hpcjobs.results.raw_tree import aggregate_tree, find_tree
from hpcjobs.results.reading import read_task_results
from hpcjobs.results.result_file import ResultFile

GOOD = Path(__file__).parents[2] / "fixtures/evaluations/lighteval-good"
MODEL = "hosted_vllm/acme/tiny-1B"
TABLE = MetricTable((Metric("tiny", "micro_average", ("tiny_gen|0",), ("em",)),))


@pytest.fixture
def tree(pyarrow: Any, tmp_path: Path) -> Path:
    """What lighteval 0.13 left: `tiny_gen|0` and `tiny_gen:sub|0`, each of four samples."""
    return Path(shutil.copytree(GOOD / "0.13.0", tmp_path / "tree"))


def read(tree: Path) -> tuple[ResultFile, ...]:
    return read_task_results(tree, "lighteval", [MODEL]).files


def counts(files: tuple[ResultFile, ...]) -> dict[str, int | None]:
    return {entry.task: entry.samples for file in files for entry in file.entries}


def details(tree: Path, task: str) -> Path:
    (path,) = tree.rglob(f"details_{task}_*.parquet")
    return path


def test_what_was_not_counted_is_counted_in_the_details(tree: Path) -> None:
    assert counts(read(tree)) == {"tiny_gen|0": None, "tiny_gen:sub|0": None}
    assert counts(with_counts(read(tree), [tree])) == {"tiny_gen|0": 4, "tiny_gen:sub|0": 4}


@pytest.mark.parametrize("version", ["0.8.1", "swallow-0.8.0"])
def test_the_rows_are_what_older_versions_count(pyarrow: Any, version: str) -> None:
    from pyarrow import parquet

    rows = [parquet.read_metadata(path).num_rows for path in (GOOD / version).rglob("*.parquet")]
    assert rows == list(counts(read(GOOD / version)).values())


def test_counts_of_the_file_itself_stay(tree: Path) -> None:
    (path,) = tree.rglob("results_*.json")
    document = json.loads(path.read_text())
    document["config_tasks"]["tiny_gen|0"]["effective_num_docs"] = 3
    path.write_text(json.dumps(document))
    assert counts(with_counts(read(tree), [tree]))["tiny_gen|0"] == 3


@pytest.mark.parametrize("spoil", ["gone", "cut off", "other", "another time"])
def test_details_that_are_not_whole_count_nothing(
    tree: Path, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = details(tree, "tiny_gen|0")
    if spoil == "gone":
        path.unlink()
    elif spoil == "cut off":
        path.write_bytes(path.read_bytes()[:-9])
    elif spoil == "other":
        (old,) = (GOOD / "0.8.1").rglob("details_community|tiny_gen|0_*.parquet")
        shutil.copy(old, path)
    else:
        path.rename(path.with_name(path.name.replace("2026", "2025")))
    found = with_counts(read(tree), [tree])
    assert counts(found) == {"tiny_gen|0": None, "tiny_gen:sub|0": 4}
    value = aggregate(TABLE, found, None).values["tiny"]
    assert value.value is None
    assert value.why == "the number of samples is not known of tiny_gen|0"


def test_without_pyarrow_nothing_is_counted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert counts(with_counts(read(tree), [tree])) == {"tiny_gen|0": None, "tiny_gen:sub|0": None}


def test_an_average_over_subsets_is_weighted_by_them(tree: Path) -> None:
    """Of a tree that hpcjobs did not make, too: its details lie beside its results."""
    from pyarrow import parquet

    (path,) = tree.rglob("results_*.json")
    document = json.loads(path.read_text())
    document["results"]["tiny_gen:sub|0"]["em"] = 0.0
    path.write_text(json.dumps(document))
    half = details(tree, "tiny_gen:sub|0")
    parquet.write_table(parquet.read_table(half).slice(0, 2), half)
    found = find_tree(tree, MODEL)
    value = aggregate_tree(TABLE, found, FUNCTIONS).values["tiny"]
    assert value.value == pytest.approx(4 / 6)
    assert value.samples == 6
    shutil.rmtree(tree / "details")
    assert aggregate_tree(TABLE, find_tree(tree, MODEL), FUNCTIONS).values["tiny"].value is None
