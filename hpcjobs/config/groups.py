"""Which tasks: conf/task_groups.yaml, and what `--tasks` takes (keys, globs and groups)."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from pathlib import Path

from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.errors import InputError, nearest, printable
from hpcjobs.model import Task


def read_groups(path: Path, tasks: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
    """Task keys by group.

    Raises:
        InputError: a group names a task or glob that is not in the table, or has a task's name.
    """
    groups: dict[str, tuple[str, ...]] = {}
    with Fields(read_yaml(path)) as fields:
        for name in fields.names():
            if name in tasks:
                raise fields.error("a task has the same name", name)
            try:
                groups[name] = select(fields.texts(name), tasks, {})
            except InputError as error:
                raise fields.error(error.what, name, nearest=error.nearest) from None
    return groups


def select(
    wanted: Iterable[str], tasks: Mapping[str, Task], groups: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """The keys of the tasks that `wanted` means (keys, globs, groups; commas too), each once.

    Raises:
        InputError: one of them means nothing.
    """
    chosen: dict[str, None] = {}
    for word in (part.strip() for item in wanted for part in item.split(",")):
        if not word:
            continue
        if word in tasks:
            keys: Iterable[str] = (word,)
        elif word in groups:
            keys = groups[word]
        else:
            keys = fnmatch.filter(tasks, word) if set(word) & set("*?[") else ()
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
