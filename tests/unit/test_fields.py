"""Reading a mapping key by key: every complaint names file and line, and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.errors import InputError

Write = Callable[..., Path]
Read = Callable[[Fields], Any]


@pytest.fixture
def fields(write: Write) -> Callable[[str], Fields]:
    """The mapping below `a`, which starts in line 2."""

    def make(text: str) -> Fields:
        body = "".join(f"  {line}\n" for line in text.splitlines())
        return Fields(read_yaml(write(f"a:\n{body}", "file.yaml")), ("a",))

    return make


@pytest.mark.parametrize(
    ("text", "read", "value"),
    [
        ("k: x", lambda f: f.text("k"), "x"),
        ("k: '1'", lambda f: f.text("k"), "1"),
        ("k: ''", lambda f: f.text("k"), ""),
        ("k: 2", lambda f: f.text("k", pattern="[0-9]"), "2"),
        ("k: b", lambda f: f.text("k", choices=("a", "b")), "b"),
        ("k: 0", lambda f: f.integer("k"), 0),
        ("k: -1", lambda f: f.integer("k", minimum=-1), -1),
        ("k: 1e-6", lambda f: f.number("k"), 1e-6),
        ("k: 1", lambda f: f.number("k", maximum=1.0), 1.0),
        ("k: 0.1", lambda f: f.decimal("k"), Decimal("0.1")),
        ("k: 16", lambda f: f.decimal("k"), Decimal(16)),
        ("k: 2.00", lambda f: f.decimal("k"), Decimal(2)),
        ("j: 1", lambda f: f.decimal("k", None), None),
        ("k: true", lambda f: f.boolean("k"), True),
        ("k: 24:00:00", lambda f: f.duration("k"), 86400),
        ("k: '1:30:00'", lambda f: f.duration("k"), 5400),
        ("k: [x, y]", lambda f: f.texts("k"), ("x", "y")),
        ("k: x", lambda f: f.texts("k"), ("x",)),
        ("k: []", lambda f: f.texts("k"), ()),
        ("k: {x: y}", lambda f: f.texts_by_key("k"), {"x": "y"}),
        ("k: {x: y}", lambda f: f.section("k").text("x"), "y"),
        ("k: {x: {y: z}}", lambda f: [(n, s.text("y")) for n, s in f.sections("k")], [("x", "z")]),
    ],
)
def test_a_value_of_the_right_kind_is_given(
    fields: Callable[[str], Fields], text: str, read: Read, value: Any
) -> None:
    found = read(fields(text))
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "read", "what", "expected"),
    [
        ("k: 1", lambda f: f.text("k"), "1 is not a text", "in quotes"),
        ("k: true", lambda f: f.text("k"), "true is not a text", "in quotes"),
        ("k: [x]", lambda f: f.text("k"), "a list is not a text", "in quotes"),
        ("k: {x: y}", lambda f: f.text("k"), "a mapping is not a text", "in quotes"),
        ("k: 1.10", lambda f: f.text("k", pattern=".*"), "1.1 is not a text", "in quotes"),
        ("k: true", lambda f: f.text("k", pattern=".*"), "true is not a text", "in quotes"),
        ("k: x y", lambda f: f.text("k", pattern=r"\w+"), "'x y' is not allowed", r"/\w+/"),
        ("k: c", lambda f: f.text("k", choices=("a", "b")), "'c' is not known", "one of: a, b"),
        ("k: -1", lambda f: f.integer("k"), "-1 is not allowed", "a whole number from 0 up"),
        ("k: 1.0", lambda f: f.integer("k"), "1.0 is not allowed", "a whole number"),
        ("k: true", lambda f: f.integer("k"), "true is not allowed", "a whole number"),
        ("k: '1'", lambda f: f.integer("k"), "'1' is not allowed", "a whole number"),
        ("k: 012", lambda f: f.integer("k"), "'012' is not allowed", "a whole number"),
        ("k: -0.1", lambda f: f.number("k"), "-0.1 is not allowed", "a number from 0 up"),
        ("k: 1.5", lambda f: f.number("k", maximum=1.0), "1.5 is not", "a number from 0 to 1"),
        ("k: true", lambda f: f.number("k"), "true is not allowed", "a number"),
        ("k: nan", lambda f: f.number("k"), "'nan' is not allowed", "a number"),
        ("k: -0.1", lambda f: f.decimal("k"), "-0.1 is not allowed", "a number from 0"),
        ("k: 1e999", lambda f: f.decimal("k"), "inf is not allowed", "a number from 0"),
        ("k: yes", lambda f: f.boolean("k"), "'yes' is not allowed", "true or false"),
        ("k: 1", lambda f: f.boolean("k"), "1 is not allowed", "true or false"),
        ("k: 30", lambda f: f.duration("k"), "'30' is not a time", "HH:MM:SS"),
        ("k: 00:00:00", lambda f: f.duration("k"), "a time of zero seconds", "HH:MM:SS"),
        ("k: [x, 1]", lambda f: f.texts("k"), "1 is not a text", "a list of texts"),
        ("k: {x: y}", lambda f: f.texts("k"), "a mapping is not a text", "a list of texts"),
    ],
)
def test_a_value_of_another_kind_is_refused(
    fields: Callable[[str], Fields], text: str, read: Read, what: str, expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(fields("before: 1\n" + text))
    error = caught.value
    assert str(error.where).endswith("file.yaml:3")
    assert error.what.startswith("a.k: ")
    assert what in error.what
    assert expected in str(error.expected)


def test_a_choice_that_is_nearly_right_is_told_the_nearest(fields: Callable[[str], Fields]) -> None:
    with pytest.raises(InputError) as caught:
        fields("k: slrum").text("k", choices=("slurm", "pbs"))
    assert caught.value.nearest == "slurm"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("k: [x]", lambda f: f.section("k")),
        ("k: x", lambda f: f.texts_by_key("k")),
        ("k: 1", lambda f: list(f.sections("k"))),
    ],
)
def test_a_single_value_is_no_mapping(
    fields: Callable[[str], Fields], text: str, read: Read
) -> None:
    with pytest.raises(InputError) as caught:
        read(fields(text))
    assert str(caught.value.where).endswith("file.yaml:2")
    assert caught.value.expected == "a mapping (key: value)"


def test_a_value_below_is_named_by_its_own_line(fields: Callable[[str], Fields]) -> None:
    with pytest.raises(InputError) as caught:
        fields("k:\n  x: y\n  z: 1").texts_by_key("k")
    assert str(caught.value.where).endswith("file.yaml:4")
    assert caught.value.what.startswith("a.k.z: ")


METHODS = ("text", "integer", "number", "boolean", "duration", "texts")


@pytest.mark.parametrize("method", METHODS)
def test_a_key_that_is_missing_is_refused(fields: Callable[[str], Fields], method: str) -> None:
    with pytest.raises(InputError, match="a: the key 'k' is missing"):
        getattr(fields("x: 1"), method)("k")


@pytest.mark.parametrize("method", METHODS)
def test_a_key_without_a_value_is_refused(fields: Callable[[str], Fields], method: str) -> None:
    with pytest.raises(InputError, match=r"a\.k: it has no value"):
        getattr(fields("k: ~"), method)("k")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", ["x: 1", "k: null"])
def test_a_default_stands_in_for_a_key_that_is_missing_or_null(
    fields: Callable[[str], Fields], text: str, method: str
) -> None:
    assert getattr(fields(text), method)("k", "a default") == "a default"


@pytest.mark.parametrize("text", ["x: 1", "k:"])
def test_a_section_that_is_missing_is_empty(fields: Callable[[str], Fields], text: str) -> None:
    assert fields(text).section("k").names() == []


def test_a_key_missing_in_a_missing_section_is_told_by_its_full_name(
    fields: Callable[[str], Fields],
) -> None:
    with pytest.raises(InputError, match=r"a\.times: the key 'max' is missing"):
        fields("x: 1").section("times").text("max")


def test_a_list_at_the_top_is_refused(write: Write) -> None:
    path = write("- 1\n")
    with pytest.raises(InputError, match="a list or a single value") as caught:
        Fields(read_yaml(path))
    assert caught.value.where == f"{path}:1"


def test_an_empty_file_is_an_empty_mapping(write: Write) -> None:
    assert Fields(read_yaml(write(""))).names() == []


def test_an_unknown_key_is_refused_with_the_nearest(fields: Callable[[str], Fields]) -> None:
    with (
        pytest.raises(InputError) as caught,
        fields("temperature: 1\ntemprature: 2\n") as reading,
    ):
        reading.integer("temperature")
        reading.integer("seed", None)
    error = caught.value
    assert str(error.where).endswith("file.yaml:3")
    assert error.what == "unknown key 'temprature'"
    assert error.expected == "one of: seed, temperature"
    assert error.nearest == "temperature"


def test_an_error_inside_is_not_hidden_by_unknown_keys(fields: Callable[[str], Fields]) -> None:
    with pytest.raises(InputError, match=r"a\.x: first"), fields("x: 1\ny: 2") as reading:
        raise reading.error("first", "x")


def test_keys_that_are_allowed_need_not_be_read(fields: Callable[[str], Fields]) -> None:
    with fields("x: 1") as reading:
        reading.allow(["x", "y"])
    assert reading.names() == ["x"]


@pytest.mark.parametrize(
    ("text", "null", "there"), [("k: ~", True, True), ("k: 1", False, True), ("x: 1", False, False)]
)
def test_null_is_told_from_missing(
    fields: Callable[[str], Fields], text: str, null: bool, there: bool
) -> None:
    reading = fields(text)
    assert (reading.is_null("k"), reading.has("k")) == (null, there)
