"""What is asked of a scheduler is checked before it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from hpcjobs.errors import InputError
from hpcjobs.model import Node, Service
from hpcjobs.queueing import Queueing, check_options, checked

NODE = Node("node_q", gpus=1, cores=48, memory_gb=192, runtime=("hrt_q",))
SERVICE = Service(
    "tsubame",
    "grid_engine",
    "TSUBAME",
    {"node_q": NODE},
    86400,
    "schedulers/grid_engine.sh.j2",
    priorities=("-5", "-4", "-3"),
    trial_max=180,
)
LOCAL = replace(SERVICE, name="local", scheduler="local", priorities=(), trial_max=0)


def refused(asked: Queueing, service: Service = SERVICE, samples: int | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        checked(asked, service, NODE, samples)
    return caught.value


def test_the_first_priority_is_the_default() -> None:
    assert checked(Queueing(), SERVICE, NODE, None).priority == "-5"
    assert checked(Queueing(priority="-3"), SERVICE, NODE, None).priority == "-3"


def test_all_that_is_asked_for_is_kept() -> None:
    asked = Queueing("-4", "123", "me@example.org", options={"q": "prior"})
    assert checked(asked, SERVICE, NODE, None) == asked


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        (Queueing(reservation="1 2"), "--reservation"),
        (Queueing(reservation="-q"), "--reservation"),
        (Queueing(mail="me"), "--mail"),
        (Queueing(mail="me@host -q x"), "--mail"),
        (Queueing(options={"": "x"}), "--scheduler-option"),
        (Queueing(options={"-q": "x"}), "--scheduler-option"),
        (Queueing(options={"q x": ""}), "--scheduler-option"),
        (Queueing(options={"g": "tga-other"}), "--scheduler-option"),
        (Queueing(options={"N": "another"}), "--scheduler-option"),
        (Queueing(options={"V": ""}), "--scheduler-option"),
        (Queueing(options={"l": "h_rt=1:00:00"}), "--scheduler-option"),
        (Queueing(options={"l": "mem=1G,node_q=2"}), "--scheduler-option"),
    ],
)
def test_what_would_be_refused_or_would_break_the_bookkeeping_is_refused_here(
    asked: Queueing, word: str
) -> None:
    assert refused(asked).where == word


def test_further_resources_are_allowed() -> None:
    asked = Queueing(options={"l": "mem_free=1G", "q": "prior", "notify": ""})
    assert checked(asked, SERVICE, NODE, None).options == asked.options


@pytest.mark.parametrize(
    "asked", [Queueing(reservation="1"), Queueing(mail="a@b"), Queueing(options={"q": "x"})]
)
def test_the_local_queue_has_none_of_that(asked: Queueing) -> None:
    assert "local has no reservations" in refused(asked, LOCAL).what


def test_a_trial_is_for_few_samples_where_there_are_trials() -> None:
    assert checked(Queueing(trial=True), SERVICE, NODE, 4).trial
    assert "too short for a whole evaluation" in refused(Queueing(trial=True)).what
    assert "no trial runs" in refused(Queueing(trial=True), LOCAL, 4).what
    for asked in (Queueing("-3", trial=True), Queueing(reservation="1", trial=True)):
        assert "neither a priority nor a reservation" in refused(asked, samples=4).what


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        ("slurm", {"clusters": "other"}),
        ("slurm", {"array": "1-3"}),
        ("slurm", {"export": "ALL"}),
        ("pbs", {"J": "1-3"}),
        ("pbs", {"v": "HF_TOKEN=x"}),
        ("pbs", {"l": "ngpus=1,walltime=1:00"}),
        ("pbs", {"W": "group_list=g,depend=afterany:1"}),
        ("grid_engine", {"t": "1-3"}),
    ],
)
def test_a_service_file_may_not_set_them_either(scheduler: str, options: Mapping[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        check_options(scheduler, options, (), where="FILE")
    assert caught.value.where == "FILE"
