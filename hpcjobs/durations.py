"""Walltimes: `HH:MM:SS` on paper, whole seconds inside. And moments, in epoch seconds inside."""

from __future__ import annotations

import re
import time

_CLOCK = re.compile(r"(\d{1,4}):([0-5]?\d):([0-5]?\d)")


def parse_duration(text: str) -> int:
    """Seconds in `H:MM:SS` (`00:30:00`, `1:30:00`, `168:00:00`).

    Raises:
        ValueError: it is of another form, or zero.
    """
    match = _CLOCK.fullmatch(text.strip())
    if not match:
        raise ValueError(f"'{text}' is not a time of the form HH:MM:SS")
    hours, minutes, seconds = (int(part) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total == 0:
        raise ValueError("a time of zero seconds")
    return total


def format_duration(seconds: float) -> str:
    """`HH:MM:SS`, as every scheduler here reads it."""
    whole = max(0, round(seconds))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def local_moment(text: str, *forms: str) -> float | None:
    """Epoch seconds of a local time without a zone; None if it has none of these forms (strptime),
    or lies in the first days of 1970, which stand for "never".
    """
    for form in forms:
        try:
            seconds = time.mktime(time.strptime(text.strip(), form))
        except (ValueError, OverflowError):
            continue
        return seconds if seconds > 2 * 86400 else None
    return None
