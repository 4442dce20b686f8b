"""What evaluators would be told now, and were not: options that have changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hpcjobs.config.frameworks import WITHOUT_EFFECT, read_frameworks
from hpcjobs.config.tables import read_tasks
from hpcjobs.workspace import Workspace

_FOR_PEOPLE = frozenset({"generative"})
"""Options that no job is told."""


def current_options(workspace: Workspace, keys: Iterable[str]) -> dict[str, dict[str, object]]:
    """What the workspace says now of these tasks; those that its table does not have are left out.

    Raises:
        InputError: a file is wrong.
    """
    frameworks = read_frameworks(workspace.find_file("conf", "frameworks.yaml"))
    tasks = read_tasks(workspace.find_file("conf", "tasks_runtime.csv"))
    return {key: frameworks.options(tasks[key]) for key in keys if key in tasks}


def changed_options(
    then: Mapping[str, object], now: Mapping[str, object]
) -> dict[str, tuple[object, object]]:
    """Of the options that may change a number, those that differ: old and new value, by name."""
    names = sorted({*then, *now} - WITHOUT_EFFECT - _FOR_PEOPLE)
    return {
        name: (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)
    }
