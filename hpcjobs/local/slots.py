"""Which waiting jobs may start now, and with which devices. Pure.

Jobs are taken by priority, then by age. One that cannot start keeps what it would use of the free
devices, so that those behind it cannot take them for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """What a waiting job asks for."""

    id: int
    gpus: int = 0
    """How many devices; 0 is a CPU job."""
    pool: tuple[int, ...] = ()
    """The devices it may have, the preferred first; at least `gpus`."""
    cpu_slots: int = 1
    """A CPU job starts while fewer CPU jobs than this run."""
    priority: int = 0
    """Higher goes first."""


def startable(
    waiting: Iterable[Waiting], held: Iterable[Collection[int]]
) -> list[tuple[int, tuple[int, ...]]]:
    """The ids of the jobs that may start now, in order, each with its devices.

    Args:
        waiting: the queued jobs, in any order.
        held: for each job that runs, the devices it has (none for a CPU job).
    """
    held = list(held)
    taken = {device for devices in held for device in devices}
    cpu_jobs = sum(1 for devices in held if not devices)
    cpu_blocked = False
    starts: list[tuple[int, tuple[int, ...]]] = []
    for job in sorted(waiting, key=lambda job: (-job.priority, job.id)):
        if job.gpus == 0:
            cpu_blocked = cpu_blocked or cpu_jobs >= job.cpu_slots
            if not cpu_blocked:
                cpu_jobs += 1
                starts.append((job.id, ()))
            continue
        devices = tuple(device for device in job.pool if device not in taken)[: job.gpus]
        taken.update(devices)  # its own, or reserved until the others it needs are free
        if len(devices) == job.gpus:
            starts.append((job.id, devices))
    return starts
