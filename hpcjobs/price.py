"""What a job costs, in its service's own units. Pure, and exact: no binary fractions.

A service names a formula and its figures (docs/price.md). What is known before a job runs is its
walltime, so the two ends are told: what it costs at most, and what it costs if it ends at once.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from hpcjobs.model import Job, Pricing, Service

HOUR = 3600
DIGITS = 4
"""All prices are told in 1/10000 of the unit: what TSUBAME and ABCI truncate at."""


@dataclass(frozen=True)
class Price:
    """What a job, or several, may cost; without figures where `note` says why."""

    unit: str
    least: Decimal | None = None
    """Even if it ends as soon as it has started."""
    most: Decimal | None = None
    """If it takes its whole walltime: what is held back for it, or must be there."""
    note: str = ""


@dataclass(frozen=True)
class Formula:
    """How a site counts."""

    figure: str
    """The figure of a node that it needs, unless the service names another (`class`)."""
    count: Callable[[Fraction, Fraction, Fraction], Decimal]
    """Of rate (figure x priority), seconds used and seconds asked for."""


def _tsubame4(rate: Fraction, used: Fraction, asked: Fraction) -> Decimal:
    counted = Fraction(7, 10) * max(used, Fraction(300)) + Fraction(1, 10) * asked
    return _truncated(rate * counted / HOUR)


def _abci3(rate: Fraction, used: Fraction, asked: Fraction) -> Decimal:
    del asked  # withheld, but given back
    return _truncated(rate * max(used, Fraction(9, 5)) / HOUR)


def _hourly(rate: Fraction, used: Fraction, asked: Fraction) -> Decimal:
    """Rounded up, since how the site rounds is not known: "at most" must hold."""
    del asked
    return _decimal(math.ceil(rate * used / HOUR * 10**DIGITS))


FORMULAS = {
    "tsubame4": Formula("coefficient", _tsubame4),
    "abci3": Formula("standard", _abci3),
    "hourly": Formula("per_hour", _hourly),
}


def price_of(service: Service, job: Job) -> Price | None:
    """What the job may cost; None where the service has no price."""
    if service.price is None:
        return None
    note = _without_figures(service, service.price, job)
    if note:
        return Price(service.price.unit, note=note)
    return Price(
        service.price.unit,
        least=_cost(service, service.price, job, 0),
        most=_cost(service, service.price, job, job.walltime),
        note="a trial run is free" if job.trial else "",
    )


def spent(service: Service, job: Job, seconds: int | Decimal) -> Decimal | None:
    """What the job cost if it ran for so long; None where that cannot be told."""
    if service.price is None or seconds < 0 or _without_figures(service, service.price, job):
        return None
    return _cost(service, service.price, job, seconds)


def total(prices: Iterable[Price | None]) -> Price | None:
    """The sum; None where one has no price, without figures where one has none."""
    found = list(prices)
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    notes = dict.fromkeys(one.note for one in known if one.note)
    if any(one.least is None or one.most is None for one in known):
        return Price(known[0].unit, note="; ".join(notes))
    return Price(
        known[0].unit,
        least=sum((one.least for one in known if one.least is not None), Decimal()),
        most=sum((one.most for one in known if one.most is not None), Decimal()),
        note="; ".join(notes),
    )


@dataclass(frozen=True)
class Packing:
    """Jobs of one small node that would be cheaper side by side on a whole one."""

    node: str
    """The kind of node that the small one is a part of."""
    nodes: int
    jobs: int
    """How many of the jobs would be packed."""
    most: Decimal
    """What all jobs would cost at most, the packed ones and the others."""
    instead_of: Decimal


def packing(service: Service, jobs: Sequence[Job]) -> Packing | None:
    """The cheapest way to run these jobs as parts of whole nodes, if that is cheaper.

    One job after the other on each part, the longest first on the part that is free first.
    """
    kinds = {(job.node, job.priority) for job in jobs}
    pricing = service.price
    if pricing is None or len(kinds) != 1 or any(map(_priceless(service, pricing), jobs)):
        return None
    small = service.nodes[jobs[0].node]
    if small.part_of not in service.nodes:
        return None
    parts = service.nodes[small.part_of].gpus // small.gpus
    alone = {job.id: _cost(service, pricing, job, job.walltime) for job in jobs}
    best: Packing | None = None
    longest_first = sorted(jobs, key=lambda job: (-job.walltime, job.id))
    for count in range(1, math.ceil(len(jobs) / parts) + 1):
        lanes = _lanes(longest_first, count * parts)
        one = Packing(small.part_of, 0, 0, Decimal(), sum(alone.values(), Decimal()))
        for first in range(0, len(lanes), parts):
            members = [job for lane in lanes[first : first + parts] for job in lane]
            if not members:
                continue
            one = _cheaper(service, pricing, one, lanes[first], members, alone)
        if one.most < (best.most if best else one.instead_of):
            best = one
    return best


def _lanes(jobs: Sequence[Job], count: int) -> list[list[Job]]:
    """The jobs dealt out to so many parts, in this order; the part with the most to do first."""
    free = [(0, lane) for lane in range(count)]
    lanes: list[list[Job]] = [[] for _ in range(count)]
    for job in jobs:
        busy, lane = heapq.heappop(free)
        lanes[lane].append(job)
        heapq.heappush(free, (busy + job.walltime, lane))
    return sorted(lanes, key=_seconds, reverse=True)


def _seconds(lane: Sequence[Job]) -> int:
    return sum(job.walltime for job in lane)


def _cheaper(
    service: Service,
    pricing: Pricing,
    so_far: Packing,
    longest: Sequence[Job],
    members: Sequence[Job],
    alone: dict[str, Decimal],
) -> Packing:
    """`so_far` with these jobs on one whole node, or each alone where that costs no more."""
    separate = sum((alone[job.id] for job in members), Decimal())
    seconds = _seconds(longest)
    rate = _rate(service, pricing, so_far.node, members[0].priority)
    packed = FORMULAS[pricing.formula].count(rate, Fraction(seconds), Fraction(seconds))
    if packed >= separate or seconds > service.walltime_max:
        return replace(so_far, most=so_far.most + separate)
    return replace(
        so_far,
        nodes=so_far.nodes + 1,
        jobs=so_far.jobs + len(members),
        most=so_far.most + packed,
    )


def _priceless(service: Service, pricing: Pricing) -> Callable[[Job], bool]:
    return lambda job: bool(_without_figures(service, pricing, job))


def _without_figures(service: Service, pricing: Pricing, job: Job) -> str:
    """Why the formula cannot tell what this job costs; empty if it can."""
    if job.node not in service.nodes:
        return f"not known: {service.name} describes no node {job.node} any more"
    if job.reservation:
        return "billed with its reservation"
    if further := [name for name in job.scheduler_options if name != "exclude"]:
        return f"not known: {', '.join(further)} may change what is billed"
    if pricing.priorities and job.priority and job.priority not in pricing.priorities:
        return f"not known: {service.name} does not say what the priority {job.priority} costs"
    return ""


def _cost(service: Service, pricing: Pricing, job: Job, used: int | Decimal) -> Decimal:
    rate = Fraction(0) if job.trial else _rate(service, pricing, job.node, job.priority)
    return FORMULAS[pricing.formula].count(rate, Fraction(used), Fraction(job.walltime))


def _rate(service: Service, pricing: Pricing, node: str, priority: str) -> Fraction:
    figure = service.nodes[node].price[pricing.figure]
    return Fraction(figure) * Fraction(pricing.priorities.get(priority, Decimal(1)))


def _truncated(exact: Fraction) -> Decimal:
    return _decimal(math.floor(exact * 10**DIGITS))


def _decimal(ten_thousandths: int) -> Decimal:
    return Decimal((0, tuple(map(int, str(ten_thousandths))), -DIGITS))
