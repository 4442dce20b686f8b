"""What attempts have cost, by their own clocks."""

from __future__ import annotations

from decimal import Decimal
from functools import cache

from hpcjobs.errors import HpcjobsError
from hpcjobs.markers import read_markers
from hpcjobs.model import Service
from hpcjobs.price import spent
from hpcjobs.store import AttemptRecord, JobRecord
from hpcjobs.workspace import Workspace


def attempt_spent(
    workspace: Workspace, record: JobRecord, attempt: AttemptRecord
) -> tuple[Decimal, str] | None:
    """About how much an attempt that has ended cost, and in which unit.

    None where it did not tell its start and its end, or its service does not price it.
    """
    if not attempt.state.final:
        return None
    service = _service(workspace, record.job.service)
    if service is None or service.price is None:
        return None
    markers = read_markers(workspace.attempt(record.job.id, attempt.number))
    if markers.started is None or markers.exit_code is None or markers.restarted is not None:
        return None
    seconds = round(markers.exit_code.at - markers.started.at)
    amount = spent(service, record.job_of(attempt), seconds)
    return None if amount is None else (amount, service.price.unit)


@cache
def _service(workspace: Workspace, name: str) -> Service | None:
    """The service, if its file still is there and right: nothing fails for want of it."""
    from hpcjobs.config.services import read_service

    try:
        return read_service(workspace, name)
    except HpcjobsError:
        return None
