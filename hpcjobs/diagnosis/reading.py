"""The logs of an attempt, from its directory: streamed, and of a huge one the begin and the end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from hpcjobs.diagnosis.diagnose import Diagnosis, diagnose
from hpcjobs.diagnosis.scan import Numbered
from hpcjobs.files import explained
from hpcjobs.markers import read_markers
from hpcjobs.model import Verdict

HEAD = 8 * 1024 * 1024
TAIL = 48 * 1024 * 1024
"""Bytes that are read of a log; what lies between is counted: the lines keep their numbers."""
PIECE = 64 * 1024
"""A longer line comes in pieces of the same number."""


def diagnose_attempt(
    directory: Path, tasks: Iterable[str], verdict: Verdict, keys: Iterable[str] = ()
) -> Diagnosis:
    """The diagnosis of the attempt in `directory`, which evaluates these tasks (or of one of them).

    Raises:
        StorageError: a log or the directory cannot be read.
    """
    tasks, markers = list(tasks), read_markers(directory)
    if len(tasks) == 1:
        markers = markers.of_task(tasks[0])
    earlier = [f"server.{number + 1}.log" for number in range(markers.server_deaths)]
    names = ["scheduler.out", "job.log", *earlier, "server.log", *(f"{key}.log" for key in tasks)]
    logs = {name: read_lines(directory / name) for name in names if _is_log(directory / name)}
    return diagnose(logs, verdict, markers, keys)


def _is_log(path: Path) -> bool:
    with explained("read", path):
        try:
            return stat.S_ISREG(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False


def read_lines(path: Path, head: int = HEAD, tail: int = TAIL) -> Iterator[Numbered]:
    """The lines of a file with their numbers; of a file larger than both, its begin and end.

    Raises:
        StorageError: it cannot be read.
    """
    with explained("read", path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        between = size - tail if size > head + tail else 0
        number, read = 1, 0
        while read < size and (piece := file.readline(PIECE)):
            yield number, piece.decode("utf-8", errors="replace").rstrip("\n")
            read += len(piece)
            number += piece.endswith(b"\n")
            if head <= read < between:
                passed, lines = _skip(file, between - read)
                read, number = read + passed, number + lines


def _skip(file: BinaryIO, size: int) -> tuple[int, int]:
    """Go on by so much, and to the end of that line if it is near: bytes and lines passed."""
    passed = lines = 0
    while passed < size and (data := file.read(min(size - passed, 1024 * 1024))):
        passed += len(data)
        lines += data.count(b"\n")
    rest = file.readline(PIECE)
    return passed + len(rest), lines + rest.count(b"\n")
