"""The aggregate of a result tree that hpcjobs did not make: `DIR/MODEL/results_*.json`.

Its numbers are those that the group's own aggregator makes of the same tree. What it passes over in
silence (another model's file, a subset that has no result) is named beside them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpcjobs import __version__
from hpcjobs.config.metrics import MetricTable
from hpcjobs.errors import InputError, nearest, printable
from hpcjobs.files import explained
from hpcjobs.results.aggregate import Aggregate, aggregate, as_json, without_partial
from hpcjobs.results.counting import with_counts
from hpcjobs.results.functions import AggregateFunction
from hpcjobs.results.reading import find_result_files, read_tree
from hpcjobs.results.report import made_from
from hpcjobs.results.result_file import Problem, TaskResults
from hpcjobs.results.samples import find_sample_files
from hpcjobs.results.trust import judge_files

_NAMED_AT_MOST = 200
"""So many models of a tree are looked at for the nearest name."""


@dataclass(frozen=True)
class RawTree:
    """What lies in the directory of one model."""

    model: str
    directory: Path
    results: TaskResults
    below: tuple[Path, ...]
    """Directories below it that hold results: nobody can know what they are, so none counts."""


def find_tree(root: Path, model: str) -> RawTree:
    """Read the results of a model: below `root/MODEL`, else `root/results/MODEL`.

    lighteval's own output directory has the second; lm_eval's is `root/{org}__{name}`.

    Raises:
        InputError: the name is no path below `root`, or there is no such directory.
        StorageError: a directory cannot be listed.
    """
    parts = model.split("/")
    if not model.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise InputError(
            f"the model name {printable(model)} is not allowed",
            where="--model",
            expected="the name that stands in the result files, such as hosted_vllm/ORG/NAME",
        )
    if not root.is_dir():
        raise InputError(f"no such directory: {root}", where="--raw-results")
    places = [root.joinpath(*parts), root.joinpath("results", *parts), root / "__".join(parts)]
    for directory in places:
        if directory.is_dir():
            found = read_tree(directory, model)
            counted = with_counts(found.files, _sample_places(directory, model))
            return RawTree(model, directory, replace(found, files=counted), _below(directory))
    known = list(_models(root))
    raise InputError(
        f"no directory {places[0]}",
        where="--raw-results",
        expected=f"results of {printable(model)} in {places[0]}/results_*.json",
        nearest=next((one for one in known if one.endswith(f"/{model}")), nearest(model, known)),
        do="give --model as it stands in the result files, with the provider's prefix, and the "
        "directory above MODEL",
    )


def aggregate_tree(
    table: MetricTable,
    tree: RawTree,
    functions: Mapping[str, AggregateFunction],
    *,
    strict: bool = False,
) -> Aggregate:
    """The numbers; with `strict`, an average that lacks some of its subsets is missing."""
    result = aggregate(table, tree.results.files, None, functions)
    return without_partial(result) if strict else result


def tree_document(tree: RawTree, result: Aggregate) -> dict[str, Any]:
    """The whole content of aggregated_results.json, in the shape of hpcjobs.results.report."""
    broken = {str(one.path): one.why for one in tree.results.problems if one.ours}
    doubts = _doubts(tree, result)
    return {
        **as_json(result, tree.model),
        "custom_settings": {"path": "", "name": "", "version": ""},
        "hpcjobs": {
            "version": __version__,
            "complete": not broken
            and not doubts
            and all(value.value is not None for value in result.values.values()),
            "max_samples": None,
            "missing": {
                name: value.why or "no result"
                for name, value in result.values.items()
                if value.value is None
            },
            "unfinished": {},
            "failed": broken,
            "suspect": doubts,
            "accepted_suspect": {},
            "evidence": {},
            "not_in_any_metric": list(result.unused),
            "values": {
                name: {**made_from(value, str), "jobs": [], "settings": {}}
                for name, value in result.values.items()
                if value.files
            },
        },
    }


def not_counted(tree: RawTree) -> list[str]:
    """For people: what lies there and does not count."""
    notes = [f"{one.path}: {one.why}: it does not count" for one in tree.results.problems]
    notes += [f"{path}: results below the model's directory do not count" for path in tree.below]
    return notes


def answers_in_doubt(tree: RawTree) -> list[str]:
    """For people: what is odd about the answers, where the samples lie beside the results."""
    places = _sample_places(tree.directory, tree.model)
    samples = [one for place in places for one in find_sample_files(place)]
    found = judge_files(tree.results.files, samples)
    return [f"suspect, though counted: {one.why}" for one in found.findings]


def lost(tree: RawTree) -> list[Problem]:
    """The files that may hold a result of the model, and cannot be read whole."""
    return [one for one in tree.results.problems if one.ours]


def _sample_places(directory: Path, model: str) -> list[Path]:
    """lighteval has them in `details/MODEL` beside `results/MODEL`, lm_eval beside its results."""
    parts = model.split("/")
    places = [directory]
    above = list(directory.resolve().parents)[len(parts) - 1 : len(parts)]
    if above and above[0].name == "results":
        places.append(above[0].parent.joinpath("details", *parts))
    return [place for place in places if place.is_dir()]


def _below(directory: Path) -> tuple[Path, ...]:
    """The directories below this one that hold results."""
    with explained("list", directory), os.scandir(directory) as found:
        inner = [Path(one.path) for one in found if one.is_dir() and one.name[0] != "."]
    return tuple(sorted({path.parent for one in inner for path in find_result_files(one)}))


def _doubts(tree: RawTree, result: Aggregate) -> dict[str, str]:
    limits = {file.path: file.limit for file in tree.results.files if file.limit is not None}
    doubts = {}
    for name, value in result.values.items():
        if value.value is None:
            continue
        whys = [value.doubt] if value.doubt else []
        if value.missing:
            whys.append(f"no result for the subsets {', '.join(value.missing)}")
        if limit := next((limits[path] for path in value.files if path in limits), None):
            whys.append(f"made on a few samples only (limit {limit:g})")
        if whys:
            doubts[name] = "; ".join(whys)
    return doubts


def _models(root: Path) -> Iterator[str]:
    """The models of a tree, by their directories."""
    found = 0
    with explained("list", root):
        for place, directories, names in os.walk(root):
            directories[:] = sorted(name for name in directories if not name.startswith("."))
            if any(name.startswith("results_") and name.endswith(".json") for name in names):
                relative = Path(place).relative_to(root).as_posix()
                if relative == ".":  # the model's own directory was given
                    continue
                yield relative.removeprefix("results/").replace("__", "/")
                found += 1
                if found == _NAMED_AT_MOST:
                    return
