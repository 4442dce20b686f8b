"""Where the spool is, and whether it may be trusted.

It is per user and host: `$HPCJOBS_LOCAL_DIR`, or `/var/tmp/hpcjobs-UID`, where anybody could have
made a directory of that name before us. Whoever can write in it can run programs as us.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from hpcjobs.errors import StorageError
from hpcjobs.files import explained
from hpcjobs.local.environment import DIRECTORY_VARIABLE

_SHARED = frozenset(
    [
        *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "afs", "pvfs2"),
        *("glusterfs", "panfs", "wekafs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph"),
    ]
)
"""File systems that other hosts see too: there, locks and process ids mean nothing."""
_ESCAPE = re.compile(r"\\([0-7]{3})")
"""How /proc/mounts writes a space: \\040."""
_ANOTHER = f"name another directory on a local disk with {DIRECTORY_VARIABLE}"


def spool_directory(environ: Mapping[str, str]) -> Path:
    """The spool's path, with its parents' symlinks followed; it need not exist."""
    named = environ.get(DIRECTORY_VARIABLE)
    path = Path(named) if named else Path(f"/var/tmp/hpcjobs-{os.geteuid()}")  # noqa: S108
    path = path.absolute()
    return Path(os.path.realpath(path.parent)) / path.name


def prepare(path: Path) -> None:
    """Make the spool if it does not exist, and check it.

    Raises:
        StorageError: it cannot be made or must not be used.
    """
    with explained("create the spool", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    check(path)


def check(path: Path, mounts: str | None = None) -> None:
    """Refuse a spool that is not ours alone, or not on a disk of this host.

    Args:
        path: an existing path without symlinks before its last part.
        mounts: what to take for the text of /proc/mounts.

    Raises:
        StorageError: what is wrong with it.
    """
    with explained("look at the spool", path):
        status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise _refused(path, "it is a symbolic link")
    if not stat.S_ISDIR(status.st_mode):
        raise _refused(path, "it is not a directory")
    if status.st_uid != os.geteuid():
        raise _refused(path, f"it belongs to user {status.st_uid}, not to us ({os.geteuid()})")
    if status.st_mode & 0o022:
        raise _refused(path, "others may write in it", f"chmod 700 {path}, or {_ANOTHER}")
    kind = file_system(path, _mounts() if mounts is None else mounts)
    if kind in _SHARED:
        raise _refused(path, f"it is on {kind}, which other hosts share")


def file_system(path: Path, mounts: str) -> str | None:
    """The type of the file system that holds `path`, by the text of /proc/mounts."""
    best, kind = -1, None
    for line in mounts.splitlines():
        words = line.split()
        if len(words) < 3:
            continue
        mounted_at = Path(_ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), words[1]))
        if (path == mounted_at or mounted_at in path.parents) and len(mounted_at.parts) >= best:
            best, kind = len(mounted_at.parts), words[2]
    return kind


def _mounts() -> str:
    with explained("read", Path("/proc/mounts")):
        return Path("/proc/mounts").read_text(errors="surrogateescape")


def _refused(path: Path, why: str, do: str = _ANOTHER) -> StorageError:
    return StorageError(f"the spool {path} cannot be used: {why}", do=do)
