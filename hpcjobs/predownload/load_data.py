"""Run by an evaluator's Python, not by ours: load data, and tell which files hold it.

usage: load_data.py INCLUDE_PATH ANSWER.json KIND NAME [KIND NAME]...

ANSWER.json: by `KIND NAME`, the files and the configurations, or what went wrong. One that is there
already says which configurations there are, since that is not known without the network.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# This directory is not for import: its names could hide those of packages.
sys.path = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).parent]


def loaded(value: Any) -> Iterator[Any]:
    """The data sets of all tasks in what lm_eval gives: tasks, by name, and groups of them."""
    if isinstance(value, dict):
        for one in value.values():
            yield from loaded(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from loaded(one)
    elif getattr(value, "dataset", None) is not None:
        yield value.dataset


def files(dataset: Any) -> Iterator[str]:
    """The files of a data set, or of all its splits."""
    if isinstance(dataset, dict):
        for split in dataset.values():
            yield from files(split)
    for file in getattr(dataset, "cache_files", None) or ():
        if isinstance(file, dict):
            yield file["filename"]


def load(kind: str, name: str, include_path: str, known: Any) -> tuple[list[Any], list[str]]:
    """The data sets of a task of lm_eval; or one of the hub, in all its configurations."""
    if kind == "dataset":
        import datasets

        configurations = known or datasets.get_dataset_config_names(name)
        return [datasets.load_dataset(name, one) for one in configurations], configurations
    from lm_eval.tasks import TaskManager, get_task_dict

    manager = TaskManager(include_path=include_path if Path(include_path).is_dir() else None)
    return list(loaded(get_task_dict(name.split(","), manager))), []


def main(include_path: str, answer: str, *words: str) -> None:
    """Load one after the other, which downloads what is not in the caches."""
    path = Path(answer)
    before = json.loads(path.read_text()) if path.exists() else {}
    told: dict[str, Any] = {}
    for kind, name in zip(words[::2], words[1::2]):  # noqa: B905 - of Python 3.10
        key = f"{kind} {name}"
        try:
            known = before.get(key, {}).get("configurations")
            found, configurations = load(kind, name, include_path, known)
            names = sorted({file for dataset in found for file in files(dataset)})
            told[key] = {"files": names, "configurations": configurations}
            if not found:
                told[key] = {"error": "no data set was loaded"}
        except Exception as error:  # the others are loaded all the same
            told[key] = {"error": f"{type(error).__name__}: {error}"}
    path.write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
