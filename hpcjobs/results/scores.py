"""What aggregated_results.json files say, as values to set beside one another.

Files of other programs count too: only `model` and `results` must be there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpcjobs.config.metrics import MetricTable
from hpcjobs.errors import InputError, printable
from hpcjobs.files import explained
from hpcjobs.results.aggregate import NO_VALUE
from hpcjobs.results.result_file import count, duration, finite


@dataclass(frozen=True)
class Score:
    """One value of one evaluation, or why it is missing, and what it was made from.

    `doubt` says why it is suspect, or made under settings that have changed since. The rest is as
    in the file: `jobs` are `ID-NN (service/node)`, `files` are relative to the workspace.
    """

    value: float | None
    why: str = ""
    doubt: str = ""
    samples: int | None = None
    at: str = ""
    seconds: float | None = None
    versions: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By key of the table of tasks: what each was evaluated with."""


@dataclass(frozen=True)
class Scores:
    """All values of one evaluation: of a model under its settings."""

    path: Path
    model: str
    """With the provider's prefix."""
    settings: str = ""
    settings_version: str = ""
    max_samples: int | None = None
    """Of a trial run."""
    complete: bool | None = None
    """None: the file does not tell."""
    unfinished: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    """What is suspect or stale, by metric or task."""
    values: Mapping[str, Score] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What it is called in a table."""
        limited = f"(first {self.max_samples} samples only)" if self.max_samples else ""
        return " ".join(filter(None, (self.model, self.settings, limited)))

    def value(self, metric: str) -> float | None:
        """The number, if it is there."""
        score = self.values.get(metric)
        return score.value if score else None


def read_scores(path: Path) -> Scores:
    """The evaluation that one aggregated_results.json is about.

    Raises:
        InputError: it is not such a file, or a number in it is none.
        StorageError: it cannot be read.
    """
    with explained("read", path):
        try:
            text = path.read_bytes().decode()
            document = json.loads(text, parse_constant=_no_number)
            json.dumps(document, ensure_ascii=False).encode()  # half a character is none
        except FileNotFoundError:
            raise InputError("no such file", where=str(path)) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"it is not JSON: {error}", where=str(path)) from None
    try:
        return _scores(path, document)
    except ValueError as error:
        raise InputError(
            str(error), where=str(path), expected="an aggregated_results.json"
        ) from None


def labels(evaluations: Sequence[Scores]) -> list[str]:
    """What each is called where they stand together: equal names are told apart by their paths."""
    names = [one.label for one in evaluations]
    return [
        f"{name} ({one.path})" if names.count(name) > 1 else name
        for name, one in zip(names, evaluations, strict=True)
    ]


def columns(evaluations: Iterable[Scores], table: MetricTable) -> list[str]:
    """The names of all their values: in the order of the table, then those that it does not know.

    A metric of the table that no evaluation names is left out; one that is missing everywhere is
    not.
    """
    named = dict.fromkeys(name for one in evaluations for name in one.values)
    known = [metric.name for metric in table.metrics if metric.name in named]
    return known + [name for name in named if name not in set(known)]


def with_doubts(one: Scores, doubts: Mapping[str, str]) -> Scores:
    """The same evaluation with further doubts, by metric or task."""
    if not doubts:
        return one
    values = {
        name: replace(score, doubt=_doubt(name, score.tasks, score.settings, doubts, score.doubt))
        if score.value is not None
        else score
        for name, score in one.values.items()
    }
    return replace(one, values=values, doubts={**one.doubts, **doubts})


def _scores(path: Path, document: Any) -> Scores:
    top = _mapping(document, "it")
    model = top.get("model")
    if not isinstance(model, str) or not model:
        raise ValueError("it does not name the model")
    results = _mapping(top.get("results"), "'results'")
    about = _mapping(top.get("hpcjobs", {}), "'hpcjobs'")
    settings = _mapping(top.get("custom_settings") or {}, "'custom_settings'")
    doubts = _texts(about.get("accepted_suspect", {})) | _texts(about.get("suspect"))
    missing = _texts(about.get("missing")) if "missing" in about else None
    provenance = _mapping(about.get("values", {}), "'values'")
    return Scores(
        path=path,
        model=model,
        settings=_text(settings.get("name")),
        settings_version=_text(settings.get("version")),
        max_samples=count(about.get("max_samples")),
        complete=about["complete"] if isinstance(about.get("complete"), bool) else None,
        unfinished=_texts(about.get("unfinished")),
        failed=_texts(about.get("failed")),
        doubts=doubts,
        values={
            name: _score(name, value, missing, provenance.get(name), doubts)
            for name, value in results.items()
        },
    )


def _score(
    name: str,
    value: Any,
    missing: Mapping[str, str] | None,
    provenance: Any,
    doubts: Mapping[str, str],
) -> Score:
    number = finite(value)
    if number is None:
        raise ValueError(f"the value of {printable(name)} is no finite number")
    # A true -1 is told from a missing value where the file says what is missing.
    if number == NO_VALUE and (missing is None or name in missing):
        return Score(None, why=(missing or {}).get(name, ""))
    found = _object(provenance)
    tasks = _strings(found.get("tasks"))
    settings = {
        key: one for key, one in _object(found.get("settings")).items() if isinstance(one, dict)
    }
    return Score(
        value=number,
        doubt=_doubt(name, tasks, settings, doubts),
        samples=count(found.get("samples")),
        at=_text(found.get("at")),
        seconds=duration(found.get("seconds")),
        versions=_strings(found.get("versions")),
        jobs=_strings(found.get("jobs")),
        tasks=tasks,
        files=_strings(found.get("files")),
        settings=settings,
    )


def _doubt(
    name: str,
    tasks: Iterable[str],
    settings: Iterable[str],
    doubts: Mapping[str, str],
    before: str = "",
) -> str:
    """What is doubted of the metric, or of one of its tasks by either of their names."""
    own = {name, *tasks, *settings}
    whys = [before, *(why or key for key, why in doubts.items() if key in own)]
    return "; ".join(dict.fromkeys(filter(None, whys)))


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is missing, or no JSON object")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> dict[str, str]:
    """A mapping's keys with what they say in words; a list's items say nothing more."""
    if isinstance(value, list):
        return dict.fromkeys(_strings(value), "")
    if not isinstance(value, dict):
        return {}
    return {key: _text(one) or "; ".join(_strings(one)) for key, one in value.items()}


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")
