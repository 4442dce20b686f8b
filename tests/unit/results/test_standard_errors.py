"""Standard errors: reported, combined or binomial; never invented."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.config.metrics import AVERAGE_IN_ONE_TASK, MICRO_AVERAGE, PICK, Metric, MetricTable
from hpcjobs.results.result_file import Entry
from hpcjobs.results.scores import Score, read_scores
from hpcjobs.results.standard_errors import StandardError, standard_error, standard_errors


def metric(name: str = "exact_match,strip", aggregate: str = PICK) -> Metric:
    return Metric("m", aggregate, ("t",), (name,))


def of(value: float, samples: int | None = None, *tasks: str) -> Score:
    return Score(value, samples=samples, tasks=tasks or ("t",))


def test_what_the_evaluator_reports_comes_first() -> None:
    entry = Entry("t", {"bleu": 0.31}, {"bleu": 0.02}, 100)
    found = standard_error(metric("bleu"), of(0.31, 100), [Entry("u", {}), entry])
    assert found == StandardError(0.02, "reported")


def test_the_newest_entry_of_a_task_counts() -> None:
    entries = [Entry("t", {"bleu": 0.3}, {"bleu": 0.5}), Entry("t", {"bleu": 0.31}, {"bleu": 0.02})]
    assert standard_error(metric("bleu"), of(0.31), entries) == StandardError(0.02, "reported")


def test_an_error_of_another_value_is_not_taken() -> None:
    entry = Entry("t", {"bleu": 0.4}, {"bleu": 0.02}, 100)  # the file changed since
    assert standard_error(metric("bleu"), of(0.31, 100), [entry]) is None


def test_subsets_are_combined_by_their_weights() -> None:
    entries = [
        Entry("t:a", {"acc": 0.5}, {"acc": 0.05}, 100),
        Entry("t:b", {"acc": 0.8}, {"acc": 0.02}, 300),
    ]
    found = standard_error(metric("acc", MICRO_AVERAGE), of(0.725, 400, "t:a", "t:b"), entries)
    assert found is not None
    assert found.source == "subsets"
    assert found.value == pytest.approx(math.sqrt((100 * 0.05) ** 2 + (300 * 0.02) ** 2) / 400)


@pytest.mark.parametrize("spoilt", ["no error", "an error of 0", "no samples", "a subset gone"])
def test_subsets_of_which_one_is_not_known_have_no_combined_error(spoilt: str) -> None:
    errors = {"no error": {}, "an error of 0": {"f1": 0.0}}.get(spoilt, {"f1": 0.1})
    entries = [
        Entry("t:a", {"f1": 0.5}, {"f1": 0.05}, 100),
        Entry("t:b", {"f1": 0.8}, errors, None if spoilt == "no samples" else 300),
    ]
    if spoilt == "a subset gone":
        entries.pop()
    score = of(0.725, 400, "t:a", "t:b")
    assert standard_error(metric("f1", MICRO_AVERAGE), score, entries) is None


@pytest.mark.parametrize(
    "name",
    ["acc", "acc,none", "exact_match,strip", "extractive_match", "prompt_level_strict_acc",
     "codegen_pass@1:10", "humaneval_pass@10:10", "pass@1,create_test"],
)  # fmt: skip
def test_a_share_of_known_samples_has_a_binomial_error(name: str) -> None:
    found = standard_error(metric(name), of(0.75, 8), [])
    assert found == StandardError(math.sqrt(0.75 * 0.25 / 8), "binomial")


@pytest.mark.parametrize(
    "name", ["bleu", "f1_score", "judge_score_overall_avg", "inst_level_strict_acc,none",
             "japanese_ratio_overall", "word_perplexity", "accuracy_like_thing"],
)  # fmt: skip
def test_what_is_no_share_of_samples_has_none(name: str) -> None:
    assert standard_error(metric(name), of(0.75, 8), []) is None


@pytest.mark.parametrize(
    ("value", "samples"), [(0.5, None), (0.5, 0), (1.5, 8), (-0.5, 8), (75.0, 8)]
)
def test_without_samples_or_outside_of_0_to_1_there_is_none(
    value: float, samples: int | None
) -> None:
    assert standard_error(metric(), of(value, samples), []) is None


def test_a_mean_of_several_metrics_has_none() -> None:
    several = Metric("m", AVERAGE_IN_ONE_TASK, ("t",), ("acc", "acc_norm"))
    assert standard_error(several, of(0.5, 100), [Entry("t", {"acc": 0.5}, {"acc": 0.1})]) is None


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_is_no_certainty(value: float) -> None:
    reported_zero = Entry("t", {"acc": value}, {"acc": 0.0}, 8)
    found = standard_error(metric("acc"), of(value, 8), [reported_zero])
    assert found is not None
    assert found.source == "binomial"
    assert found.value == pytest.approx(math.sqrt(0.9 * 0.1 / 10))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_binomial_error_is_never_smaller_than_the_true_one(samples: list[float]) -> None:
    mean = math.fsum(samples) / len(samples)
    true = math.sqrt(math.fsum((one - mean) ** 2 for one in samples)) / len(samples)
    found = standard_error(metric("acc"), of(min(mean, 1.0), len(samples)), [])
    assert found is not None
    assert found.value >= true - 1e-9


def raw_workspace(root: Path, **changes: Any) -> Path:
    """An aggregate in `root/results`, and its raw result in `root/jobs`."""
    raw = {"results": {"t": {"alias": "t", "bleu,none": 0.31, "bleu_stderr,none": 0.02}},
           "config": {}, "model_name": "m"}  # fmt: skip
    file = root / "jobs" / "results_2026-01-01T00-00-00.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(raw))
    value = {"files": [FILE], "tasks": ["t"], "versions": ["lm_eval 0.4.13", "vllm 1"], **changes}
    path = root / "results" / "p" / "m" / "aggregated_results.json"
    path.parent.mkdir(parents=True)
    document = {"model": "m", "results": {"m": 0.31}, "hpcjobs": {"values": {"m": value}}}
    path.write_text(json.dumps(document))
    return path


FILE = "jobs/results_2026-01-01T00-00-00.json"
TABLE = MetricTable((metric("bleu,none"),))


def test_raw_files_are_found_from_the_aggregate_upwards(tmp_path: Path) -> None:
    one = read_scores(raw_workspace(tmp_path / "ws"))
    assert standard_errors(one, TABLE) == {"m": StandardError(0.02, "reported")}


def test_raw_files_are_found_below_a_given_root(tmp_path: Path) -> None:
    path = raw_workspace(tmp_path / "ws")
    moved = path.rename(tmp_path / "aggregated_results.json")
    assert standard_errors(read_scores(moved), TABLE) == {}
    assert "m" in standard_errors(read_scores(moved), TABLE, [tmp_path / "ws"])


@pytest.mark.parametrize(
    "changes", [{"files": ["jobs/gone.json"]}, {"files": [FILE, "jobs/gone.json"]},
                {"versions": []}, {"versions": ["lighteval x"]}, {"tasks": ["t", "u"]}],
)  # fmt: skip
def test_what_cannot_be_read_again_has_no_reported_error(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = raw_workspace(tmp_path, **changes)
    assert standard_errors(read_scores(path), TABLE) == {}
