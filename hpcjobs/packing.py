"""Several tasks of a model behind one start of its server: jobs of one task packed into few. Pure.

A task keeps its own exit code, log, time and result; what makes its number is the same as if it
had a job of its own, so only tasks that need the very same server share one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath

from hpcjobs.durations import format_duration
from hpcjobs.errors import InputError
from hpcjobs.model import Job, Service
from hpcjobs.plan import id_of, sha256
from hpcjobs.queueing import Packing

COMBINED = ("loglikelihood", "must_not_think")
"""What a server is told so that it serves any of its tasks: the others do not mind."""


@dataclass(frozen=True)
class Packed:
    """A job, and those that it stands for: itself, or the packed ones."""

    job: Job
    members: tuple[Job, ...]


def limit_of(packing: Packing, service: Service) -> int:
    """Seconds that a packed job may ask for.

    Raises:
        InputError: the service does not allow as many.
    """
    if packing.walltime is None:
        return service.walltime_max
    if not service.end_margin < packing.walltime <= service.walltime_max:
        raise InputError(
            f"a packed job may not ask for {format_duration(packing.walltime)}",
            where="--pack-walltime",
            expected=f"more than {format_duration(service.end_margin)}, and at most "
            f"{format_duration(service.walltime_max)} on {service.name}",
        )
    return packing.walltime


def pack(
    jobs: Sequence[Job],
    limit: int,
    at_once: int,
    server_of: Callable[[Job], Mapping[str, object]],
    taken: Mapping[str, str],
) -> list[Packed]:
    """Put together what can share a server and ends within the limit, by the runtime table.

    The longest are placed first, each where it fits first. Within a job the shortest begin, so that
    one that takes too long costs as few others as it can. A job that stays alone is not changed.

    Args:
        jobs: with one task each.
        limit: seconds that a packed job may ask for.
        at_once: so many tasks are evaluated at the same time; it changes no walltime, since they
            share the server.
        server_of: what the server of a job is told.
        taken: digests by id, of the jobs that exist.
    """
    order = {job.id: index for index, job in enumerate(jobs)}
    bins: dict[str, list[list[Job]]] = {}
    for job in sorted(jobs, key=lambda one: (-one.walltime, order[one.id])):
        kind = _kind(job, server_of)
        for members in bins.setdefault(kind, []):
            if not job.trial and _fits(job, members, limit):
                members.append(job)
                break
        else:
            bins[kind].append([job])
    used = dict(taken)
    packed = []
    for members in (members for groups in bins.values() for members in groups):
        members.sort(key=lambda one: (one.walltime, order[one.id]))
        job = _joined(members, at_once, used)
        used[job.id] = job.digest
        packed.append(Packed(job, tuple(members)))
    return sorted(packed, key=lambda one: min(order[job.id] for job in one.members))


def in_words(tasks: int, jobs: int, served: bool) -> str:
    """What packing so many tasks into so many jobs saves, for people; empty if nothing.

    `served`: whether each job starts a server.
    """
    if jobs == tasks:
        return ""
    fewer, s = tasks - jobs, "" if tasks - jobs == 1 else "s"
    starts = f" and {fewer} server start{s}" if served else ""
    return f"packed: {tasks} tasks in {jobs} job(s); {fewer} job{s}{starts} saved"


def _kind(job: Job, server_of: Callable[[Job], Mapping[str, object]]) -> str:
    """What jobs must have in common to be packed: all but the task, and the server's words."""
    common = asdict(replace(job, id="", digest="", tasks=(), walltime=0))
    server = {name: value for name, value in server_of(job).items() if name not in COMBINED}
    return json.dumps([common, server], sort_keys=True, default=str)


def _fits(job: Job, members: list[Job], limit: int) -> bool:
    if sum(one.walltime for one in members) + job.walltime > limit:
        return False
    places = [PurePosixPath(one.tasks[0].result_dir) for one in members]
    own = PurePosixPath(job.tasks[0].result_dir)
    names = {one.tasks[0].key for one in members}
    apart = not any(own in (place, *place.parents) or place in own.parents for place in places)
    return apart and job.tasks[0].key not in names


def _joined(members: Sequence[Job], at_once: int, used: Mapping[str, str]) -> Job:
    if len(members) == 1:
        return members[0]
    digest = sha256({"packed": sorted(one.digest for one in members)})
    return replace(
        members[0],
        id=id_of(digest, used),
        digest=digest,
        tasks=tuple(one.tasks[0] for one in members),
        walltime=sum(one.walltime for one in members),
        task_walltimes=tuple(one.walltime for one in members),
        at_once=min(at_once, len(members)),
    )
