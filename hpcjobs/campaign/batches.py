"""What is submitted for a campaign: a job for each evaluation, or packed ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpcjobs.assemble import Assembly
from hpcjobs.campaign.planned import Item
from hpcjobs.model import Job
from hpcjobs.shares import Works
from hpcjobs.store import JobRecord, Store


@dataclass(frozen=True)
class Batch:
    """A job that is submitted for one or several evaluations."""

    job: Job
    assembly: Assembly
    items: tuple[Item, ...]
    record: JobRecord | None
    """Of this very job, if it was submitted before."""
    attempts: int
    """How many attempts at its tasks the decision knew of."""

    @property
    def age(self) -> tuple[float, int]:
        """That of its oldest evaluation."""
        return min(one.age for one in self.items)


def batched(items: Iterable[Item], store: Store) -> list[Batch]:
    """These evaluations as jobs, packed where that is asked for; oldest first.

    Raises:
        InputError: the service does not allow the walltime of a packed job.
    """
    works = Works(store)
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(id(item.assembly), []).append(item)
    taken, batches = store.digests, []
    for members in groups.values():
        assembly = members[0].assembly
        by_id = {one.job.id: one for one in members}
        for packed in assembly.packed([one.job for one in members], taken):
            job = packed.job
            taken[job.id] = job.digest
            of_job = tuple(by_id[one.id] for one in packed.members)
            batches.append(
                Batch(job, assembly, of_job, store.jobs.get(job.id), works.attempts(job))
            )
    return sorted(batches, key=lambda one: one.age)


def saved(batches: Sequence[Batch]) -> dict[str, int]:
    """What packing saves: tasks, the jobs for them, and how many fewer jobs that are."""
    tasks = sum(len(one.items) for one in batches)
    return {"tasks": tasks, "jobs": len(batches), "jobs_saved": tasks - len(batches)}
