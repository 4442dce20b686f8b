"""Differences between evaluations, and when they are noise."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.results.comparing import BEYOND, UNKNOWN, WITHIN, compare, verdict
from hpcjobs.results.scores import Score, Scores
from hpcjobs.results.standard_errors import StandardError


def one(**scores: Score | float) -> Scores:
    values = {k: v if isinstance(v, Score) else Score(v) for k, v in scores.items()}
    return Scores(Path("x"), "m", values=values)


def error(value: float) -> dict[str, StandardError]:
    return {"a": StandardError(value, "reported")}


def test_the_error_of_a_difference_is_of_both_values() -> None:
    (row,) = compare([one(a=0.5), one(a=0.6)], ["a"], [error(0.03), error(0.04)])
    none, found = row.differences
    assert none is None
    assert found is not None
    assert (found.value, found.error) == (pytest.approx(0.1), pytest.approx(0.05))
    assert found.verdict == BEYOND  # 0.1 is 2 errors


@pytest.mark.parametrize(
    ("difference", "standard_error", "said"),
    [(0.1, 0.05, BEYOND), (-0.1, 0.05, BEYOND), (0.097, 0.05, WITHIN), (-0.097, 0.05, WITHIN),
     (0.0, 0.05, WITHIN), (0.1, None, UNKNOWN), (0.1, 0.0, UNKNOWN), (0.0, 0.0, UNKNOWN)],
)  # fmt: skip
def test_noise_is_less_than_1_96_errors(
    difference: float, standard_error: float | None, said: str
) -> None:
    assert verdict(difference, standard_error) == said


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-6, 1), st.floats(1e-6, 1))
def test_who_is_first_changes_the_sign_only(a: float, b: float, e: float, f: float) -> None:
    (there,) = compare([one(a=a), one(a=b)], ["a"], [error(e), error(f)])
    (back,) = compare([one(a=b), one(a=a)], ["a"], [error(f), error(e)])
    assert there.differences[1] is not None
    assert back.differences[1] is not None
    assert there.differences[1].value == -back.differences[1].value
    assert there.differences[1].verdict == back.differences[1].verdict
    assert there.differences[1].error == pytest.approx(math.hypot(e, f))


def test_an_error_of_one_value_alone_says_nothing() -> None:
    (row,) = compare([one(a=0.5), one(a=0.6)], ["a"], [error(0.01), {}])
    assert row.differences[1] is not None
    assert (row.differences[1].error, row.differences[1].verdict) == (None, UNKNOWN)


def test_a_missing_value_has_no_difference() -> None:
    rows = compare([one(a=0.5), one(b=0.6), one(a=Score(None))], ["a", "b", "c"], [{}, {}, {}])
    assert [row.differences for row in rows] == [(None, None, None)] * 3
    assert [row.empty for row in rows] == [False, False, True]


def test_all_are_compared_with_the_first() -> None:
    (row,) = compare([one(a=0.5), one(a=0.75), one(a=0.25)], ["a"], [{}, {}, {}])
    assert [found and found.value for found in row.differences] == [None, 0.25, -0.25]


def test_what_else_differs_is_told() -> None:
    first = Score(0.5, samples=8, versions=("lm_eval 0.4.13", "vllm 1"), tasks=("t",))
    other = Score(
        0.6, samples=2, versions=("lm_eval 0.4.9", "vllm 1"), tasks=("u",), doubt="empty answers"
    )
    (row,) = compare([one(a=first), one(a=other), one(a=first)], ["a"], [{}, {}, {}])
    assert row.differences[1] is not None
    assert row.differences[1].notes == (
        "8 and 2 samples",
        "other tasks or subsets",
        "lm_eval 0.4.13 and lm_eval 0.4.9",
        "suspect: empty answers",
    )
    assert row.differences[2] is not None
    assert row.differences[2].notes == ()
