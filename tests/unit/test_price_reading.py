"""`price:` of a service's file: what is right, and how what is wrong is told."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from hpcjobs.config.services import read_service_file
from hpcjobs.errors import InputError

Write = Callable[..., Path]

PRICED = """\
scheduler: slurm
times: {walltime_max: "1:00:00"}
priorities: ["0", "10"]
price:
  unit: GPU hours
  formula: hourly
  class: night
  priorities: {"0": 1, "10": 1.25}
nodes:
  whole: {cores: 8, gpus: 8, memory_gb: 1, runtime: x, price: {night: 0.1, day: 3}}
  part: {cores: 1, gpus: 1, memory_gb: 1, runtime: x, part_of: whole, price: {night: 1e-2}}
"""


def test_figures_are_exactly_as_they_are_written(write: Write) -> None:
    service = read_service_file(write(PRICED, "mine.yaml"))
    assert service.price is not None
    assert (service.price.unit, service.price.formula) == ("GPU hours", "hourly")
    assert service.price.figure == "night"
    assert service.price.priorities == {"0": Decimal(1), "10": Decimal("1.25")}
    assert service.nodes["whole"].price == {"night": Decimal("0.1"), "day": Decimal(3)}
    assert service.nodes["part"].price == {"night": Decimal("0.01")}
    assert service.nodes["part"].part_of == "whole"


@pytest.mark.parametrize(
    ("formula", "figure"),
    [("tsubame4", "coefficient"), ("abci3", "standard"), ("hourly", "per_hour")],
)
def test_a_formula_has_a_figure_of_its_own(write: Write, formula: str, figure: str) -> None:
    text = PRICED.replace("  class: night\n", "").replace("hourly", formula)
    service = read_service_file(write(text.replace("night:", f"{figure}:"), "mine.yaml"))
    assert service.price is not None
    assert service.price.figure == figure


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "near"),
    [
        ("formula: hourly", "formula: hourli", 6, "'hourli' is not known", "hourly"),
        ("formula: hourly", "formulas: hourly", 4, "the key 'formula' is missing", None),
        ("  unit: GPU hours\n", "", 4, "the key 'unit' is missing", None),
        ("unit: GPU hours", "unit: ''", 5, "price.unit: '' is not allowed", None),
        ("unit: ", "currency: x\n  unit: ", 5, "unknown key 'currency'", None),
        ("class: night", "class: nihgt", 7, "no node has the figure 'nihgt'", "night"),
        ("{night: 1e-2}", "{nihgt: 1}", 11, "nodes.part.price: the key 'night' is missing", None),
        (", price: {night: 1e-2}", "", 11, "nodes.part.price: the key 'night' is missing", None),
        ("night: 0.1", "night: -1", 10, "price.night: -1 is not allowed", None),
        ("night: 0.1", "night: 1e999", 10, "price.night: inf is not allowed", None),
        ("night: 0.1", "night: '1'", 10, "price.night: '1' is not allowed", None),
        ('"10": 1.25', '"100": 1.25', 8, "not a priority of this service", "10"),
        (', "10": 1.25', "", 8, "the priority 10 is missing", None),
        ('"10": 1.25', '"10": true', 8, "true is not allowed", None),
        ("part_of: whole", "part_of: whol", 11, "'whol' is no node here", "whole"),
        ("part_of: whole", "part_of: part", 11, "part is no part of part", None),
        ("gpus: 1", "gpus: 0", 11, "part is no part of whole", None),
    ],
)
def test_a_wrong_price_is_told_by_its_line(
    write: Write, old: str, new: str, line: int, what: str, near: str | None
) -> None:
    assert old in PRICED
    path = write(PRICED.replace(old, new), "mine.yaml")
    with pytest.raises(InputError) as caught:
        read_service_file(path)
    error = caught.value
    assert what in error.what
    assert error.where == f"{path}:{line}"
    assert error.nearest == near


def test_where_any_priority_is_allowed_its_key_still_is_a_number(write: Write) -> None:
    text = PRICED.replace('priorities: ["0", "10"]\n', "").replace('"10"', "high")
    with pytest.raises(InputError, match="not a priority"):
        read_service_file(write(text, "mine.yaml"))
