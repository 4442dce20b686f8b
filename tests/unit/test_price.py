"""What a job costs: the sites' own formulas, to the last digit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.config.services import read_service
from hpcjobs.model import Job, Node, Pricing, Service
from hpcjobs.price import FORMULAS, packing, price_of, spent, total
from hpcjobs.workspace import Workspace

HOUR = 3600
MakeJob = Callable[..., Job]


@pytest.fixture
def tsubame(shipped: Workspace) -> Service:
    return read_service(shipped, "tsubame")


@pytest.fixture
def abci(shipped: Workspace) -> Service:
    return read_service(shipped, "abci")


@pytest.mark.parametrize(
    ("node", "used", "asked", "points"),
    [
        ("cpu_4", "2.5", 300, "0.0010"),  # as the site billed it
        ("node_q", "142", 1800, "0.0270"),  # as the site billed it
        ("node_f", "3", 24 * HOUR, "2.4583"),  # a job that dies at once
        ("node_f", "3600", HOUR, "0.8000"),  # an hour used in full is no whole point
        ("node_f", "300", 300, "0.0666"),
        ("node_f", "299.9", 300, "0.0666"),  # the floor of 300 s
        ("node_f", "0", 60, "0.0600"),  # and it is of the time used alone
    ],
)
def test_a_price_of_tsubame_is_the_operators(
    tsubame: Service, a_job: MakeJob, node: str, used: str, asked: int, points: str
) -> None:
    job = a_job(node=node, walltime=asked, priority="-5")
    assert str(spent(tsubame, job, Decimal(used))) == points


@pytest.mark.parametrize(("priority", "points"), [("-5", "0.8"), ("-4", "1.6"), ("-3", "3.2")])
def test_priority_on_tsubame_is_dear(
    tsubame: Service, a_job: MakeJob, priority: str, points: str
) -> None:
    job = a_job(node="node_f", walltime=HOUR, priority=priority)
    assert spent(tsubame, job, HOUR) == Decimal(points)


@pytest.mark.parametrize(
    ("node", "priority", "used", "points"),
    [
        ("rt_HF", "", "3600", "16.0000"),
        ("rt_HG", "", "3600", "3.0000"),
        ("rt_HC", "0", "3600", "1.0000"),
        ("rt_HG", "1", "3600", "4.5000"),
        ("rt_HG", "20", "3600", "4.5000"),
        ("rt_HF", "", "0", "0.0080"),  # at least 1.8 s
        ("rt_HF", "", "1.8", "0.0080"),
        ("rt_HF", "", "1.9", "0.0084"),
        ("rt_HG", "", "1", "0.0015"),
        ("rt_HC", "", "100", "0.0277"),
    ],
)
def test_a_price_of_abci_is_the_operators(
    abci: Service, a_job: MakeJob, node: str, priority: str, used: str, points: str
) -> None:
    job = a_job(node=node, walltime=8 * HOUR, priority=priority)
    assert str(spent(abci, job, Decimal(used))) == points


@pytest.mark.parametrize(("node", "points"), [("rt_HF", "7.5"), ("rt_HG", "1.5"), ("rt_HC", "0.5")])
def test_accelerated_use_of_abci_is_cheaper(
    abci: Service, a_job: MakeJob, node: str, points: str
) -> None:
    assert abci.price is not None
    service = replace(abci, price=replace(abci.price, figure="accelerated"))
    assert spent(service, a_job(node=node, priority=""), HOUR) == Decimal(points)


def test_before_it_runs_the_two_ends_are_known(tsubame: Service, a_job: MakeJob) -> None:
    price = price_of(tsubame, a_job(node="node_f", walltime=24 * HOUR, priority="-5"))
    assert price is not None
    assert (price.unit, str(price.least), str(price.most)) == ("points", "2.4583", "19.2000")


def test_a_short_walltime_still_costs_the_floor(tsubame: Service, a_job: MakeJob) -> None:
    price = price_of(tsubame, a_job(node="node_f", walltime=60, priority="-5"))
    assert price is not None
    assert str(price.least) == str(price.most) == "0.0600"


def test_a_service_without_a_price_has_none(
    a_service: Callable[..., Service], a_job: MakeJob
) -> None:
    assert price_of(a_service(), a_job()) is None
    assert spent(a_service(), a_job(), 1) is None
    assert packing(a_service(), [a_job()]) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"priority": "7", "node": "rt_HG"}, "does not say what the priority 7 costs"),
        ({"priority": "", "node": "rt_F"}, "describes no node rt_F any more"),
        ({"priority": "", "node": "rt_HG", "reservation": "R1"}, "billed with its reservation"),
        (
            {"priority": "", "node": "rt_HG", "scheduler_options": {"exclude": "n1", "l": "x=1"}},
            "not known: l may change what is billed",
        ),
    ],
)
def test_what_is_not_known_is_no_number(
    abci: Service, a_job: MakeJob, changes: dict[str, Any], why: str
) -> None:
    job = a_job(**changes)
    price = price_of(abci, job)
    assert price is not None
    assert (price.least, price.most) == (None, None)
    assert why in price.note
    assert spent(abci, job, 1) is None
    assert packing(abci, [job] * 8) is None


def test_a_trial_run_is_free(tsubame: Service, a_job: MakeJob) -> None:
    job = a_job(node="node_q", walltime=180, priority="-5", trial=True)
    price = price_of(tsubame, job)
    assert price is not None
    assert str(price.least) == str(price.most) == str(spent(tsubame, job, 180)) == "0.0000"
    assert price.note == "a trial run is free"


def test_a_clock_that_went_back_tells_no_price(abci: Service, a_job: MakeJob) -> None:
    assert spent(abci, a_job(node="rt_HG", priority=""), -1) is None


def test_an_hourly_price_is_rounded_up(
    a_service: Callable[..., Service], a_node: Callable[..., Node], a_job: MakeJob
) -> None:
    service = a_service(
        nodes={"gpu_1": a_node(price={"per_hour": Decimal(1)})},
        price=Pricing("GPU hours", "hourly", "per_hour"),
    )
    assert [str(spent(service, a_job(), seconds)) for seconds in (0, 1, 1200, 3600)] == [
        "0.0000", "0.0003", "0.3334", "1.0000",
    ]  # fmt: skip


# Sums


def test_a_total_is_the_sum_of_what_each_costs(tsubame: Service, a_job: MakeJob) -> None:
    jobs = [a_job(node="cpu_4", walltime=300, priority="-5")] * 3
    price = total(price_of(tsubame, job) for job in jobs)
    assert price is not None
    assert str(price.most) == "0.0030"  # each is truncated, as each is billed


def test_a_total_with_an_unknown_price_is_no_number(abci: Service, a_job: MakeJob) -> None:
    jobs = [a_job(node="rt_HG", priority=""), a_job(node="rt_HG", priority="7")]
    price = total(price_of(abci, job) for job in jobs)
    assert price is not None
    assert (price.least, price.most) == (None, None)
    assert "priority 7" in price.note


def test_a_total_of_nothing_is_none() -> None:
    assert total([]) is None
    assert total([None, None]) is None


# Packing


def hours(a_job: MakeJob, *numbers: int, node: str = "rt_HG") -> list[Job]:
    return [
        a_job(f"j{index}", node=node, walltime=number * HOUR, priority="")
        for index, number in enumerate(numbers)
    ]


@pytest.mark.parametrize(
    ("numbers", "nodes", "packed", "most", "instead_of"),
    [
        ([1] * 6, 1, 6, "16", "18"),
        ([1] * 8, 1, 8, "16", "24"),
        ([1] * 9, 1, 8, "19", "27"),  # the ninth stays alone
        ([1] * 16, 1, 16, "32", "48"),
        ([100] * 16, 2, 16, "3200", "4800"),  # 200 h one after the other is more than 168 h
        ([8] * 7 + [1] * 8, 1, 15, "128", "192"),  # short ones one after the other
    ],
)
def test_packing_is_offered_where_it_is_cheaper(
    abci: Service,
    a_job: MakeJob,
    numbers: list[int],
    nodes: int,
    packed: int,
    most: str,
    instead_of: str,
) -> None:
    found = packing(abci, hours(a_job, *numbers))
    assert found is not None
    assert (found.node, found.nodes, found.jobs) == ("rt_HF", nodes, packed)
    assert (found.most, found.instead_of) == (Decimal(most), Decimal(instead_of))


@pytest.mark.parametrize("numbers", [[1], [1] * 5, [8, 1, 1, 1, 1, 1, 1, 1]])
def test_packing_is_not_offered_where_it_is_dearer(
    abci: Service, a_job: MakeJob, numbers: list[int]
) -> None:
    assert packing(abci, hours(a_job, *numbers)) is None


def test_what_is_no_part_of_a_node_is_not_packed(abci: Service, a_job: MakeJob) -> None:
    assert packing(abci, hours(a_job, *[1] * 8, node="rt_HF")) is None
    assert packing(abci, []) is None


@given(st.lists(st.integers(1, 168), min_size=1, max_size=30))
def test_packing_is_always_cheaper_and_loses_no_job(a_job: MakeJob, numbers: list[int]) -> None:
    nodes = {
        "small": Node("small", 1, 1, 1, ("x",), price={"p": Decimal(3)}, part_of="whole"),
        "whole": Node("whole", 8, 8, 8, ("x",), price={"p": Decimal(16)}),
    }
    service = Service("s", "pbs", "s", nodes, 168 * HOUR, "t", price=Pricing("p", "abci3", "p"))
    found = packing(service, hours(a_job, *numbers, node="small"))
    if found is None:
        return
    assert found.most < found.instead_of == 3 * sum(numbers)
    assert 0 < found.jobs <= len(numbers)
    assert found.most >= 2 * sum(numbers)  # a GPU hour costs no less on a full whole node


# What holds for every formula and every figure

RATES = st.fractions(0, 1000, max_denominator=1000)
TIMES = st.fractions(0, 7 * 86400, max_denominator=1000)
EXACT = {
    "tsubame4": lambda rate, used, asked: (
        rate * (Fraction("0.7") * max(used, 300) + Fraction("0.1") * asked) / 3600
    ),
    "abci3": lambda rate, used, asked: rate * max(used, Fraction("1.8")) / 3600,
    "hourly": lambda rate, used, asked: rate * used / 3600,
}


def test_every_formula_is_looked_at() -> None:
    assert EXACT.keys() == FORMULAS.keys()


@pytest.mark.parametrize("name", FORMULAS)
@given(rate=RATES, used=TIMES, asked=TIMES)
def test_a_price_is_within_a_ten_thousandth_of_the_exact_one(
    name: str, rate: Fraction, used: Fraction, asked: Fraction
) -> None:
    shown = FORMULAS[name].count(rate, used, asked)
    exact = EXACT[name](rate, used, asked)
    assert shown.as_tuple().exponent == -4
    difference = Fraction(shown) - exact
    if name == "hourly":
        assert 0 <= difference < Fraction(1, 10_000)
    else:
        assert -Fraction(1, 10_000) < difference <= 0


@pytest.mark.parametrize("name", FORMULAS)
@given(rate=RATES, used=TIMES, asked=TIMES, more=TIMES)
def test_more_time_never_costs_less(
    name: str, rate: Fraction, used: Fraction, asked: Fraction, more: Fraction
) -> None:
    count = FORMULAS[name].count
    here = count(rate, used, asked)
    assert here <= count(rate, used + more, asked)
    assert here <= count(rate, used, asked + more)


@given(st.integers(1, 10**9))
def test_a_whole_ten_thousandth_is_not_lost(number: int) -> None:
    """A binary floor would make 0.0009 of 0.0010."""
    rate = Fraction(number, 10_000)
    assert FORMULAS["abci3"].count(rate, Fraction(3600), Fraction()) == Decimal(number) / 10_000
