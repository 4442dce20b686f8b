"""Which result files of a directory count for a model: dated, read whole, and of that model."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from hpcjobs.errors import StorageError, printable, unknown
from hpcjobs.files import explained
from hpcjobs.results import lighteval, lm_eval
from hpcjobs.results.result_file import (
    Content,
    Problem,
    ResultError,
    ResultFile,
    TaskResults,
    mapping,
    time_in_name,
)

Reader = Callable[[Mapping[str, Any]], Content]

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
    """One result file of a framework.

    Raises:
        ResultError: its name tells no time, or it cannot be read whole, or is of another shape.
        InputError: the framework is not known.
    """
    if framework not in READERS:
        raise unknown("framework", framework, READERS)
    try:
        at = time_in_name(path.name)
        content = READERS[framework](_json_object(path))
    except ResultError as error:
        raise ResultError(error.what, where=str(path), expected=error.expected) from error
    return ResultFile(
        path=path,
        framework=framework,
        version=content.version,
        model=content.model,
        at=at,
        seconds=content.seconds,
        entries=content.entries,
    )


def read_task_results(directory: Path, framework: str, models: Collection[str]) -> TaskResults:
    """The result files below a directory that are of one of the `models`, and all others' faults.

    Raises:
        StorageError: a directory cannot be listed.
        InputError: the framework is not known.
    """
    return _read_all(find_result_files(directory), framework, models)


def read_tree(directory: Path, model: str, framework: str = "lighteval") -> TaskResults:
    """The result files that lie in one directory, not below it, and are of the model.

    Raises:
        StorageError: the directory cannot be listed.
        InputError: the framework is not known.
    """
    paths = [path for path in find_result_files(directory) if path.parent == directory]
    return _read_all(paths, framework, {model})


def _read_all(paths: Iterable[Path], framework: str, models: Collection[str]) -> TaskResults:
    files, problems = [], []
    for path in paths:
        try:
            file = read_result_file(path, framework)
        except ResultError as error:
            expected = f" (expected: {error.expected})" if error.expected else ""
            problems.append(Problem(path, error.what + expected))
            continue
        if file.model in models:
            files.append(file)
        else:
            problems.append(Problem(path, f"is of another model: {printable(file.model)}"))
    return TaskResults(tuple(files), tuple(problems))


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
    if not data.strip():
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
