"""A copy of results for others: aggregate, the raw results that it was made from, and where from.

`DIR/{prefix}/{publisher}/{model}/{settings}/` gets aggregated_results.json, raw/ID-NN/... (with the
single samples, if asked for) and provenance.json. Each file is written whole, and the aggregate
after the raw results that it names. What others have put there, or have changed, is never written
over.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hpcjobs.errors import InputError, StorageError
from hpcjobs.files import explained, make_directory, write_atomic
from hpcjobs.publishing.bundles import PROVENANCE, Bundle, digest
from hpcjobs.publishing.sample_copies import SUFFIXES, SampleCopy, copy, digest_of


@dataclass(frozen=True)
class Published:
    """What came of one bundle."""

    directory: Path
    written: tuple[str, ...]
    """Files that were not there yet."""
    replaced: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.replaced or self.removed:
            return "replaced"
        return "written" if self.written else "up to date"


def publish(root: Path, what: Bundle, *, replace: bool = False) -> Published:
    """Write a bundle below `root`; what is there already, and the same, is left as it is.

    Args:
        root: the shared directory.
        what: the bundle.
        replace: an earlier bundle of ours may be replaced by this one.

    Raises:
        InputError: there is something else, and it would be written over.
        StorageError: it cannot be written.
    """
    directory = root / what.place
    _refuse_links(root, directory)
    ours = _recorded(_read(directory / PROVENANCE, root))
    new = {name: digest(data) for name, data in what.files.items()}
    written, changed = [], []
    for name, sha in new.items():
        there = _digest_there(directory / name, root)
        if there is None:
            written.append(name)
        elif there != sha:
            is_ours = bool(ours) if name == PROVENANCE else there == ours.get(name)
            if not is_ours:
                raise InputError(
                    "something else is there, or it was changed since it was published",
                    where=str(directory / name),
                    do="look at it, and move it away",
                )
            changed.append(name)
    gone = [name for name in ours if name not in new]
    same = all(ours.get(name) == sha for name, sha in new.items() if name != PROVENANCE)
    if changed == [PROVENANCE] and same and not written and all(map(_is_sample, gone)):
        return Published(directory, (), (), ())  # the same, told by another hpcjobs, or more of it
    if changed == [PROVENANCE] and all(new.get(name) == ours[name] for name in ours):
        written.append(changed.pop())  # it names more than before, and nothing else
    if changed and not replace:
        raise InputError(
            f"another result of ours is there: {', '.join(changed)}",
            where=str(directory),
            do="replace it with --replace",
        )
    removed = [name for name in gone if _digest_there(directory / name, root) == ours[name]]
    for name, data in what.files.items():
        if name in written or name in changed:
            make_directory((directory / name).parent)
            if isinstance(data, SampleCopy):
                copy(data, directory / name)
            else:
                write_atomic(directory / name, data, mode=0o666)
    for name in removed:
        with explained("remove", directory / name):
            (directory / name).unlink()
    return Published(directory, tuple(written), tuple(changed), tuple(removed))


def _refuse_links(root: Path, directory: Path) -> None:
    """Below the shared directory, no link may lead elsewhere."""
    for one in (directory, *directory.parents):
        if one == root:
            return
        if one.is_symlink():
            raise InputError("it is a link", where=str(one), do="look where it leads, and why")


def _read(path: Path, root: Path) -> bytes | None:
    _refuse_links(root, path)
    with explained("read", path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except IsADirectoryError as error:
            raise StorageError(f"{path} is a directory") from error


def _recorded(provenance: bytes | None) -> dict[str, str]:
    """Digest by file, of what we published there before; empty if that was not us."""
    try:
        value = json.loads(provenance or b"")
        found = {str(name): str(one["sha256"]) for name, one in value["files"].items()}
        return found if value["v"] == 1 and all(_is_below(name) for name in found) else {}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return {}


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and bool(path.parts)


def _digest_there(path: Path, root: Path) -> str | None:
    _refuse_links(root, path)
    if not os.path.lexists(path):
        return None
    if path.is_dir():
        raise StorageError(f"{path} is a directory")
    return digest_of(path)


def _is_sample(name: str) -> bool:
    return name.endswith(SUFFIXES)
