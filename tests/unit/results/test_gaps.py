"""What `aggregate --check` calls missing, failed, stale, suspect or under way."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import journal
from hpcjobs.config.metrics import read_metrics
from hpcjobs.model import Job, TaskRun
from hpcjobs.results.collect import collect
from hpcjobs.results.gaps import AsNow, Gap, find_gaps, wanted_tasks
from hpcjobs.results.report import aggregate_collected
from hpcjobs.store import fold, job_to_json
from hpcjobs.workspace import Workspace

TABLE = """
metrics:
  - {name: sums, aggregate: pick, task: sums, metric: "acc,none"}
  - {name: towns, aggregate: pick, task: towns, metric: "acc,none"}
"""
SETTINGS = {"temperature": 0.5}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "metrics.yaml").write_text(TABLE)
    workspace = Workspace(tmp_path)
    settings(workspace)
    return workspace


def settings(workspace: Workspace, text: str = "s:\n  version: '1'\n  temperature: 0.5\n") -> None:
    path = workspace.root / "generation_settings/custom_model_settings/org/m.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def a_job(key: str, task: str, model: str = "org/m", **changes: Any) -> Job:
    run = TaskRun(task, task, f"x/{task}", "lm_eval", SETTINGS)
    job = Job(
        id=key, digest=key, service="local", node="cpu", provider="p", model=model,
        settings_name="s", settings_version="1", settings_path="s.yaml", tasks=(run,),
        walltime=60, settings_digest="d", model_names=(model,),
    )  # fmt: skip
    return dataclasses.replace(job, **changes)


def leave_result(workspace: Workspace, job: Job, metric: str = "acc,none") -> None:
    directory = workspace.attempt(job.id, 1) / "results" / job.tasks[0].result_dir
    directory.mkdir(parents=True)
    content = {
        "results": {job.tasks[0].script: {metric: 0.5}},
        "config": {},
        "model_name": job.model,
    }
    stamp = "2026-01-01T00-00-00.000000"
    (directory / f"results_{stamp}.json").write_text(json.dumps(content))
    samples = [{"doc_id": n, "resps": [["x"]], "arguments": [["q", {}]]} for n in range(4)]
    lines = "".join(json.dumps(one) + "\n" for one in samples)
    (directory / f"samples_{job.tasks[0].script}_{stamp}.jsonl").write_text(lines)


def events(job: Job, at: float = 1000.0, end: str | None = "SUCCEEDED") -> list[journal.Event]:
    found = [
        journal.event(journal.PLANNED, at, job.id, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, at, job.id, 1, name=f"{job.id}-01", place=""),
        journal.event(journal.SUBMITTED, at, job.id, 1, native_id="1"),
    ]
    if end:
        reason = "TIMEOUT" if end == "FAILED" else None
        found.append(
            journal.event(journal.ENDED, at, job.id, 1, state=end, reason=reason, detail="late")
        )
    return found


def gaps(
    workspace: Workspace,
    *found: list[journal.Event],
    task_settings: Any = None,
    options: Any = None,
) -> dict[tuple[str, str], Gap]:
    """By model and task."""
    table = read_metrics(workspace.root / "metrics.yaml")
    collected = collect(workspace, fold([one for events in found for one in events]))
    made = [
        gap
        for one in collected
        for gap in find_gaps(
            workspace,
            table,
            AsNow(task_settings or {}, options or {}),
            one,
            aggregate_collected(table, one),
            wanted_tasks(collected, one),
        )
    ]
    return {(gap.row.model, gap.row.task): gap for gap in made}


def states(found: dict[tuple[str, str], Gap]) -> dict[tuple[str, str], str]:
    return {key: gap.state for key, gap in found.items()}


def test_what_is_done_is_no_gap(workspace: Workspace) -> None:
    job = a_job("aaaaaaa", "sums")
    leave_result(workspace, job)
    assert gaps(workspace, events(job)) == {}


def test_each_model_should_have_what_any_was_given(workspace: Workspace) -> None:
    one, two = a_job("aaaaaaa", "sums"), a_job("bbbbbbb", "towns", "org/n", settings_name="")
    found = gaps(workspace, events(one, end=None), events(two, end=None))
    assert states(found) == {
        ("org/m", "sums"): "under way",
        ("org/m", "towns"): "missing",
        ("org/n", "sums"): "missing",
        ("org/n", "towns"): "under way",
    }
    row = found["org/n", "sums"].row
    assert (row.service, row.node, row.provider, row.settings) == ("local", "cpu", "p", "")


def test_trials_and_full_runs_do_not_ask_for_each_other(workspace: Workspace) -> None:
    one, two = a_job("aaaaaaa", "sums"), a_job("bbbbbbb", "towns", max_samples=4)
    found = gaps(workspace, events(one, end=None), events(two, end=None))
    assert states(found) == {("org/m", "sums"): "under way", ("org/m", "towns"): "under way"}


def test_a_free_trial_is_no_row_that_would_be_paid_for(workspace: Workspace) -> None:
    one = a_job("aaaaaaa", "sums", max_samples=2, trial=True)
    found = gaps(workspace, events(one, end="FAILED"))
    assert [(gap.state, gap.trial, gap.in_table) for gap in found.values()] == [
        ("failed", True, False)
    ]
    two = a_job("bbbbbbb", "towns", "org/n", max_samples=2)
    found = gaps(workspace, events(one, end="FAILED"), events(two, end="FAILED"))
    assert {key: gap.in_table for key, gap in found.items()} == {
        ("org/m", "sums"): False,
        ("org/m", "towns"): False,  # missing, where only trials were made
        ("org/n", "sums"): True,
        ("org/n", "towns"): True,
    }


def test_what_is_under_way_is_not_in_the_table(workspace: Workspace) -> None:
    found = gaps(workspace, events(a_job("aaaaaaa", "sums"), end=None))
    assert [gap.in_table for gap in found.values()] == [False]


def test_what_failed_says_why(workspace: Workspace) -> None:
    found = gaps(workspace, events(a_job("aaaaaaa", "sums"), end="FAILED"))
    gap = found["org/m", "sums"]
    assert (gap.state, gap.row.state, gap.row.why) == ("failed", "failed", "FAILED TIMEOUT: late")


def test_a_success_whose_result_is_gone_failed(workspace: Workspace) -> None:
    found = gaps(workspace, events(a_job("aaaaaaa", "sums")))
    assert states(found) == {("org/m", "sums"): "failed"}
    assert found["org/m", "sums"].row.why == "its result is gone"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("s:\n  version: '2'\n  temperature: 0.5\n", "version 1 -> 2"),
        ("s:\n  version: '1'\n  temperature: 0.7\n", "temperature 0.5 -> 0.7"),
        ("s:\n  version: '1'\n", "temperature 0.5 -> unset"),
        ("s:\n  version: '1'\n  temperature: 0.5\n  seed: 3\n", "seed unset -> 3"),
    ],
)
def test_settings_that_were_changed_since_make_it_stale(
    workspace: Workspace, text: str, why: str
) -> None:
    job = a_job("aaaaaaa", "sums")
    leave_result(workspace, job)
    settings(workspace, text)
    gap = gaps(workspace, events(job))["org/m", "sums"]
    assert (gap.state, gap.row.why) == ("stale", f"its settings have changed since: {why}")


def test_a_setting_that_changes_no_number_makes_nothing_stale(workspace: Workspace) -> None:
    # `submit` would leave the job alone, as done: the two must say the same.
    job = a_job("aaaaaaa", "sums")
    leave_result(workspace, job)
    same = "s:\n  version: '1'\n  temperature: 0.5\n"
    settings(workspace, same + "  gpu_memory_utilization: 0.8\n  start_timeout: '01:00:00'\n")
    found = gaps(workspace, events(job))
    assert {key: (one.state, one.row.why) for key, one in found.items()} == {}


def test_so_do_the_settings_of_its_task(workspace: Workspace) -> None:
    job = a_job("aaaaaaa", "sums")
    leave_result(workspace, job)
    found = gaps(workspace, events(job), task_settings={"sums": {"seed": 1}})
    assert states(found) == {("org/m", "sums"): "stale"}


@pytest.mark.parametrize(
    ("then", "now", "why"),
    [
        ({}, {"num_fewshot": 5}, "num_fewshot unset -> 5"),
        ({"num_fewshot": 4}, {"num_fewshot": 5}, "num_fewshot 4 -> 5"),
        ({"system_instruction": "x"}, {}, "system_instruction x -> unset"),
        ({"gen_kwargs": {"a": 1}}, {"gen_kwargs": {"a": 2}}, "gen_kwargs {'a': 1} -> {'a': 2}"),
        ({"seed": "1"}, {"seed": "1"}, None),
        ({"num_concurrent": 4}, {"num_concurrent": 9, "verbosity": "DEBUG"}, None),
        ({"output": "loglikelihood"}, {"output": "loglikelihood", "generative": "x_gen"}, None),
    ],
)
def test_so_do_options_that_may_change_a_number(
    workspace: Workspace, then: dict[str, Any], now: dict[str, Any], why: str | None
) -> None:
    job = a_job("aaaaaaa", "sums")
    run = dataclasses.replace(job.tasks[0], options=then)
    job = dataclasses.replace(job, tasks=(run,))
    leave_result(workspace, job)
    found = gaps(workspace, events(job), options={"sums": now})
    told = {key: (gap.state, gap.row.why) for key, gap in found.items()}
    expected = ("stale", f"its options have changed since: {why}")
    assert told == ({("org/m", "sums"): expected} if why else {})


def test_of_a_task_that_the_table_has_no_more_nobody_knows_the_options(
    workspace: Workspace,
) -> None:
    job = a_job("aaaaaaa", "sums")
    run = dataclasses.replace(job.tasks[0], options={"num_fewshot": 4})
    job = dataclasses.replace(job, tasks=(run,))
    leave_result(workspace, job)
    assert gaps(workspace, events(job), options={"towns": {}}) == {}


def test_settings_that_are_gone_make_it_stale(workspace: Workspace) -> None:
    job = a_job("aaaaaaa", "sums")
    leave_result(workspace, job)
    settings(workspace, "other:\n  version: '1'\n")
    gap = gaps(workspace, events(job))["org/m", "sums"]
    assert gap.state == "stale"
    assert gap.row.why.startswith("its settings cannot be read any more: unknown settings")


def test_what_was_made_before_the_settings_submitted_last_is_stale(workspace: Workspace) -> None:
    one = a_job("aaaaaaa", "sums")
    two = a_job("bbbbbbb", "towns", settings_version="2", settings_digest="e")
    leave_result(workspace, one)
    found = gaps(workspace, events(one), events(two, 2000.0, end=None))
    assert states(found) == {("org/m", "sums"): "stale", ("org/m", "towns"): "under way"}


def test_a_result_that_lacks_its_metric_is_suspect(workspace: Workspace) -> None:
    job = a_job("aaaaaaa", "sums")
    leave_result(workspace, job, "f1,none")
    gap = gaps(workspace, events(job))["org/m", "sums"]
    assert (gap.state, gap.row.why) == (
        "suspect", "sums: the result of sums has no acc,none (it has f1,none)"
    )  # fmt: skip
