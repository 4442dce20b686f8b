"""What the runtime table could say, given what was observed. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from hpcjobs.durations import format_duration
from hpcjobs.model import Task
from hpcjobs.runtimes.observed import Timing


@dataclass(frozen=True)
class Rule:
    """How much is asked for, given what was seen."""

    quantile: float = 1.0
    """Of the observed times; 1 = the longest."""
    margin: float = 1.5
    """Factor on top."""
    least: int = 3
    """Fewer observations of a class of models say nothing."""
    step: int = 600
    """Seconds: proposals are rounded up to whole ones of these."""
    lower: bool = True
    """Whether a time may be lowered at all."""


@dataclass(frozen=True)
class Group:
    """What was observed of one task, on one column, with models of one size."""

    task: str
    column: str
    size: str
    nodes: tuple[str, ...]
    """`SERVICE/NODE`."""
    seconds: tuple[float, ...]
    """Of those that succeeded, sorted."""
    server_seconds: tuple[float, ...]
    timeouts: tuple[float, ...]
    """How long those ran that were ended at their walltime, sorted."""

    @property
    def median(self) -> float | None:
        """The middle of the observed times."""
        return median(self.seconds) if self.seconds else None

    @property
    def longest(self) -> float | None:
        """The longest of them."""
        return self.seconds[-1] if self.seconds else None


@dataclass(frozen=True)
class Proposal:
    """One cell of the table."""

    task: str
    column: str
    present: int | None
    """Seconds; None = the cell is empty."""
    proposed: int | None
    """Seconds; None = leave it."""
    why: str
    groups: tuple[Group, ...]


def propose(
    timings: Iterable[Timing], tasks: Mapping[str, Task], limits: Mapping[str, int], rule: Rule
) -> list[Proposal]:
    """A proposal for every cell of which something was observed, in the order of the table."""
    cells: dict[tuple[str, str], dict[str, list[Timing]]] = {}
    for one in timings:
        cells.setdefault((one.task, one.column), {}).setdefault(one.size, []).append(one)
    order = {key: place for place, key in enumerate(tasks)}
    found = []
    for (task, column), sizes in sorted(cells.items(), key=lambda x: (order[x[0][0]], x[0][1])):
        groups = tuple(_group(task, column, size, sizes[size]) for size in sorted(sizes))
        services = {one.service for group in sizes.values() for one in group}
        limit = min(limits[name] for name in services)
        present = tasks[task].walltimes.get(column)
        proposed, why = decide(groups, present, limit, rule)
        found.append(Proposal(task, column, present, proposed, why, groups))
    return found


def decide(
    groups: Sequence[Group], present: int | None, limit: int, rule: Rule
) -> tuple[int | None, str]:
    """The new time of a cell, if it deserves one, and why.

    The cell serves all models, so the slowest class counts. A class of too few observations lowers
    nothing; nor does a cell where a job ran out of time; but such a job raises it, even alone.
    """
    bounds = [bound for group in groups if (bound := _bound(group, rule)) is not None]
    few = [group for group in groups if len(group.seconds) < rule.least]
    thin = ", ".join(f"{len(one.seconds)} of {one.size}" for one in few)
    timeouts = sum(len(group.timeouts) for group in groups)
    if not bounds:
        return None, f"too few observations ({thin}; {rule.least} are needed)"
    wanted = math.ceil(round(max(bounds) * rule.margin, 3) / rule.step) * rule.step
    capped = min(wanted, limit)
    if present is None:
        return capped, "the cell is empty"
    if capped == present:
        return None, "as it is" if wanted == capped else "the service allows no more"
    if capped > present:
        why = f"{timeouts} ran out of time" if timeouts else "the margin is too small"
        return capped, why + ("" if wanted == capped else "; the service allows no more")
    if wanted > limit:
        return None, f"more than the service allows ({format_duration(limit)})"
    if timeouts:
        return None, f"{timeouts} ran out of time: not lowered"
    if few:
        return None, f"too few observations to lower it ({thin}; {rule.least} are needed)"
    if not rule.lower:
        return None, "not lowered"
    return capped, "less is enough"


def _bound(group: Group, rule: Rule) -> float | None:
    """Seconds that this class needs, by what was seen; None: nobody can know."""
    known = []
    if len(group.seconds) >= rule.least:
        rank = max(1, math.ceil(round(rule.quantile * len(group.seconds), 6)))
        known.append(group.seconds[rank - 1])
    if group.timeouts:
        known.append(group.timeouts[-1])
        known += group.seconds[-1:]
    return max(known, default=None)


def _group(task: str, column: str, size: str, timings: Sequence[Timing]) -> Group:
    done = [one for one in timings if not one.timed_out]
    return Group(
        task,
        column,
        size,
        nodes=tuple(sorted({f"{one.service}/{one.node}" for one in timings})),
        seconds=tuple(sorted(one.seconds for one in done)),
        server_seconds=tuple(sorted(one.server_seconds for one in done)),
        timeouts=tuple(sorted(one.seconds for one in timings if one.timed_out)),
    )
