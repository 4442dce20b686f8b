"""What the reader takes from result files of lighteval, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.results.reading import find_result_files, read_result_file
from hpcjobs.results.result_file import Entry, ResultError, ResultFile

Document = dict[str, Any]


def read(directory: Path) -> ResultFile:
    (path,) = find_result_files(directory)
    return read_result_file(path, "lighteval")


@pytest.mark.parametrize(
    ("version", "tasks", "samples"),
    [
        ("lighteval-swallow-0.8.0", ["community|tiny_gen|0", "community|tiny_gen:sub|0"], 4),
        ("lighteval-0.8.1", ["community|tiny_gen|0", "community|tiny_gen:sub|0"], 4),
        ("lighteval-0.13.0", ["tiny_gen|0", "tiny_gen:sub|0"], None),
    ],
)
def test_every_version_is_read_without_its_averages(
    fixtures: Path, version: str, tasks: list[str], samples: int | None
) -> None:
    file = read(fixtures / version)
    assert file.model == "hosted_vllm/acme/tiny-1B"
    assert file.entries == tuple(
        Entry(task, {"em": 1.0}, {"em": 0.0}, samples, samples, answer_tokens=16) for task in tasks
    )


def test_the_time_is_that_of_the_name_and_the_duration_that_of_the_evaluation(
    fixtures: Path,
) -> None:
    file = read(fixtures / "lighteval-0.13.0")
    assert file.at == datetime(2026, 11, 21, 8, 21, 59, 956653)
    assert file.seconds == 0.6531800689999727


def test_the_duration_of_old_files_is_the_difference_of_their_clocks(
    lighteval_document: Document, written: Callable[..., Path]
) -> None:
    general = lighteval_document["config_general"]
    del general["total_evaluation_time_secondes"]
    general |= {"start_time": 100.5, "end_time": 103.0}
    assert read_result_file(written(lighteval_document), "lighteval").seconds == 2.5


def test_a_score_of_answers_that_were_lost_is_still_only_a_score(fixtures: Path) -> None:
    # The server had died, and lighteval wrote 0.5 and ended with 0: nothing in the file tells.
    assert read(fixtures / "lighteval-0.13.0-server-died").entries[0].metrics == {"em": 0.5}


def test_an_api_key_in_the_file_is_not_carried_along(
    fixtures: Path, written: Callable[..., Path], lighteval_document: Document
) -> None:
    assert "dummy" in find_result_files(fixtures / "lighteval-0.13.0")[0].read_text()
    assert "dummy" not in repr(read(fixtures / "lighteval-0.13.0"))
    lighteval_document["config_general"]["model_config"] = {"api_key": "sk-very-secret"}
    file = read_result_file(written(lighteval_document), "lighteval")
    assert "sk-very-secret" not in repr(file)


def test_a_checkout_tells_its_version(
    lighteval_document: Document, written: Callable[..., Path]
) -> None:
    lighteval_document["config_general"]["lighteval_sha"] = "0f21c935"
    assert read_result_file(written(lighteval_document), "lighteval").version == "0f21c935"


def test_a_number_of_samples_that_was_not_counted_is_unknown(
    lighteval_document: Document, written: Callable[..., Path]
) -> None:
    for config in ({"effective_num_docs": -1}, {"effective_num_docs": True}, "Config(…)", None):
        lighteval_document["config_tasks"]["s|t:a"] = config
        (entry,) = read_result_file(written(lighteval_document), "lighteval").entries
        assert (entry.samples, entry.original) == (None, None)


def test_numbers_of_samples_are_found_under_the_whole_key_too(
    lighteval_document: Document, written: Callable[..., Path]
) -> None:
    lighteval_document["config_tasks"] = {"s|t:a|0": {"effective_num_docs": 3}}
    (entry,) = read_result_file(written(lighteval_document), "lighteval").entries
    assert (entry.samples, entry.original) == (3, None)


def test_a_standard_error_that_is_no_number_is_left_out(
    lighteval_document: Document, written: Callable[..., Path]
) -> None:
    lighteval_document["results"]["s|t:a|0"]["em_stderr"] = math.nan
    (entry,) = read_result_file(written(lighteval_document), "lighteval").entries
    assert (entry.metrics, entry.stderrs) == ({"em": 0.5}, {})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (None, "null"),
        (True, "true"),
        ("0.5", "'0.5'"),
        ([0.5], "a list"),
        ({"em": 0.5}, "an object"),
        (10**400, "too large"),
    ],
)
def test_a_metric_that_is_no_finite_number_spoils_the_file(
    lighteval_document: Document, written: Callable[..., Path], value: Any, shown: str
) -> None:
    lighteval_document["results"]["s|t:a|0"]["em"] = value
    with pytest.raises(ResultError) as caught:
        read_result_file(written(lighteval_document), "lighteval")
    assert caught.value.what == f"the metric 'em' of 's|t:a|0' is {shown}"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"config_general": ...}, "not a result of lighteval: config_general is missing"),
        ({"config_general": []}, "config_general is not an object"),
        ({"config_general": {}}, "config_general does not name the model"),
        ({"config_general": {"model_name": 7}}, "config_general does not name the model"),
        ({"config_tasks": ...}, "config_tasks is missing"),
        ({"results": ...}, "results is missing"),
        ({"results": []}, "results is not an object"),
        ({"results": {}}, "it holds no results"),
        ({"results": {"all": {"em": 1}, "t:_average|0": {"em": 1}}}, "it holds no results"),
        ({"results": {"s|t|0": {}}}, "the result of 's|t|0' has no metric"),
        ({"results": {"s|t|0": {"em_stderr": 0.0}}}, "the result of 's|t|0' has no metric"),
        ({"results": {"s|t|0": 0.5}}, "the result of 's|t|0' is not an object"),
    ],
)
def test_a_missing_part_is_named(
    lighteval_document: Document, written: Callable[..., Path], changes: Document, why: str
) -> None:
    document = {k: v for k, v in (lighteval_document | changes).items() if v is not ...}
    path = written(document)
    with pytest.raises(ResultError) as caught:
        read_result_file(path, "lighteval")
    assert (caught.value.what, caught.value.where) == (why, str(path))


def test_a_result_of_lm_eval_is_none_of_lighteval(fixtures: Path) -> None:
    with pytest.raises(ResultError, match="not a result of lighteval"):
        read(fixtures / "lm_eval-local-completions")
