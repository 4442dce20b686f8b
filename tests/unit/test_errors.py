"""What a person reads: what, where, what was expected, the nearest, and what to do."""

from __future__ import annotations

import pytest

from hpcjobs.errors import ExitCode, HpcjobsError, InputError, nearest, printable, unknown


def test_a_message_has_a_line_for_each_part() -> None:
    error = InputError("what", where="x:1", expected="this", nearest="that", do="so")
    assert str(error).splitlines() == [
        "x:1: what",
        "  expected: this",
        "  did you mean: that",
        "  do: so",
    ]


def test_parts_that_are_not_known_are_left_out() -> None:
    assert str(HpcjobsError("what")) == "what"


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("node-q", ["node_q", "node_f"], "node_q"),
        ("temprature", ["temperature", "top_p"], "temperature"),
        ("xyz", ["node_q"], None),
        ("", ["a"], None),
        ("a", [], None),
    ],
)
def test_the_nearest_is_one_that_is_near(name: str, known: list[str], near: str | None) -> None:
    assert nearest(name, known) == near


def test_an_unknown_name_is_told_with_all_that_there_are() -> None:
    error = unknown("node", "nodeq", {"node_q": 1, "gpu_1": 2}, where="--node")
    assert error.expected == "one of: gpu_1, node_q"
    assert error.nearest == "node_q"


def test_of_many_names_those_that_are_nearest_are_told_and_how_many_there_are() -> None:
    names = [f"{letter}{number:03}" for letter in "abcdef" for number in range(29)]
    error = unknown("job", "d01x", names)
    assert error.expected is not None
    assert error.expected.startswith("one of 174, such as: ")
    shown = error.expected.partition(": ")[2].split(", ")
    assert len(shown) == 12
    assert {"d010", "d011"} <= set(shown)
    assert error.nearest in shown
    far = unknown("job", "?", names).expected
    assert far == f"one of 174, such as: {', '.join(names[:12])}"


def test_where_there_is_nothing_that_is_told() -> None:
    assert unknown("job", "x", []).expected == "one of: none is defined"


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\0", "\u202e", "\udcff", "\t"])
def test_a_text_from_outside_cannot_write_on_the_terminal(text: str) -> None:
    assert printable(text).isprintable()


def test_letters_of_all_people_are_shown_as_they_are() -> None:
    assert printable("日本語 é") == "'日本語 é'"


def test_exit_codes_are_told_apart() -> None:
    codes = [value for name, value in vars(ExitCode).items() if name.isupper()]
    assert len(set(codes)) == len(codes) == 8
