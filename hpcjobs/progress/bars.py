"""The bars that evaluators draw into their logs, by tqdm, and the text between them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_BAR = re.compile(
    r"(?:(?P<name>[^|%]{1,80}?):\s+)?(?P<percent>\d{1,3})%\|[^|]{0,300}\|\s*"
    r"(?P<done>\d{1,12})/(?P<total>\d{1,12}) \[(?:(?P<h>\d{1,6}):)?(?P<m>\d\d):(?P<s>\d\d)<[^\]]*\]"
)
"""A bar of tqdm: `NAME:  50%|#####     | 4/8 [00:01<00:01,  3.5it/s]`."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_NESTED = "\x1b[A"
"""What a bar below another one ends with: back up to that one's line."""
_LONGEST = 1000
"""Characters of a line that are looked at."""


@dataclass(frozen=True)
class Bar:
    """One drawing of a bar."""

    name: str
    done: int
    total: int
    elapsed: float
    """Seconds since the bar began, when this was drawn."""
    nested: bool = False


def pieces(text: str, *, cut: bool) -> Iterator[Bar | str]:
    """Bars and other text, in their order; blank lines, and one that was cut, are left out.

    Of many drawings of a bar one after the other only the last is told.
    """
    drawings: list[str] = []
    kind: tuple[str, bool] | None = None
    for raw in [*re.split(r"[\r\n]", text)[cut:], ""]:
        before, kind = kind, _drawing(raw)
        if before is not None and kind != before and raw:
            yield from _last(drawings)
            drawings.clear()
        if kind is not None:
            drawings.append(raw)
        elif raw:
            yield from _parts(raw)
        else:  # a blank line: the same bar may go on
            kind = before
    yield from _last(drawings)


def _drawing(raw: str) -> tuple[str, bool] | None:
    """Which bar a line is likely to draw, and nothing else."""
    name, bar, _ = raw[:120].partition("%|")
    if not bar or not raw.rstrip().endswith(("]", _NESTED)):
        return None
    return name.rstrip("0123456789 "), _NESTED in raw


def _last(drawings: list[str]) -> Iterator[Bar | str]:
    for raw in reversed(drawings):
        parts = list(_parts(raw))
        if parts and isinstance(parts[0], Bar):
            yield from parts
            return


def _parts(raw: str) -> Iterator[Bar | str]:
    """The bar that a line begins with, if it does, and the text."""
    nested = _NESTED in raw
    plain = raw[:_LONGEST]
    if "\x1b" in plain:
        plain = _ANSI.sub("", plain)
    bar = _bar(plain.lstrip(), nested=nested)
    if bar is None:
        if plain.strip():
            yield plain
        return
    yield bar[0]
    if bar[1]:
        yield bar[1]


def _bar(plain: str, *, nested: bool) -> tuple[Bar, str] | None:
    """The bar that the line begins with, and what follows on it."""
    match = _BAR.match(plain)
    if match is None:
        return None
    done, total = int(match["done"]), int(match["total"])
    if total < 1 or done > total or abs(100 * done / total - int(match["percent"])) > 1:
        return None
    elapsed = int(match["h"] or 0) * 3600 + int(match["m"]) * 60 + int(match["s"])
    bar = Bar((match["name"] or "").strip(), done, total, float(elapsed), nested)
    return bar, plain[match.end() :].strip()
