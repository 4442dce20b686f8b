"""How a line of a log is made fit to be shown: no control characters, no keys, not too long."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "<hidden>"
LONGEST = 400
"""Characters of a line that are shown."""

_ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[PX^_][^\x1b\n]*(?:\x1b\\)?"
    r"|[ -/]*[0-~])"
)
_AFTER = re.compile(  # what follows these words is a key
    r"(?i)((?:bearer|basic)\s+|(?:[\w-]*(?:api[_-]?key|token|secret|passw(?:or)?d))"
    r"[\"']?(?:\]|\))?\s*[:=]\s*[\"']?(?:(?:bearer|basic)\s+)?)"
    r"(?!\s|None\b|null\b|True\b|False\b|\d{1,7}\b)([^\s\"',;)}\]]{6,})"
)
_KEYS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{8,}|(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{16,}"
    r"|github_pat_\w{16,}|glpat-[\w-]{10,}|nvapi-[\w-]{10,}|xox[abprs]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{12,}|AIza[\w-]{20,}|eyJ[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]+)?|[0-9a-f]{48,})"
)
_IN_URL = re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)")


def without_ansi(text: str) -> str:
    """`text` without the codes that colour it or move the cursor."""
    return _ANSI.sub("", text) if "\x1b" in text else text


def redacted(text: str, keys: Iterable[str] = ()) -> str:
    """`text` with every key in it hidden: those given, and all that look like one."""
    for key in keys:
        if len(key) >= 6:
            text = text.replace(key, HIDDEN)
    text = _IN_URL.sub(HIDDEN, text)
    text = _AFTER.sub(lambda match: match[1] + HIDDEN, text)
    return _KEYS.sub(HIDDEN, text)


def shown(text: str, keys: Iterable[str] = ()) -> str:
    """`text` on one line, without what a terminal would obey, keys hidden, shortened."""
    text = without_ansi(text)
    text = "".join(c if c.isprintable() else " " for c in text)
    text = redacted(text, keys).strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
