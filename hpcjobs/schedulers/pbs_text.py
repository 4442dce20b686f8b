"""What `qstat -f` of PBS prints: one line a job (`-F dsv`), or one an attribute.

Only F (X for a part of an array) is an end: jobs that were started again show the Exit_status of
their run before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from hpcjobs.errors import SchedulerUnavailableError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import Result

SEPARATOR = "\x1f"
"""A character that no name of ours and no comment holds."""

ALIVE = {  # with what is told of it where PBS says nothing
    "Q": (JobState.PENDING, ""),
    "T": (JobState.PENDING, "on its way to a queue"),
    "W": (JobState.PENDING, "waits for its time"),
    "H": (JobState.HELD, "held"),
    "R": (JobState.RUNNING, ""),
    "E": (JobState.RUNNING, "exiting"),  # it has an Exit_status already
    "B": (JobState.RUNNING, "an array that has begun"),
    "S": (JobState.SUSPENDED, "suspended"),
    "U": (JobState.SUSPENDED, "suspended, since its machine is in use"),
}
ENDED = ("F", "X")
DELETED, WAITS_FOR_ANOTHER = "91", "22"
"""Substates."""

WALLTIME = -29
EXPLAINED: Mapping[int | None, tuple[Reason, str]] = {  # statuses below 0 are PBS's own
    -4: (Reason.NODE_FAILURE, "its node was restarted"),
    -5: (Reason.NODE_FAILURE, "its node was restarted"),
    -6: (Reason.NODE_FAILURE, "its node was restarted"),
    -20: (Reason.NODE_FAILURE, "its node was lost"),
    -26: (Reason.OUT_OF_MEMORY, "killed for its virtual memory"),
    -27: (Reason.OUT_OF_MEMORY, "killed for its memory"),
    -24: (Reason.SCHEDULER_ERROR, "killed for its number of CPUs"),
    -25: (Reason.SCHEDULER_ERROR, "killed for its number of CPUs"),
    -28: (Reason.SCHEDULER_ERROR, "killed for its CPU time"),
    WALLTIME: (Reason.TIMEOUT, "killed at the walltime"),
}
NEVER = re.compile(r"Can Never Run|too many failed attempts")
"""Comments on what does not pass by itself."""


class ByNumber(Mapping[str, Observation]):
    """Jobs by id: as it was said or, where only one has that number, by the number in it."""

    def __init__(self, jobs: Collection[Observation]) -> None:
        self._jobs = {job.native_id: job for job in jobs}
        counts = Counter(map(number, self._jobs))
        self._numbered = {
            number(native_id): job
            for native_id, job in self._jobs.items()
            if counts[number(native_id)] == 1
        }

    def __getitem__(self, native_id: str) -> Observation:
        return self._jobs.get(native_id) or self._numbered[number(native_id)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)


def number(native_id: str) -> str:
    """What is before the first dot; empty if that is no number."""
    first = native_id.partition(".")[0]
    return first if re.fullmatch(r"[0-9]{1,12}", first) else ""


def is_whole(stdout: str) -> bool:
    """Whether it was not cut off."""
    return not stdout or stdout.endswith("\n")


def read_jobs(text: str) -> ByNumber:
    """The jobs of a whole answer of `qstat -f`, in either form.

    Raises:
        SchedulerUnavailableError: it is garbled.
    """
    return ByNumber([_observation(*record) for record in _records(text)])


def _records(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The id and the attributes of each job.

    One line a job, or one an attribute, which may go on after a line break and a tab. Values may
    hold line breaks of their own; what comes first counts.
    """
    records = re.split(r"^Job Id: ", text, flags=re.MULTILINE)[1:]
    if text.strip() and not records:
        raise SchedulerUnavailableError(f"qstat's answer is garbled: {shown(text)}")
    for record in records:
        whole = True
        if SEPARATOR in record:
            native_id, *words = record.rstrip("\n").split(SEPARATOR)
        else:
            whole = record.endswith("\n\n")
            native_id, *words = re.sub(r"\n\t", "", record).split("\n")
        fields: dict[str, str] = {}
        for word in words:
            key, separator, value = word.partition("=")
            if separator:
                fields.setdefault(key.strip(), value.strip())
        known = number(native_id) and fields.get("Job_Name") and fields.get("job_state")
        if not known or not whole:
            raise SchedulerUnavailableError(f"qstat's answer is garbled: {shown(record)}")
        yield native_id, fields


def _observation(native_id: str, fields: Mapping[str, str]) -> Observation:
    name, letter = fields["Job_Name"], fields["job_state"]
    if letter in ENDED:
        return _ended(native_id, name, letter, fields)
    comment = fields.get("comment", "")
    state, detail = ALIVE.get(letter, (JobState.UNKNOWN, f"in state {letter}"))
    if letter == "H" and fields.get("substate") == WAITS_FOR_ANOTHER:
        state, detail = JobState.PENDING, "waits for another job"
    if state is not JobState.RUNNING:  # else it tells where and since when
        detail = comment or detail
    if NEVER.search(comment):
        detail = f"{comment}: it will not start as it is"
    return Observation(native_id, name, state, letter, detail=detail)


def _ended(native_id: str, name: str, letter: str, fields: Mapping[str, str]) -> Observation:
    """An Exit_status may be left from an earlier run of a job that was then deleted."""
    comment, said = fields.get("comment", ""), fields.get("Exit_status", "")
    status = int(said) if re.fullmatch(r"-?[0-9]{1,5}", said) else None
    state, reason = JobState.FAILED, None
    by = re.search(r"terminated( by \S+)?$", comment)
    if status == WALLTIME or (status in EXPLAINED and fields.get("substate") != DELETED):
        reason, detail = EXPLAINED[status]
    elif by or fields.get("substate") == DELETED:
        state, detail = JobState.CANCELLED, by[0] if by else "deleted"
    elif status is None:
        reason, detail = Reason.SCHEDULER_ERROR, "it never started"
        if "s" in fields.get("Hold_Types", ""):
            detail += ": what it waited for did not succeed"
    elif status < 0:
        reason, detail = Reason.SCHEDULER_ERROR, comment or "PBS could not run it"
    else:
        state = JobState.FAILED if status else JobState.SUCCEEDED
        reason, detail = Reason.EXIT_CODE if status else None, ""
    shown = f"Exit_status {said}" if said else ""
    since = fields.get("history_timestamp", "")  # all other times have a zone to be guessed
    ended = float(since) if re.fullmatch(r"[0-9]{1,12}", since) else None
    detail = f"{detail} ({shown})" if detail and shown else detail or shown
    native, status = f"{letter} {shown}".strip(), _exit_status(status)
    return Observation(native_id, name, state, native, reason, status, ended=ended, detail=detail)


def _exit_status(status: int | None) -> int | None:
    """PBS's number for it; negative for a signal."""
    if status is None or status < 0:
        return None
    for base in (256, 128):  # the job's shell was killed; its login shell saw that it was
        if base < status <= base + 64:
            return base - status
    return status


def no_answer(program: str, result: Result) -> SchedulerUnavailableError:
    """The error that says so."""
    complaint = shown(result.stderr) or f"exit status {result.returncode}"
    return SchedulerUnavailableError(f"{program} did not answer: {complaint}")


def shown(complaint: str) -> str:
    """On one line, without what PBS puts before each."""
    lines = (re.sub(r"^q[a-z]+: ", "", line).strip() for line in complaint.splitlines())
    return "; ".join(filter(None, lines))[:400]
