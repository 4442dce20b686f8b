"""What a campaign does about its rows, as the journal and the attempts' directories stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpcjobs.campaign.batches import batched
from hpcjobs.campaign.planned import Item, Planned, plan_campaign
from hpcjobs.campaign.rooms import Room, fitting
from hpcjobs.cli.campaign import counts
from hpcjobs.config.campaigns import read_campaign
from hpcjobs.feeding import Load
from hpcjobs.model import Attempt, JobState, Reason
from hpcjobs.retry import Act
from hpcjobs.store import AttemptRecord, JobRecord, Store
from hpcjobs.workspace import Workspace

CAMPAIGN = """\
service: mine
node: gpu_1
tasks: [ja_mmlu, ja_gpqa, en_mmlu]
models: [org/a, org/b]
"""
SERVICE = """\
scheduler: slurm
template: services/slurm.sh.j2
times: {walltime_max: "04:00:00"}
options: {OPTIONS}
nodes:
  gpu_1: {gpus: 1, cores: 8, memory_gb: 64, runtime: hrt_q, bigger: gpu_4}
  gpu_4: {gpus: 4, cores: 8, memory_gb: 64, runtime: RUNTIME}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    write_service(tmp_path)
    return Workspace(tmp_path)


def write_service(root: Path, options: str = "", runtime: str = "hrt_q") -> None:
    path = root / "conf" / "services" / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SERVICE.replace("OPTIONS", options).replace("RUNTIME", runtime))


def planned(workspace: Workspace, store: Store | None = None, *, failed: bool = False) -> Planned:
    campaign = read_campaign(workspace, workspace.root / "campaign.yaml")
    return plan_campaign(workspace, campaign, store or Store(), even_failed=failed)


def add(
    store: Store,
    item: Item,
    state: JobState,
    reason: Reason | None = None,
    at: float = 0.0,
    walltime: int | None = None,
) -> None:
    record = store.jobs.setdefault(item.job.id, JobRecord(item.job))
    number = len(record.attempts) + 1
    job = None if walltime is None else replace(item.job, walltime=walltime)
    record.attempts.append(
        AttemptRecord(
            number, f"{item.job.id}-{number:02d}", "here", at, state=state, reason=reason, job=job,
            ended_at=at if state.final else None,
        )
    )  # fmt: skip


def test_all_is_new_at_first_and_oldest_is_what_stands_first(workspace: Workspace) -> None:
    found = planned(workspace)
    assert [item.decision.act for item in found.items] == [Act.FIRST] * 6
    assert [(one.job.model, one.row.task) for one in found.to_submit][:4] == [
        ("org/a", "ja_mmlu"), ("org/a", "ja_gpqa"), ("org/a", "en_mmlu"), ("org/b", "ja_mmlu")
    ]  # fmt: skip
    assert len({id(item.assembly) for item in found.items}) == 1  # the work is shared


def test_what_was_submitted_first_is_repeated_first(workspace: Workspace) -> None:
    store, items = Store(), planned(workspace).items
    add(store, items[4], JobState.FAILED, Reason.VANISHED, at=100.0)
    add(store, items[2], JobState.FAILED, Reason.PREEMPTED, at=200.0)
    order = [item.index for item in planned(workspace, store).to_submit]
    assert order == [4, 2, 0, 1, 3, 5]


def mark_host(workspace: Workspace, item: Item, host: str) -> None:
    directory = workspace.attempt(item.job.id, 1)
    directory.mkdir(parents=True)
    (directory / "host").write_text(f"{host} 2026-01-01T00:00:00Z\n")


@pytest.mark.parametrize(("options", "excluded"), [("", "n12"), ("exclude: n07", "n07,n12")])
def test_a_bad_node_is_kept_away_from(workspace: Workspace, options: str, excluded: str) -> None:
    write_service(workspace.root, options)
    store, item = Store(), planned(workspace).items[0]
    add(store, item, JobState.FAILED, Reason.NODE_FAILURE)
    mark_host(workspace, item, "n12")
    again = planned(workspace, store).items[0]
    assert again.decision.act is Act.AGAIN
    script = again.assembly.renderer.render(Attempt(again.job, 2))
    assert f"#SBATCH --exclude={excluded}\n" in script.text
    assert again.job.id == item.job.id


def test_a_longer_walltime_reaches_the_script(workspace: Workspace) -> None:
    store, item = Store(), planned(workspace).items[0]
    add(store, item, JobState.FAILED, Reason.TIMEOUT)
    again = planned(workspace, store).items[0]
    assert again.job.walltime == 2 * item.job.walltime
    script = again.assembly.renderer.render(Attempt(again.job, 2))
    assert "#SBATCH --time=02:00:00\n" in script.text
    assert item.job.walltime == 3600


def test_at_the_limit_it_goes_to_the_bigger_node_as_another_job(workspace: Workspace) -> None:
    store, item = Store(), planned(workspace).items[0]
    add(store, item, JobState.FAILED, Reason.TIMEOUT, walltime=4 * 3600)
    bigger = planned(workspace, store).items[0]
    assert (bigger.job.node, bigger.job.walltime) == ("gpu_4", 4 * 3600)
    assert bigger.job.id != item.job.id
    add(store, bigger, JobState.RUNNING)
    left = planned(workspace, store).items[0]
    assert left.decision.why == f"under way as {bigger.job.id} on mine/gpu_4"
    store.jobs[bigger.job.id].attempts[-1].state = JobState.SUCCEEDED
    assert planned(workspace, store).items[0].decision.why.startswith("done as ")


def test_a_bigger_node_that_cannot_be_is_a_stated_end(workspace: Workspace) -> None:
    write_service(workspace.root, runtime="hrt_none")
    store, item = Store(), planned(workspace).items[0]
    add(store, item, JobState.FAILED, Reason.TIMEOUT, walltime=4 * 3600)
    decision = planned(workspace, store).items[0].decision
    assert decision.act is Act.STOP
    assert "on gpu_4 instead, which cannot be: " in decision.why
    assert "ja_mmlu has no time for the node gpu_4" in decision.why


def test_what_is_done_on_another_service_is_left(workspace: Workspace) -> None:
    store, item = Store(), planned(workspace).items[0]
    (workspace.root / "conf/services/other.yaml").write_text(
        (workspace.root / "conf/services/mine.yaml").read_text()
    )
    path = workspace.root / "campaign.yaml"
    path.write_text(CAMPAIGN.replace("mine", "other"))
    there = planned(workspace).items[0]
    add(store, there, JobState.SUCCEEDED)
    path.write_text(CAMPAIGN)
    assert planned(workspace, store).items[0].decision.why == (
        f"done as {there.job.id} on other/gpu_1"
    )
    assert there.job.id != item.job.id


def test_three_like_failures_stop_the_model_and_a_person_may_go_on(workspace: Workspace) -> None:
    path = workspace.root / "campaign.yaml"
    path.write_text(CAMPAIGN.replace("en_mmlu]", "en_mmlu, en_gpqa_diamond]"))
    store, items = Store(), planned(workspace).items
    for number, item in enumerate(items[:3]):
        add(store, item, JobState.FAILED, Reason.SERVER_FAILED, at=float(number))
    found = planned(workspace, store).items
    assert [item.decision.act for item in found] == [Act.STOP] * 4 + [Act.FIRST] * 4
    assert "org/a gets no more jobs by itself: 3 jobs in a row" in found[3].decision.why
    assert len(planned(workspace, store, failed=True).to_submit) == 8


def test_a_suspect_result_is_told_and_repeated_only_if_a_person_asks(workspace: Workspace) -> None:
    store, item = Store(), planned(workspace).items[0]
    add(store, item, JobState.SUCCEEDED)
    attempt = store.jobs[item.job.id].attempts[-1]
    attempt.suspect = {"ja_mmlu": "half is empty"}
    decision = planned(workspace, store).items[0].decision
    assert (decision.act, decision.why) == (
        Act.STOP, "done, but suspect: ja_mmlu: half is empty; not by itself"
    )  # fmt: skip


def test_a_suspect_result_elsewhere_is_no_end_either(workspace: Workspace) -> None:
    store, item = Store(), planned(workspace).items[0]
    path = workspace.root / "campaign.yaml"
    path.write_text(CAMPAIGN.replace("gpu_1", "gpu_4"))
    there = planned(workspace).items[0]
    add(store, there, JobState.SUCCEEDED)
    store.jobs[there.job.id].attempts[-1].suspect = {"ja_mmlu": "half is empty"}
    path.write_text(CAMPAIGN)
    decision = planned(workspace, store).items[0].decision
    assert decision.act is Act.STOP
    assert decision.why.endswith(
        "on mine/gpu_4, but suspect: ja_mmlu: half is empty; not by itself"
    )
    (again, *_) = planned(workspace, store, failed=True).to_submit
    assert again.job.id == item.job.id


def test_only_as_many_as_fit_are_taken_oldest_first(workspace: Workspace) -> None:
    items = planned(workspace).to_submit
    assert fitting(items, {"mine": Room(Load(), 2)}) == items[:2]
    assert fitting(items, {"mine": Room(Load(), 0)}) == []


def test_what_was_submitted_since_is_counted_as_under_way(workspace: Workspace) -> None:
    found = planned(workspace)
    first = batched(found.to_submit[:2], Store())
    assert counts(found.items) == "6 to submit"
    assert counts(found.items, first) == "4 to submit, 2 under way"
