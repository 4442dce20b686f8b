"""CSV tables: conf/tasks_runtime.csv and generation_settings/task_settings.csv.

Read as text, so that a task named `NA` stays a name. A BOM, CRLF, blank lines, `#` comments, and
empty fields at the end of a row are accepted; what cannot be understood is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hpcjobs.durations import parse_duration
from hpcjobs.errors import InputError, nearest, printable
from hpcjobs.files import explained
from hpcjobs.model import Task

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_KNOWN = ("key", "script", "result_dir", "framework")
_WALLTIME = re.compile(r"(hrt|wlt|rt|walltime)_\w+")
_TAKEN = re.compile(r"job|server(\.[0-9]+)?")
FRAMEWORKS = ("lighteval", "lm_eval")


def read_rows(path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields, by column, of each row.

    Raises:
        InputError: a column is missing or stands twice, a row has too few or too many fields.
    """
    with explained("read", path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise InputError("no such file", where=str(path)) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError("not UTF-8", where=f"{path}:{line}") from error
    header: list[str] | None = None
    for number, fields in _records(path, text):
        if header is None:
            header = [name.strip() for name in fields]
            while header and not header[-1]:
                header.pop()
            _check_header(path, number, header, required)
            continue
        while len(fields) > len(header) and not fields[-1].strip():
            fields.pop()
        if len(fields) != len(header):
            raise InputError(
                f"a row of {len(fields)} fields: {printable(','.join(fields))}",
                where=f"{path}:{number}",
                expected=f"{len(header)} fields: {','.join(header)}",
            )
        yield number, {name: field.strip() for name, field in zip(header, fields, strict=True)}
    if header is None:
        raise InputError("the table is empty", where=str(path), expected=",".join(required))


def _records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    lines = io.StringIO(text, newline="")
    reader = csv.reader(
        ("\n" if line.lstrip().startswith("#") else line for line in lines), strict=True
    )
    try:
        start = 1
        for fields in reader:
            if any(field.strip() for field in fields):
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", where=f"{path}:{reader.line_num}") from error


def _check_header(path: Path, line: int, header: list[str], required: tuple[str, ...]) -> None:
    for name in required:
        if name not in header:
            raise InputError(
                f"the column {printable(name)} is missing",
                where=f"{path}:{line}",
                expected=",".join(required),
                nearest=nearest(name, [column for column in header if column not in required]),
            )
    for name in header:
        if not name or header.count(name) > 1:
            raise InputError(
                f"the column {printable(name)} stands twice" if name else "a column has no name",
                where=f"{path}:{line}",
            )


def read_tasks(path: Path) -> dict[str, Task]:
    """The task-runtime table, by key, in its own order.

    Raises:
        InputError: see the module; also a key twice, an unknown framework, a bad time or path.
    """
    tasks: dict[str, Task] = {}
    for line, row in read_rows(path, _KNOWN):
        where = f"{path}:{line}"
        task = _task(row, where)
        if task.key in tasks:
            raise InputError(
                f"column key: {printable(task.key)} stands here a second time",
                where=where,
                expected=f"each key once (it stands also at {tasks[task.key].where})",
            )
        tasks[task.key] = task
    if not tasks:
        raise InputError("the table has no tasks", where=str(path))
    return tasks


def _task(row: dict[str, str], where: str) -> Task:
    def refuse(column: str, expected: str, near: str | None = None) -> InputError:
        value = printable(row[column])
        return InputError(
            f"column {column}: {value} is not allowed",
            where=where,
            expected=expected,
            nearest=near,
        )

    if not _KEY.fullmatch(row["key"]):
        raise refuse("key", "letters, digits and _ . + -, such as ja_gpqa")
    if _TAKEN.fullmatch(row["key"]):
        raise refuse("key", "another name: its log would have the name of the job's own")
    if not row["script"] or not row["script"].isprintable():
        raise refuse("script", "the task's name in its framework")
    directory = PurePosixPath(row["result_dir"])
    plain = row["result_dir"].isprintable() and not directory.is_absolute()
    if not plain or not directory.parts or ".." in directory.parts:
        raise refuse("result_dir", "a relative directory, such as ja/gpqa")
    if row["framework"] not in FRAMEWORKS:
        raise refuse(
            "framework", f"one of: {', '.join(FRAMEWORKS)}", nearest(row["framework"], FRAMEWORKS)
        )
    walltimes: dict[str, int] = {}
    extra: dict[str, str] = {}
    for column in row:
        if column in _KNOWN:
            continue
        if not _WALLTIME.fullmatch(column):
            extra[column] = row[column]
        elif row[column]:
            try:
                walltimes[column] = parse_duration(row[column])
            except ValueError:
                raise refuse(column, "a time HH:MM:SS above zero, such as 01:30:00") from None
    return Task(
        key=row["key"],
        script=row["script"],
        result_dir=str(directory),
        framework=row["framework"],
        walltimes=walltimes,
        extra=extra,
        where=where,
    )
