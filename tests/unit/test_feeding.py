"""How many jobs a service may get now."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.feeding import ANY, PER_MINUTE, Load, count, load_of, recent, room
from hpcjobs.model import Job, JobState, Observation
from hpcjobs.store import AttemptRecord, JobRecord, Store


def seen(*states: JobState) -> list[Observation]:
    return [Observation(str(n), f"n{n}", state, "") for n, state in enumerate(states)]


def store(a_job: Callable[..., Job], *states: JobState, at: float = 0.0) -> Store:
    jobs = {}
    for number, state in enumerate(states):
        key = f"abcdef{number}"
        jobs[key] = JobRecord(a_job(key), [AttemptRecord(1, key, "here", at, state=state)])
    return Store(jobs)


def test_what_has_ended_is_not_counted() -> None:
    states = (JobState.PENDING, JobState.RUNNING, JobState.FAILED, JobState.SUCCEEDED)
    assert count(seen(*states)) == (2, 1)


def test_the_users_other_jobs_count(a_job: Callable[..., Job]) -> None:
    ours = store(a_job, JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN, JobState.FAILED)
    assert load_of(ours, "local", (5, 2)) == Load(8, 3, 5)
    assert load_of(ours, "local", None) == Load(3, 1, None)
    assert load_of(ours, "elsewhere", None) == Load(0, 0, None)


def test_submissions_of_the_last_minute_are_counted(a_job: Callable[..., Job]) -> None:
    ours = store(a_job, JobState.FAILED, JobState.PENDING, at=1000.0)
    assert [recent(ours, "local", now) for now in (999.0, 1000.0, 1059.0, 1060.0)] == [0, 2, 2, 0]


@pytest.mark.parametrize(
    ("site", "own", "unfinished", "lately", "more"),
    [
        ({}, {}, 10_000, 30, ANY),
        ({"unfinished": 20}, {}, 15, 0, 5),
        ({"unfinished": 20}, {"unfinished": 17}, 15, 0, 2),
        ({"unfinished": 20}, {"running": 16}, 15, 0, 1),
        ({"running": 3}, {}, 15, 0, ANY),
        ({"unfinished": 20}, {}, 25, 0, 0),
        ({}, {"per_minute": 4}, 0, 3, 1),
        ({}, {"per_minute": 4}, 0, 9, 0),
    ],
)
def test_room_is_what_the_narrowest_limit_leaves(
    site: dict[str, int], own: dict[str, int], unfinished: int, lately: int, more: int
) -> None:
    assert room(site, own, Load(unfinished), lately) == more


def test_where_nobody_looks_on_the_rate_is_bounded() -> None:
    assert room({}, {}, Load(), 7, PER_MINUTE) == PER_MINUTE - 7
    assert room({}, {"per_minute": 100}, Load(), 7, PER_MINUTE) == 93


limits = st.dictionaries(st.sampled_from(["unfinished", "running"]), st.integers(1, 50))


@given(limits, limits, st.integers(0, 100), st.integers(0, 100))
def test_the_limits_are_never_passed(
    site: dict[str, int], own: dict[str, int], unfinished: int, lately: int
) -> None:
    more = room(site, own, Load(unfinished), lately)
    assert more >= 0
    for limit in (site.get("unfinished"), *own.values()):
        assert more == 0 or limit is None or unfinished + more <= limit
