"""Reading a mapping key by key, so that every complaint can name its file and line.

`Fields` is a context manager: on leaving it, keys that nobody asked for are refused, with the
nearest key that would have been right.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal
from types import TracebackType
from typing import Any, TypeVar, cast

from hpcjobs.config.strict_yaml import Document, KeyPath
from hpcjobs.durations import parse_duration
from hpcjobs.errors import InputError, nearest, printable

T = TypeVar("T")


class _Required:
    """The default of a key that must be there."""


REQUIRED = _Required()


class Fields:
    """One mapping of a YAML document, read key by key."""

    def __init__(self, document: Document, path: KeyPath = ()) -> None:
        self.document = document
        self.path = path
        value = document.value
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.error("a list or a single value", expected="a mapping (key: value)")
        self._values: dict[str, Any] = value
        self._asked: set[str] = set()

    def __enter__(self) -> Fields:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.refuse_others()

    def error(self, what: str, key: str | None = None, **more: str | None) -> InputError:
        """An InputError at this mapping, or at one of its keys."""
        path = self.path if key is None else (*self.path, key)
        name = ".".join(str(step) for step in path)
        return InputError(f"{name}: {what}" if name else what, where=self.where(key), **more)

    def where(self, key: str | None = None) -> str:
        """`FILE:LINE` of this mapping or of one of its keys."""
        return self.document.where(self.path if key is None else (*self.path, key))

    def has(self, key: str) -> bool:
        """Whether the key is there (its value may be null)."""
        return key in self._values

    def is_null(self, key: str) -> bool:
        """Whether the key is there without a value."""
        self._asked.add(key)
        return self.has(key) and self._values[key] is None

    def allow(self, keys: Iterable[str]) -> None:
        """Count these keys as known, present or not."""
        self._asked.update(keys)

    def names(self) -> list[str]:
        """All keys, in the order of the file. They then count as asked for."""
        self._asked.update(self._values)
        return list(self._values)

    def refuse_others(self) -> None:
        """Raise InputError if there is a key that was not asked for."""
        for key in self._values:
            if key not in self._asked:
                raise InputError(
                    f"unknown key {printable(key)}",
                    where=self.where(key),
                    expected=f"one of: {', '.join(sorted(self._asked))}",
                    nearest=nearest(key, self._asked),
                )

    def text(
        self,
        key: str,
        default: T | _Required = REQUIRED,
        *,
        choices: Collection[str] | None = None,
        pattern: str | None = None,
    ) -> str | T:
        """A text. A bare number is refused rather than guessed at (1.10 would become 1.1), unless
        it is whole and `pattern` allows it.
        """
        value = self._get(key, default)
        if value is default:
            return cast(T, value)
        if isinstance(value, int) and not isinstance(value, bool) and pattern:
            value = str(value)
        if not isinstance(value, str):
            raise self.error(f"{_shown(value)} is not a text", key, expected="text, in quotes")
        if choices is not None and value not in choices:
            raise self.error(
                f"{printable(value)} is not known",
                key,
                expected=f"one of: {', '.join(sorted(choices))}",
                nearest=nearest(value, choices),
            )
        if pattern is not None and not re.fullmatch(pattern, value):
            raise self.error(f"{printable(value)} is not allowed", key, expected=f"/{pattern}/")
        return value

    def integer(self, key: str, default: T | _Required = REQUIRED, *, minimum: int = 0) -> int | T:
        """A whole number not below `minimum`."""
        value = self._get(key, default)
        if value is default:
            return cast(T, value)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise self.error(
                f"{_shown(value)} is not allowed", key, expected=f"a whole number from {minimum} up"
            )
        return value

    def number(
        self,
        key: str,
        default: T | _Required = REQUIRED,
        *,
        minimum: float = 0.0,
        maximum: float = float("inf"),
    ) -> float | T:
        """A number between `minimum` and `maximum`, both allowed."""
        value = self._get(key, default)
        if value is default:
            return cast(T, value)
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or not minimum <= value <= maximum
        ):
            limit = f"a number from {minimum:g}" + (
                f" to {maximum:g}" if maximum != float("inf") else " up"
            )
            raise self.error(f"{_shown(value)} is not allowed", key, expected=limit)
        return float(value)

    def decimal(self, key: str, default: T | _Required = REQUIRED) -> Decimal | T:
        """A number from 0 up, exactly as it is written (to 15 digits)."""
        value = self.number(key, default, maximum=1e15)
        if value is default:
            return value
        return Decimal(repr(self._values[key]))

    def boolean(self, key: str, default: T | _Required = REQUIRED) -> bool | T:
        """`true` or `false`."""
        value = self._get(key, default)
        if value is default:
            return cast(T, value)
        if not isinstance(value, bool):
            raise self.error(f"{_shown(value)} is not allowed", key, expected="true or false")
        return value

    def duration(self, key: str, default: T | _Required = REQUIRED) -> int | T:
        """`HH:MM:SS`, as seconds."""
        value = self._get(key, default)
        if value is default:
            return cast(T, value)
        try:
            return parse_duration(value if isinstance(value, str) else str(value))
        except ValueError as error:
            raise self.error(str(error), key, expected="HH:MM:SS, such as 01:30:00") from None

    def texts(self, key: str, default: T | _Required = REQUIRED) -> tuple[str, ...] | T:
        """A list of texts; a single text counts as a list of one."""
        value = self._get(key, default)
        if value is default:
            return cast(T, value)
        items = value if isinstance(value, list) else [value]
        for item in items:
            if not isinstance(item, str):
                raise self.error(f"{_shown(item)} is not a text", key, expected="a list of texts")
        return tuple(items)

    def section(self, key: str) -> Fields:
        """The mapping below `key`; an empty one where it is missing or null."""
        self._asked.add(key)
        return Fields(self.document, (*self.path, key))

    def sections(self, key: str) -> Iterator[tuple[str, Fields]]:
        """Name and mapping of each mapping below `key`."""
        outer = self.section(key)
        for name in outer.names():
            yield name, outer.section(name)

    def texts_by_key(self, key: str) -> dict[str, str]:
        """The mapping of texts below `key`."""
        outer = self.section(key)
        return {name: str(outer.text(name)) for name in outer.names()}

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        if self._values.get(key) is not None:
            return self._values[key]
        if isinstance(default, _Required):
            if self.has(key):
                raise self.error("it has no value", key)
            misspelt = nearest(key, [one for one in self._values if one not in self._asked])
            raise self.error(
                f"the key {printable(key)} is missing",
                expected=f"{key}, not {printable(misspelt)}" if misspelt else None,
            )
        return default


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
