"""`price:` of a service's file: the formula by which it counts, and the figures for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from hpcjobs.config.reading import Fields
from hpcjobs.errors import nearest, printable
from hpcjobs.model import Node, Pricing
from hpcjobs.price import FORMULAS


def read_pricing(fields: Fields, priorities: Sequence[str]) -> Pricing | None:
    """How the service counts; None where nothing is said of it.

    Args:
        fields: of the whole file.
        priorities: what `--priority` takes there; empty = any whole number.

    Raises:
        InputError: the formula is unknown, or a figure is missing.
    """
    if not fields.section("price").names():
        return None
    with fields.section("price") as price:
        formula = str(price.text("formula", choices=FORMULAS))
        figure = price.text("class", None)
        if figure is not None:
            _check_class(fields, price, figure)
        return Pricing(
            unit=str(price.text("unit", pattern=r"\S(.*\S)?")),
            formula=formula,
            figure=figure or FORMULAS[formula].figure,
            priorities=_factors(price.section("priorities"), priorities),
        )


def node_figures(fields: Fields, pricing: Pricing | None) -> dict[str, Decimal]:
    """The figures of one node; the one that counts must be there."""
    figures = fields.section("price")
    if pricing is not None:
        figures.decimal(pricing.figure)
    return {name: Decimal(figures.decimal(name)) for name in figures.names()}


def check_nodes(fields: Fields, nodes: Mapping[str, Node], pricing: Pricing | None) -> None:
    """Refuse figures without a formula, and a `part_of` that does not name a larger node.

    Raises:
        InputError: there is one.
    """
    for node, outer in zip(
        nodes.values(), (one for _, one in fields.sections("nodes")), strict=True
    ):
        if node.price and pricing is None:
            raise outer.error(
                "there is no formula for it",
                "price",
                expected="price: {unit: ..., formula: ...} of the service too",
            )
        if not node.part_of:
            continue
        if node.part_of not in nodes:
            raise outer.error(
                f"{printable(node.part_of)} is no node here",
                "part_of",
                expected=f"one of: {', '.join(sorted(nodes))}",
                nearest=nearest(node.part_of, nodes),
            )
        if not 0 < node.gpus < nodes[node.part_of].gpus:
            raise outer.error(
                f"{node.name} is no part of {node.part_of}",
                "part_of",
                expected="a node with more GPUs than this one has",
            )


def _factors(fields: Fields, priorities: Sequence[str]) -> dict[str, Decimal]:
    factors = {name: Decimal(fields.decimal(name)) for name in fields.names()}
    for name in factors:
        if priorities and name not in priorities:
            raise fields.error(
                "not a priority of this service",
                name,
                expected=f"one of: {', '.join(priorities)}",
                nearest=nearest(name, priorities),
            )
        if not re.fullmatch(r"-?\d+", name):
            raise fields.error("not a priority", name, expected='a whole number, such as "-4"')
    missing = [name for name in priorities if factors and name not in factors]
    if missing:
        raise fields.error(
            f"the priority {missing[0]} is missing", expected="a factor for every priority"
        )
    return factors


def _check_class(fields: Fields, price: Fields, figure: str) -> None:
    known = {name for _, node in fields.sections("nodes") for name in node.section("price").names()}
    if figure not in known:
        raise price.error(
            f"no node has the figure {printable(figure)}",
            "class",
            expected=f"one of: {', '.join(sorted(known)) or 'none is described'}",
            nearest=nearest(figure, known),
        )
