"""The progress of an attempt, from its markers and the begin and the end of its logs."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from hpcjobs.errors import StorageError
from hpcjobs.files import explained
from hpcjobs.markers import Markers
from hpcjobs.model import Job
from hpcjobs.progress.counting import GENERATE, counted
from hpcjobs.progress.outlook import JobProgress, Log, job_progress

HEAD, TAIL = 64 * 1024, 16 * 1024
"""Bytes that are read of a log: where the counting begins, and how far it is."""


def read_progress(
    directory: Path, job: Job, markers: Markers, now: float, end_margin: float
) -> JobProgress:
    """How far the attempt in `directory` is, which runs; of a log that cannot be read nothing."""
    tasks = {task.key: task for task in job.tasks}
    logs = {}
    for key in markers.running:
        if task := tasks.get(key):
            output = str(task.options.get("output", GENERATE))
            with suppress(StorageError):
                if log := read_log(directory / f"{key}.log", task.framework, output):
                    logs[key] = log
    return job_progress(job, markers, logs, now, end_margin)


def read_log(path: Path, framework: str, output: str = GENERATE) -> Log | None:
    """What an evaluator's log tells; None if there is none.

    Raises:
        StorageError: it cannot be read.
    """
    with explained("read", path):
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                return None
            with path.open("rb") as file:
                facts = os.fstat(file.fileno())
                texts = [file.read(HEAD + TAIL)]
                if facts.st_size > HEAD + TAIL:
                    file.seek(facts.st_size - TAIL)
                    texts = [texts[0][:HEAD], file.read(TAIL)]
        except (FileNotFoundError, NotADirectoryError):
            return None
    shown = [text.decode("utf-8", errors="replace") for text in texts]
    return Log(counted(shown, framework, output), facts.st_mtime)
