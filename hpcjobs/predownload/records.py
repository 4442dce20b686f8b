"""One directory a download, `jobs/predownload/WHEN-WORD/`: what was asked, and what came of it.

request.json      what is to be fetched (no key is in it)
submission.json   how it was submitted; job.json: its native id
ID_0_log.out      what it printed; further files beside it are submitit's
ended.json        written once at the end: what is there now, what is not and why
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcjobs.files import explained, make_directory, write_json, write_once
from hpcjobs.predownload.request import MODEL, Request, Thing
from hpcjobs.workspace import Workspace

REQUEST, SUBMISSION, JOB, ENDED = "request.json", "submission.json", "job.json", "ended.json"


@dataclass(frozen=True)
class Fetched:
    """A thing that is there, whole."""

    thing: Thing
    files: Mapping[str, int]
    """By path: the size in bytes. Empty where a task brings its data set with it."""

    def still_there(self) -> bool:
        """Whether no file is gone or has another size."""
        return all(_size(Path(path)) == size for path, size in self.files.items())


@dataclass(frozen=True)
class End:
    """What came of a download."""

    fetched: tuple[Fetched, ...]
    errors: tuple[str, ...]


def new_directory(workspace: Workspace, request: Request) -> Path:
    """A directory of its own for a download, with its request.

    Raises:
        StorageError: it cannot be written.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    directory = directories_root(workspace) / name
    make_directory(directory)
    write_json(directory / REQUEST, request.to_json())
    return directory


def directories(workspace: Workspace) -> list[Path]:
    """Of all downloads of this workspace, the latest first."""
    root = directories_root(workspace)
    with explained("read", root):
        found = [path.parent for path in root.glob(f"*/{REQUEST}")] if root.is_dir() else []
    return sorted(found, reverse=True)


def read_request(directory: Path) -> Request:
    """What this download is to fetch."""
    with explained("read", directory / REQUEST):
        return Request.from_json(json.loads((directory / REQUEST).read_text()))


def read_values(path: Path) -> dict[str, Any] | None:
    """The values of one of our files; None where it is not there (yet) or is not whole."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_end(directory: Path, fetched: Sequence[Fetched], errors: Sequence[str]) -> None:
    """Write down, once, what came of it."""
    value = {
        "fetched": [{"thing": vars(one.thing), "files": one.files} for one in fetched],
        "errors": list(errors),
    }
    write_once(directory / ENDED, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_end(directory: Path) -> End | None:
    """What came of it; None = it has not ended by itself."""
    value = read_values(directory / ENDED)
    if value is None:
        return None
    fetched = [Fetched(Thing(**one["thing"]), one["files"]) for one in value["fetched"]]
    return End(tuple(fetched), tuple(value["errors"]))


def missing(workspace: Workspace, request: Request) -> list[Thing]:
    """What of the request no download of this workspace brought to where it is looked for now."""
    wanted = dict.fromkeys(request.things)
    for directory in directories(workspace):
        if not wanted:
            break
        end = read_end(directory)
        if end is None or not _same_place(read_request(directory), request):
            continue
        for one in end.fetched:
            if one.thing in wanted and one.still_there():
                del wanted[one.thing]
    return list(wanted)


def same(one: Request, other: Request) -> bool:
    """Whether two requests are for the same, at the same place."""
    return _same_place(one, other) and set(one.things) == set(other.things)


def files_below(directory: Path) -> dict[str, int]:
    """All files below a directory and their sizes; links count as what they lead to."""
    return sizes(Path(folder, name) for folder, _, names in os.walk(directory) for name in names)


def sizes(paths: Iterable[Path]) -> dict[str, int]:
    """By path, the size of each file."""
    return {str(path): path.stat().st_size for path in paths}


def directories_root(workspace: Workspace) -> Path:
    """Where the downloads of a workspace have their directories."""
    return workspace.jobs / "predownload"


def _same_place(one: Request, other: Request) -> bool:
    """Whether what was fetched for one is found by the other; their things may differ."""
    environment = dict(os.environ)
    loaders = [
        (request.environments, request.include_path)
        for request in (one, other)
        if any(thing.kind != MODEL for thing in request.things)
    ]
    tasks = len(loaders) < 2 or loaders[0] == loaders[1]
    places = [
        {name: value for name, value in request.environment(environment).items()
         if name.startswith(("HF_", "HUGGINGFACE_", "XDG_"))}
        for request in (one, other)
    ]  # fmt: skip
    return places[0] == places[1] and tasks


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
