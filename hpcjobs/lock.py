"""One writer at a time in a workspace, also across login nodes that share its disk.

A lock file made with O_EXCL holds host, pid, start time and boot of its owner. One whose owner is
dead is taken over on the owner's own host only: no other can know.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from hpcjobs.errors import LockedError
from hpcjobs.files import explained, make_directory, write_once
from hpcjobs.processes import ProcessIdentity, hostname


@contextlib.contextmanager
def workspace_lock(
    path: Path, *, wait: float = 60.0, busy: str = "another hpcjobs is writing in this workspace"
) -> Iterator[None]:
    """Hold the lock file `path` during the block.

    Args:
        path: the lock file; its directory is created.
        wait: seconds to wait for another owner.
        busy: what is said of another owner.

    Raises:
        LockedError: another process still holds it after that time.
        StorageError: the directory cannot be written.
    """
    identity = ProcessIdentity.of(os.getpid())
    who = {"host": hostname(), "namespace": _namespace(), "since": time.time()}
    content = json.dumps(who | (identity.to_json() if identity else {}))
    end = time.monotonic() + wait
    make_directory(path.parent)
    while not write_once(path, content):
        if _remove_if_stale(path) and time.monotonic() < end + 5:
            continue
        if time.monotonic() >= end:
            raise LockedError(
                f"{busy}: {_owner(path)}",
                where=str(path),
                do="wait for it; if its host is gone for good, remove that file",
            )
        time.sleep(0.1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text() == content:
                path.unlink()


def _remove_if_stale(path: Path) -> bool:
    """Remove the lock of a dead process of this host; only one process at a time does so."""
    content = _read(path)
    if content is None or not _is_stale(content):
        return content is None and not os.path.lexists(path)
    guard = path.with_name(f".{path.name}.{hostname()}.guard")
    with explained("write", guard), guard.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _read(path) == content:
            path.unlink(missing_ok=True)
    return True


def _namespace() -> str:
    """Processes of another namespace (a container) cannot be seen, and so not be called dead."""
    return str(Path("/proc/self/ns/pid").readlink())


def _is_stale(content: str) -> bool:
    try:
        owner = json.loads(content)
        ours = (owner["host"], owner.get("namespace", _namespace())) == (hostname(), _namespace())
        return ours and not ProcessIdentity.from_json(owner).is_alive()
    except (ValueError, KeyError, TypeError):
        return False


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _owner(path: Path) -> str:
    try:
        owner = json.loads(_read(path) or "")
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
        return f"process {owner['pid']} on {owner['host']} since {since}"
    except (ValueError, KeyError, TypeError):
        return "an unknown process"
