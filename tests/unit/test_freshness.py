"""A value is stale only if what it was made by has changed since, not what its job did besides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs import journal
from hpcjobs.model import Job, TaskRun
from hpcjobs.results.freshness import with_stale
from hpcjobs.results.scores import Score, Scores
from hpcjobs.store import Store, fold, job_to_json
from hpcjobs.workspace import Workspace


def made(job: Job, at: float) -> list[journal.Event]:
    return [
        journal.event(journal.PLANNED, at, job.id, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, at, job.id, 1, name=job.id, place=""),
    ]


@pytest.mark.parametrize("now", [1, 2])
def test_a_packed_job_says_nothing_of_a_task_that_was_made_by_another(
    tmp_path: Path, a_job: Callable[..., Job], now: int
) -> None:
    """`a` was packed with `b`, then its options were changed, and it was made alone."""

    def run(key: str, seeds: int) -> TaskRun:
        return TaskRun(key, key, f"x/{key}", "lm_eval", {}, {"num_fewshot": seeds})

    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "tasks_runtime.csv").write_text(
        "key,script,result_dir,framework,hrt_q\na,a,x/a,lm_eval,00:01:00\n"
    )
    (tmp_path / "conf" / "frameworks.yaml").write_text(
        f"lm_eval:\n  tasks:\n    a: {{num_fewshot: {now}}}\n"
    )
    pack = a_job(
        id="packed0", tasks=(run("a", 1), run("b", 1)), settings_name="", settings_version=""
    )
    alone = a_job(id="alone00", tasks=(run("a", 2),), settings_name="", settings_version="")
    store: Store = fold([*made(pack, 1.0), *made(alone, 2.0)])
    settings: dict[str, dict[str, object]] = {"a": {}}
    one = Scores(
        tmp_path / "results" / "m" / "aggregated_results.json", "m", values={
            "a": Score(
                0.5, tasks=("a",), jobs=("alone00-01 (s/n)",), settings=settings,
                files=("jobs/alone00/01/results/x/a/results_1.json",),
            ),
            "b": Score(
                0.5, tasks=("b",), jobs=("packed0-01 (s/n)",), settings={"b": {}},
                files=("jobs/packed0/01/results/x/b/results_1.json",),
            ),
        },
    )  # fmt: skip
    told = with_stale(Workspace(tmp_path), store, one).values["a"].doubt
    assert ("num_fewshot" in told) == (now == 1)
