"""A table of what to submit, one task of one model a row: what `aggregate --check` writes.

    state,model,task,service,node,provider,settings,max_samples,walltime,why
    failed,org/name,ja_mmlu,tsubame,node_q,vllm,,,,killed at the walltime

A row is submitted whole, or the table is refused: nothing in it is guessed. `state` and `why` are
for people, and may be missing.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.config.tables import read_rows
from hpcjobs.durations import parse_duration
from hpcjobs.errors import InputError, nearest, printable, unknown

COLUMNS = (
    "state", "model", "task", "service", "node", "provider", "settings", "max_samples",
    "walltime", "why"
)  # fmt: skip
REQUIRED = ("model", "task", "service", "node", "provider", "settings")
MAY_BE_EMPTY = ("settings",)

_HEAD = "# edit this, then: hpcjobs submit --from FILE; as written: "


@dataclass(frozen=True)
class Submission:
    """One row; `where` is `FILE:LINE`."""

    model: str
    task: str
    service: str
    node: str
    provider: str
    settings: str = ""
    max_samples: int | None = None
    walltime: str = ""
    """`HH:MM:SS` instead of the table's; empty = the table's."""
    state: str = ""
    why: str = ""
    where: str = ""

    @property
    def alike(self) -> tuple[object, ...]:
        """Rows that have this in common differ in their tasks only."""
        return (
            self.service, self.node, self.provider, self.model, self.settings, self.max_samples
        )  # fmt: skip


def read_submissions(path: Path, tasks: Collection[str]) -> list[Submission]:
    """The rows of a table, all of them; `tasks` are the keys that there are.

    Raises:
        InputError: a column is unknown or missing, a field is empty or no number, a task does not
            exist, a row stands twice. It names the file and the line.
        StorageError: the file cannot be read.
    """
    found: dict[tuple[object, ...], Submission] = {}
    for line, row in read_rows(path, REQUIRED):
        where = f"{path}:{line}"
        for column in row:
            if column not in COLUMNS:
                raise InputError(
                    f"unknown column {printable(column)}",
                    where=str(path),
                    expected=",".join(COLUMNS),
                    nearest=nearest(column, COLUMNS),
                )
        one = _submission(row, where, tasks)
        what = (one.model, one.task, one.provider, one.settings, one.max_samples)
        if what in found:
            raise InputError(
                f"{printable(one.task)} of {printable(one.model)} a second time",
                where=where,
                expected=f"each once, on one node (it stands also at {found[what].where})",
            )
        found[what] = one
    return list(found.values())


def grouped(rows: Iterable[Submission]) -> list[list[Submission]]:
    """The rows that differ in their tasks only, together; else in the order of the table."""
    groups: dict[tuple[object, ...], list[Submission]] = {}
    for row in rows:
        groups.setdefault(row.alike, []).append(row)
    return list(groups.values())


def as_table(rows: Iterable[Submission]) -> str:
    """The text of a table that can be edited and read again.

    Its first line is a comment with the digest of the rest (see `is_edited`).
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        samples = "" if row.max_samples is None else row.max_samples
        # whatever a reason says, a row is one line
        writer.writerow(
            [
                row.state, row.model, row.task, row.service, row.node, row.provider,
                row.settings, samples, row.walltime, " ".join(row.why.split()),
            ]
        )  # fmt: skip
    body = text.getvalue()
    return f"{_HEAD}{_digest(body)}\n{body}"


def is_edited(text: str) -> bool:
    """Whether it is no longer what `as_table` wrote: somebody's work, not to be written over."""
    head, _, body = text.partition("\n")
    return head != _HEAD + _digest(body)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _submission(row: dict[str, str], where: str, tasks: Collection[str]) -> Submission:
    for column in REQUIRED:
        if not row[column] and column not in MAY_BE_EMPTY:
            raise InputError(f"column {column}: it is empty", where=where)
    if row["task"] not in tasks:
        raise unknown("task", row["task"], tasks, where=f"{where}, column task")
    samples = row.get("max_samples", "")
    if samples and not (samples.isdecimal() and samples.isascii() and int(samples) > 0):
        raise InputError(
            f"column max_samples: {printable(samples)}",
            where=where,
            expected="a whole number from 1 up, or nothing",
        )
    walltime = row.get("walltime", "")
    if walltime:
        try:
            parse_duration(walltime)
        except ValueError as error:
            raise InputError(
                f"column walltime: {error}", where=where, expected="HH:MM:SS, or nothing"
            ) from None
    return Submission(
        **{name: row[name] for name in REQUIRED},
        max_samples=int(samples) if samples else None,
        walltime=walltime,
        where=where,
    )
