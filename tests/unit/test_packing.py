"""Which tasks share a job, and what that job is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.errors import InputError
from hpcjobs.model import Attempt, Job, Service, TaskRun
from hpcjobs.packing import Packed, in_words, limit_of, pack
from hpcjobs.plan import ID_LENGTH, job_name, sha256
from hpcjobs.queueing import Packing

HOUR = 3600


def same_server(job: Job) -> Mapping[str, object]:
    return {"weights": job.model}


def made(
    a_job: Callable[..., Job], key: str, hours: float = 1, place: str = "", **more: object
) -> Job:
    run = TaskRun(key, f"script_{key}", place or f"x/{key}", "lm_eval", {})
    values = {"id": key, "digest": sha256(key), "tasks": (run,), "walltime": int(hours * HOUR)}
    return a_job(**{**values, **more})


def keys(packed: list[Packed]) -> list[list[str]]:
    return [[run.key for run in one.job.tasks] for one in packed]


def packed_within(*jobs: Job, hours: float = 24, at_once: int = 1) -> list[Packed]:
    return pack(jobs, int(hours * HOUR), at_once, same_server, {})


def test_what_fits_shares_a_job_and_the_shortest_begins(a_job: Callable[..., Job]) -> None:
    (found,) = packed_within(made(a_job, "a", 3), made(a_job, "b", 1), made(a_job, "c", 2))
    assert [run.key for run in found.job.tasks] == ["b", "c", "a"]
    assert found.job.task_walltimes == (HOUR, 2 * HOUR, 3 * HOUR)
    assert found.job.walltime == 6 * HOUR
    assert len(found.job.id) == ID_LENGTH
    assert job_name(Attempt(found.job, 2)).startswith(f"{found.job.id}-02_3tasks")


def test_the_limit_is_kept(a_job: Callable[..., Job]) -> None:
    found = packed_within(*(made(a_job, key, 2) for key in "abcde"), hours=4)
    assert keys(found) == [["a", "b"], ["c", "d"], ["e"]]
    assert all(one.job.walltime <= 4 * HOUR for one in found)


def test_one_that_stays_alone_is_the_job_that_it_was(a_job: Callable[..., Job]) -> None:
    alone = made(a_job, "a", 24)
    found = packed_within(alone, made(a_job, "b"), made(a_job, "c"))
    assert found[0].job is alone
    assert keys(found) == [["a"], ["b", "c"]]


def test_the_same_tasks_are_the_same_job_in_whatever_order(a_job: Callable[..., Job]) -> None:
    a, b = made(a_job, "a", 1), made(a_job, "b", 2)
    (one,), (other,) = packed_within(a, b), packed_within(b, replace(a, walltime=4 * HOUR))
    assert (one.job.id, one.job.digest) == (other.job.id, other.job.digest)
    (third,) = packed_within(a, made(a_job, "c"))
    assert third.job.id != one.job.id


@pytest.mark.parametrize(
    "change",
    [
        {"model": "org/other"},
        {"settings_version": "2"},
        {"settings_digest": "other"},
        {"max_samples": 3},
        {"node": "gpu_4"},
        {"provider": "openai"},
        {"scheduler_options": {"exclude": "n1"}},
        {"model_names": ("org/with-adapter",)},
    ],
)
def test_what_differs_in_more_than_the_task_is_kept_apart(
    a_job: Callable[..., Job], change: dict[str, object]
) -> None:
    found = packed_within(made(a_job, "a"), made(a_job, "b", **change), made(a_job, "c"))
    assert keys(found) == [["a", "c"], ["b"]]


def test_tasks_that_need_another_server_are_kept_apart(a_job: Callable[..., Job]) -> None:
    def server(job: Job) -> dict[str, object]:
        key = job.tasks[0].key
        return {"max_model_length": 8192 if key == "b" else 4096, "loglikelihood": key == "c"}

    jobs = [made(a_job, key) for key in "abc"]
    assert keys(pack(jobs, 24 * HOUR, 1, server, {})) == [["a", "c"], ["b"]]


@pytest.mark.parametrize("place", ["x/a", "x/a/below", "x"])
def test_results_never_lie_one_within_the_other(a_job: Callable[..., Job], place: str) -> None:
    found = packed_within(made(a_job, "a"), made(a_job, "b", place=place))
    assert keys(found) == [["a"], ["b"]]


def test_a_trial_is_short_and_stays_alone(a_job: Callable[..., Job]) -> None:
    assert len(packed_within(made(a_job, "a", trial=True), made(a_job, "b", trial=True))) == 2


def test_no_more_at_once_than_there_are(a_job: Callable[..., Job]) -> None:
    (found,) = packed_within(made(a_job, "a"), made(a_job, "b"), at_once=8)
    assert found.job.at_once == 2


@given(st.lists(st.integers(1, 24), min_size=1, max_size=30), st.integers(24, 48))
def test_every_task_is_in_exactly_one_job_and_each_job_fits(hours: list[int], limit: int) -> None:
    jobs = [
        Job(
            id=f"j{n}", digest=sha256(n), service="s", node="n", provider="p", model="m",
            settings_name="", settings_version="", settings_path="",
            tasks=(TaskRun(f"t{n}", f"t{n}", f"x/t{n}", "lm_eval", {}),), walltime=length * HOUR,
        )
        for n, length in enumerate(hours)
    ]  # fmt: skip
    found = packed_within(*jobs, hours=limit)
    placed = [run.key for one in found for run in one.job.tasks]
    assert sorted(placed) == sorted(f"t{n}" for n in range(len(hours)))
    assert all(one.job.walltime <= limit * HOUR for one in found)
    assert all(one.job.walltime == sum(job.walltime for job in one.members) for one in found)
    assert len({one.job.id for one in found}) == len(found)


def test_the_limit_is_the_services_unless_a_shorter_one_is_asked_for(
    a_service: Callable[..., Service],
) -> None:
    service = a_service(walltime_max=24 * HOUR, end_margin=300)
    assert limit_of(Packing(), service) == 24 * HOUR
    assert limit_of(Packing(walltime=HOUR), service) == HOUR
    for seconds in (25 * HOUR, 300):
        with pytest.raises(InputError, match="a packed job may not ask for"):
            limit_of(Packing(walltime=seconds), service)


def test_what_is_saved_is_said_only_where_something_is() -> None:
    assert in_words(3, 3, served=True) == ""
    assert in_words(2, 1, served=True).endswith("1 job and 1 server start saved")
    assert in_words(19, 2, served=True) == (
        "packed: 19 tasks in 2 job(s); 17 jobs and 17 server starts saved"
    )
    assert "server" not in in_words(19, 2, served=False)
