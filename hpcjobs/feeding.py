"""How many jobs a service may get now: its limits, what is there, and how fast it is fed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hpcjobs.model import JobState, Observation
from hpcjobs.store import Store

MINUTE = 60.0


@dataclass(frozen=True)
class Load:
    """Jobs of this user at a service."""

    unfinished: int = 0
    running: int = 0
    others: int | None = None
    """Those of `unfinished` that hpcjobs did not submit here; None = nobody can tell."""


def count(seen: Iterable[Observation]) -> tuple[int, int]:
    """Of what a scheduler said: how many have not ended, and how many of these run."""
    alive = [one for one in seen if not one.state.final]
    return len(alive), sum(one.state is JobState.RUNNING for one in alive)


def load_of(store: Store, service: str, others: tuple[int, int] | None) -> Load:
    """Ours from the journal, and the user's other jobs where the scheduler tells of them."""
    ours = [
        attempt.state
        for record in store.jobs.values()
        for attempt in record.attempts
        if record.job.service == service and not attempt.state.final
    ]
    more, more_running = others or (0, 0)
    return Load(
        unfinished=len(ours) + more,
        running=sum(state is JobState.RUNNING for state in ours) + more_running,
        others=None if others is None else more,
    )


def recent(store: Store, service: str, now: float) -> int:
    """How many were submitted within the last minute."""
    return sum(
        now - MINUTE < attempt.submitting_at <= now
        for record in store.jobs.values()
        if record.job.service == service
        for attempt in record.attempts
    )


def room(
    site: Mapping[str, int],
    own: Mapping[str, int],
    load: Load,
    lately: int,
    per_minute: int | None = None,
) -> int:
    """How many more jobs may be submitted now.

    Args:
        site: the service's limits. Its `running` does not count here: jobs above it wait there.
        own: the campaign's: `unfinished`, `running` (so few are given that no more can run at
            once), and `per_minute`.
        load: what is there.
        lately: how many were submitted within the last minute.
        per_minute: how many may be, where the campaign does not say it; None = any number.
    """
    most = [site["unfinished"] - load.unfinished] if "unfinished" in site else []
    most += [own[name] - load.unfinished for name in ("unfinished", "running") if name in own]
    rate = own.get("per_minute", per_minute)
    most += [] if rate is None else [rate - lately]
    return max(0, min(most, default=ANY))


PER_MINUTE = 30
"""Submissions a minute where nobody looks on, unless the campaign says otherwise."""
ANY = 10**9
