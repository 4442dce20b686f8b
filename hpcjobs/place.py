"""Where a job can be asked for later: not every queue is seen from everywhere."""

from __future__ import annotations

import os

from hpcjobs.processes import hostname
from hpcjobs.schedulers import SchedulerModule


def place(module: SchedulerModule) -> str:
    """`HOST:QUEUE` where each machine, user and HPCJOBS_LOCAL_DIR has a queue of its own.

    Empty for a scheduler that can be asked from any login node.
    """
    if not module.SINGLE_HOST:
        return ""
    return f"{hostname()}:{os.environ.get('HPCJOBS_LOCAL_DIR') or f'user {os.geteuid()}'}"
