"""How entries become values: pure rules, on entries of our own making."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.config.metrics import Metric, MetricTable, read_metrics
from hpcjobs.errors import InputError
from hpcjobs.results.aggregate import MetricValue, aggregate, as_json, without_partial
from hpcjobs.results.functions import FUNCTIONS, Computed
from hpcjobs.results.result_file import Entry, ResultFile

START = datetime(2026, 1, 1)
PICKED = Metric("picked", "pick", ("t|0",), ("em",))
MICRO = Metric("micro", "micro_average", ("s|t|0",), ("em",))
MEAN = Metric("mean", "average_in_one_task", ("t|0",), ("a", "b"))


def entry(task: str, em: float = 0.5, samples: int | None = 1) -> Entry:
    return Entry(task, {"em": em}, samples=samples)


def result(
    *entries: Entry, hours: int = 0, name: str = "a", seconds: float | None = 1.5
) -> ResultFile:
    at = START + timedelta(hours=hours)
    return ResultFile(Path(name), "lighteval", None, "org/model", at, seconds, entries)


def value_of(metric: Metric, *files: ResultFile) -> MetricValue:
    return aggregate(MetricTable((metric,)), files, {metric.set}).values[metric.name]


def test_pick_is_the_value_of_one_task() -> None:
    value = value_of(PICKED, result(entry("t|0", 0.25, samples=4), entry("u|0", 0.75)))
    assert value == MetricValue(
        value=0.25,
        why=None,
        files=(Path("a"),),
        samples=4,
        at=START,
        seconds=1.5,
        versions=("lighteval",),
        tasks=("t|0",),
    )


def test_the_newest_result_counts() -> None:
    old = result(entry("t|0", 0.25), name="b", hours=1)
    new = result(entry("t|0", 0.75), name="a", hours=2)
    assert value_of(PICKED, new, old).value == 0.75


def test_a_newer_result_replaces_only_the_subsets_that_it_has() -> None:
    old = result(entry("s|t:a|0", 0.0), entry("s|t:b|0", 0.5), hours=1)
    new = result(entry("s|t:a|0", 1.0), hours=2, name="b")
    assert value_of(MICRO, old, new).value == 0.75


def test_what_was_not_evaluated_has_no_value() -> None:
    assert value_of(PICKED) == MetricValue(None, "no result for t|0")
    assert value_of(MICRO, result(entry("s|u:a|0"))).why == "no result for s|t|0"


def test_a_metric_that_the_result_lacks_is_named() -> None:
    value = value_of(MEAN, result(Entry("t|0", {"a": 0.5, "c": 1.0}), entry("s|t:a|0")))
    assert (value.value, value.why) == (None, "the result of t|0 has no b (it has a, c)")


def test_average_in_one_task_is_the_plain_mean() -> None:
    assert value_of(MEAN, result(Entry("t|0", {"a": 0.25, "b": 0.75}))).value == 0.5


def test_micro_average_counts_only_the_listed_subsets() -> None:
    metric = Metric("m", "micro_average", ("s|t|0",), ("em",), subsets=("a", "b"))
    file = result(
        entry("s|t:a|0", 1.0, 3), entry("s|t:b|0", 0.0, 1), entry("s|t:c|0", 0.0, 9), entry("s|t|0")
    )
    value = value_of(metric, file)
    assert (value.value, value.samples, value.missing) == (0.75, 4, ())


def test_micro_average_names_the_subsets_that_it_lacks() -> None:
    metric = Metric("m", "micro_average", ("s|t|0",), ("em",), subsets=("a", "b", "c"))
    value = value_of(metric, result(entry("s|t:b|0", 0.25), Entry("s|t:c|0", {"f1": 1.0})))
    assert (value.value, value.missing) == (0.25, ("a", "c"))


def test_a_missing_subset_is_noticed_by_what_the_parts_list(tmp_path: Path) -> None:
    path = tmp_path / "metrics.yaml"
    path.write_text(
        "metrics:\n"
        "- {name: all, aggregate: micro_average, task: s|t|0, metric: em}\n"
        "- {name: part, aggregate: micro_average, task: s|t|0, metric: em, subsets: p}\n"
        "- {name: rest, aggregate: micro_average, task: s|t|0, metric: em, subsets: r}\n"
        "- {name: other, aggregate: micro_average, task: s|u|0, metric: em, subsets: o}\n"
        "subsets: {p: [a, b], r: [c], o: [z]}\n"
    )
    found = [entry("s|t:a|0", 0.25), entry("s|t:b|0", 0.75), entry("s|t:extra|0", 0.5)]
    made = aggregate(read_metrics(path), [result(*found)], None)
    assert made.values["all"].missing == ("c",)
    assert made.values["part"].missing == ()
    assert made.values["rest"].why == "no result for s|t|0"
    assert made.values["all"].doubt is None
    strict = without_partial(made).values
    assert (strict["all"].value, strict["all"].why) == (None, "no result for the subsets c")
    assert strict["part"].value == 0.5


def test_where_no_list_names_the_subsets_the_value_is_doubted() -> None:
    value = value_of(MICRO, result(entry("s|t:a|0"), entry("s|t:b|0")))
    assert value.value == 0.5
    assert value.doubt == "no list says which subsets s|t|0 has; these have a result: a, b"


def test_a_task_without_subsets_is_not_doubted() -> None:
    assert value_of(MICRO, result(entry("s|t|0"))).doubt is None


def test_micro_average_of_uncounted_samples_is_no_number() -> None:
    value = value_of(MICRO, result(entry("s|t:a|0", samples=None), entry("s|t:b|0")))
    assert value.value is None
    assert value.samples is None
    assert value.why == "the number of samples is not known of s|t:a|0"


def test_micro_average_of_no_samples_is_no_number() -> None:
    value = value_of(MICRO, result(entry("s|t:a|0", samples=0)))
    assert (value.value, value.why) == (None, "the results for s|t|0 have no samples")


def test_the_only_alternative_that_was_evaluated_counts() -> None:
    metric = Metric("m", "pick", ("long|0", "short|0"), ("em",))
    assert value_of(metric, result(entry("short|0", 0.25))).value == 0.25
    assert value_of(metric).why == "no result for long|0; no result for short|0"


def test_two_alternatives_at_once_are_ambiguous() -> None:
    metric = Metric("m", "pick", ("long|0", "short|0"), ("em",))
    value = value_of(metric, result(entry("short|0")), result(entry("long|0"), name="b"))
    assert (value.value, value.why) == (None, "several of its tasks have results: long|0, short|0")
    assert value.files == (Path("a"), Path("b"))


def test_evaluators_and_times_of_all_files_are_kept() -> None:
    first = result(entry("s|t:a|0"), hours=1)
    second = ResultFile(
        Path("b"), "lm_eval", "0.4.13", "org/model", START, 2.0, (entry("s|t:b|0"),)
    )
    value = value_of(MICRO, first, second)
    assert value.versions == ("lighteval", "lm_eval 0.4.13")
    assert (value.seconds, value.at) == (3.5, first.at)


def test_a_duration_that_is_not_known_is_not_zero() -> None:
    files = (result(entry("s|t:a|0"), seconds=None), result(entry("s|t:b|0"), name="b"))
    assert value_of(MICRO, *files).seconds is None


TWO_SETS = MetricTable((PICKED, Metric("demo", "pick", ("demo",), ("em",), set="demo")))


@pytest.mark.parametrize(
    ("tasks", "sets", "used"),
    [
        (["t|0"], None, ("default",)),
        (["demo"], None, ("demo",)),
        (["demo", "t|0"], None, ("default", "demo")),
        ([], None, ("default",)),
        (["unknown"], None, ("default",)),
        (["t|0"], {"demo"}, ("demo",)),
        (["t|0"], {"demo", "default"}, ("default", "demo")),
    ],
)
def test_a_set_appears_if_it_was_evaluated_or_asked_for(
    tasks: list[str], sets: set[str] | None, used: tuple[str, ...]
) -> None:
    made = aggregate(TWO_SETS, [result(*map(entry, tasks))], sets)
    names = {"default": "picked", "demo": "demo"}
    assert made.used_sets == used
    assert list(made.values) == [names[name] for name in used]


def test_a_subset_is_enough_for_its_set_to_appear() -> None:
    metric = Metric("m", "micro_average", ("s|t|0",), ("em",), set="extra")
    made = aggregate(MetricTable((PICKED, metric)), [result(entry("s|t:a|0"))], None)
    assert made.used_sets == ("extra",)


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(InputError, match="unknown set of metrics 'dmo'"):
        aggregate(TWO_SETS, [], {"dmo"})


def test_tasks_that_no_metric_looks_at_are_named() -> None:
    table = MetricTable((PICKED, MICRO))
    made = aggregate(table, [result(entry("new|0"), entry("t|0"), entry("s|t:a|0"))], None)
    assert made.unused == ("new|0",)


def test_a_function_can_be_added() -> None:
    metric = Metric("n", "entries", ("t|0",), ("em",))
    functions = {**FUNCTIONS, "entries": lambda _metric, _task, found: Computed(len(found))}
    made = aggregate(MetricTable((metric,)), [result(entry("t|0"))], None, functions)
    assert made.values["n"].value == 1
    with pytest.raises(InputError, match="unknown aggregate function 'entries'"):
        aggregate(MetricTable((metric,)), [], None)


def test_the_json_shows_a_missing_value_as_minus_one() -> None:
    made = aggregate(MetricTable((PICKED, MEAN)), [result(entry("t|0", 0.25))], None)
    assert as_json(made, "org/model") == {
        "model": "org/model",
        "results": {"picked": 0.25, "mean": -1},
        "overall": "0.25,-1",
        "tasks": ["picked", "mean"],
    }


values = st.floats(min_value=-1e6, max_value=1e6)
subsets = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(values, st.integers(min_value=0, max_value=10_000)),
    min_size=1,
    max_size=8,
)


@given(subsets)
def test_micro_average_is_the_weighted_mean_and_lies_between_its_values(
    found: Mapping[str, tuple[float, int]],
) -> None:
    file = result(*(entry(f"s|t:{name}|0", *pair) for name, pair in found.items()))
    made = value_of(MICRO, file)
    total = sum(samples for _, samples in found.values())
    if total == 0:
        assert made.value is None
        return
    assert made.value is not None
    weighted = sum(value * samples for value, samples in found.values()) / total
    counted = [value for value, samples in found.values() if samples]
    slack = 1e-9 * max(1.0, *map(abs, counted), 0.0)
    assert made.value == pytest.approx(weighted, rel=1e-12, abs=slack)
    assert min(counted) - slack <= made.value <= max(counted) + slack
    assert made.samples == total


@given(
    st.lists(st.tuples(subsets, st.integers(min_value=0, max_value=3)), max_size=5),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_files_does_not_matter(
    found: list[tuple[Mapping[str, tuple[float, int]], int]], random: object
) -> None:
    files = [
        result(
            *(entry(f"s|t:{name}|0", *pair) for name, pair in one.items()),
            hours=hours,
            name=f"file{index}",
        )
        for index, (one, hours) in enumerate(found)
    ]
    table = MetricTable((MICRO, PICKED))
    straight = aggregate(table, files, None)
    random.shuffle(files)  # type: ignore[attr-defined]
    assert aggregate(table, files, None) == straight
