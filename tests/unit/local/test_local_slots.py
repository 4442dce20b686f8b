"""Which waiting jobs may start: properties of hpcjobs.local.slots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.local.slots import Waiting, startable

DEVICES = st.lists(st.integers(0, 5), unique=True, max_size=6).map(tuple)


@st.composite
def waiting_jobs(draw: st.DrawFn, most: int = 8) -> list[Waiting]:
    jobs = []
    for job_id in range(1, draw(st.integers(0, most)) + 1):
        pool = draw(DEVICES)
        jobs.append(
            Waiting(
                id=job_id,
                gpus=draw(st.integers(0, len(pool))),
                pool=pool,
                cpu_slots=draw(st.integers(1, 3)),
                priority=draw(st.integers(-1, 1)),
            )
        )
    return draw(st.permutations(jobs))


@st.composite
def held_devices(draw: st.DrawFn) -> list[tuple[int, ...]]:
    free = list(draw(st.permutations(range(6))))
    held: list[tuple[int, ...]] = []
    for _ in range(draw(st.integers(0, 4))):
        count = draw(st.integers(0, min(2, len(free))))
        held.append(tuple(free[:count]))
        del free[:count]
    return held


def in_order(jobs: list[Waiting]) -> list[Waiting]:
    return sorted(jobs, key=lambda job: (-job.priority, job.id))


@given(waiting_jobs(), held_devices())
def test_no_device_is_given_twice(jobs: list[Waiting], held: list[tuple[int, ...]]) -> None:
    given_out = [d for _, devices in startable(jobs, held) for d in devices]
    everything = given_out + [device for devices in held for device in devices]
    assert len(everything) == len(set(everything))


@given(waiting_jobs(), held_devices())
def test_a_job_gets_as_many_as_it_asked_for_out_of_its_pool(
    jobs: list[Waiting], held: list[tuple[int, ...]]
) -> None:
    asked = {job.id: job for job in jobs}
    for job_id, devices in startable(jobs, held):
        assert len(devices) == asked[job_id].gpus
        assert set(devices) <= set(asked[job_id].pool)


@given(waiting_jobs(), held_devices())
def test_no_more_cpu_jobs_run_than_the_last_one_started_allows(
    jobs: list[Waiting], held: list[tuple[int, ...]]
) -> None:
    asked = {job.id: job for job in jobs}
    running = sum(1 for devices in held if not devices)
    for job_id, devices in startable(jobs, held):
        if not devices:
            assert running < asked[job_id].cpu_slots
            running += 1


@given(waiting_jobs())
def test_the_first_job_starts_when_all_is_free(jobs: list[Waiting]) -> None:
    started = [job_id for job_id, _ in startable(jobs, [])]
    assert started[:1] == [job.id for job in in_order(jobs)[:1]]


@given(waiting_jobs(), held_devices())
def test_later_jobs_change_nothing_for_earlier_ones(
    jobs: list[Waiting], held: list[tuple[int, ...]]
) -> None:
    ordered = in_order(jobs)
    everyone = dict(startable(ordered, held))
    for count in range(len(ordered)):
        first = dict(startable(ordered[:count], held))
        assert {job.id: everyone.get(job.id) for job in ordered[:count]} == {
            job.id: first.get(job.id) for job in ordered[:count]
        }


@given(waiting_jobs(most=6), st.data())
def test_every_job_starts_in_the_end_however_many_come_after_it(
    jobs: list[Waiting], data: st.DataObject
) -> None:
    """Newcomers of the same priority arrive for ever; whatever runs ends in any order."""
    waiting = {job.id: job for job in jobs}
    running: dict[int, tuple[int, ...]] = {}
    next_id, steps = len(jobs) + 1, 0
    while any(job.id in waiting for job in jobs):
        for job_id, devices in startable(waiting.values(), running.values()):
            running[job_id] = devices
            del waiting[job_id]
        waiting[next_id] = Waiting(next_id, gpus=next_id % 2, pool=(next_id % 6,), priority=-1)
        next_id += 1
        # The oldest ends at the latest after four others: everything that runs ends some time.
        ending = sorted(running)[: 1 if steps % 4 == 0 else None]
        del running[data.draw(st.sampled_from(ending))]
        steps += 1
        assert steps < 200


def test_a_job_reserves_the_free_devices_it_waits_for() -> None:
    wide = Waiting(id=1, gpus=2, pool=(0, 1))
    narrow = Waiting(id=2, gpus=1, pool=(0, 1))
    assert startable([wide, narrow], [(1,)]) == []


def test_a_reservation_leaves_other_devices_alone() -> None:
    wide = Waiting(id=1, gpus=2, pool=(0, 1))
    other = Waiting(id=2, gpus=1, pool=(0, 2))
    assert startable([wide, other], [(1,)]) == [(2, (2,))]


def test_gpu_and_cpu_jobs_do_not_hinder_each_other() -> None:
    cpu, gpu = Waiting(id=1), Waiting(id=2, gpus=1, pool=(3,))
    assert startable([cpu, gpu], [(0,)]) == [(1, ()), (2, (3,))]
    assert startable([cpu, gpu], [()]) == [(2, (3,))]


def test_a_blocked_cpu_job_is_not_overtaken_by_one_that_allows_more() -> None:
    modest, greedy = Waiting(id=1, cpu_slots=1), Waiting(id=2, cpu_slots=8)
    assert startable([modest, greedy], [()]) == []


def test_priority_goes_before_age() -> None:
    old, urgent = Waiting(id=1), Waiting(id=2, priority=1)
    assert startable([old, urgent], []) == [(2, ())]
