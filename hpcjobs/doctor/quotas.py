"""Reading what sites print about quotas and points. Pure; what is not understood is no figure.

t4-user-info disk home|group    TSUBAME: used and quota in pairs of columns (`b_size b_quota`)
t4-user-info group point        TSUBAME: gid, group, deposit, balance
show_quota, show_point          ABCI (docs.abci.ai/v3, getting-started)
lfs quota                       Lustre elsewhere
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"kb": 2**-20, "mb": 2**-10, "gb": 1.0, "gib": 1.0, "tb": 1024.0, "tib": 1024.0}
"""In GiB. The sites write GB and mean GiB (TSUBAME: "25 GB" for 25 GiB)."""
_COUNTS = {"k": 1e3, "m": 1e6}


@dataclass(frozen=True)
class Quota:
    """Used and allowed of one directory or group; None for no limit or nothing told."""

    name: str
    used_gib: float | None = None
    limit_gib: float | None = None
    used_files: int | None = None
    limit_files: int | None = None

    @property
    def fullest(self) -> float:
        """The larger share of what is allowed that is used up, 1.0 for all of it."""
        pairs = ((self.used_gib, self.limit_gib), (self.used_files, self.limit_files))
        return max((used / limit for used, limit in pairs if used is not None and limit), default=0)

    def __str__(self) -> str:
        shown = []
        if self.used_gib is not None:
            limit = "no limit" if self.limit_gib is None else f"{self.limit_gib:,.0f} GiB"
            shown.append(f"{self.used_gib:,.0f} of {limit}")
        if self.used_files is not None and self.limit_files:
            shown.append(f"{self.used_files:,} of {self.limit_files:,} files")
        return f"{self.name}: {', '.join(shown)}"


def read_pairs(text: str) -> list[Quota]:
    """Tables whose header names columns of used and allowed, one after the other.

    `b_size(GB) b_quota(GB) i_files i_quota` or `used(TiB) limit(TiB) used(nfiles) limit(nfiles)`.
    A row's name is its last word before the figures.
    """
    found: list[Quota] = []
    header: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if any(_is_limit(word) for word in words):
            first = next(index for index, word in enumerate(words) if _is_limit(word)) - 1
            header = words[first:] if first >= 0 else []
            continue
        figures = [_number(word) for word in words[-len(header) :]] if header else []
        if len(words) <= len(header) or not figures or None in figures[::2]:
            continue
        found += _quotas(words[-len(header) - 1], header, figures)
    return found


def _quotas(name: str, header: list[str], figures: list[float | None]) -> list[Quota]:
    """One for each disk of a row: a new one begins where the size is told again."""
    disks: list[dict[str, float]] = []
    for index in range(0, len(header) - 1, 2):
        unit = re.search(r"\(([A-Za-z]+)\)", header[index + 1])
        word = unit[1].lower() if unit else ""
        kind, scale = ("gib", _UNITS[word]) if word in _UNITS else ("files", _COUNTS.get(word, 1.0))
        if not disks or f"used_{kind}" in disks[-1]:
            disks.append({})
        used, limit = figures[index], figures[index + 1]
        if used is not None:
            disks[-1][f"used_{kind}"] = used * scale
            if limit:  # 0 and `-`: no limit
                disks[-1][f"limit_{kind}"] = limit * scale
    many = len(disks) > 1
    return [
        Quota(
            f"{name}, disk {number}" if many else name,
            disk.get("used_gib"),
            disk.get("limit_gib"),
            _count(disk.get("used_files")),
            _count(disk.get("limit_files")),
        )
        for number, disk in enumerate(disks, start=1)
    ]


def read_lfs(text: str, name: str) -> Quota | None:
    """`lfs quota -q PATH`: filesystem, KiB, quota, limit, grace, files, quota, limit, grace."""
    words = text.split()[1:9]  # a long path stands on a line of its own; that is no matter
    if len(words) < 8:
        return None
    used, soft, hard, files, soft_files, hard_files = (
        _number(words[index]) for index in (0, 1, 2, 4, 5, 6)
    )
    if used is None or files is None:
        return None
    limit, most = hard or soft, hard_files or soft_files
    return Quota(
        name,
        used * 2**-20,
        limit * 2**-20 if limit else None,
        _count(files),
        _count(most) if most else None,
    )


def read_tsubame_points(text: str, group: str) -> float | None:
    """The balance in the row `gid group deposit balance`."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 4 and words[0].isdigit() and words[1] == group:
            return _number(words[3])
    return None


def read_abci_points(text: str, group: str) -> float | None:
    """What is left in the row `group disk storage used points used%`."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 6 and words[0] == group:
            used, bought = _number(words[3]), _number(words[4])
            return None if used is None or bought is None else bought - used
    return None


def _count(number: float | None) -> int | None:
    return None if number is None else round(number)


def _is_limit(word: str) -> bool:
    return re.fullmatch(r"([A-Za-z]+_)?(quota|limit)(\([A-Za-z]+\))?", word) is not None


def _number(word: str) -> float | None:
    """`1,024`, `100*` (over the limit) or None."""
    try:
        return float(word.rstrip("*").replace(",", ""))
    except ValueError:
        return None
