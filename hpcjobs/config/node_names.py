"""conf/node_names.yaml: kinds of nodes that stand for each other on different services.

    one_gpu: {tsubame: node_q, abci: rt_HG}

so that what is written for one service can be submitted to another. A campaign may add its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.errors import InputError, nearest, printable
from hpcjobs.model import Service


@dataclass(frozen=True)
class Alike:
    """One line of the table: a name, and what it is called by service."""

    name: str
    by_service: dict[str, str]


def read_node_names(path: Path) -> list[Alike]:
    """The table; empty if there is no file."""
    return node_names(Fields(read_yaml(path))) if path.is_file() else []


def node_names(outer: Fields) -> list[Alike]:
    """The table below these fields."""
    return [Alike(name, outer.texts_by_key(name)) for name in outer.names()]


def node_on(service: Service, name: str, table: Sequence[Alike], *, where: str) -> str:
    """What `name` is called on this service: itself, else by the first line that has it.

    Raises:
        InputError: the service has no such node, and no line says what stands for it.
    """
    if name in service.nodes:
        return name
    for line in table:
        known = name == line.name or name in line.by_service.values()
        if known and service.name in line.by_service:
            there = line.by_service[service.name]
            if there in service.nodes:
                return there
    names = sorted(service.nodes)
    raise InputError(
        f"{service.name} has no node {printable(name)}",
        where=where,
        expected=f"one of: {', '.join(names)}; or a name of conf/node_names.yaml",
        nearest=nearest(name, [*names, *(line.name for line in table)]),
    )
