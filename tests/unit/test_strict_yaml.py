"""YAML as people mean it: what a plain value is, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.errors import InputError, StorageError

Write = Callable[..., Path]


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("-1.5E+3", -1500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("0.0", 0.0),
        ("+3", 3),
        ("-1", -1),
        ("0", 0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("[]", []),
        ("{}", {}),
    ],
)
def test_a_plain_value_is_a_number_a_truth_or_nothing(write: Write, text: str, value: Any) -> None:
    found = read_yaml(write(f"a: {text}\n")).value["a"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    "text",
    [
        *("24:00:00", "012", "00", "no", "yes", "on", "off", "No", "True", "NULL", "nan", ".nan"),
        *(".inf", "inf", "0x1F", "0o17", "1_000", "2026-01-01", "e5", ".e5", "e1234567", ".", "-"),
        *("1e", "1.2.3", "1,5", "1 000", "日本語", "=", "v1"),
    ],
)
def test_everything_else_is_text(write: Write, text: str) -> None:
    document = read_yaml(write(f"a: {text}\n" if text != "-" else "a: '-'\n"))
    assert document.value == {"a": text}


@pytest.mark.parametrize("text", ["1", "true", "null", "~", ""])
def test_what_stands_in_quotes_is_text(write: Write, text: str) -> None:
    assert read_yaml(write(f"a: '{text}'\nb: \"{text}\"\n")).value == {"a": text, "b": text}


def test_keys_are_text_as_they_are_written(write: Write) -> None:
    assert read_yaml(write("1: a\nno: b\n~: c\n1e3: d\n")).value == {
        "1": "a",
        "no": "b",
        "~": "c",
        "1e3": "d",
    }


def test_a_block_of_text_stays_text(write: Write) -> None:
    assert read_yaml(write("a: |\n  1\nb: >-\n  2\n  3\n")).value == {"a": "1\n", "b": "2 3"}


def test_an_alias_is_the_value_that_it_points_to(write: Write) -> None:
    assert read_yaml(write("a: &x [1, {b: 2}]\nc: *x\n")).value["c"] == [1, {"b": 2}]


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n", "---\n", "---\n...\n", "~"])
def test_a_file_without_a_value_is_nothing(write: Write, content: str) -> None:
    assert read_yaml(write(content)).value is None


def test_a_list_may_stand_at_the_top(write: Write) -> None:
    assert read_yaml(write("- 1\n- a\n")).value == [1, "a"]


@pytest.mark.parametrize("content", ["\ufeffa: 1\n", "a: 1\r\n", "a: 1\r"])
def test_a_file_is_read_however_an_editor_saved_it(write: Write, content: str) -> None:
    assert read_yaml(write(content)).value == {"a": 1}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("a",), 2),
        (("a", "b"), 3),
        (("a", "b", 1), 5),
        (("a", "none"), 2),
        (("none", "at", "all"), 2),
    ],
)
def test_each_value_knows_its_line(write: Write, path: tuple[str | int, ...], line: int) -> None:
    document = read_yaml(write("# a comment\na:\n  b:\n    - 1\n    - 2\n"))
    assert document.where(path) == f"{document.path}:{line}"


# ---- Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "key", "first"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a", 1),
        ("x:\n  y:\n    a: 1\n    a: 1\n", 4, "a", 3),
        ("- a: 1\n  a: 1\n", 2, "a", 1),
        ("{a: 1, b: 2, a: 1}\n", 1, "a", 1),
        ("a: 1\n'a': 2\n", 2, "a", 1),
        ("a:\n  b: 1\n\na:\n  c: 1\n", 4, "a", 1),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(
    write: Write, text: str, line: int, key: str, first: int
) -> None:
    path = write(text)
    error = refusal(path)
    assert error.where == f"{path}:{line}"
    assert error.what == f"the key '{key}' stands here a second time"
    assert str(error.expected).endswith(f"line {first})")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        pytest.param("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys", id="merge key"),
        pytest.param("a: &x [*x]\n", 1, "alias", id="alias to itself"),
        pytest.param("a: &x\n  b: {c: *x}\n", 1, "alias", id="alias loop"),
        pytest.param("a: *x\n", 1, "undefined alias", id="alias to nothing"),
        pytest.param("a: 1\nb: !foo x\n", 2, "tag !foo", id="tag"),
        pytest.param("a: !foo {b: 1}\n", 1, "tag !foo", id="tag of a mapping"),
        pytest.param("a: !!str 12\n", 1, "tag", id="tag of YAML itself"),
        pytest.param("a: !!python/object:os.system x\n", 1, "tag", id="tag of Python"),
        pytest.param("a: 1\n---\nb: 2\n", 2, "another document", id="two documents"),
        pytest.param("a:\n\tb: 1\n", 2, "not YAML", id="tab"),
        pytest.param("a: 'x\n", 2, "not YAML", id="open quote"),
        pytest.param("a: 1\nb: 2 c: 3\n", 2, "not YAML", id="two on a line"),
        pytest.param("a: 1\n? [b, c]\n: 2\n", 2, "a key must be plain text", id="list as key"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_by_its_line(
    write: Write, text: str, line: int, what: str
) -> None:
    path = write(text)
    error = refusal(path)
    assert what in error.what
    assert error.where == f"{path}:{line}"


def test_a_quoted_merge_key_is_a_key(write: Write) -> None:
    assert read_yaml(write("'<<': 1\n")).value == {"<<": 1}


def test_a_file_that_is_not_utf8_is_refused(write: Write) -> None:
    error = refusal(write("a: 日本語\n".encode("euc-jp")))
    assert error.what == "byte 3 is not UTF-8"


def test_control_characters_are_refused(write: Write) -> None:
    assert refusal(write("a: \x07\n")).what.startswith("not YAML")


def test_a_file_nested_beyond_all_reason_is_refused(write: Write) -> None:
    assert refusal(write("[" * 5000)).what == "it is nested too deeply"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.yaml")
    assert (error.where, error.what) == (str(tmp_path / "none.yaml"), "no such file")


def test_a_directory_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Is a directory"):
        read_yaml(tmp_path)
