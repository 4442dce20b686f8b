"""Which tasks: conf/task_groups.yaml, and what `--tasks` takes (keys, globs and groups)."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.config.tables import read_tasks
from hpcjobs.errors import InputError, nearest, printable
from hpcjobs.model import Task
from hpcjobs.workspace import Workspace


@dataclass(frozen=True)
class Group:
    """A name for several tasks; what it means is looked up when it is used, so that a table with
    fewer tasks goes with the groups that come as defaults.
    """

    words: tuple[str, ...]
    """Keys and globs."""
    where: str
    """`FILE:LINE`, for messages."""


def read_task_table(workspace: Workspace) -> tuple[dict[str, Task], dict[str, Group]]:
    """The tasks of the workspace, and its groups."""
    tasks = read_tasks(workspace.find_file("conf", "tasks_runtime.csv"))
    return tasks, read_groups(workspace.find_file("conf", "task_groups.yaml"), tasks)


def read_groups(path: Path, tasks: Mapping[str, Task]) -> dict[str, Group]:
    """The groups by name.

    Raises:
        InputError: a group has a task's name, or is not a list of texts.
    """
    groups: dict[str, Group] = {}
    with Fields(read_yaml(path)) as fields:
        for name in fields.names():
            if name in tasks:
                raise fields.error("a task has the same name", name)
            groups[name] = Group(fields.texts(name), fields.where(name))
    return groups


def members(name: str, group: Group, tasks: Mapping[str, Task]) -> tuple[str, ...]:
    """The keys of a group's tasks. A glob may match nothing, the group as a whole may not.

    Raises:
        InputError: it names a key that the table does not have, or means nothing.
    """
    chosen: dict[str, None] = {}
    for word in group.words:
        if not _is_glob(word) and word not in tasks:
            raise InputError(
                f"{name}: no task {printable(word)} in the table",
                where=group.where,
                nearest=nearest(word, tasks),
            )
        chosen.update(dict.fromkeys(_matching(word, tasks)))
    if not chosen:
        raise InputError(f"{name}: the table has none of its tasks", where=group.where)
    return tuple(chosen)


def select(
    wanted: Iterable[str], tasks: Mapping[str, Task], groups: Mapping[str, Group]
) -> tuple[str, ...]:
    """The keys of the tasks that `wanted` means (keys, globs, groups; commas too), each once.

    Raises:
        InputError: one of them means nothing.
    """
    chosen: dict[str, None] = {}
    for word in (part.strip() for item in wanted for part in item.split(",")):
        if not word:
            continue
        if word in groups and word not in tasks:
            keys: Iterable[str] = members(word, groups[word], tasks)
        else:
            keys = _matching(word, tasks)
        if not keys:
            raise InputError(
                f"no task, group or pattern {printable(word)}",
                where="--tasks",
                expected=f"a key of the table, a glob such as 'ja_*', or a group: "
                f"{', '.join(groups) or 'none'}",
                nearest=nearest(word, [*tasks, *groups]),
                do="see them all with: hpcjobs tasks",
            )
        chosen.update(dict.fromkeys(keys))
    if not chosen:
        raise InputError("no tasks are chosen", where="--tasks")
    return tuple(chosen)


def _matching(word: str, tasks: Mapping[str, Task]) -> list[str]:
    if word in tasks:
        return [word]
    return fnmatch.filter(tasks, word) if _is_glob(word) else []


def _is_glob(word: str) -> bool:
    return bool(set(word) & set("*?["))
