"""What the reader takes from result files of lm_eval, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.metrics import Metric
from hpcjobs.results.functions import Measured, average_in_one_task, micro_average, pick
from hpcjobs.results.reading import find_result_files, read_result_file
from hpcjobs.results.result_file import Entry, ResultError, ResultFile

Document = dict[str, Any]


def read(directory: Path) -> ResultFile:
    (path,) = find_result_files(directory)
    return read_result_file(path, "lm_eval")


def test_tasks_and_groups_are_read_with_the_filter_in_their_metrics(fixtures: Path) -> None:
    file = read(fixtures / "lm_eval-local-completions")
    assert file.entries == (
        Entry(
            "tiny_mc",
            {"acc,none": 1.0, "acc_norm,none": 1.0},
            {"acc,none": 0.0, "acc_norm,none": 0.0},
            samples=4,
            original=4,
        ),
        Entry("tiny_gen", {"exact_match,strip": 1.0}, {"exact_match,strip": 0.0}, 4, 4),
        Entry(
            "tiny_suite",
            {"acc,none": 1.0},
            {"acc,none": 0.0},
            samples=8,
            original=8,
            members=("tiny_mc", "tiny_gen"),
        ),
    )


def test_answers_without_a_score_have_no_number(fixtures: Path) -> None:
    """`--predict_only`, of lm_eval 0.4.13: the file has `bypass,strip: 999`."""
    file = read(fixtures / "lm_eval-predict-only")
    assert file.entries == (Entry("demo_capitals", {}, {}, samples=8, original=8),)
    metric = Metric("capitals", "pick", ("demo_capitals",), ("exact_match,strip",))
    for function in (pick, micro_average, average_in_one_task):
        found = function(metric, "demo_capitals", [Measured(file.entries[0], file)])
        assert found.value is None
        assert "has answers, and no score: it was made with predict_only" in str(found.why)


def test_what_stands_beside_no_score_is_one(
    lm_eval_document: Document, written: Callable[..., Path]
) -> None:
    lm_eval_document["results"]["t"] |= {"bypass,none": 999, "bypass_stderr,none": "N/A"}
    (entry,) = read_result_file(written(lm_eval_document), "lm_eval").entries
    assert (entry.metrics, entry.stderrs) == ({"acc,none": 0.5}, {})


def test_model_version_time_and_duration_are_read(fixtures: Path) -> None:
    file = read(fixtures / "lm_eval-local-completions")
    assert file.model == "acme/tiny-1B"
    assert file.version == "0.4.13"
    assert file.at == datetime(2026, 11, 21, 8, 21, 42, 254294)
    assert file.seconds == 10.010882008999943


def test_a_limited_evaluation_shows_how_many_samples_it_left_out(fixtures: Path) -> None:
    (entry,) = read(fixtures / "lm_eval-local-chat-completions").entries
    assert (entry.samples, entry.original) == (3, 4)


def test_keys_without_a_filter_describe_the_task_and_are_no_metrics(
    lm_eval_document: Document, written: Callable[..., Path]
) -> None:
    lm_eval_document["results"]["t"] |= {"sample_len": 4, "name": "t", " ": " "}
    (entry,) = read_result_file(written(lm_eval_document), "lm_eval").entries
    assert (entry.metrics, entry.stderrs) == ({"acc,none": 0.5}, {})


def test_a_group_without_a_metric_of_its_own_is_left_out(
    lm_eval_document: Document, written: Callable[..., Path]
) -> None:
    lm_eval_document["results"]["g"] = {"alias": "g", " ": " "}
    lm_eval_document["group_subtasks"] = {"g": ["t"]}
    entries = read_result_file(written(lm_eval_document), "lm_eval").entries
    assert [entry.task for entry in entries] == ["t"]


@pytest.mark.parametrize("members", [["t", "u"], ["g"]])
def test_the_samples_of_a_group_are_unknown_if_those_of_a_member_are(
    lm_eval_document: Document, written: Callable[..., Path], members: list[str]
) -> None:
    lm_eval_document["results"]["g"] = {"acc,none": 0.5}
    lm_eval_document["group_subtasks"] = {"g": members}
    group = read_result_file(written(lm_eval_document), "lm_eval").entries[-1]
    assert (group.task, group.samples) == ("g", None)


@pytest.mark.parametrize(
    "arguments",
    [
        "pretrained=org/early,dtype=float",
        {"model": "org/early"},
        {"pretrained": "org/early"},
    ],
)
def test_early_versions_name_the_model_in_its_arguments(
    lm_eval_document: Document, written: Callable[..., Path], arguments: Any
) -> None:
    del lm_eval_document["model_name"]
    lm_eval_document["config"]["model_args"] = arguments
    assert read_result_file(written(lm_eval_document), "lm_eval").model == "org/early"


@pytest.mark.parametrize("value", [math.nan, math.inf, "N/A", None, [1.0]])
def test_a_metric_that_is_no_finite_number_spoils_the_file(
    lm_eval_document: Document, written: Callable[..., Path], value: Any
) -> None:
    lm_eval_document["results"]["t"]["acc,none"] = value
    with pytest.raises(ResultError, match="the metric 'acc,none' of 't' is "):
        read_result_file(written(lm_eval_document), "lm_eval")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"config": ...}, "not a result of lm_eval"),
        ({"results": ...}, "results is missing"),
        ({"results": {}}, "it holds no results"),
        ({"results": {"t": {"alias": "t"}}}, "the result of 't' has no metric"),
        ({"results": {"t": None}}, "the result of 't' is missing"),
        ({"model_name": None}, "it does not name the model"),
    ],
)
def test_a_missing_part_is_named(
    lm_eval_document: Document, written: Callable[..., Path], changes: Document, why: str
) -> None:
    document = {k: v for k, v in (lm_eval_document | changes).items() if v is not ...}
    with pytest.raises(ResultError) as caught:
        read_result_file(written(document), "lm_eval")
    assert caught.value.what == why


def test_a_result_of_lighteval_is_none_of_lm_eval(fixtures: Path) -> None:
    with pytest.raises(ResultError, match="not a result of lm_eval"):
        read(fixtures / "lighteval-0.8.1")
