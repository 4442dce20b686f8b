"""Which results count for an aggregate: only what was made under the settings submitted last."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from hpcjobs import journal
from hpcjobs.config.metrics import read_metrics
from hpcjobs.model import Job, TaskRun
from hpcjobs.results.collect import collect
from hpcjobs.results.report import aggregate_collected, as_document
from hpcjobs.store import fold, job_to_json
from hpcjobs.workspace import Workspace

TABLE = """
metrics:
  - {name: sums, aggregate: pick, task: sums, metric: "acc,none"}
  - {name: towns, aggregate: pick, task: towns, metric: "acc,none"}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "metrics.yaml").write_text(TABLE)
    return Workspace(tmp_path)


def a_job(key: str, task: str, version: str = "1", digest: str = "d", path: str = "") -> Job:
    run = TaskRun(task, task, path or f"x/{task}", "lm_eval", {})
    return Job(
        id=key, digest=key, service="local", node="cpu", provider="p", model="org/m",
        settings_name="s", settings_version=version, settings_path="s.yaml", tasks=(run,),
        walltime=60, settings_digest=digest, model_names=("org/m",),
    )  # fmt: skip


def leave_result(workspace: Workspace, job: Job, number: int, value: float) -> None:
    directory = workspace.attempt(job.id, number) / "results" / job.tasks[0].result_dir
    directory.mkdir(parents=True)
    script = job.tasks[0].script
    content = {
        "results": {script: {"alias": script, "acc,none": value}},
        "config": {},
        "model_name": "org/m",
        "n-samples": {script: {"original": 4, "effective": 4}},
    }
    path = directory / f"results_2026-01-0{number}T00-00-00.000000.json"
    path.write_text(json.dumps(content))
    samples = [{"doc_id": n, "resps": [["x"]], "arguments": [["q", {}]]} for n in range(4)]
    lines = "".join(json.dumps(one) + "\n" for one in samples)
    path.with_name(f"samples_{script}_{path.stem.removeprefix('results_')}.jsonl").write_text(lines)


def events_of(job: Job, at: float, number: int = 1, **more: object) -> list[journal.Event]:
    """Submitted and succeeded."""
    head = [journal.event(journal.PLANNED, at, job.id, spec=job_to_json(job))]
    name = f"{job.id}-{number:02d}"
    return [
        *(head if number == 1 else []),
        journal.event(journal.SUBMITTING, at, job.id, number, name=name, place="", **more),
        journal.event(journal.SUBMITTED, at, job.id, number, native_id="1"),
        journal.event(journal.ENDED, at, job.id, number, state="SUCCEEDED", reason=None, detail=""),
    ]


def document(workspace: Workspace, events: list[journal.Event]) -> dict[str, object]:
    table = read_metrics(workspace.root / "metrics.yaml")
    (one,) = collect(workspace, fold(events))
    return as_document(workspace, table, one, aggregate_collected(table, one))


def test_values_of_the_same_settings_stand_together(workspace: Workspace) -> None:
    one, two = a_job("aaaaaaa", "sums"), a_job("bbbbbbb", "towns")
    leave_result(workspace, one, 1, 0.25)
    leave_result(workspace, two, 1, 0.5)
    found = document(workspace, [*events_of(one, 1000.0), *events_of(two, 2000.0)])
    assert found["results"] == {"sums": 0.25, "towns": 0.5}
    assert found["hpcjobs"]["complete"] is True  # type: ignore[index]


@pytest.mark.parametrize(("version", "digest"), [("2", "e"), ("1", "e")])
def test_a_value_of_other_settings_does_not_count_and_is_named(
    workspace: Workspace, version: str, digest: str
) -> None:
    one = a_job("aaaaaaa", "sums")
    two = a_job("bbbbbbb", "towns", version, digest)
    leave_result(workspace, one, 1, 0.25)
    leave_result(workspace, two, 1, 0.5)
    found = document(workspace, [*events_of(one, 1000.0), *events_of(two, 2000.0)])
    assert found["results"] == {"sums": -1, "towns": 0.5}
    about = found["hpcjobs"]
    assert about["complete"] is False  # type: ignore[index]
    assert "made under other settings (version 1)" in about["failed"]["sums"]  # type: ignore[index]


def test_a_later_attempt_is_read_where_it_was_told_to_write(workspace: Workspace) -> None:
    first = a_job("aaaaaaa", "sums")
    second = dataclasses.replace(first, tasks=a_job("aaaaaaa", "sums", path="new/place").tasks)
    leave_result(workspace, first, 1, 0.25)
    leave_result(workspace, second, 2, 0.75)
    spec = job_to_json(second)
    found = document(
        workspace, [*events_of(first, 1000.0), *events_of(second, 2000.0, 2, spec=spec)]
    )
    assert found["results"] == {"sums": 0.75, "towns": -1}


def test_a_done_job_that_is_under_way_again_keeps_its_value_and_is_unfinished(
    workspace: Workspace,
) -> None:
    job = a_job("aaaaaaa", "sums")
    leave_result(workspace, job, 1, 0.5)
    found = document(workspace, events_of(job, 1000.0) + events_of(job, 2000.0, 2)[:-1])
    assert found["results"] == {"sums": 0.5, "towns": -1}
    about = found["hpcjobs"]
    assert isinstance(about, dict)
    assert about["unfinished"] == {"sums": "done, and under way again: PENDING"}
    assert not about["complete"]
    assert (about["failed"], about["suspect"]) == ({}, {})


def test_what_failed_on_one_node_and_still_runs_on_another_is_unfinished(
    workspace: Workspace,
) -> None:
    one, two = a_job("aaaaaaa", "sums"), a_job("bbbbbbb", "sums")
    failed = [*events_of(two, 2000.0)[:-1], *ended_badly(two)]
    about = document(workspace, [*events_of(one, 1000.0)[:-1], *failed])["hpcjobs"]
    assert isinstance(about, dict)
    assert (about["unfinished"], about["failed"]) == ({"sums": "PENDING"}, {})


@pytest.mark.parametrize(("failed", "value"), [(True, 0.75), (False, 0.5)])
def test_the_latest_result_counts_in_whatever_job_it_was_made(
    workspace: Workspace, failed: bool, value: float
) -> None:
    """Of two jobs with this task, the first was repeated after the other was done."""
    one, two = a_job("aaaaaaa", "sums"), a_job("bbbbbbb", "sums")
    leave_result(workspace, one, 1, 0.25)
    leave_result(workspace, two, 1, 0.75)
    leave_result(workspace, one, 2, 0.5)
    again = events_of(one, 3000.0, 2)
    if failed:
        again[-1] = journal.event(journal.ENDED, 3000.0, one.id, 2, state="FAILED", reason=None)
    found = document(workspace, [*events_of(one, 1000.0), *events_of(two, 2000.0), *again])
    assert found["results"] == {"sums": value, "towns": -1}


def test_what_is_done_counts_though_its_place_was_changed_before_it_was_done_again(
    workspace: Workspace,
) -> None:
    one, two = a_job("aaaaaaa", "sums"), a_job("bbbbbbb", "sums", path="new/place")
    leave_result(workspace, one, 1, 0.25)
    failed = [*events_of(two, 2000.0)[:-1], *ended_badly(two)]
    found = document(workspace, [*events_of(one, 1000.0), *failed])
    assert found["results"] == {"sums": 0.25, "towns": -1}


def test_a_packed_task_that_just_ended_is_not_failed_where_its_result_shows_late(
    workspace: Workspace,
) -> None:
    one, two = a_job("packed0", "sums"), a_job("packed0", "towns")
    pack = dataclasses.replace(one, tasks=one.tasks + two.tasks)
    directory = workspace.attempt(pack.id, 1)
    directory.mkdir(parents=True)
    for name, value in (("started", "-"), ("exit_code", "0")):
        (directory / f"task.sums.{name}").write_text(f"{value} 2026-01-01T00:00:00Z\n")
    running = events_of(pack, 1000.0)[:-1]
    about = document(workspace, running)["hpcjobs"]
    assert isinstance(about, dict)
    assert (sorted(about["unfinished"]), about["failed"]) == (["sums", "towns"], {})
    leave_result(workspace, one, 1, 0.25)
    assert document(workspace, running)["results"] == {"sums": 0.25, "towns": -1}


def ended_badly(job: Job) -> list[journal.Event]:
    end = journal.event(journal.ENDED, 3000.0, job.id, 1, state="FAILED", reason="TIMEOUT")
    return [end]
