"""Where a job can be asked for later: not every queue is seen from everywhere."""

from __future__ import annotations

import os

from hpcjobs.commands import run
from hpcjobs.processes import hostname
from hpcjobs.schedulers import SchedulerModule

_known: dict[str, str] = {}
"""Names of clusters, by the configuration that leads to them."""


def place(module: SchedulerModule) -> str:
    """`HOST:QUEUE` where each machine, user and HPCJOBS_LOCAL_DIR has a queue of its own.

    Else the cluster's own name: login nodes of two clusters may share a workspace, and the one
    knows nothing of the other's jobs.

    Raises:
        SchedulerUnavailableError: the cluster cannot be asked for its name.
    """
    if module.SINGLE_HOST:
        return f"{hostname()}:{os.environ.get('HPCJOBS_LOCAL_DIR') or f'user {os.geteuid()}'}"
    return _cluster(module, os.environ.get("SLURM_CONF", ""))


def _cluster(module: SchedulerModule, configuration: str) -> str:
    """Asked once in a process, for one configuration."""
    if configuration not in _known:
        _known[configuration] = module.parse_cluster(run(module.cluster_argv(), timeout=60.0))
    return _known[configuration]
