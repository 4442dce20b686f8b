"""aggregated_results.json files read back: nothing that is no value becomes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.metrics import Metric, MetricTable
from hpcjobs.errors import InputError
from hpcjobs.results.scores import columns, labels, read_scores, with_doubts


def written(directory: Path, results: dict[str, Any], name: str = "a.json", **about: Any) -> Path:
    path = directory / name
    document: dict[str, Any] = {"model": "p/org/m", "results": results}
    if about:
        document["hpcjobs"] = about
    path.write_text(json.dumps(document))
    return path


def test_a_file_of_another_program_needs_a_model_and_results_only(tmp_path: Path) -> None:
    one = read_scores(written(tmp_path, {"a": 0.5, "b": -1}))
    assert (one.label, one.value("a"), one.value("b"), one.value("c")) == (
        "p/org/m",
        0.5,
        None,
        None,
    )
    assert one.complete is None


def test_a_true_minus_one_is_a_value_where_the_file_says_what_is_missing(tmp_path: Path) -> None:
    one = read_scores(written(tmp_path, {"a": -1, "b": -1}, missing={"b": "no result for b"}))
    assert (one.value("a"), one.value("b")) == (-1, None)
    assert one.values["b"].why == "no result for b"


def test_the_golden_aggregates_are_read_in_their_order(golden: Path) -> None:
    path = golden / "partial" / "expected" / "aggregated_results.json"
    expected = json.loads(path.read_text())
    one = read_scores(path)
    assert list(one.values) == expected["tasks"]
    assert {name: one.value(name) for name in one.values} == {
        name: None if value == -1 else value for name, value in expected["results"].items()
    }


@pytest.mark.parametrize("key", ["a", "task_key", "raw|task|0"])
@pytest.mark.parametrize("kind", ["suspect", "accepted_suspect"])
def test_a_doubt_is_at_the_value_by_metric_task_or_raw_key(
    tmp_path: Path, key: str, kind: str
) -> None:
    values = {"a": {"tasks": ["raw|task|0"], "settings": {"task_key": {}}}, "b": {}}
    about: dict[str, Any] = {"values": values, kind: {key: "empty answers"}}
    one = read_scores(written(tmp_path, {"a": 0.5, "b": 0.5}, **about))
    assert [one.values[name].doubt for name in "ab"] == ["empty answers", ""]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not JSON"),
        ('{"model": "m", "results": {"a": 0.', "not JSON"),
        ('{"model": "m", "results": {"a": NaN}}', "NaN is no number"),
        ('{"model": "m", "results": {"a": 1e999}}', "'a' is no finite number"),
        ('{"model": "m", "results": {"a": "0.5"}}', "'a' is no finite number"),
        ('{"model": "m", "results": {"a": true}}', "'a' is no finite number"),
        ('{"model": "m"}', "'results' is missing"),
        ('{"results": {}}', "does not name the model"),
        ("[]", "no JSON object"),
        ('{"model": "\\ud800", "results": {}}', "surrogates not allowed"),
        ('{"model": "m", "results": {}, "hpcjobs": 3}', "'hpcjobs' is missing, or no JSON"),
        ("[" * 100000, "not JSON"),
    ],
)
def test_what_is_no_aggregate_is_refused_with_its_path(
    tmp_path: Path, text: str, what: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=what) as refused:
        read_scores(path)
    assert str(refused.value).startswith(f"{path}: ")


def test_strange_provenance_is_no_provenance(tmp_path: Path) -> None:
    strange: dict[str, Any] = {"samples": "8", "versions": 3, "jobs": [None], "seconds": "x"}
    one = read_scores(written(tmp_path, {"a": 0.5}, values={"a": strange}, failed=[1, "t"]))
    score = one.values["a"]
    assert (score.value, score.samples, score.versions, score.jobs) == (0.5, None, (), ())
    assert (score.seconds, dict(one.failed)) == (None, {"t": ""})


def test_equal_names_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    one, two = (read_scores(written(tmp_path, {}, name)) for name in ("a.json", "b.json"))
    assert labels([one]) == ["p/org/m"]
    assert labels([one, two]) == [f"p/org/m ({tmp_path / name}.json)" for name in "ab"]


def test_columns_have_the_order_of_the_table_then_that_of_the_files(tmp_path: Path) -> None:
    table = MetricTable(tuple(Metric(name, "pick", ("t",), ("m",)) for name in ("c", "x", "a")))
    one = read_scores(written(tmp_path, {"a": 1, "own": -1}))
    two = read_scores(written(tmp_path, {"other": 1, "c": -1}, "b.json"))
    assert columns([one, two], table) == ["c", "a", "own", "other"]


def test_doubts_are_added_to_those_that_there_were(tmp_path: Path) -> None:
    values = {"a": {"settings": {"t": {}}}, "b": {}}
    one = read_scores(written(tmp_path, {"a": 0.5, "b": -1}, values=values, suspect={"a": "empty"}))
    found = with_doubts(one, {"t": "stale", "b": "stale"})
    assert (found.values["a"].doubt, found.values["b"].doubt) == ("empty; stale", "")
    assert dict(found.doubts) == {"a": "empty", "t": "stale", "b": "stale"}
