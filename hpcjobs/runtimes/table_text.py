"""The runtime table as text: single cells are changed, every other byte stays as it is. Pure."""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping
from dataclasses import dataclass

from hpcjobs.errors import InputError


@dataclass(frozen=True)
class _Cell:
    """One field of a record, and where its characters stand."""

    value: str
    start: int
    end: int


def columns(text: str) -> tuple[str, ...]:
    """The names of the columns."""
    return tuple(name for name in _names(text))


def edited(text: str, changes: Mapping[tuple[str, str], str]) -> str:
    """`text` with the cells of these (key, column) changed.

    Raises:
        InputError: there is no such cell, or more than one.
    """
    names = _names(text)
    spans: dict[tuple[str, str], _Cell] = {}
    for record in _records(text)[1:]:
        key = record[names["key"]].value.strip() if len(record) > names["key"] else ""
        for name, place in names.items():
            if (key, name) in changes and place < len(record):
                if (key, name) in spans:
                    raise InputError(f"the row {key} stands in the table twice")
                spans[key, name] = record[place]
    for key, name in changes:
        if (key, name) not in spans:
            raise InputError(f"the table has no cell {name} of {key}")
    new = text
    for where in sorted(spans, key=lambda one: spans[one].start, reverse=True):
        start, end = spans[where].start, spans[where].end
        new = new[:start] + _written(new[start:end], changes[where]) + new[end:]
    return new


def unified_diff(old: str, new: str, name: str) -> str:
    """What `patch` and people read; empty if nothing has changed."""
    lines = difflib.unified_diff(_lines(old), _lines(new), f"a/{name}", f"b/{name}")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _lines(text: str) -> list[str]:
    return [line + "\n" for line in text.split("\n")[:-1]] + [
        line for line in text.split("\n")[-1:] if line
    ]


def _written(old: str, value: str) -> str:
    """The new field, between the blanks and quotes of the old one."""
    inner = old.strip().strip('"').strip()
    return old.replace(inner, value, 1) if inner else value


def _names(text: str) -> dict[str, int]:
    header = _records(text)[0]
    return {
        name: place
        for place, cell in enumerate(header)
        if (name := cell.value.removeprefix("\ufeff").strip())
    }


def _records(text: str) -> list[list[_Cell]]:
    """All records but blank lines and comments, as hpcjobs.config.tables reads them."""
    plain = "".join(
        " " * len(line.rstrip("\r\n")) + line[len(line.rstrip("\r\n")) :]
        if line.removeprefix("\ufeff").lstrip().startswith("#")
        else line
        for line in io.StringIO(text, newline="")
    )
    records: list[list[_Cell]] = []
    record: list[_Cell] = []
    start, quoted = 0, False
    for place, sign in enumerate(plain + "\n"):
        if sign == '"' and (quoted or place == start):
            quoted = not quoted
        elif sign == '"' and place > start and plain[start] == '"':
            quoted = True  # the second of a pair, which stands for one
        elif not quoted and sign in ",\r\n":
            record.append(_Cell(_value(plain[start:place]), start, place))
            start = place + 1
            if sign != ",":
                if any(cell.value.strip(" \t\ufeff") for cell in record):
                    records.append(record)
                record = []
    return records


def _value(field: str) -> str:
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field
