"""What the schedulers say: one bulk query a service, whatever the number of jobs and of terminals.

It is not asked more often than its `poll_seconds`: all share a file with the last answer.
What the queue does not know, or says has ended, is looked up in the accounting, by one more query.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from hpcjobs.commands import run
from hpcjobs.errors import SchedulerUnavailableError, StorageError
from hpcjobs.evidence import Answer, Silence
from hpcjobs.feeding import count
from hpcjobs.files import write_json
from hpcjobs.model import JobState, Observation, Reason, Service
from hpcjobs.place import place, reachable
from hpcjobs.schedulers import SchedulerModule, live
from hpcjobs.store import AttemptRecord
from hpcjobs.workspace import Workspace

QUERY_TIMEOUT = 60.0


def ask(
    workspace: Workspace, service: Service, attempts: Sequence[AttemptRecord]
) -> dict[str, Answer]:
    """By attempt's name: what the scheduler of this service says; one that cannot be asked from
    here is left out.

    Raises:
        SchedulerUnavailableError: it does not answer.
        InputError: this version cannot drive that scheduler.
    """
    module = live(service.scheduler)
    where = place(module)
    here = [one for one in attempts if reachable(one.place, where)]
    known = {one.native_id: one for one in here if one.native_id is not None}
    answers: dict[str, Answer] = {}
    if known:
        seen = _query(workspace, service, module, tuple(known))
        if seen is not None:
            for native_id, one in known.items():
                answers[one.name] = seen.get(native_id, Silence.ABSENT)
        else:
            answers |= {one.name: Silence.NOT_ASKED for one in known.values()}
    for one in here:
        if one.native_id is None:
            found = _find(service, one.name)
            answers[one.name] = found if found is not None else Silence.ABSENT
    return answers


def others(workspace: Workspace, service: Service) -> tuple[int, int] | None:
    """How many jobs of this user, beside those known here, it has, and how many of these run.

    From the bulk query, which is made only if there is no answer young enough. None where the
    scheduler tells only of the jobs that it is asked for.

    Raises:
        SchedulerUnavailableError: it does not answer.
    """
    module = live(service.scheduler)
    if not getattr(module, "SHOWS_ALL", False) or not service.poll_seconds:
        return None
    path = workspace.jobs / f".observed-{service.name}.json"
    kept = _read_kept(path)
    young = kept is not None and 0 <= time.time() - kept["at"] < service.poll_seconds
    if not young:
        _query(workspace, service, module, ())
        kept = _read_kept(path)
    told = kept.get("others") if kept and kept["place"] == place(module) else None
    return (int(told[0]), int(told[1])) if told else None


def _query(
    workspace: Workspace, service: Service, module: SchedulerModule, native_ids: Sequence[str]
) -> Mapping[str, Observation] | None:
    """The bulk query, or its last answer if that is young enough; None = not asked now."""
    path = workspace.jobs / f".observed-{service.name}.json"
    kept = _read_kept(path)
    age = time.time() - kept["at"] if kept else float("inf")
    here = kept is not None and kept["place"] == place(module)
    if kept and here and 0 <= age < service.poll_seconds:
        if set(native_ids) <= set(kept["asked"]):
            return {key: _observation(value) for key, value in kept["seen"].items()}
        return None
    where = place(module)
    _keep(service, path, where, (), {})  # also if it fails, it was asked now
    argv = module.query_argv(native_ids, _dialect(service.scheduler))
    said = module.parse_query(run(argv, timeout=QUERY_TIMEOUT))
    seen = {key: said[key] for key in native_ids if key in said}
    unsettled = [key for key in native_ids if key not in seen or seen[key].state.final]
    told = _history(module, module.history_argv(unsettled) if unsettled else None)
    for key in unsettled:
        # A row that is half written has another name: the queue's word is then the better one.
        name = seen[key].name if key in seen else None
        if key in told and told[key].state.final and name in (None, told[key].name):
            seen[key] = told[key]
        elif key in told and key not in seen:  # no queue may forget what has not ended
            had = f"the queue does not show it, the accounting has it as {told[key].native_state}"
            seen[key] = replace(told[key], state=JobState.UNKNOWN, detail=had)
    for key, detail in _explained(module, seen).items():
        seen[key] = replace(seen[key], detail=detail)
    more = count(one for key, one in said.items() if key not in native_ids)
    _keep(service, path, where, native_ids, seen, more)
    return seen


def _explained(module: SchedulerModule, seen: Mapping[str, Observation]) -> Mapping[str, str]:
    """Why jobs are stuck, where the queue did not say it and one more command does."""
    argv = module.explain_argv(seen.values())
    if argv is None:
        return {}
    try:
        told = module.parse_explanation(run(argv, timeout=QUERY_TIMEOUT))
    except SchedulerUnavailableError:
        return {}
    return {key: detail for key, detail in told.items() if key in seen}


def _keep(
    service: Service,
    path: Path,
    where: str,
    asked: Sequence[str],
    seen: Mapping[str, Observation],
    others: tuple[int, int] | None = None,
) -> None:
    """Keep an answer for whoever asks next; who cannot write here must do without."""
    if service.poll_seconds:
        shown = {key: asdict(value) for key, value in seen.items()}
        with suppress(StorageError):
            kept = {"at": time.time(), "place": where, "asked": list(asked), "seen": shown,
                    "others": others}  # fmt: skip
            write_json(path, kept)


def _find(service: Service, name: str) -> Observation | None:
    """The job of that name, from the queue, else from the accounting."""
    module = live(service.scheduler)
    argv = module.find_argv(name, _dialect(service.scheduler))
    found = module.parse_find(run(argv, timeout=QUERY_TIMEOUT), name)
    if found is not None:
        return found
    told = _history(module, module.find_history_argv(name))
    return next((one for one in told.values() if one.name == name), None)


@cache
def _dialect(scheduler: str) -> str:
    """Which dialect the scheduler's clients here speak: asked once a process."""
    module = live(scheduler)
    argv = module.probe_argv()
    return "" if argv is None else module.dialect(run(argv, timeout=QUERY_TIMEOUT))


def _history(module: SchedulerModule, argv: Sequence[str] | None) -> Mapping[str, Observation]:
    """What the accounting says, by native id; nothing where there is none or it does not answer.

    The queue has answered by then, so the jobs' own markers and the grace decide without it.
    """
    if argv is None:
        return {}
    try:
        return module.parse_history(run(argv, timeout=QUERY_TIMEOUT))
    except SchedulerUnavailableError:
        return {}


def _read_kept(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_text())
        return (
            kept
            if isinstance(kept, dict) and {"at", "asked", "seen", "place"} <= set(kept)
            else None
        )
    except (OSError, ValueError):
        return None


def _observation(value: dict[str, Any]) -> Observation:
    reason = Reason(value["reason"]) if value["reason"] else None
    return Observation(**{**value, "state": JobState(value["state"]), "reason": reason})
