"""Which evaluations a person means: those of the workspace's results, or files by their paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hpcjobs.errors import InputError, printable, unknown
from hpcjobs.files import explained
from hpcjobs.results.report import FILE_NAME
from hpcjobs.results.scores import Scores, read_scores
from hpcjobs.workspace import Workspace


def choose(workspace: Workspace, names: Sequence[str], trials: bool = False) -> list[Scores]:
    """The evaluations of these names, each once, in their order; none given: all of the workspace.

    A name is a model, with or without the provider's prefix, publisher and settings; or a path of
    an aggregated_results.json, or of a directory above some. Trial runs, which are no full results,
    count only if `trials` says so, or where their own path is given.

    Raises:
        InputError: there are no results, or none of that name, or a file is not such a one.
        StorageError: a directory or file cannot be read.
    """
    own = [read_scores(path) for path in _found_below(workspace.root / "results")]
    if not names:
        chosen = [one for one in own if trials or not one.max_samples]
        if not chosen:
            only = " but trial runs (--trials)" if own else ""
            raise InputError(
                f"there are no aggregated results{only}",
                where=str(workspace.root / "results"),
                do="make them with: hpcjobs aggregate",
            )
        return chosen
    chosen = [one for name in names for one in _named(workspace, name, own, trials)]
    return list({one.path.absolute(): one for one in chosen}.values())


def _named(workspace: Workspace, name: str, own: list[Scores], trials: bool) -> list[Scores]:
    is_path = name.startswith((".", "/", "~")) or name.endswith(".json")
    if not is_path:
        found = [one for one in own if name in _names(one)]
        models = {one.model for one in found}
        if len(models) > 1:
            raise InputError(
                f"{printable(name)} means {len(models)} models",
                expected=f"one of: {', '.join(sorted(models))}",
            )
        if full := [one for one in found if trials or not one.max_samples]:
            return full
        if found:
            raise InputError(f"there are only trial runs of {name}", do="take them with --trials")
    path = Path(name).expanduser()
    if path.is_dir():
        if paths := _found_below(path):
            return [read_scores(one) for one in paths]
        raise InputError(f"no {FILE_NAME} below it", where=name)
    if is_path or path.exists():
        return [read_scores(path)]
    known = {one.model for one in own}
    raise unknown("model", name, known, do="or collect its results with: hpcjobs aggregate")


def _names(one: Scores) -> set[str]:
    """All that an evaluation may be called: `a/b/c`, `b/c`, `c`, each also with its settings."""
    parts = one.model.split("/")
    models = ["/".join(parts[start:]) for start in range(len(parts))]
    return {*models, *(f"{model}/{one.settings}" for model in models if one.settings)}


def _found_below(directory: Path) -> list[Path]:
    """All aggregated_results.json below the directory, sorted; hidden directories are not seen."""
    found = []

    def failed(error: OSError) -> None:
        raise error

    with explained("list", directory):
        if not directory.exists():
            return []
        for place, directories, files in os.walk(directory, onerror=failed):
            directories[:] = [name for name in directories if not name.startswith(".")]
            if FILE_NAME in files:
                found.append(Path(place, FILE_NAME))
    return sorted(found)
