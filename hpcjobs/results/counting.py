"""How many samples a value is made of, where its result file does not say it.

lighteval 0.13 writes -1. Its details have a row for each sample, and their last bytes say how many:
a file that was not written to its end has no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from hpcjobs.results.result_file import Entry, ResultFile
from hpcjobs.results.samples import SampleFile, by_result, find_sample_files


def with_counts(files: Iterable[ResultFile], places: Iterable[Path]) -> tuple[ResultFile, ...]:
    """The same files; what they did not count is counted in the details below these directories.

    Raises:
        StorageError: a directory cannot be listed.
    """
    files = tuple(files)
    if not any(_uncounted(file, entry) for file in files for entry in file.entries):
        return files
    own = by_result(one for place in places for one in find_sample_files(place))
    return tuple(
        replace(file, entries=tuple(_counted(file, entry, own) for entry in file.entries))
        for file in files
    )


def _uncounted(file: ResultFile, entry: Entry) -> bool:
    return file.framework == "lighteval" and entry.samples is None


def _counted(
    file: ResultFile, entry: Entry, own: Callable[[Path, str], SampleFile | None]
) -> Entry:
    samples = own(file.path, entry.task) if _uncounted(file, entry) else None
    return entry if samples is None else replace(entry, samples=_rows(samples.path))


def _rows(path: Path) -> int | None:
    """How many samples the file holds; None if it cannot be read, or pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return None
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            whole = {"doc", "model_response"} <= set(file.schema_arrow.names)
            return int(file.metadata.num_rows) if whole else None
    except (pyarrow.ArrowException, OSError):
        return None
