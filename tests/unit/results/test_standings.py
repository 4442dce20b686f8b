"""A report's means, groups and shapes: a mean is of all that it names, or there is none."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.config.metrics import Metric, MetricTable
from hpcjobs.results.drawing import RADAR_RADIUS, RADAR_SIZE, radar, short_names
from hpcjobs.results.scores import Score, Scores
from hpcjobs.results.standings import Mean, categories, cost, mean, overall, state, task_groups


def of(**scores: Score | float | None) -> Scores:
    values = {k: v if isinstance(v, Score) else Score(v) for k, v in scores.items()}
    return Scores(Path("x"), "m", values=values, complete=True)


def test_a_mean_is_of_all_its_metrics() -> None:
    assert mean(of(a=0.25, b=0.75), ["a", "b"]) == Mean(0.5)


def test_a_missing_metric_makes_the_mean_missing_not_smaller() -> None:
    assert mean(of(a=0.25, b=None), ["a", "b", "c"]) == Mean(None, "no value of b, c")


def test_metrics_of_different_scales_have_no_mean() -> None:
    assert mean(of(a=0.25, b=31.5), ["a", "b"]) == Mean(None, "on different scales: a, b")
    assert mean(of(b=31.5), ["b"]) == Mean(31.5)
    assert overall([Mean(0.5), Mean(31.5)]).value is None


def test_a_doubt_goes_into_every_mean_above() -> None:
    found = mean(of(a=Score(0.5, doubt="empty answers"), b=0.5), ["a", "b"])
    assert found.doubt == "empty answers"
    assert overall([found, Mean(0.5)]).doubt == "empty answers"


def test_the_average_needs_every_category() -> None:
    assert overall([Mean(0.25), Mean(0.75)]) == Mean(0.5)
    assert overall([Mean(0.25), Mean(None)]) == Mean(None, "1 of 2 categories have no value")
    assert overall([]).value is None


def test_categories_are_those_of_which_there_is_something() -> None:
    metrics = tuple(Metric(name, "pick", ("t",), ("m",)) for name in "abc")
    table = MetricTable(metrics, {"one": ("a", "b"), "two": ("c",)})
    assert categories(table, ["a", "x"]) == {"one": ["a"]}
    assert categories(table, ["x", "y"]) == {"x": ["x"], "y": ["y"]}


def test_values_of_one_result_are_one_task_and_a_shared_job_is_told() -> None:
    job = ("abcdefg-01 (tsubame/node_q)",)
    one = of(
        a=Score(0.1, jobs=job, files=("f",), settings={"ja_x": {}}),
        b=Score(0.2, jobs=job, files=("f",), settings={"ja_x": {}}),
        c=Score(0.3, jobs=job, files=("g",), settings={"ja_y": {}}),
        d=None,
        e=0.5,
    )
    first, second, other = task_groups(one)
    assert (first.name, first.metrics, first.shared) == ("ja_x", ("a", "b"), 2)
    assert (first.job, first.node) == ("abcdefg-01", "tsubame/node_q")
    assert (second.name, second.metrics) == ("ja_y", ("c",))
    assert (other.name, other.job, other.metrics, other.shared) == ("", "", ("e",), 1)


def test_each_job_is_paid_once_and_an_unknown_price_is_no_zero() -> None:
    prices = {"a-01": (Decimal("0.5000"), "points"), "b-02": (Decimal("0.2500"), "points")}
    one = of(x=Score(1, jobs=("a-01 (s/n)",)), y=Score(1, jobs=("a-01 (s/n)", "b-02 (s/n)")))
    assert cost(one, prices.get) == "0.7500 points"
    assert cost(one, {"a-01": prices["a-01"]}.get) == "more than 0.5000 points"
    assert cost(one, dict[str, tuple[Decimal, str]]().get) == ""


def test_the_state_says_the_worst() -> None:
    path = Path("x")
    assert state(of(), {})[0] == "complete"
    assert state(Scores(path, "m"), {})[0] == "not told"
    assert state(Scores(path, "m", complete=False), {})[0] == "incomplete"
    assert state(Scores(path, "m", complete=True, doubts={"a": ""}), {})[0] == "suspect"
    assert state(of(), {"x": "jobs have ended since"}) == ("outdated", "jobs have ended since")
    failed = Scores(path, "m", complete=False, failed={"t": "TIMEOUT"})
    assert state(failed, {})[0] == "failed"
    assert state(Scores(path, "m", unfinished={"t": ""}, failed={"u": ""}), {})[0] == "unfinished"


@given(st.lists(st.text("ab/-", max_size=60), max_size=8, unique=True))
def test_short_names_stay_different(names: list[str]) -> None:
    short = short_names(names, 12)
    assert len(set(short)) == len(names)


def test_a_name_keeps_as_much_as_tells_it_apart() -> None:
    assert short_names(["p/org/m"]) == ["m"]
    assert short_names(["p/org/m s", "p/org/n", "p/other/n"]) == ["m s", "org/n", "other/n"]
    assert short_names(["p/x/m", "q/x/m"]) == ["p/x/m", "q/x/m"]


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b"]])
def test_two_categories_make_no_radar(names: list[str]) -> None:
    assert radar(names, [[0.5] * len(names)]) is None


def test_without_models_there_is_no_radar() -> None:
    assert radar(["a", "b", "c"], []) is None


@given(st.lists(st.floats(0, 1), min_size=3, max_size=12))
def test_a_radar_stays_within_its_rings(values: list[float]) -> None:
    found = radar([f"c{n}" for n in range(len(values))], [values])
    assert found is not None
    (polygon,) = found.polygons
    points = [tuple(map(float, pair)) for pair in re.findall(r"(\S+?),(\S+)", polygon)]
    centre = RADAR_SIZE / 2
    for (x, y), value in zip(points, values, strict=True):
        length = ((x - centre) ** 2 + (y - centre) ** 2) ** 0.5
        assert length == pytest.approx(RADAR_RADIUS * value, abs=0.2)
