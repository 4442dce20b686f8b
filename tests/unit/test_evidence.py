"""What the evidence says of an attempt: a case for each rule."""

from __future__ import annotations

from typing import Any

import pytest

from hpcjobs.evidence import SETTLE_SECONDS, Answer, Evidence, Silence, judge
from hpcjobs.markers import Marker, Markers, TaskMarkers
from hpcjobs.model import JobState, Observation, Reason, Verdict

NAME = "abcdef0-01_ja_gpqa_model"
START = 1_000_000.0
WALLTIME = 3600.0
GRACE = 600.0
NOW = START + 1800.0

CANCELLED, FAILED, PENDING, RUNNING, SUCCEEDED, UNKNOWN = (
    JobState.CANCELLED,
    JobState.FAILED,
    JobState.PENDING,
    JobState.RUNNING,
    JobState.SUCCEEDED,
    JobState.UNKNOWN,
)


def said(state: JobState, name: str = NAME, **more: Any) -> Observation:
    """What the scheduler said of the job of this name."""
    return Observation("17", name, state, f"native {state.value.lower()}", **more)


def told(exit_code: str | None = None, at: float = NOW - 120, **more: Any) -> Markers:
    """What the job told: that it started, and perhaps how it ended."""
    markers: dict[str, Any] = {"started": Marker("17", START)}
    if exit_code is not None:
        markers["exit_code"] = Marker(exit_code, at)
    for name, value in more.items():
        markers[name] = Marker(value, at) if isinstance(value, str) else value
    return Markers(**markers)


def verdict(**changes: Any) -> Verdict:
    """The verdict on a job that runs since half an hour, and of which nobody tells anything."""
    values: dict[str, Any] = {
        "name": NAME,
        "markers": told(),
        "answer": Silence.NO_ANSWER,
        "problems": {},
        "now": NOW,
        "submitting_at": START - 60,
        "accepted": True,
        "absent_since": None,
        "cancelling": False,
        "walltime": WALLTIME,
        "grace": GRACE,
    }
    return judge(Evidence(**{**values, **changes}))


ANSWERS = [
    *Silence,
    *(said(state) for state in JobState),
    said(FAILED, reason=Reason.TIMEOUT),
    said(RUNNING, name="another job"),
]
NOT_STARTED = Markers()


# ---- The job's own exit code ---------------------------------------------------------------------


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
@pytest.mark.parametrize("cancelling", [False, True])
def test_exit_code_0_with_all_results_is_success_whatever_the_scheduler_says(
    answer: Any, cancelling: bool
) -> None:
    assert verdict(markers=told("0"), answer=answer, cancelling=cancelling).state is SUCCEEDED


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_exit_code_0_without_a_result_is_a_failure(answer: Any) -> None:
    found = verdict(markers=told("0"), answer=answer, problems={"ja_gpqa": "no result file"})
    assert found == Verdict(FAILED, Reason.NO_RESULT, "exit code 0, but ja_gpqa: no result file")


def test_a_result_that_a_shared_disk_shows_late_is_awaited() -> None:
    markers = told("0", at=NOW - SETTLE_SECONDS + 1)
    found = verdict(markers=markers, problems={"ja_gpqa": "no result file"})
    assert found.state is UNKNOWN
    assert "awaited" in found.detail


def test_a_result_is_not_awaited_longer_than_the_grace() -> None:
    found = verdict(markers=told("0", at=NOW - 15), problems={"t": "none"}, grace=15.0)
    assert found.reason is Reason.NO_RESULT


@pytest.mark.parametrize("code", ["1", "2", "70", "137", "00", "-", ""])
def test_another_exit_code_is_a_failure(code: str) -> None:
    found = verdict(markers=told(code))
    assert (found.state, found.reason) == (FAILED, Reason.EXIT_CODE)
    assert found.detail == f"exit code {code}"


def test_an_exit_code_names_the_task_that_failed() -> None:
    ended = {"a": TaskMarkers(None, Marker("0", NOW)), "b": TaskMarkers(None, Marker("1", NOW))}
    assert verdict(markers=told("1", tasks=ended)).detail == "exit code 1 of b"


def test_an_exit_code_counts_at_once() -> None:
    assert verdict(markers=told("1", at=NOW), answer=said(RUNNING)).state is FAILED


@pytest.mark.parametrize(
    "reason", [Reason.OUT_OF_MEMORY, Reason.TIMEOUT, Reason.NODE_FAILURE, Reason.PREEMPTED]
)
def test_the_scheduler_may_explain_an_exit_code(reason: Reason) -> None:
    found = verdict(markers=told("137"), answer=said(FAILED, reason=reason))
    assert (found.state, found.reason) == (FAILED, reason)


def test_what_is_said_of_another_job_explains_nothing() -> None:
    answer = said(FAILED, name="another job", reason=Reason.OUT_OF_MEMORY)
    assert verdict(markers=told("137"), answer=answer).reason is Reason.EXIT_CODE


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("server_ended", Reason.SERVER_FAILED),
        ("server_not_ready", Reason.SERVER_FAILED),
        ("server_not_ours", Reason.SERVER_FAILED),
        ("server_unprotected", Reason.SERVER_FAILED),
        ("server_died", Reason.SERVER_FAILED),
        ("no_port", Reason.EXIT_CODE),
        ("command_not_found", Reason.EXIT_CODE),
        ("deadline", Reason.TIMEOUT),
    ],
)
def test_the_job_says_why_it_failed(failure: str, reason: Reason) -> None:
    found = verdict(markers=told("96", failure=failure))
    assert (found.state, found.reason) == (FAILED, reason)


# ---- Stopped by a signal -------------------------------------------------------------------------


def test_a_signal_that_nobody_explains_is_an_exit_code() -> None:
    found = verdict(markers=told("143", signal="TERM"))
    assert found == Verdict(FAILED, Reason.EXIT_CODE, "stopped by signal TERM")


@pytest.mark.parametrize("state", [PENDING, JobState.HELD])
def test_a_stopped_job_that_waits_again_was_put_there_by_the_site(state: JobState) -> None:
    markers = told("143", signal="TERM")
    found = verdict(markers=markers, answer=said(state))
    assert (found.state, found.reason) == (FAILED, Reason.PREEMPTED)
    assert verdict(markers=markers, answer=said(state), cancelling=True).state is CANCELLED
    just_now = told("143", at=NOW - 2, signal="TERM")  # the answer may be older than that
    assert verdict(markers=just_now, answer=said(state)).state is UNKNOWN


@pytest.mark.parametrize(("second", "reason"), [("17", Reason.PREEMPTED), ("9", Reason.EXIT_CODE)])
def test_a_stopped_job_that_was_started_again_by_the_site(second: str, reason: Reason) -> None:
    restarted = Marker(second, NOW - 60)
    markers = told("143", signal="TERM", restarted=restarted)
    assert verdict(markers=markers, answer=Silence.ABSENT).reason is reason


def test_a_signal_after_cancelling_is_a_cancellation() -> None:
    assert verdict(markers=told("143", signal="TERM"), cancelling=True).state is CANCELLED


def test_a_signal_that_the_scheduler_calls_a_cancellation_is_one() -> None:
    assert verdict(markers=told("143", signal="TERM"), answer=said(CANCELLED)).state is CANCELLED


@pytest.mark.parametrize("reason", [Reason.PREEMPTED, Reason.TIMEOUT, Reason.NODE_FAILURE])
def test_a_signal_is_explained_by_the_scheduler(reason: Reason) -> None:
    markers = told("143", signal="TERM")
    assert verdict(markers=markers, answer=said(FAILED, reason=reason)).reason is reason


@pytest.mark.parametrize(
    ("ran", "reason"),
    [(WALLTIME, Reason.TIMEOUT), (WALLTIME - 10, Reason.TIMEOUT), (3000.0, Reason.EXIT_CODE)],
)
def test_a_signal_at_the_walltime_is_a_timeout_by_the_jobs_own_clock(
    ran: float, reason: Reason
) -> None:
    markers = told("143", at=START + ran, signal="TERM")
    assert verdict(markers=markers, now=START + 99999).reason is reason


def test_a_signal_at_the_walltime_that_the_scheduler_explains_is_what_it_says() -> None:
    markers = told("143", at=START + WALLTIME, signal="TERM")
    answer = said(FAILED, reason=Reason.NODE_FAILURE)
    assert verdict(markers=markers, answer=answer).reason is Reason.NODE_FAILURE


def test_a_walltime_kill_is_not_success() -> None:
    markers = told("143", at=START + WALLTIME, signal="TERM")
    for answer in ANSWERS:
        assert verdict(markers=markers, answer=answer).state is not SUCCEEDED


# ---- Alive in the queue --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [PENDING, JobState.HELD, RUNNING, JobState.SUSPENDED, UNKNOWN, JobState.SUBMITTING]
)
def test_a_job_in_the_queue_stands_as_the_queue_says(state: JobState) -> None:
    assert verdict(markers=NOT_STARTED, answer=said(state)).state is state


def test_a_job_that_started_runs_even_if_the_queue_does_not_know_yet() -> None:
    assert verdict(answer=said(PENDING)).state is RUNNING


@pytest.mark.parametrize(
    ("markers", "detail"),
    [
        (told(), "starting the server"),
        (told(ready="20000"), "ready"),
        (told(tasks={"ja_gpqa": TaskMarkers(Marker("-", NOW))}), "evaluating ja_gpqa"),
    ],
)
def test_a_running_job_tells_what_it_is_busy_with(markers: Markers, detail: str) -> None:
    assert verdict(markers=markers, answer=said(RUNNING)).detail == detail


def test_a_job_that_waits_tells_why() -> None:
    found = verdict(markers=NOT_STARTED, answer=said(PENDING, detail="Resources"))
    assert found.detail == "Resources"


@pytest.mark.parametrize("state", [PENDING, RUNNING])
def test_a_job_that_is_alive_is_not_cancelled_yet(state: JobState) -> None:
    assert not verdict(answer=said(state), cancelling=True).state.final


# ---- Accounting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason",
    [
        Reason.TIMEOUT,
        Reason.OUT_OF_MEMORY,
        Reason.NODE_FAILURE,
        Reason.PREEMPTED,
        Reason.SCHEDULER_ERROR,
    ],
)
def test_the_scheduler_explains_an_end_that_the_job_did_not_tell(reason: Reason) -> None:
    answer = said(FAILED, reason=reason)
    assert verdict(answer=answer) == Verdict(FAILED, reason, "native failed")


def test_the_scheduler_may_say_that_it_was_cancelled() -> None:
    assert verdict(answer=said(CANCELLED)).state is CANCELLED


ENDED = said(FAILED, reason=Reason.EXIT_CODE, exit_status=1)


@pytest.mark.parametrize("answer", [ENDED, said(SUCCEEDED, exit_status=0)])
@pytest.mark.parametrize("absent_since", [None, NOW - SETTLE_SECONDS + 1])
def test_an_exit_code_that_a_shared_disk_shows_late_is_awaited(
    answer: Observation, absent_since: float | None
) -> None:
    found = verdict(answer=answer, absent_since=absent_since)
    assert found.state is UNKNOWN
    assert "awaited" in found.detail


@pytest.mark.parametrize(
    ("answer", "reason", "detail"),
    [
        (said(SUCCEEDED, exit_status=0), Reason.NO_RESULT, "without leaving an exit code"),
        (said(FAILED, exit_status=0), Reason.NO_RESULT, "without leaving an exit code"),
        (said(SUCCEEDED), Reason.VANISHED, "without leaving an exit code"),
        (said(FAILED, reason=Reason.EXIT_CODE), Reason.VANISHED, "without leaving an exit code"),
        (ENDED, Reason.EXIT_CODE, "exit status 1"),
        (said(FAILED, exit_status=-9), Reason.EXIT_CODE, "killed by signal KILL"),
        (said(FAILED, exit_status=-7), Reason.EXIT_CODE, "killed by signal 7"),
    ],
)
def test_an_end_without_an_exit_code_is_no_success(
    answer: Observation, reason: Reason, detail: str
) -> None:
    found = verdict(answer=answer, absent_since=NOW - 120)
    assert (found.state, found.reason) == (FAILED, reason)
    assert detail in found.detail


def test_a_kill_at_the_walltime_is_a_timeout() -> None:
    end = START + WALLTIME
    found = verdict(
        answer=said(FAILED, exit_status=-9, reason=Reason.EXIT_CODE, ended=end - 5),
        absent_since=end + 9999,
        now=end + 99999,
    )
    assert (found.state, found.reason) == (FAILED, Reason.TIMEOUT)


def test_an_early_end_that_is_looked_at_late_is_no_timeout() -> None:
    found = verdict(
        answer=said(FAILED, exit_status=-9, reason=Reason.EXIT_CODE, ended=START + 60),
        absent_since=START + WALLTIME + 5,
        now=START + WALLTIME + 9999,
    )
    assert (found.state, found.reason) == (FAILED, Reason.EXIT_CODE)


@pytest.mark.parametrize("answer", [said(FAILED, exit_status=93), Silence.ABSENT])
def test_a_job_that_the_site_started_again_was_cut_off(answer: Answer) -> None:
    markers = Markers(started=Marker("1", START), restarted=Marker("1", START + 60))
    found = verdict(markers=markers, answer=answer, absent_since=NOW - GRACE)
    assert (found.state, found.reason) == (FAILED, Reason.PREEMPTED)


def test_a_server_that_the_scheduler_says_was_killed_for_memory_ran_out_of_it() -> None:
    markers = told("99", failure="server_died")
    answer = said(FAILED, reason=Reason.OUT_OF_MEMORY)
    assert verdict(markers=markers, answer=answer).reason is Reason.OUT_OF_MEMORY


def test_an_end_after_cancelling_is_a_cancellation() -> None:
    found = verdict(answer=ENDED, absent_since=NOW - 120, cancelling=True)
    assert found.state is CANCELLED


@pytest.mark.parametrize(
    ("absent_since", "state"), [(None, UNKNOWN), (NOW - 59, UNKNOWN), (NOW - 60, CANCELLED)]
)
def test_a_cancelled_job_that_never_started_need_not_be_missed_for_the_whole_grace(
    absent_since: float | None, state: JobState
) -> None:
    # Grid Engine keeps no record of a job that was deleted while it waited.
    found = verdict(
        answer=Silence.ABSENT,
        markers=NOT_STARTED,
        cancelling=True,
        absent_since=absent_since,
        lag=60.0,
        grace=900.0,
    )
    assert found.state is state


def test_a_cancelled_job_that_had_started_is_missed_for_the_whole_grace() -> None:
    found = verdict(
        answer=Silence.ABSENT, cancelling=True, absent_since=NOW - 899, lag=60.0, grace=900.0
    )
    assert found.state is UNKNOWN


def test_what_the_scheduler_says_of_a_running_job_stands_beside_its_phase() -> None:
    found = verdict(answer=said(JobState.RUNNING, detail="dr: being deleted"))
    assert found.state is JobState.RUNNING
    assert found.detail.endswith("; dr: being deleted")


# ---- Nobody answered, or the job is nowhere ------------------------------------------------------


@pytest.mark.parametrize("answer", [Silence.NO_ANSWER, Silence.NOT_ASKED])
@pytest.mark.parametrize("markers", [NOT_STARTED, told(), told(signal="TERM")], ids=str)
@pytest.mark.parametrize("cancelling", [False, True])
def test_no_answer_is_no_conclusion(answer: Silence, markers: Markers, cancelling: bool) -> None:
    found = verdict(
        answer=answer, markers=markers, cancelling=cancelling, absent_since=0.0, now=START * 9
    )
    assert found.state is UNKNOWN


@pytest.mark.parametrize(
    ("absent_since", "state"),
    [(None, UNKNOWN), (NOW, UNKNOWN), (NOW - GRACE + 1, UNKNOWN), (NOW - GRACE, FAILED)],
)
def test_a_job_has_vanished_after_the_grace_only(
    absent_since: float | None, state: JobState
) -> None:
    assert verdict(answer=Silence.ABSENT, absent_since=absent_since).state is state


def test_a_job_that_is_nowhere_has_vanished() -> None:
    found = verdict(answer=Silence.ABSENT, absent_since=NOW - GRACE)
    assert found.reason is Reason.VANISHED
    assert "600 s" in found.detail


def test_a_job_that_is_nowhere_after_cancelling_was_cancelled() -> None:
    found = verdict(answer=Silence.ABSENT, absent_since=NOW - GRACE, cancelling=True)
    assert found.state is CANCELLED


def test_when_a_job_was_missed_first_says_nothing_of_when_it_ended() -> None:
    end = START + WALLTIME
    found = verdict(answer=Silence.ABSENT, absent_since=end, now=end + GRACE)
    assert found.reason is Reason.VANISHED


ENDS = [state for state in JobState if state.final]
LIVING = [JobState.PENDING, JobState.HELD, JobState.RUNNING, JobState.SUSPENDED]


@pytest.mark.parametrize("state", ENDS)
def test_an_end_of_another_job_with_the_same_id_says_nothing(state: JobState) -> None:
    """Native ids are recycled."""
    answer = said(state, name="xyz", reason=Reason.TIMEOUT, exit_status=0)
    for absent_since in (None, NOW - 1, NOW - GRACE):
        assert verdict(answer=answer, absent_since=absent_since) == verdict(
            answer=Silence.ABSENT, absent_since=absent_since
        )


@pytest.mark.parametrize("state", LIVING)
def test_a_job_that_noted_its_id_is_ours_under_another_name(state: JobState) -> None:
    """`scontrol update jobname=...`, `qalter -N ...`."""
    found = verdict(answer=said(state, name="renamed"), absent_since=NOW - 2 * GRACE)
    assert found == verdict(answer=said(state), absent_since=None)


@pytest.mark.parametrize("state", LIVING)
@pytest.mark.parametrize("markers", [NOT_STARTED, Markers(started=Marker("18", START))], ids=str)
def test_a_living_job_of_another_name_may_be_ours(state: JobState, markers: Markers) -> None:
    found = verdict(
        answer=said(state, name="renamed"), markers=markers, absent_since=NOW - 2 * GRACE
    )
    assert (found.state, "was it renamed?" in found.detail) == (UNKNOWN, True)


@pytest.mark.parametrize(
    ("second", "cancelling", "reason"),
    [("17", False, Reason.PREEMPTED), ("18", False, Reason.VANISHED), ("17", True, None)],
)
def test_only_the_same_job_was_started_again_by_the_site(
    second: str, cancelling: bool, reason: Reason | None
) -> None:
    """A script that a person submits a second time by hand has another id."""
    markers = Markers(started=Marker("17", START), restarted=Marker(second, NOW - 300))
    found = verdict(
        answer=Silence.ABSENT, markers=markers, absent_since=NOW - GRACE, cancelling=cancelling
    )
    assert found.reason is reason


# ---- The answer to the submission was lost -------------------------------------------------------

LOST: dict[str, Any] = {
    "accepted": False,
    "markers": NOT_STARTED,
    "answer": Silence.ABSENT,
    "submitting_at": NOW - 60 - GRACE,
    "absent_since": NOW - GRACE,
}


def test_a_job_that_the_scheduler_never_took_was_not_submitted() -> None:
    found = verdict(**LOST)
    assert (found.state, found.reason) == (FAILED, Reason.SUBMIT_FAILED)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"submitting_at": NOW - 59 - GRACE}, id="submitted just now"),
        pytest.param({"absent_since": NOW - GRACE + 1}, id="looked for just now"),
        pytest.param({"absent_since": None}, id="never looked for"),
        pytest.param({"answer": Silence.NO_ANSWER}, id="no answer"),
        pytest.param({"submit_timeout": 61.0}, id="may still be submitting"),
        pytest.param({"cancelling": True, "absent_since": NOW}, id="cancelled meanwhile"),
    ],
)
def test_it_is_looked_for_until_then(changes: dict[str, Any]) -> None:
    assert verdict(**{**LOST, **changes}).state is UNKNOWN


def test_a_job_that_started_was_taken() -> None:
    found = verdict(**{**LOST, "markers": told()})
    assert (found.state, found.reason) == (FAILED, Reason.VANISHED)


def test_a_job_that_is_found_by_name_was_taken() -> None:
    assert verdict(**{**LOST, "answer": said(PENDING)}).state is PENDING


# ---- A kill that the scheduler has not explained yet ---------------------------------------------


@pytest.mark.parametrize(
    "answer", [said(RUNNING), *Silence, said(FAILED, name="another job")], ids=str
)
@pytest.mark.parametrize("exit_code", ["143", "137"])
def test_why_it_was_killed_is_awaited(answer: Answer, exit_code: str) -> None:
    signal = {"signal": "TERM"} if exit_code == "143" else {}
    just_now = told(exit_code, at=NOW - 2, **signal)
    assert verdict(markers=just_now, answer=answer).state is UNKNOWN
    long_ago = told(exit_code, at=NOW - 2 * SETTLE_SECONDS, **signal)
    assert verdict(markers=long_ago, answer=answer).reason is Reason.EXIT_CODE


def test_why_it_was_killed_is_told_in_the_schedulers_words() -> None:
    answer = said(FAILED, reason=Reason.PREEMPTED, detail="PREEMPTED")
    found = verdict(markers=told("143", at=NOW - 2, signal="TERM"), answer=answer)
    assert found == Verdict(FAILED, Reason.PREEMPTED, "stopped by signal TERM (PREEMPTED)")


@pytest.mark.parametrize(
    "answer", [said(CANCELLED), said(FAILED, reason=Reason.OUT_OF_MEMORY)], ids=["gone", "memory"]
)
def test_the_schedulers_reason_waits_for_a_marker_that_may_show_late(answer: Answer) -> None:
    late = {"answer": answer, "lag": 60.0, "absent_since": NOW - 10}
    assert verdict(**late).state is UNKNOWN
    assert verdict(**{**late, "absent_since": NOW - 60}).state.final
    assert verdict(**{**late, "markers": NOT_STARTED}).state.final
    assert verdict(**{**late, "markers": told("0")}).state is SUCCEEDED


def test_a_cancel_that_did_not_reach_the_scheduler_is_not_why_it_timed_out() -> None:
    markers = told("143", at=START + 60, signal="TERM")
    answer = said(FAILED, reason=Reason.TIMEOUT)
    assert verdict(markers=markers, answer=answer, cancelling=True).reason is Reason.TIMEOUT


def test_a_job_of_another_place_is_unknown_and_told_where() -> None:
    found = verdict(answer=Silence.ELSEWHERE, place="vm:/q", absent_since=NOW - 99 * GRACE)
    assert (found.state, "vm:/q" in found.detail) == (UNKNOWN, True)
