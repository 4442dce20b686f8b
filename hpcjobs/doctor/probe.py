"""Facts of the file system: can I write here, how much room is left, whose clock is it."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Room:
    """What a file system has left for us."""

    path: Path
    free_gib: float
    inodes_left: int | None
    """None where it does not count them."""


def existing(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def write_failure(directory: Path) -> str | None:
    """Why no file can be made in `directory`; None if one was (it is removed again)."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".hpcjobs-doctor.", dir=directory) as file:
            file.write(b"probe")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None


def room(path: Path) -> Room:
    """What is left at `path`, or at the nearest directory above it. Raises OSError."""
    there = existing(path)
    numbers = os.statvfs(there)
    inodes = numbers.f_favail if numbers.f_files else None
    return Room(there, numbers.f_bavail * numbers.f_frsize / 2**30, inodes)


def clock_skew(directory: Path) -> float | None:
    """Seconds by which new files are ahead of this host's clock; None if none can be made."""
    try:
        before = time.time()
        with tempfile.NamedTemporaryFile(prefix=".hpcjobs-doctor.", dir=directory) as file:
            file.write(b"probe")
            file.flush()
            os.fsync(file.fileno())
            shown = os.fstat(file.fileno()).st_mtime
        after = time.time()
    except OSError:
        return None
    if before - 1 <= shown <= after + 1:  # file systems round
        return 0.0
    return shown - (before if shown < before else after)


def mount_kind(path: Path, mounts: str | None = None) -> str:
    """The kind of the file system that holds `path` (`lustre`, `nfs4`, `tmpfs`), or empty.

    Args:
        path: an absolute path that exists.
        mounts: the text of /proc/self/mounts.
    """
    if mounts is None:
        mounts = Path("/proc/self/mounts").read_text(errors="replace")
    best, kind = Path(), ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, fields[2]
    return kind


def quoted(path: Path) -> str:
    """As one types it."""
    return shlex.quote(str(path))
