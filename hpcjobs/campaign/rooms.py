"""How much of the services is left for a campaign now, and who goes first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpcjobs.ask import others
from hpcjobs.assemble import Assembly
from hpcjobs.campaign.batches import Batch
from hpcjobs.config.campaigns import Campaign
from hpcjobs.feeding import Load, load_of, recent, room
from hpcjobs.store import Store
from hpcjobs.workspace import Workspace


@dataclass(frozen=True)
class Room:
    """How much of a service is left for this campaign."""

    load: Load
    more: int
    """How many jobs may be submitted now."""


def rooms(
    workspace: Workspace,
    campaign: Campaign,
    store: Store,
    services: Iterable[Assembly],
    per_minute: int | None = None,
) -> dict[str, Room]:
    """By service: how many more jobs it may get now; `per_minute` where the campaign says none.

    Raises:
        SchedulerUnavailableError: one does not say how many jobs of this user it has.
    """
    found = {}
    for assembly in services:
        service = assembly.service
        if service.name not in found:
            load = load_of(store, service.name, others(workspace, service))
            lately = recent(store, service.name, time.time())
            found[service.name] = Room(
                load, room(service.limits, campaign.limits, load, lately, per_minute)
            )
    return found


def fitting(batches: Sequence[Batch], rooms: dict[str, Room]) -> list[Batch]:
    """Those for which there is room now, in their order."""
    left = {name: one.more for name, one in rooms.items()}
    chosen = []
    for batch in batches:
        if left[batch.job.service] > 0:
            left[batch.job.service] -= 1
            chosen.append(batch)
    return chosen
