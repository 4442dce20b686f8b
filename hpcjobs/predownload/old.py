"""What downloads that ended long ago have left and nobody needs, for `hpcjobs clean`.

Of one whose things later downloads have brought anew, or that brought nothing, all of it. Of one
that still says what is in the caches, what it printed and submitit's files. Never one that has not
told its own end: nobody asks a scheduler here, and it may be waiting there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from hpcjobs.clean import ASIDE, LEFT_OVER, LOG, Plan, Removal
from hpcjobs.files import explained
from hpcjobs.predownload.records import (
    ENDED,
    JOB,
    REQUEST,
    SUBMISSION,
    directories_root,
    read_end,
    read_request,
)
from hpcjobs.predownload.request import Request, Thing
from hpcjobs.workspace import Workspace

DOWNLOAD = "download"
_PRINTED = re.compile(
    r"submitit\.log|submission_file_\w+\.sh"
    r"|[0-9]+(?:_[0-9]+)?_(?:log\.(?:out|err)|result\.pkl|submitted\.pkl|submission\.sh)"
)
"""What it printed, and what submitit left."""
_RECORDS = {REQUEST, SUBMISSION, JOB, ENDED}


def find(workspace: Workspace, before: float) -> Plan:
    """What the downloads that ended before that moment have left and nobody needs.

    Raises:
        StorageError: a directory or record cannot be read.
    """
    plan = Plan()
    brought: list[tuple[Thing, Request]] = []
    silent = 0
    for directory in _directories(workspace):
        label = f"predownload/{directory.name}"
        names = _names(directory)
        if directory.name.startswith(ASIDE):
            plan.removals.append(_removal(directory, LEFT_OVER, label))
            continue
        end = read_end(directory) if REQUEST in names else None
        old = _newest(directory) < before
        if end is None:
            silent += old
            continue
        needed = _needed(directory, brought)
        if not old:
            continue
        foreign = sorted(name for name in names if not _is_ours(name))
        printed = [_removal(directory / one, LOG, label) for one in names if _is_printed(one)]
        if needed:
            plan.removals += printed
        elif foreign:
            plan.removals += printed
            plan.kept.append(f"{label}: {foreign[0]} is not of hpcjobs")
        else:
            plan.removals.append(_removal(directory, DOWNLOAD, label))
    if silent:
        plan.kept.append(
            f"{silent} download(s) that have not told how they ended: they may be under way"
        )
    return plan


def _needed(directory: Path, brought: list[tuple[Thing, Request]]) -> bool:
    """Whether this one is the latest to say of something that it is there; `brought` is what the
    later ones said, and grows.
    """
    end, request = read_end(directory), read_request(directory)
    found = [one.thing for one in (end.fetched if end else ()) if one.still_there()]
    news = [thing for thing in found if not any(
        thing == other and _alike(request, later) for other, later in brought
    )]  # fmt: skip
    brought += [(thing, request) for thing in news]
    return bool(news)


def _alike(one: Request, other: Request) -> bool:
    """Whether what one fetched lies where the other's does, for whoever looks."""
    return (
        (one.exports, one.inherits, one.environments, one.include_path)
        == (other.exports, other.inherits, other.environments, other.include_path)
    )  # fmt: skip


def _directories(workspace: Workspace) -> Iterator[Path]:
    """Those of downloads, the latest first; no links, nor what lies behind one."""
    root = directories_root(workspace)
    if root.is_symlink() or not root.is_dir():
        return
    with explained("list", root), os.scandir(root) as found:
        names = [one.name for one in found if one.is_dir(follow_symlinks=False)]
    for name in sorted(names, reverse=True):
        yield root / name


def _names(directory: Path) -> list[str]:
    with explained("list", directory):
        return sorted(path.name for path in directory.iterdir())


def _newest(directory: Path) -> float:
    with explained("read", directory), os.scandir(directory) as found:
        times = [one.stat(follow_symlinks=False).st_mtime for one in found]
    return max([directory.lstat().st_mtime, *times])


def _is_printed(name: str) -> bool:
    return _PRINTED.fullmatch(name) is not None


def _is_ours(name: str) -> bool:
    return name in _RECORDS or _is_printed(name)


def _removal(path: Path, kind: str, label: str) -> Removal:
    with explained("read", path):
        files = [path] if not stat.S_ISDIR(path.lstat().st_mode) else [*path.iterdir()]
        return Removal(path, kind, label, sum(one.lstat().st_size for one in files))
