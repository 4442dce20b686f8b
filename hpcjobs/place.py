"""Where a job can be asked for later: not every queue is seen from everywhere."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from hpcjobs.processes import hostname
from hpcjobs.schedulers import SchedulerModule


def place(module: SchedulerModule) -> str:
    """`HOST:QUEUE` where each machine, user and HPCJOBS_LOCAL_DIR has a queue of its own.

    Else `cluster NAME`, since one workspace may be seen from the login nodes of several;
    empty where that is not known.
    """
    if module.SINGLE_HOST:
        return f"{hostname()}:{os.environ.get('HPCJOBS_LOCAL_DIR') or f'user {os.geteuid()}'}"
    name = module.cluster(os.environ, _read)
    return f"cluster {name}" if name else ""


def reachable(submitted_at: str, here: str) -> bool:
    """Whether a job that was submitted at one place can be asked for at another."""
    return submitted_at in ("", here)


@cache
def _read(path: str) -> str:
    """The text of a configuration file, empty where there is none."""
    try:
        return Path(path).read_text(errors="replace") if path else ""
    except OSError:
        return ""
