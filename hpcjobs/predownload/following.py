"""Waiting for a download: its log is passed on, its end is judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from hpcjobs.errors import SchedulerUnavailableError
from hpcjobs.model import Service
from hpcjobs.predownload.fetching import DownloadFailedError
from hpcjobs.predownload.job import Download, look
from hpcjobs.predownload.records import End, read_end
from hpcjobs.workspace import Workspace

LATE = 15.0
"""Seconds that the end of a job may take to be seen on a shared disk."""


def follow(
    workspace: Workspace,
    service: Service,
    download: Download,
    show: Callable[[bytes], None],
    tell: Callable[[str], None],
) -> End:
    """Wait for the end of a download, and pass on what it prints and how it stands.

    Raises:
        DownloadFailedError: something could not be fetched, or it ended without a word.
    """
    here = service.scheduler == "local"
    pace, late = (0.5, 2.0) if here else (max(2.0, service.poll_seconds), LATE)
    offset, asked, gone, told = 0, float("-inf"), float("inf"), ""
    how = "it is not in the queue any more"
    while True:
        end = read_end(download.directory)
        offset = _pass_on(download.log, offset, show)
        now = time.monotonic()
        if end is not None:
            require_success(download, end)
            return end
        if now - gone > late:
            raise _failed(download, f"it ended without a word: {how}")
        if now - asked >= pace:
            asked = now
            try:
                seen = look(workspace, service, download)
            except SchedulerUnavailableError as error:
                said = error.what  # no conclusion; it is asked again
            else:
                said = "" if seen is None else f"{seen.native_state} {seen.detail}".strip()
                alive = seen is not None and not seen.state.final
                gone = float("inf") if alive else min(gone, now)
                how = said or how
            if said not in (told, "", "alive"):
                tell(f"job {download.native_id}: {said}")
                told = said
        time.sleep(0.2 if here else 1.0)


def require_success(download: Download, end: End) -> None:
    """Raise DownloadFailedError if something could not be fetched."""
    if end.errors:
        raise _failed(download, "; ".join(end.errors))


def _failed(download: Download, what: str) -> DownloadFailedError:
    return DownloadFailedError(
        what,
        where=f"job {download.native_id}",
        do=f"read {download.log}; check the name, the network of that node, and HF_TOKEN in .env "
        "if it is gated; what was fetched is kept",
    )


def _pass_on(log: Path, offset: int, show: Callable[[bytes], None]) -> int:
    """Show what a log has grown by; how much was shown in all."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return offset
    if data:
        show(data)
    return offset + len(data)
