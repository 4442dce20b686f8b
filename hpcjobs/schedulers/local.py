"""Our own queue on this machine, driven as a program apart: `python -m hpcjobs.local`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from hpcjobs.errors import SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import Result

SINGLE_HOST = True

STATES = {
    "queued": JobState.PENDING,
    "running": JobState.RUNNING,
}
ENDED_BECAUSE = {
    "walltime": (JobState.FAILED, Reason.TIMEOUT),
    "cancelled": (JobState.CANCELLED, None),
    "reboot": (JobState.FAILED, Reason.NODE_FAILURE),
    "start_failed": (JobState.FAILED, Reason.SCHEDULER_ERROR),
}


def _argv(*words: str) -> list[str]:
    return [sys.executable, "-m", "hpcjobs.local", *words]


def cluster(environ: Mapping[str, str], read: Callable[[str], str]) -> str:
    """Not used: see SINGLE_HOST."""
    return ""


def submit_argv(script: Path, group: str, after: str = "") -> list[str]:
    """`python -m hpcjobs.local submit SCRIPT`; everything else stands in the script."""
    if after:
        raise ValueError("the local queue knows no dependencies")
    return _argv("submit", str(script))


def parse_submit(result: Result) -> str:
    """The id is all that is printed."""
    native_id = result.stdout.strip()
    if result.returncode == 0 and native_id.isdigit():
        return native_id
    known = re.search(r"name already used: id (\d+)", result.stderr)
    if result.returncode == 3 and known:  # an earlier answer was lost
        return known[1]
    if result.returncode in (2, 3):
        raise SubmitRefusedError(f"the local queue refused: {result.stderr.strip()}")
    raise _no_answer(result)


def probe_argv() -> list[str] | None:
    """None: its clients are alike everywhere."""
    return None


def dialect(result: Result) -> str:
    """There is one only."""
    return ""


def query_argv(native_ids: Collection[str], dialect: str = "") -> list[str]:
    """`query ID...`."""
    return _argv("query", *native_ids)


def parse_query(result: Result) -> Mapping[str, Observation]:
    """One JSON object a line."""
    if result.returncode != 0:
        raise _no_answer(result)
    if not result.stdout.strip():  # each id that was asked for has a line
        raise _no_answer(result)
    jobs = _jobs(result)
    return {job.native_id: job for job in jobs if job is not None}


def find_argv(name: str, dialect: str = "") -> list[str]:
    """`find NAME`."""
    return _argv("find", name)


def parse_find(result: Result, name: str) -> Observation | None:
    """One JSON object, or nothing."""
    if result.returncode != 0:
        raise _no_answer(result)
    jobs = [job for job in _jobs(result) if job is not None]
    return jobs[0] if jobs else None


def history_argv(native_ids: Collection[str]) -> list[str] | None:
    """None: the queue remembers the ended ones as well."""
    return None


def parse_history(result: Result) -> Mapping[str, Observation]:
    """Nothing is asked, so nothing is said."""
    return {}


def find_history_argv(name: str) -> list[str] | None:
    """None, as for `history_argv`."""
    return None


def explain_argv(seen: Collection[Observation]) -> list[str] | None:
    """None: the queue says why."""
    return None


def parse_explanation(result: Result) -> Mapping[str, str]:
    """Nothing is asked, so nothing is said."""
    return {}


def cancel_argv(native_ids: Collection[str]) -> list[str]:
    """`cancel ID...`."""
    return _argv("cancel", *native_ids)


def parse_cancel(result: Result) -> str:
    """What it complains of."""
    return "" if result.returncode == 0 else result.stderr.strip() or result.stdout.strip()


def _jobs(result: Result) -> list[Observation | None]:
    try:
        return [_observation(json.loads(line)) for line in result.stdout.splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        raise SchedulerUnavailableError(f"the local queue's answer is garbled: {error}") from error


def _observation(job: Mapping[str, Any]) -> Observation | None:
    native = str(job["state"])
    if native == "unknown":
        return None
    because = job["ended_because"]
    state, reason = STATES.get(native, JobState.UNKNOWN), None
    if native == "ended":
        # Nobody caused its end, or none of us saw it: the job's own markers say how it went.
        state, reason = ENDED_BECAUSE.get(because, (JobState.FAILED, Reason.EXIT_CODE))
    return Observation(
        native_id=str(job["id"]),
        name=str(job["name"]),
        state=state,
        native_state=native if because is None else f"{native} ({because})",
        reason=reason,
        exit_status=job["exit_status"],
        since=job["started"],
        ended=job["ended"],
    )


def _no_answer(result: Result) -> SchedulerUnavailableError:
    complaint = result.stderr.strip() or f"exit status {result.returncode}"
    return SchedulerUnavailableError(f"the local queue did not answer: {complaint}")
