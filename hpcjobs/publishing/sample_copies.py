"""Single samples to be published: found beside their result, looked through for keys, copied.

They may be many gigabytes: nothing here holds a file as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hpcjobs.errors import InputError
from hpcjobs.files import explained
from hpcjobs.results.samples import find_sample_files
from hpcjobs.store import Store
from hpcjobs.workspace import Workspace

PIECE = 1 << 20
"""Bytes in memory at a time."""
OVERLAP = 1 << 13
"""So much of a piece is looked at once more with the next one: no key is longer."""
SUFFIXES = (".jsonl", ".parquet")


@dataclass(frozen=True)
class SampleCopy:
    """A file of samples, as it was when it was looked through."""

    path: Path
    digest: str
    size: int


def samples_of(workspace: Workspace, store: Store, source: str) -> list[Path]:
    """The files of samples that were written together with a raw result, by its time.

    Args:
        workspace: whose result it is.
        store: its journal.
        source: the raw result, `jobs/ID/NN/results/...`.

    Raises:
        StorageError: a directory cannot be listed.
    """
    parts = PurePosixPath(source).parts
    attempt = workspace.root.joinpath(*parts[:3])
    path = workspace.root / source
    record = store.jobs.get(parts[1])
    made = [record.job_of(one) for one in record.attempts] if record else []
    below = [attempt / "results" / run.result_dir for job in made for run in job.tasks]
    tops = [one for one in below if one in path.parents]
    top = max(tops, key=lambda one: len(one.parts), default=path.parent)
    stamp = path.stem.removeprefix("results_")
    return [one.path for one in find_sample_files(top) if one.time == stamp]


def look_through(path: Path, holds_key: Callable[[bytes], bool]) -> SampleCopy:
    """Read a file once, for its digest and for keys.

    Raises:
        InputError: a key, or what looks like one, stands in it; or it cannot be looked through.
        StorageError: it cannot be read.
    """
    digest, size, tail = hashlib.sha256(), 0, b""
    for piece in _pieces(path):
        digest.update(piece)
        size += len(piece)
        if holds_key(tail + piece):
            raise found_key(str(path))
        tail = piece[-OVERLAP:]
    if path.suffix == ".parquet" and any(map(holds_key, _texts(path))):  # they are compressed
        raise found_key(str(path))
    return SampleCopy(path, digest.hexdigest(), size)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        StorageError: it cannot be read.
    """
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def copy(one: SampleCopy, target: Path, *, mode: int = 0o666) -> None:
    """Copy it so that a reader sees nothing of it or all, and only what was looked through.

    Raises:
        InputError: it was changed since.
        StorageError: it cannot be read or written.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    digest = hashlib.sha256()
    with explained("write", target):
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name[:40]}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in _pieces(one.path):
                digest.update(piece)
                with explained("write", target):
                    file.write(piece)
            if digest.hexdigest() != one.digest:
                raise InputError("it was changed while it was copied", where=str(one.path))
            with explained("write", target):
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode & ~umask)
        with explained("write", target):
            Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _pieces(path: Path) -> Iterator[bytes]:
    with explained("read", path):
        file = path.open("rb")
    with file:
        while True:
            with explained("read", path):
                piece = file.read(PIECE)
            if not piece:
                return
            yield piece


def _texts(path: Path) -> Iterator[bytes]:
    """All texts of a Parquet file, in pieces.

    Raises:
        InputError: it cannot be read.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            "it cannot be looked through for keys: pyarrow is not installed",
            where=str(path),
            do="pip install 'hpcjobs[details]'",
        ) from error
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(64, use_threads=False):
                for column in batch.columns:
                    yield from _of_array(column)
    except (pyarrow.ArrowException, OSError) as error:
        said = str(error).partition("\n")[0][:200]
        raise InputError(
            f"it cannot be looked through for keys: {said}", where=str(path)
        ) from error


def _of_array(array: Any) -> Iterator[bytes]:
    from pyarrow import types

    kind = array.type
    if types.is_dictionary(kind):
        yield from _of_array(array.dictionary)
    elif types.is_struct(kind):
        for one in array.flatten():
            yield from _of_array(one)
    elif types.is_map(kind):
        yield from _of_array(array.keys)
        yield from _of_array(array.items)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        yield from _of_array(array.flatten())
    elif not (types.is_primitive(kind) or types.is_null(kind)):
        for value in array.to_pylist():
            yield value if isinstance(value, bytes) else str(value).encode(errors="replace")


def found_key(where: str) -> InputError:
    """What is said where a key was found; never the key itself."""
    return InputError(
        "a key, or what looks like one, stands in it: nothing of it is copied",
        where=where,
        do="find out how it came there; if it is a key, have it replaced",
    )
