"""What is to be told, given what was told before. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpcjobs.model import JobState
from hpcjobs.parts import parts_in_words
from hpcjobs.store import AttemptRecord, JobRecord, Store

LINES = 20
"""So many jobs are listed in a text; the others are counted."""


@dataclass(frozen=True)
class Told:
    """What one way of telling has told already: labels of attempts, `ID-NN`."""

    ends: frozenset[str] = frozenset()
    summed: frozenset[str] = frozenset()
    """Those that a message about all jobs has covered."""
    not_before: float = 0.0
    """It failed, and is not tried again before."""

    @classmethod
    def from_json(cls, value: Any) -> Told:
        """The reverse of `to_json`.

        Raises:
            TypeError, ValueError, KeyError: it is of another form.
        """
        return cls(frozenset(value["ends"]), frozenset(value["summed"]), float(value["not_before"]))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "ends": sorted(self.ends),
            "summed": sorted(self.summed),
            "not_before": self.not_before,
        }


@dataclass(frozen=True)
class Due:
    """What one way of telling has to say, and what it has told once that is done."""

    events: tuple[str, ...]
    """Empty: nothing is to be said."""
    ends: tuple[tuple[JobRecord, AttemptRecord], ...]
    told: Told


def label(record: JobRecord, attempt: AttemptRecord) -> str:
    """`ID-NN`."""
    return f"{record.job.id}-{attempt.number:02d}"


def ended(store: Store) -> dict[str, tuple[JobRecord, AttemptRecord]]:
    """All attempts that have ended, by label."""
    return {
        label(record, attempt): (record, attempt)
        for record in store.jobs.values()
        for attempt in record.attempts
        if attempt.state.final
    }


def is_bad(attempt: AttemptRecord) -> bool:
    """Whether somebody must look at it: it failed, or its result is not to be trusted."""
    return attempt.state is JobState.FAILED or bool(attempt.suspect)


def told_before(store: Store, moment: float) -> Told:
    """As if everything that ended before `moment` had been told."""
    old = frozenset(
        key for key, (_, attempt) in ended(store).items() if (attempt.ended_at or 0) < moment
    )
    return Told(old, old)


def due(store: Store, on: Sequence[str], told: Told) -> Due:
    """What is to be said now: one message, whatever number of jobs has ended since the last."""
    ends = ended(store)
    new = {key: one for key, one in ends.items() if key not in told.ends}
    failed = {key: one for key, one in new.items() if is_bad(one[1])}
    chosen = new if "ended" in on else failed if "failed" in on else {}
    events = [name for name, some in (("ended", new), ("failed", failed)) if name in on and some]
    summed = told.summed
    open_ends = {key: one for key, one in ends.items() if key not in summed}
    if open_ends and not any(record.active for record in store.jobs.values()):
        summed = summed | frozenset(ends)
        if "all_done" in on:
            # A job that was repeated is told by its last attempt.
            chosen = {key: one for key, one in open_ends.items() if one[1] is one[0].last}
            events.append("all_done")
    after = Told(told.ends | frozenset(ends), summed, 0.0)
    return Due(tuple(events) if chosen else (), tuple(chosen.values()), after)


def message(root: str, store: Store, what: Due, hide: Callable[[str], str] = str) -> dict[str, Any]:
    """What is told, as plain values; `text` says it to people.

    Args:
        root: the workspace.
        store: how all jobs stand.
        what: what is due.
        hide: takes keys out of a text.
    """
    unfinished = sum(record.active for record in store.jobs.values())
    counts = Counter(_word(attempt) for _, attempt in what.ends)
    said = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    under_way = "all jobs have ended" if not unfinished else f"{unfinished} under way"
    lines = [f"hpcjobs: {said} ({under_way}) in {root}"]
    jobs = [_job(record, attempt, hide) for record, attempt in what.ends]
    lines += [_line(one) for one in jobs[:LINES]]
    if len(jobs) > LINES:
        lines.append(f"and {len(jobs) - LINES} more")
    return {
        "v": 1,
        "events": list(what.events),
        "text": "\n".join(lines),
        "workspace": root,
        "unfinished": unfinished,
        "jobs": jobs,
    }


def trial_message(root: str) -> dict[str, Any]:
    """What `hpcjobs notify --test` sends."""
    text = f"hpcjobs: a test: notifications of {root} arrive here"
    return {"v": 1, "events": ["test"], "text": text, "workspace": root, "unfinished": 0,
            "jobs": []}  # fmt: skip


def _job(record: JobRecord, attempt: AttemptRecord, hide: Callable[[str], str]) -> dict[str, Any]:
    job = record.job_of(attempt)
    return {
        "job": job.id,
        "attempt": attempt.number,
        "state": attempt.state.value,
        "reason": attempt.reason.value if attempt.reason else None,
        "detail": hide("; ".join(filter(None, (attempt.detail, parts_in_words(attempt.parts))))),
        "suspect": {key: hide(why) for key, why in (attempt.suspect or {}).items()},
        "model": job.model,
        "settings": job.settings_name,
        "tasks": [task.key for task in job.tasks],
        "service": job.service,
        "node": job.node,
        "native_id": attempt.native_id,
        "ended_at": attempt.ended_at,
    }


def _line(job: Mapping[str, Any]) -> str:
    suspect = "; ".join(f"suspect: {why}" for why in job["suspect"].values())
    why = ": ".join(filter(None, (job["reason"], suspect or job["detail"])))
    words = (job["state"], f"{job['job']}-{job['attempt']:02d}", ",".join(job["tasks"]),
             job["model"], why)  # fmt: skip
    return "".join(c if c.isprintable() else " " for c in "  ".join(filter(None, words)))[:300]


def _word(attempt: AttemptRecord) -> str:
    if attempt.state is JobState.SUCCEEDED:
        return "suspect" if attempt.suspect else "done"
    return {JobState.FAILED: "failed"}.get(attempt.state, "cancelled")
