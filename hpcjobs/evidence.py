"""What the evidence says of an attempt. Pure.

Which evidence wins: the job's own exit code; alive in the queue; the scheduler's accounting;
nobody answered -> UNKNOWN; absent for less than the grace -> UNKNOWN; then VANISHED. Only an exit
code of 0 with a whole result for every task is a success.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from hpcjobs.markers import Marker, Markers
from hpcjobs.model import JobState, Observation, Reason, Verdict

SETTLE_SECONDS = 60.0
"""Shared disks show a file late: how long a result may lag behind the exit code."""

WALLTIME_SLACK = 15.0
"""A kill this many seconds before the walltime still is one at the walltime."""

QUEUED_AGAIN_AFTER = 10.0
"""Seconds after its end at which a job that is still said to wait was put there again."""

SIGNAL_NAMES = {2: "INT", 6: "ABRT", 9: "KILL", 11: "SEGV", 15: "TERM"}


_RESTARTED = Verdict(
    JobState.FAILED,
    Reason.PREEMPTED,
    "the site cut it off and started it again, which it refuses; submit it anew",
)


class Silence(Enum):
    """What a scheduler says of a job that it does not tell of."""

    NO_ANSWER = "no answer"
    ELSEWHERE = "elsewhere"
    """It can be asked for at another place only."""
    RENAMED = "renamed"
    """Its id is alive, under another name."""
    NOT_ASKED = "not asked"
    """It was asked too recently."""
    ABSENT = "absent"


Answer = Observation | Silence


@dataclass(frozen=True)
class Evidence:
    """All that is known of one attempt at one time. Times are in epoch seconds."""

    name: str
    """The attempt's unique name."""
    markers: Markers
    """Read after the scheduler was asked."""
    answer: Answer
    problems: Mapping[str, str]
    """By task: why there is no whole result. Empty = all are whole."""
    now: float
    submitting_at: float
    accepted: bool
    """Whether the scheduler is known to have taken it."""
    absent_since: float | None
    cancelling: bool
    walltime: float
    grace: float
    submit_timeout: float = 60.0
    lag: float = 0.0
    """Seconds that a marker may show late; none where the job runs on this very host."""
    place: str = ""
    """Where it can be asked for (see hpcjobs.place)."""


def judge(evidence: Evidence) -> Verdict:
    """The verdict on one attempt."""
    markers = evidence.markers
    answer = about_it(evidence.name, markers, evidence.answer)
    if markers.exit_code is not None:
        return _by_exit_code(evidence, markers.exit_code, answer)
    if isinstance(answer, Observation) and not answer.state.final:
        return _alive(evidence, answer)
    if isinstance(answer, Observation):
        return _by_accounting(evidence, answer)
    if answer is Silence.RENAMED:
        return Verdict(
            JobState.UNKNOWN, detail="the scheduler has its id under another name: was it renamed?"
        )
    if answer is Silence.ELSEWHERE:
        return Verdict(JobState.UNKNOWN, detail=f"it can be asked for only at {evidence.place}")
    if answer in (Silence.NO_ANSWER, Silence.NOT_ASKED):
        return Verdict(JobState.UNKNOWN, detail="the scheduler does not answer")
    return _absent(evidence)


def about_it(name: str, markers: Markers, answer: Answer) -> Answer:
    """The answer, if it is about our job: native ids are recycled, and jobs can be renamed.

    What has ended under another name explains nothing. A living job is ours if ours has noted that
    id itself; else it may be.
    """
    if not isinstance(answer, Observation) or answer.name == name:
        return answer
    if answer.state.final:
        return Silence.ABSENT
    noted = markers.started is not None and _number(markers.started.value)
    return answer if noted == _number(answer.native_id) else Silence.RENAMED


def _number(native_id: str) -> str:
    """An id without the server's name that PBS appends."""
    return native_id.partition(".")[0]


def _restarted_by_the_site(evidence: Evidence) -> bool:
    """Whether the same job was started twice; one that a person submits by hand has another id."""
    first, second = evidence.markers.started, evidence.markers.restarted
    if second is None or evidence.cancelling:
        return False
    return first is None or _number(first.value) == _number(second.value)


def _by_exit_code(evidence: Evidence, exit_code: Marker, answer: Answer) -> Verdict:
    if exit_code.value == "0":
        if not evidence.problems:
            return Verdict(JobState.SUCCEEDED)
        detail = "; ".join(f"{key}: {why}" for key, why in sorted(evidence.problems.items()))
        if evidence.now - exit_code.at < min(SETTLE_SECONDS, evidence.grace):
            return Verdict(JobState.UNKNOWN, detail=f"it ended, its results are awaited ({detail})")
        return Verdict(JobState.FAILED, Reason.NO_RESULT, f"exit code 0, but {detail}")
    failure = evidence.markers.failure
    if failure is not None and failure.value == "deadline":
        return Verdict(JobState.FAILED, Reason.TIMEOUT, "it ended itself just before the walltime")
    if failure is not None and failure.value == "no_time":
        left = [key for key, task in evidence.markers.tasks.items() if task.not_begun]
        why = f"no time was left to begin {', '.join(left)}"
        return Verdict(JobState.FAILED, Reason.TIMEOUT, why)
    if failure is not None:
        ours = failure.value.startswith("server_")
        reason = _explained(answer, Reason.SERVER_FAILED if ours else Reason.EXIT_CODE)
        return Verdict(JobState.FAILED, reason, failure.value.replace("_", " "))
    if evidence.markers.signal is not None:
        return _stopped(evidence, answer, f"stopped by signal {evidence.markers.signal.value}")
    if exit_code.value == "137" and _may_be_explained(evidence, answer):
        return Verdict(JobState.UNKNOWN, detail="killed; the scheduler's reason is awaited")
    reason = _explained(answer, Reason.EXIT_CODE)
    return Verdict(JobState.FAILED, reason, f"exit code {exit_code.value}{_failed_tasks(evidence)}")


def _stopped(evidence: Evidence, answer: Answer, detail: str) -> Verdict:
    """It was told to stop; the scheduler may explain by whom and why."""
    reason = _explained(answer, Reason.EXIT_CODE)
    if isinstance(answer, Observation) and answer.state.final and answer.detail:
        detail = f"{detail} ({answer.detail})"
    if reason is not Reason.EXIT_CODE:
        return Verdict(JobState.FAILED, reason, detail)
    if evidence.cancelling or _is_cancelled(answer):
        return Verdict(JobState.CANCELLED, detail=detail)
    if _restarted_by_the_site(evidence):
        return _RESTARTED
    if _queued_again(evidence, answer):
        return Verdict(JobState.FAILED, Reason.PREEMPTED, f"{detail}, and the site queued it again")
    if reason is Reason.EXIT_CODE and _reached_walltime(evidence, answer):
        reason = Reason.TIMEOUT
    if reason is Reason.EXIT_CODE and _may_be_explained(evidence, answer):
        return Verdict(JobState.UNKNOWN, detail=f"{detail}; the scheduler's reason is awaited")
    return Verdict(JobState.FAILED, reason, detail)


def _alive(evidence: Evidence, answer: Observation) -> Verdict:
    if evidence.markers.started is not None and answer.state is JobState.PENDING:
        return Verdict(JobState.RUNNING, detail=evidence.markers.phase)
    phase = evidence.markers.phase if answer.state is JobState.RUNNING else ""
    return Verdict(answer.state, detail="; ".join(filter(None, (phase, answer.detail))))


def _by_accounting(evidence: Evidence, answer: Observation) -> Verdict:
    """The scheduler says it ended, and the job itself told nothing."""
    said = answer.detail or answer.native_state
    if _restarted_by_the_site(evidence):
        return _RESTARTED
    since = evidence.absent_since if evidence.absent_since is not None else evidence.now
    explicit = answer.state is JobState.CANCELLED or answer.reason not in (None, Reason.EXIT_CODE)
    late = evidence.now - since < min(evidence.lag, evidence.grace)
    if explicit and late and evidence.markers.started is not None:
        return Verdict(JobState.UNKNOWN, detail=f"it ended ({said}), its exit code is awaited")
    if answer.state is JobState.CANCELLED:
        return Verdict(JobState.CANCELLED, detail=said)
    if explicit:
        return Verdict(JobState.FAILED, answer.reason, said)
    if evidence.now - since < min(SETTLE_SECONDS, evidence.grace):
        return Verdict(JobState.UNKNOWN, detail="it ended, its exit code is awaited")
    if evidence.cancelling:
        return Verdict(JobState.CANCELLED, detail=f"after it was cancelled: {said}")
    if answer.exit_status == 0:
        return Verdict(JobState.FAILED, Reason.NO_RESULT, "it ended without leaving an exit code")
    if _reached_walltime(evidence, answer):
        return Verdict(JobState.FAILED, Reason.TIMEOUT, "killed at the walltime")
    if answer.exit_status is None:
        return Verdict(JobState.FAILED, Reason.VANISHED, "it ended without leaving an exit code")
    return Verdict(JobState.FAILED, Reason.EXIT_CODE, _exit_status(answer.exit_status))


def _absent(evidence: Evidence) -> Verdict:
    if not evidence.accepted and evidence.markers.started is None:
        given_up = evidence.submitting_at + evidence.submit_timeout + evidence.grace
        if evidence.now < given_up or not _absent_for(evidence):
            return Verdict(
                JobState.UNKNOWN, detail="the scheduler's answer was lost; it is looked for by name"
            )
        return Verdict(JobState.FAILED, Reason.SUBMIT_FAILED, "the scheduler never took it")
    never_started = evidence.cancelling and evidence.markers.started is None
    if not _absent_for(evidence, min(evidence.lag, evidence.grace) if never_started else None):
        return Verdict(JobState.UNKNOWN, detail="not in the queue; waiting for its exit code")
    if _restarted_by_the_site(evidence):
        return _RESTARTED
    if evidence.cancelling:
        return Verdict(JobState.CANCELLED, detail="gone from the queue after it was cancelled")
    return Verdict(
        JobState.FAILED,
        Reason.VANISHED,
        f"in no queue and no accounting for {evidence.grace:g} s, and it left no exit code",
    )


def _absent_for(evidence: Evidence, seconds: float | None = None) -> bool:
    """Whether every answer lacked it for so long; without a number, for the service's grace."""
    since = evidence.absent_since
    wait = evidence.grace if seconds is None else seconds
    return since is not None and evidence.now - since >= wait


def _reached_walltime(evidence: Evidence, answer: Answer) -> bool:
    """Whether it is known to have run until its walltime.

    When it was missed first says nothing of when it ended.
    """
    started, exit_code = evidence.markers.started, evidence.markers.exit_code
    ended = answer.ended if isinstance(answer, Observation) else None
    if exit_code is not None:
        ended = exit_code.at
    if started is None or ended is None:
        return False
    return ended - started.at >= evidence.walltime - WALLTIME_SLACK


def _queued_again(evidence: Evidence, answer: Answer) -> bool:
    """Whether the site stopped it and has it in the queue again (a requeue); a second start does
    nothing. An answer may be older than the end: it counts only after a while.
    """
    exit_code = evidence.markers.exit_code
    waits = isinstance(answer, Observation) and answer.state in (JobState.PENDING, JobState.HELD)
    return waits and exit_code is not None and evidence.now - exit_code.at >= QUEUED_AGAIN_AFTER


def _explained(answer: Answer, default: Reason) -> Reason:
    """The scheduler's reason, where it knows more than that the job failed."""
    if isinstance(answer, Observation) and answer.reason not in (None, Reason.EXIT_CODE):
        return answer.reason or default
    return default


def _may_be_explained(evidence: Evidence, answer: Answer) -> bool:
    """Whether the scheduler may yet say who killed it: it has not said that the job ended."""
    if isinstance(answer, Observation) and answer.state.final:
        return False
    exit_code = evidence.markers.exit_code
    wait = min(2 * SETTLE_SECONDS, evidence.grace)
    return exit_code is not None and evidence.now - exit_code.at < wait


def _is_cancelled(answer: Answer) -> bool:
    return isinstance(answer, Observation) and answer.state is JobState.CANCELLED


def _failed_tasks(evidence: Evidence) -> str:
    failed = [
        key
        for key, task in evidence.markers.tasks.items()
        if task.exit_code is not None and task.exit_code.value != "0"
    ]
    return f" of {', '.join(failed)}" if failed else ""


def _exit_status(status: int) -> str:
    if status < 0:
        return f"killed by signal {SIGNAL_NAMES.get(-status, str(-status))}"
    return f"exit status {status}, and it left no exit code"
