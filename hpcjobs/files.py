"""Whole or not at all: how hpcjobs writes files.

Workspaces lie on Lustre, NFS and GPFS, are shared by several login nodes, and run full. A file is
written under another name, flushed to disk, and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from hpcjobs.errors import StorageError


@contextlib.contextmanager
def explained(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot {action} {path}: {error.strerror or error}", do=_remedy(error)
        ) from error


def write_atomic(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new, whole.

    Raises:
        StorageError: the directory cannot be written, or the disk is full; `path` is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    with explained("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file to write to, which becomes `path` as a whole at the end of the block.

    Raises:
        StorageError: it cannot be written; `path` is then, as after any error, as it was.
    """
    with explained("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="")
    try:
        yield file
        with explained("write", path):
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644 & ~_umask())
            file.close()
            Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # it would try to write again, and say less
            file.close()
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of `value` as readable JSON, non-ASCII kept."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_once(path: Path, content: str) -> bool:
    """Make `path`, in a directory that exists, with its content in one step.

    Returns:
        False if it is there already, whoever made it.

    Raises:
        StorageError: the directory cannot be written, or the disk is full.
    """
    with explained("write", path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644 & ~_umask())
            os.link(name, path)
        except FileExistsError:
            return False
        finally:
            with contextlib.suppress(OSError):
                Path(name).unlink()
        sync_directory(path.parent)
        return True


def sync_directory(directory: Path) -> None:
    """Flush the names in `directory` to disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create `path` and its parents.

    Raises:
        StorageError: it cannot be created or is not a directory.
    """
    with explained("create the directory", path):
        path.mkdir(parents=True, exist_ok=True)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def _remedy(error: OSError) -> str | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space (or raise the quota) and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "check who owns it and its rights, or use another directory (--workspace DIR)"
    return None
