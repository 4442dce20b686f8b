"""Walltimes on paper and in seconds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.durations import format_duration, local_moment, parse_duration


@given(st.integers(1, 9999 * 3600))
def test_what_is_written_is_read_again(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00"),
        (-5, "00:00:00"),
        (59.6, "00:01:00"),
        (3599, "00:59:59"),
        (604800, "168:00:00"),
    ],
)
def test_a_walltime_is_written_as_schedulers_read_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.text(max_size=12))
def test_any_other_text_is_refused_by_one_error(text: str) -> None:
    try:
        assert parse_duration(text) > 0
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize("text", ["", "1", "1:2", "1:2:3:4", "1:60:00", "1:00:60", "12345:00:00"])
def test_a_time_of_another_form_is_no_walltime(text: str) -> None:
    with pytest.raises(ValueError, match="HH:MM:SS"):
        parse_duration(text)


def test_a_local_moment() -> None:
    forms = ("%Y-%m-%dT%H:%M:%S", "%a %b %d %H:%M:%S %Y")
    expected = time.mktime((2026, 11, 21, 7, 32, 36, 0, 0, -1))
    assert local_moment(" 2026-11-21T07:32:36\n", *forms) == expected
    assert local_moment("Sat Nov 21 07:32:36 2026", *forms) == expected
    for text in ("", "-/-", "2026-13-21T07:32:36", "Thu Jan  1 00:00:00 1970", "2026-11-21"):
        assert local_moment(text, *forms) is None
