"""The shapes of a report's plots: numbers for the template that draws them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

RADAR_SIZE, RADAR_RADIUS = 460, 150
MOST_IN_A_RADAR = 6
"""More polygons cannot be told apart."""


@dataclass(frozen=True)
class Axis:
    """A spoke of a radar, with the place of its label."""

    label: str
    x: float
    y: float
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True)
class Radar:
    """Spokes, rings, and a polygon for each row of values."""

    axes: tuple[Axis, ...]
    rings: tuple[tuple[str, str], ...]
    """Their labels and points."""
    polygons: tuple[str, ...]


def radar(names: Sequence[str], rows: Sequence[Sequence[float]]) -> Radar | None:
    """A radar of values from 0 to 1; None for fewer than three spokes, or without rows."""
    if len(names) < 3 or not rows:
        return None
    axes = []
    for index, name in enumerate(names):
        x, y = _at(index, len(names), 1.0)
        label_x, label_y = _at(index, len(names), 1.1)
        side = label_x - RADAR_SIZE / 2
        anchor = "middle" if abs(side) < 20 else "start" if side > 0 else "end"
        axes.append(Axis(name, x, y, label_x, label_y, anchor))
    rings = tuple(
        (f"{share:g}" if share < 1 else "", _points([share] * len(names)))
        for share in (0.25, 0.5, 0.75, 1.0)
    )
    return Radar(tuple(axes), rings, tuple(_points(values) for values in rows))


def _points(values: Sequence[float]) -> str:
    places = (_at(index, len(values), value) for index, value in enumerate(values))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _at(index: int, count: int, share: float) -> tuple[float, float]:
    angle = 2 * math.pi * index / count - math.pi / 2
    centre, length = RADAR_SIZE / 2, RADAR_RADIUS * share
    return round(centre + length * math.cos(angle), 1), round(centre + length * math.sin(angle), 1)


def short_names(names: Sequence[str], length: int = 42) -> list[str]:
    """Names by their last parts after a `/`: as many as tell them apart, cut in the middle.

    What still is equal is numbered.
    """
    cut = [_cut(_tail(name, names), length) for name in names]
    seen: dict[str, int] = {}
    unique = []
    for name in cut:
        seen[name] = seen.get(name, 0) + 1
        unique.append(f"{name} #{seen[name]}" if cut.count(name) > 1 else name)
    return unique


def _tail(name: str, names: Sequence[str]) -> str:
    """The shortest end of a path that no other name has."""
    parts = name.split("/")
    others = [other for other in names if other != name]
    for start in range(len(parts) - 1, 0, -1):
        tail = "/".join(parts[start:])
        if tail and not any(other.endswith(f"/{tail}") or other == tail for other in others):
            return tail
    return name


def _cut(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    return f"{name[: length // 2 - 1]}…{name[-(length // 2) :]}"
