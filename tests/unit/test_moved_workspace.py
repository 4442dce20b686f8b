"""A workspace that was moved, or is seen by another path, still has its jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpcjobs import journal
from hpcjobs.assemble import Choices, assemble
from hpcjobs.model import Job
from hpcjobs.plan import work_of
from hpcjobs.shares import Works
from hpcjobs.store import job_to_json, load
from hpcjobs.submit import give_identity
from hpcjobs.workspace import Workspace

CHOICES = Choices(
    service="slurm",
    node="cpu",
    models=["hpcjobs/tiny-demo"],
    tasks=["demo"],
    settings="demo",
    provider="llamacpp",
)


def jobs_of(root: Path) -> list[Job]:
    return assemble(Workspace(root), CHOICES).jobs


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A workspace in which all jobs of the demo are done."""
    root = tmp_path / "before"
    root.mkdir()
    give_identity(Workspace(root))
    for job in jobs_of(root):
        name = f"{job.id}-01_x"
        events = [
            journal.event(journal.PLANNED, 1.0, job.id, spec=job_to_json(job)),
            journal.event(journal.SUBMITTING, 1.0, job.id, 1, name=name, place=""),
            journal.event(journal.SUBMITTED, 1.0, job.id, 1, native_id="7"),
            journal.event(journal.ENDED, 2.0, job.id, 1, state="SUCCEEDED", detail=""),
        ]
        journal.append(Workspace(root).journal, events)
    return root


def test_what_is_done_is_done_after_a_move(before: Path, tmp_path: Path) -> None:
    ids = [job.id for job in jobs_of(before)]
    after = before.rename(tmp_path / "after")
    jobs = jobs_of(after)
    assert [job.id for job in jobs] == ids
    works = Works(load(Workspace(after).journal))
    assert all(works.settled(job, again=False) for job in jobs)


def test_a_workspace_of_its_own_has_other_jobs(before: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    give_identity(Workspace(other))
    assert not {job.id for job in jobs_of(before)} & {job.id for job in jobs_of(other)}


@pytest.mark.parametrize(
    "change",
    [
        {"service": "other"},
        {"node": "gpu_1"},
        {"provider": "vllm"},
        {"model": "org/other"},
        {"settings_name": "other"},
        {"settings_version": "2"},
        {"max_samples": 3},
    ],
)
def test_other_work_is_another_job(before: Path, change: dict[str, object]) -> None:
    job = jobs_of(before)[0]
    run = job.tasks[0]
    same = replace(job, id="another", digest="another", walltime=1)
    assert work_of(job, run) == work_of(same, run)
    assert work_of(job, run) != work_of(replace(job, **change), run)  # type: ignore[arg-type]
    assert work_of(job, run) != work_of(job, replace(run, script="another"))
