"""Whether the result of a task of an attempt can be trusted: its files read, the gate asked.

The samples may be many gigabytes. What they showed is kept in the attempt's `trust.json`, together
with what it was made from; it is read again only if that has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpcjobs.diagnosis.reading import read_lines
from hpcjobs.errors import StorageError
from hpcjobs.evaluators import GENERATION
from hpcjobs.files import explained, write_json
from hpcjobs.markers import Markers, read_markers
from hpcjobs.model import Job, TaskRun
from hpcjobs.results import gate
from hpcjobs.results.gate import Asked, EntryFacts
from hpcjobs.results.judgement import (
    BROKEN_SAMPLES,
    NO_SAMPLES,
    NOT_INSTALLED,
    Finding,
    Judgement,
    Trust,
)
from hpcjobs.results.log_facts import LogFacts, log_facts
from hpcjobs.results.result_file import Entry, ResultError, ResultFile
from hpcjobs.results.sample_facts import NotInstalledError, read_facts
from hpcjobs.results.samples import SampleFile, by_result, find_sample_files
from hpcjobs.results.server_facts import DIRECTORY as METRICS
from hpcjobs.results.server_facts import server_facts

FILE_NAME = "trust.json"

Finder = Callable[[Path, str], SampleFile | None]


def task_trust(
    job: Job, run: TaskRun, attempt: Path, files: Iterable[ResultFile], *, keep: bool = True
) -> Judgement:
    """The judgement on these whole results of a task.

    Args:
        job: as it was submitted.
        run: the task.
        attempt: the directory of the attempt.
        files: the task's result files.
        keep: write down what was found, for the next time.

    Raises:
        StorageError: a file cannot be read.
    """
    files = list(files)
    samples = find_sample_files(attempt / "results" / run.result_dir)
    log = attempt / f"{run.key}.log"
    made_from = _digest(job, run, attempt, files, samples, log)
    kept = _read(attempt / FILE_NAME)
    if (found := _kept(kept.get(run.key), made_from)) is not None:
        return found
    own = by_result(samples)
    entries = [_entry_facts(entry, file, own) for file, entry in _newest(files)]
    markers = read_markers(attempt)
    asked = _asked(job, run, markers, files)
    server = server_facts(attempt, run.key, markers)
    judgement = gate.judge_task(entries, _log_facts(log), asked, server)
    if keep and not judgement.unread:
        told = {
            "made_from": made_from,
            "trust": judgement.trust.value,
            "findings": [asdict(one) for one in judgement.findings],
        }
        with suppress(StorageError):  # then it is found out again
            write_json(attempt / FILE_NAME, {**_read(attempt / FILE_NAME), run.key: told})
    return judgement


def judge_files(files: Iterable[ResultFile], samples: Iterable[SampleFile]) -> Judgement:
    """The judgement on results that somebody else made, from what lies beside them.

    Samples that are not there, or cannot be read here, are nothing against them.
    """
    found = by_result(samples)
    entries = [_entry_facts(entry, file, found) for file, entry in _newest(list(files))]
    findings = gate.judge_task([one for one in entries if one.facts], LogFacts(), Asked()).findings
    about = ("empty", "think", "endless", "length", "likelihoods", "same")
    return Judgement(tuple(one for one in findings if one.kind in about))


def _newest(files: list[ResultFile]) -> list[tuple[ResultFile, Entry]]:
    """Of each task and subset that has samples of its own, the entry that counts."""
    found: dict[str, tuple[ResultFile, Entry]] = {}
    for file in sorted(files, key=lambda file: (file.at, str(file.path))):
        found.update({entry.task: (file, entry) for entry in file.entries if not entry.members})
    return list(found.values())


def _entry_facts(entry: Entry, file: ResultFile, samples: Finder) -> EntryFacts:
    """What the samples show that were written together with this result."""
    own = samples(file.path, entry.task)
    facts, fault, kind = None, "", ""
    if own:
        try:
            facts = read_facts(own.path, entry.task, _limit(file) or entry.answer_tokens)
        except NotInstalledError:
            fault, kind = "pip install 'hpcjobs[details]'", NOT_INSTALLED
        except ResultError as error:
            fault, kind = error.what, BROKEN_SAMPLES
    else:
        kind = NO_SAMPLES
    return EntryFacts(entry.task, entry.samples, entry.original, facts, fault, kind)


def _limit(file: ResultFile) -> int | None:
    word = GENERATION.get(file.framework, {}).get("max_new_tokens", "")
    given = file.generation.get(word)
    return given if isinstance(given, int) and given > 0 else None


def _log_facts(path: Path) -> LogFacts:
    with explained("read", path):
        if not path.is_file():
            return LogFacts()
    return log_facts(path.name, read_lines(path))


def _asked(job: Job, run: TaskRun, markers: Markers, files: list[ResultFile]) -> Asked:
    words = GENERATION.get(run.framework, {})
    options: Mapping[str, Any] = getattr(run, "options", {})
    limit = options.get("limit") if run.framework == "lm_eval" else None
    started = markers.started
    before = [started.at - _modified(file.path) if started is not None else 0.0 for file in files]
    return Asked(
        max_samples=job.max_samples if job.max_samples is not None else limit,
        partial=job.max_samples is None and limit is not None,
        settings=run.settings,
        limits=tuple(file.limit for file in files),
        generations=tuple(
            {
                ours: file.generation[theirs]
                for ours, theirs in words.items()
                if file.generation.get(theirs) is not None
            }
            for file in files
        ),
        generates=options.get("output", "generate") == "generate",
        answer_tokens=_default_tokens(options.get("model_args")),
        seconds_before=max(before, default=0.0),
    )


def _default_tokens(arguments: object) -> int | None:
    """How long lm_eval's answers may be, where their task does not say it; 256, if nobody does."""
    given = arguments.get("max_gen_toks") if isinstance(arguments, Mapping) else None
    return given if isinstance(given, int) and given > 0 else None


def _modified(path: Path) -> float:
    with explained("read", path):
        return path.stat().st_mtime


def _digest(
    job: Job,
    run: TaskRun,
    attempt: Path,
    files: list[ResultFile],
    samples: list[SampleFile],
    log: Path,
) -> str:
    """Of all that the judgement depends on; of the large files, their names and sizes."""
    large = [(str(one.path.relative_to(attempt)), _size(one.path)) for one in samples]
    with explained("read", attempt):
        results = sorted(hashlib.sha256(file.path.read_bytes()).hexdigest() for file in files)
        metrics = sorted(
            hashlib.sha256(path.read_bytes()).hexdigest() for path in (attempt / METRICS).glob("*")
        )
    what = [gate.VERSION, job.max_samples, asdict(run), results, sorted(large), _size(log), metrics]
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()


def _size(path: Path) -> int:
    with explained("read", path):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return -1


def _read(path: Path) -> dict[str, Any]:
    """What was kept; whatever cannot be read is found out again."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _kept(value: Any, made_from: str) -> Judgement | None:
    """What was found before, if it was made from the same; anything else is passed over."""
    try:
        if value["made_from"] != made_from:
            return None
        findings = [
            Finding(one["kind"], one["why"], tuple(one["lines"]), Trust(one["trust"]))
            for one in value["findings"]
        ]
    except (KeyError, TypeError, ValueError):
        return None
    return Judgement(tuple(findings))
