"""How prices are shown: the columns and lines of a plan, and plain values for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpcjobs.model import Job, Service
from hpcjobs.price import Price, packing, price_of, total

if TYPE_CHECKING:
    from hpcjobs.store import JobRecord
    from hpcjobs.workspace import Workspace


def price_cell(service: Service, job: Job) -> tuple[str, ...]:
    """The cell of the column `price_header`; none where the service has no price."""
    price = price_of(service, job)
    return () if price is None else ("-" if price.most is None else str(price.most),)


def price_header(service: Service) -> tuple[str, ...]:
    """The title of that column."""
    return (f"{service.price.unit} at most",) if service.price else ()


def price_lines(service: Service, jobs: Sequence[Job]) -> list[str]:
    """What the jobs cost in all, and a hint where they could cost less."""
    price = total(price_of(service, job) for job in jobs)
    if price is None:
        return []
    if price.most is None:
        return [f"price: {price.note}"]
    if not price.most:
        return [f"price: nothing{f': {price.note}' if price.note else ''}"]
    lines = [f"price: at most {price.most} {price.unit} in all"]
    if price.least:
        lines[0] += f", and {price.least} even if every job ends as soon as it starts"
    cheaper = packing(service, jobs)
    if cheaper is not None:
        lines.append(
            f"hint: {cheaper.jobs} of these jobs packed on {cheaper.nodes} {cheaper.node}, one to "
            f"each GPU at a time, would bring that to at most {cheaper.most} {price.unit}; "
            "hpcjobs does not pack jobs itself"
        )
    return lines


def price_json(price: Price | None) -> dict[str, Any] | None:
    """A price as plain values: decimals as text, exactly as they are."""
    if price is None:
        return None
    return {
        "unit": price.unit,
        "least": None if price.least is None else str(price.least),
        "most": None if price.most is None else str(price.most),
        "note": price.note or None,
    }


def total_json(service: Service, jobs: Sequence[Job]) -> dict[str, Any] | None:
    """What the jobs cost in all, as plain values."""
    return price_json(total(price_of(service, job) for job in jobs))


def spent_json(workspace: Workspace, record: JobRecord) -> dict[str, Any] | None:
    """What the latest attempt cost by its own clock, where it told its start and its end."""
    from hpcjobs.spending import attempt_spent

    attempt = record.last
    found = attempt_spent(workspace, record, attempt) if attempt else None
    return {"unit": found[1], "about": str(found[0])} if found else None
