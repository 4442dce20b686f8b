"""Which result files of a directory count for a model: dated, read whole, and of that model."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcjobs.errors import StorageError, printable, unknown
from hpcjobs.files import explained
from hpcjobs.results import lighteval, lm_eval
from hpcjobs.results.result_file import (
    Content,
    ForeignError,
    Problem,
    ResultError,
    ResultFile,
    TaskResults,
    mapping,
    time_in_name,
)

Reader = Callable[[Mapping[str, Any], Container[str]], Content]

READERS: dict[str, Reader] = {"lighteval": lighteval.read, "lm_eval": lm_eval.read}


def find_result_files(directory: Path) -> list[Path]:
    """All `results_*.json` below the directory, sorted; hidden files and directories are not seen.

    A directory that does not exist has none.

    Raises:
        StorageError: a directory cannot be listed.
    """
    found: list[Path] = []
    with explained("list", directory):
        if not directory.exists():
            return found
        for place, directories, names in os.walk(directory, onerror=_raise):
            directories[:] = [name for name in directories if not name.startswith(".")]
            found += [Path(place, name) for name in names if _is_result_name(name)]
    return sorted(found)


def read_result_file(path: Path, framework: str) -> ResultFile:
    """One result file of a framework, all of whose numbers are numbers.

    Raises:
        ResultError: its name tells no time, or it cannot be read whole, or is of another shape.
        InputError: the framework is not known.
    """
    if framework not in READERS:
        raise unknown("framework", framework, READERS)
    file = _read(path, framework)
    for entry in file.entries:
        for why in entry.faults.values():
            raise ResultError(why, where=str(path))
    return file


def _read(path: Path, framework: str | None, known: Container[str] = ()) -> ResultFile:
    """One result file, its faulty numbers told apart; without a framework, by its shape."""
    try:
        at = time_in_name(path.name)
        document = _json_object(path)
        framework = framework or _framework_of(document)
        content = READERS[framework](document, known)
    except ResultError as error:
        raise type(error)(error.what, where=str(path), expected=error.expected) from error
    return ResultFile(
        path=path,
        framework=framework,
        version=content.version,
        model=content.model,
        at=at,
        seconds=content.seconds,
        entries=content.entries,
        limit=content.limit,
        generation=content.generation,
    )


def _framework_of(document: Mapping[str, Any]) -> str:
    if "config_general" in document:
        return "lighteval"
    if "config" in document and "results" in document:
        return "lm_eval"
    raise ForeignError("not a result of lighteval (no config_general) or lm_eval (no config)")


def read_task_results(directory: Path, framework: str, models: Collection[str]) -> TaskResults:
    """The result files below a directory that are of one of the `models`, and all others' faults.

    Raises:
        StorageError: a directory cannot be listed.
        InputError: the framework is not known.
    """
    paths = find_result_files(directory)
    return _read_all(paths, lambda path: read_result_file(path, framework), models)


def read_tree(directory: Path, model: str) -> TaskResults:
    """The result files that lie in one directory, not below it, and are of the model.

    Each is read by its shape. A number that is none takes away only itself, not its whole file: it
    stands among the entry's faults. Only the newest entry of each task is kept, and the files that
    have one, so that a tree of any length fits into memory.

    Raises:
        StorageError: the directory cannot be listed.
    """
    with explained("list", directory), os.scandir(directory) as entries:
        names = [entry.name for entry in entries if _is_result_name(entry.name)]
    newest_first = sorted(names, key=_time_or_none, reverse=True)
    known: set[str] = set()

    def read(path: Path) -> ResultFile:
        file = _read(path, None, known)
        if file.model == model:
            known.update(entry.task for entry in file.entries)
        return file

    found = _read_all((directory / name for name in newest_first), read, {model})
    files = tuple(file for file in reversed(found.files) if file.entries)
    return TaskResults(files, tuple(sorted(found.problems, key=lambda one: one.path)))


def _read_all(
    paths: Iterable[Path], read: Callable[[Path], ResultFile], models: Collection[str]
) -> TaskResults:
    files, problems = [], []
    for path in paths:
        try:
            file = read(path)
        except ResultError as error:
            expected = f" (expected: {error.expected})" if error.expected else ""
            ours = not isinstance(error, ForeignError)
            problems.append(Problem(path, error.what + expected, ours))
            continue
        if file.model in models:
            files.append(file)
        else:
            why = f"is of another model: {printable(file.model)}"
            problems.append(Problem(path, why, ours=False))
    return TaskResults(tuple(files), tuple(problems))


def _time_or_none(name: str) -> tuple[datetime, str]:
    """For sorting: files without a time first."""
    try:
        return time_in_name(name), name
    except ForeignError:
        return datetime.min, name


def _is_result_name(name: str) -> bool:
    return name.startswith("results_") and name.endswith(".json")


def _raise(error: OSError) -> None:
    raise error


def _json_object(path: Path) -> Mapping[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        if error.errno in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN):
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        raise ResultError(f"it cannot be read: {error.strerror or error}") from error
    if not data or data.isspace():
        raise ResultError("it is empty")
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        begins, ends = data.lstrip()[:1], data.rstrip()[-1:]
        if begins == b"{" and (ends != b"}" or _stopped_at_end(error)):
            raise ResultError(f"it is cut off after {len(data)} bytes") from error
        raise ResultError(f"it is not JSON: {error}") from error
    return mapping(value, "its JSON")


def _stopped_at_end(error: Exception) -> bool:
    return isinstance(error, json.JSONDecodeError) and error.pos >= len(error.doc.rstrip())
