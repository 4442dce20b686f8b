"""What `compare`, `export` and `report` share: the evaluations that are meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpcjobs.cli.context import Context, warn
from hpcjobs.errors import InputError

if TYPE_CHECKING:
    from hpcjobs.config.metrics import MetricTable
    from hpcjobs.results.scores import Scores
    from hpcjobs.store import Store

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Chosen:
    """The evaluations, and what is known beside them."""

    evaluations: list[Scores]
    table: MetricTable
    store: Store
    outdated: dict[str, str]
    """By path: why a file may not say what the jobs have found by now."""
    warnings: tuple[str, ...]


def with_trials(function: F) -> F:
    """The option of these commands that takes trial runs for results."""
    option = click.option("--trials", is_flag=True, help="Also runs of a few samples only.")
    return option(function)


def chosen_scores(context: Context, models: tuple[str, ...], trials: bool) -> Chosen:
    """The evaluations of these models; what is doubtful about them is said.

    Raises:
        InputError: there are none, a name is unknown, or a file is wrong.
    """
    from hpcjobs.config.metrics import read_metrics
    from hpcjobs.results.choosing import choose
    from hpcjobs.results.freshness import outdated, with_stale
    from hpcjobs.store import load

    workspace = context.workspace
    table = read_metrics(workspace.find_file("conf", "metrics.yaml"))
    store = load(workspace.journal)
    found = choose(workspace, models, trials)
    evaluations = [with_stale(workspace, store, one) for one in found]
    late = {str(one.path): why for one in evaluations if (why := outdated(workspace, store, one))}
    warnings = [f"{path}: {why}" for path, why in late.items()]
    for one in evaluations:
        if one.doubts:
            warnings.append(f"{one.label}: suspect or stale: {', '.join(one.doubts)}")
    for warning in warnings:
        warn(warning)
    return Chosen(evaluations, table, store, late, tuple(warnings))


def write_new(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a file that a person asked for, whole; one that is there only if that was allowed.

    Raises:
        InputError: it is there already, or is a directory.
        StorageError: it cannot be written.
    """
    from hpcjobs.files import write_atomic

    if path.is_dir():
        raise InputError("it is a directory", where=str(path), expected="a file's name")
    if path.exists() and not overwrite:
        raise InputError("it is there already", where=str(path), do="replace it with --overwrite")
    write_atomic(path, data)
