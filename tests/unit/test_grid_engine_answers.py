"""What Grid Engine says, read from recordings of a real one (see tests/fixtures/grid_engine)."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.errors import SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import Result as AnyResult
from hpcjobs.schedulers import grid_engine as ge

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "grid_engine"
with (RECORDINGS / "INDEX.tsv").open() as index:
    CODES = {row["fixture"]: int(row["exit_code"]) for row in csv.DictReader(index, delimiter="\t")}

FAILED, HELD, RUNNING = JobState.FAILED, JobState.HELD, JobState.RUNNING


@dataclass(frozen=True)
class Result:
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""


def recorded(name: str) -> Result:
    err = RECORDINGS / f"{name}.err"
    return Result(
        CODES.get(name, 0),
        (RECORDINGS / f"{name}.out").read_text(),
        err.read_text() if err.exists() else "",
    )


def named(prefix: str) -> list[str]:
    return sorted(name for name in CODES if name.startswith(prefix))


def queue(name: str) -> dict[str, Observation]:
    return dict(ge.parse_query(recorded(name)))


def history(name: str) -> Observation:
    """The only job of a recorded qacct."""
    (job,) = ge.parse_history(recorded(name)).values()
    return job


# qsub


@pytest.mark.parametrize(("name", "native_id"), [("qsub.terse", "32"), ("qsub.plain", "31")])
def test_both_answers_of_qsub_give_the_id(name: str, native_id: str) -> None:
    assert ge.parse_submit(recorded(name)) == native_id


def test_an_id_between_banners() -> None:
    said = "Welcome to TSUBAME4\n\n 7805600 \nPoints left: 12\n"
    assert ge.parse_submit(Result(stdout=said)) == "7805600"
    said = 'Unable to run job: warning: not allowed in any queue\nYour job 84 ("x") has been '
    assert ge.parse_submit(Result(1, stderr=said + "submitted.\nExiting.\n")) == "84"


@pytest.mark.parametrize("name", ["qsub.array-terse", "qsub.array-plain", "qsub.array-of-one"])
def test_an_array_is_not_ours(name: str) -> None:
    with pytest.raises(SchedulerUnavailableError):
        ge.parse_submit(recorded(name))


@pytest.mark.parametrize(
    "result",
    [
        Result(),
        Result(stdout="7\n8\n"),
        Result(1, stdout="7\n"),
        Result(-9, stderr="Unable to run job: job rejected: x\n"),
        Result(
            stdout="7\n", stderr="Unable to run job: Job is rejected. h_rt must be specified.\n"
        ),
        Result(1, stderr="bash: qsub: line 1: fork: Resource temporarily unavailable\n"),
        Result(
            1,
            stderr="Unable to run job: failed receiving gdi request response for mid=1 "
            "(got syncron message receive timeout error).\nExiting.\n",
        ),
        Result(1, stderr="Unable to run job: timed out\n"),
        Result(1, stderr='Unable to run job: can\'t resolve hostname "master1"\n'),
    ],
)
def test_a_doubtful_answer_of_qsub_is_looked_up_by_name(result: Result) -> None:
    with pytest.raises(SchedulerUnavailableError):
        ge.parse_submit(result)


DOUBTFUL = {  # these do not say that they come from the master's decision on the job
    "qsub-error.qmaster-down",
    "qsub-error.qmaster-hung",
    "qsub-error.name-utf8",
    "qsub-error.name-with-space",
}


@pytest.mark.parametrize("name", named("qsub-error."))
def test_only_a_certain_refusal_is_one(name: str) -> None:
    error = SchedulerUnavailableError if name in DOUBTFUL else SubmitRefusedError
    with pytest.raises(error) as raised:
        ge.parse_submit(recorded(name))
    assert "Exiting" not in raised.value.what


def test_a_refusal_shows_the_sites_words() -> None:
    with pytest.raises(SubmitRefusedError, match=r"h_rt must be specified\.$"):
        ge.parse_submit(recorded("qsub-error.site-no-h_rt"))
    # ... also of a wrapper that ends with 0, or speaks on its standard output.
    with pytest.raises(SubmitRefusedError, match="h_rt must"):
        ge.parse_submit(Result(stdout="Unable to run job: Job is rejected. h_rt must be.\n"))


# qstat


def test_the_states_in_both_dialects() -> None:
    text, xml = queue("qstat-r.mixed"), queue("qstat-xml.mixed")
    assert text == xml
    assert {job.name: (job.state, job.native_state) for job in text.values()} == {
        "abcdefg-01_long-task_name": (RUNNING, "r"),
        "ebcdefg-01_suspended": (JobState.SUSPENDED, "s"),
        "cbcdefg-01_eqw": (HELD, "Eqw"),
        "gbcdefg-01_waiting": (JobState.PENDING, "qw"),
        "bbcdefg-01_held": (HELD, "hqw"),
    }  # and no task of the array 14
    running, broken = text["7"], text["9"]
    assert running.since == time.mktime((2026, 11, 21, 14, 43, 34, 0, 0, -1))
    assert (broken.since, broken.ended, broken.reason, broken.exit_status) == (None,) * 4
    assert broken.detail == "in error state: it will not start as it is; why: qstat -j 9"


def test_altairs_qstat() -> None:
    text, xml = queue("altair/qstat-r"), queue("altair/qstat-xml")
    assert {key: (job.name, job.state, job.native_state) for key, job in text.items()} == {
        "7805600": ("llm-eval-qwen", RUNNING, "r"),
        "7805602": ("dep", HELD, "hqw"),
        "7805603": ("dying", RUNNING, "dr"),  # with a jclass
        "7805604": ("broken", HELD, "Eqw"),
    }
    assert {key: (job.name, job.state) for key, job in xml.items()} == {
        "7805600": ("llm-eval-qwen", RUNNING),
        "7805604": ("broken", HELD),
    }
    assert text["7805600"].since == xml["7805600"].since is not None


@pytest.mark.parametrize(
    ("name", "native_id", "state", "detail"),
    [
        ("deleting-notify", "47", RUNNING, "dr: being deleted"),
        ("held-while-running", "1423", RUNNING, ""),
        ("queue-suspended", None, JobState.SUSPENDED, "S: suspended"),
        ("rescheduled", "71", JobState.PENDING, "Rq: started anew"),
        ("user-hold", "38", HELD, "hqw: held"),
    ],
)
def test_states_of_recordings(
    name: str, native_id: str | None, state: JobState, detail: str
) -> None:
    jobs = queue(f"qstat-xml.{name}")
    job = jobs[native_id] if native_id else next(iter(jobs.values()))
    assert (job.state, job.detail) == (state, detail)


@pytest.mark.parametrize(
    ("letters", "state"),
    [
        ("qw", JobState.PENDING),
        ("hRwq", HELD),
        ("t", RUNNING),
        ("Rr", RUNNING),
        ("Rt", RUNNING),
        ("hr", RUNNING),
        ("dRs", RUNNING),
        ("ds", RUNNING),
        ("dS", RUNNING),
        ("Rs", JobState.SUSPENDED),
        ("hRS", JobState.SUSPENDED),
        ("T", JobState.SUSPENDED),
        ("P", JobState.SUSPENDED),
        ("N", JobState.SUSPENDED),
        ("Ehqw", HELD),
        ("EhRqw", HELD),
        ("z", FAILED),
        ("", JobState.UNKNOWN),
        ("w", JobState.UNKNOWN),
        ("X", JobState.UNKNOWN),
    ],
)
def test_the_first_rule_of_the_letters_counts(letters: str, state: JobState) -> None:
    text = recorded("qstat-xml.pending").stdout.replace("<state>qw<", f"<state>{letters}<")
    job = next(job for job in ge.parse_query(Result(stdout=text)).values() if job.name[0] == "w")
    assert (job.state, job.native_state) == (state, letters)
    assert job.detail or state in (RUNNING, JobState.PENDING)
    line = f"     9 0.50000 abcdefg-01 hpcuser      {letters:5} 11/21/2026 14:43:34   48\n"
    whole = "       Full jobname:     abcdefg-01_x\n"
    job = ge.parse_query(Result(stdout="job-ID  prior   name \n" + line + whole))["9"]
    assert (job.state, job.native_state) == (state, letters)


@pytest.mark.parametrize("name", ["qstat-xml.none", "qstat-xml.empty", "qstat-r.none"])
def test_no_jobs(name: str) -> None:
    assert queue(name) == {}
    assert ge.parse_find(recorded(name), "abcdefg-01_x") is None


@pytest.mark.parametrize(
    "name",
    [
        "qstat-error.qmaster-down",
        "qstat-error.qmaster-hung",
        "qstat-error.unknown-option",
        "qstat-xml-error.qmaster-down",
        "qstat-j-xml-error.qmaster-down",  # ends with 0
        "qstat-j-xml.unknown",  # ends with 0, and is about no queue
        "qstat-r.user-file-f",
        "qstat-r.user-file-ext",
        "altair/qstat",  # names are cut
    ],
)
def test_what_says_nothing_is_not_taken_for_no_jobs(name: str) -> None:
    with pytest.raises(SchedulerUnavailableError):
        ge.parse_query(recorded(name))
    with pytest.raises(SchedulerUnavailableError):
        ge.parse_find(recorded(name), "abcdefg-01_x")


def test_a_complaint_without_an_answer_is_not_taken_for_no_jobs() -> None:
    for result in (
        Result(stderr="error: commlib error: got select error\n"),
        Result(stdout="The system is down for maintenance.\n"),
        Result(stdout="job-ID  prior   name       user\n--------\n"),
    ):
        with pytest.raises(SchedulerUnavailableError):
            ge.parse_query(result)


def test_names_with_the_characters_of_xml() -> None:
    (job,) = queue("qstat-xml.name-xml-specials").values()
    assert job.name == 'a&b<c>"d'
    (job,) = queue("qstat-xml.name-200-chars").values()
    assert job.name == "x" * 200


def test_xml_that_is_not_well_formed_is_read() -> None:
    text = recorded("qstat-xml.pending").stdout.replace("waits-for-capacity", "a & b\x1b\\xff")
    assert "a & b\x1b\\xff" in {job.name for job in ge.parse_query(Result(stdout=text)).values()}


def test_a_job_is_found_by_its_whole_name() -> None:
    for name in ("qstat-r.mixed", "qstat-xml.mixed"):
        found = ge.parse_find(recorded(name), "bbcdefg-01_held")
        assert found is not None and found.native_id == "8"
        assert ge.parse_find(recorded(name), "bbcdefg-01") is None
        assert ge.parse_find(recorded(name), "arr") is None


WHOLE = ["qstat-r.mixed", "qstat-xml.mixed", "altair/qstat-r", "altair/qstat-xml"]


@given(st.sampled_from(WHOLE), st.data())
def test_a_truncated_answer_never_makes_a_job_absent(name: str, data: st.DataObject) -> None:
    text = recorded(name).stdout
    jobs = ge.parse_query(Result(stdout=text))
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    try:
        seen = ge.parse_query(Result(stdout=cut))
    except SchedulerUnavailableError:
        return
    if "xml" in name:
        assert seen == jobs
    else:  # the text has no end mark: only one that ends with a line below a name is believed
        assert cut.endswith("\n")
        assert all(seen[key] == jobs[key] for key in seen)


# qacct


@pytest.mark.parametrize(
    ("name", "state", "reason", "status", "detail"),
    [
        ("done-exit0", JobState.SUCCEEDED, None, 0, ""),
        ("failed-exit3", FAILED, Reason.EXIT_CODE, 3, "exit status 3"),
        ("h_rt-killed", FAILED, Reason.TIMEOUT, -9, "killed at the walltime (37: "),
        ("h_rt-killed-notify", FAILED, Reason.TIMEOUT, -9, "killed at the walltime (37: "),
        ("s_rt-trapped-then-h_rt", FAILED, Reason.TIMEOUT, -9, "killed at the walltime (37: "),
        ("failed37-but-exit0", FAILED, Reason.EXIT_CODE, 0, "37: qmaster enforced h_rt, h_cpu"),
        ("s_rt-no-trap", FAILED, Reason.EXIT_CODE, -10, "100: assumedly after job, exit status"),
        ("s_rt-trap-exits-75", FAILED, Reason.EXIT_CODE, 75, "exit status 75"),
        ("qdel-running", FAILED, Reason.EXIT_CODE, -9, "100: assumedly after job, exit status 137"),
        ("script-died-by-SIGSEGV", FAILED, Reason.EXIT_CODE, -11, "100: assumedly after job"),
        ("script-died-by-SIGTERM", FAILED, Reason.EXIT_CODE, -15, "100: assumedly after job"),
        ("Eqw", FAILED, Reason.SCHEDULER_ERROR, None, "26: opening input/output file"),
        ("no-such-interpreter", FAILED, Reason.SCHEDULER_ERROR, None, "27: searching requested"),
        ("Eqw-no-workdir", FAILED, Reason.SCHEDULER_ERROR, None, "28: changing into working"),
        ("prolog-failed", FAILED, Reason.SCHEDULER_ERROR, None, "8: in prolog"),
        ("exit100-Eqw", FAILED, Reason.EXIT_CODE, 100, "30: application error returned, exit"),
        ("lost-in-host-crash", FAILED, Reason.NODE_FAILURE, None, "19: before writing exit_status"),
        ("shepherd-killed", FAILED, Reason.NODE_FAILURE, None, "19: before writing exit_status"),
        # Of several records the last counts.
        ("exit99-rescheduled", JobState.SUCCEEDED, None, 0, ""),
        ("rescheduled", JobState.SUCCEEDED, None, 0, ""),
        ("Eqw-cleared-then-done", JobState.SUCCEEDED, None, 0, ""),
        ("prolog-failed-then-done", JobState.SUCCEEDED, None, 0, ""),
    ],
)
def test_the_ended_are_told_by_the_accounting(
    name: str, state: JobState, reason: Reason | None, status: int | None, detail: str
) -> None:
    job = history(f"qacct-j.{name}")
    assert (job.state, job.reason, job.exit_status) == (state, reason, status)
    assert job.detail.startswith(detail) and bool(job.detail) == bool(detail)


@pytest.mark.parametrize(
    ("name", "state", "reason", "status", "detail"),
    [
        ("done", JobState.SUCCEEDED, None, 0, ""),
        ("h_rt-killed", FAILED, Reason.TIMEOUT, -9, "killed at the walltime (44: execd enforced"),
        ("qdel-running", JobState.CANCELLED, None, -9, "deleted by ux01234@login1"),
    ],
)
def test_altairs_accounting(
    name: str, state: JobState, reason: Reason | None, status: int, detail: str
) -> None:
    job = history(f"altair/qacct-j.{name}")
    assert (job.state, job.reason, job.exit_status) == (state, reason, status)
    assert job.detail.startswith(detail) and job.name == "llm-eval"


def test_when_it_ran() -> None:
    sge, altair = history("qacct-j.h_rt-killed"), history("altair/qacct-j.h_rt-killed")
    assert (sge.native_id, sge.name) == ("42", "hrt-killed")
    assert sge.since == time.mktime((2026, 11, 21, 7, 32, 36, 0, 0, -1))
    assert sge.ended == time.mktime((2026, 11, 21, 7, 32, 42, 0, 0, -1))
    assert altair.ended == time.mktime((2026, 5, 30, 22, 59, 55, 0, 0, -1))
    lost = history("qacct-j.lost-in-host-crash")  # -/-
    assert (lost.since, lost.ended) == (None, None)


@pytest.mark.parametrize("name", [n for n in named("qacct-") if CODES[n] == 1])
def test_a_job_without_a_record_is_no_fact(name: str) -> None:
    assert ge.parse_history(recorded(name)) == {}


def test_a_whole_accounting() -> None:
    told = ge.parse_history(recorded("qacct-o-j.all"))
    assert {job.name for job in told.values()} >= {"dbcdefg-01_short", "cbcdefg-01_eqw"}
    assert not any(job.name == "arr" for job in told.values())
    assert ge.parse_history(recorded("qacct-o-j.nothing")) == {}
    assert ge.parse_history(recorded("qacct-j.array")) == {}


@pytest.mark.parametrize(
    ("failed", "status", "ran", "limit", "reason"),
    [
        ("100 : assumedly after job", 137, 1791, "h_rt=1800", Reason.TIMEOUT),
        ("100 : assumedly after job", 137, 1791, "h_rt=0:30:00", Reason.TIMEOUT),
        ("100 : assumedly after job", 137, 1780, "h_rt=1800", Reason.EXIT_CODE),
        ("100 : assumedly after job", 137, 1800, "", Reason.EXIT_CODE),
        ("100 : assumedly after job", 143, 1800, "h_rt=1800", Reason.EXIT_CODE),
        ("37  : qmaster enforced h_rt, h_cpu, or h_vmem limit", 137, 9, "", Reason.TIMEOUT),
        ("37  : x", 137, 9, "h_vmem=1G,h_rt=1800", Reason.EXIT_CODE),
        ("37  : x", 0, 1800, "h_rt=1800", Reason.EXIT_CODE),
        ("44  : execd enforced h_rt limit", 0, 1800, "h_rt=1800", Reason.EXIT_CODE),
        ("44  : execd enforced h_rt limit", 137, 9, "h_rt=1800", Reason.TIMEOUT),
        ("52  : some memory limit", 137, 9, "h_rt=1800", Reason.OUT_OF_MEMORY),
        ("53  : something new", 137, 9, "h_rt=1800", Reason.SCHEDULER_ERROR),
    ],
)
def test_the_rule_of_the_walltime(
    failed: str, status: int, ran: int, limit: str, reason: Reason
) -> None:
    record = (
        f"{'=' * 62}\njobname      abc\njobnumber    7\ntaskid       undefined\n"
        f"failed       {failed}    \nexit_status  {status}  (Killed)\nru_wallclock {ran}s\n"
        f"category     -U x -l {limit},node_q=1\n"
    )
    assert ge.parse_history(Result(stdout=record))["7"].reason is reason
    altair = record.replace(f"{ran}s", f"{ran}.001").replace("category", "hard_resources")
    assert ge.parse_history(Result(stdout=altair))["7"].reason is reason


def test_a_record_that_is_not_the_end_of_the_job() -> None:
    """Rescheduled: it is back in the queue, and may have been deleted there."""
    first = recorded("qacct-j.rescheduled").stdout.split("=" * 62)[1]
    job = ge.parse_history(Result(stdout="=" * 62 + first))["71"]
    assert not job.state.final and job.reason is None


def test_half_a_record_is_not_the_end_of_the_job_and_neither_is_an_older_one() -> None:
    text = recorded("qacct-j.exit99-rescheduled").stdout
    cut = text[: text.rindex("exit_status")]
    assert ge.parse_history(Result(stdout=cut)) == {}
    with pytest.raises(SchedulerUnavailableError):
        ge.parse_history(Result(stdout=cut + "exit_sta"))


def test_part_of_a_parallel_job_is_not_the_job() -> None:
    text = recorded("altair/qacct-j.done").stdout.replace("pe_taskid    NONE", "pe_taskid    1.r1")
    assert ge.parse_history(Result(stdout=text)) == {}


# qdel


@pytest.mark.parametrize(
    "name",
    ["running", "pending", "Eqw", "running-notify", "execd-hung", "array-task-running"],
)
def test_what_was_cancelled(name: str) -> None:
    assert ge.parse_cancel(recorded(f"qdel.{name}")) == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "qdel.one-of-three",
            'denied: job "13" does not exist; denied: job "99999" does not exist',
        ),
        ("qdel.again", 'denied: job "36" does not exist'),
        ("qdel-error.garbage", "The job abc of user(s) hpcuser does not exist"),
    ],
)
def test_what_was_not_cancelled_is_said(name: str, said: str) -> None:
    assert ge.parse_cancel(recorded(name)) == said


def test_a_failing_qdel_says_why() -> None:
    assert "privileges" in ge.parse_cancel(recorded("qdel-error.job-of-another-user"))
    assert "send message" in ge.parse_cancel(recorded("qdel-error.qmaster-down"))
    assert ge.parse_cancel(recorded("qdel-f.execd-hung")) == "qdel ended with 1"
    assert ge.parse_cancel(Result(-9)) == "qdel ended with -9"
    assert ge.parse_cancel(Result(0, "Welcome\nu has deleted job 3\ndenied: job 4\n")) == (
        "denied: job 4"
    )


# Any text


PIECES = st.one_of(
    st.text(),
    st.sampled_from(["\n", "<job_info>", "</job_info>", "<job_list>", "</job_list>", "<?xml", "7"]),
    st.sampled_from([line for name in WHOLE for line in recorded(name).stdout.splitlines(True)]),
    st.sampled_from(recorded("qacct-j.exit99-rescheduled").stdout.splitlines(True)),
    st.sampled_from(recorded("altair/qacct-j.h_rt-killed").stdout.splitlines(True)),
    st.sampled_from(["Unable to run job: ", 'Your job 3 ("x") has been submitted\n', "3\n"]),
)
PARSERS: list[Callable[[AnyResult], object]] = [
    ge.parse_submit,
    ge.parse_query,
    ge.parse_history,
    ge.parse_cancel,
    ge.dialect,
    lambda result: ge.parse_find(result, "abcdefg-01_x"),
]


@given(
    st.sampled_from(PARSERS),
    st.integers(-15, 255),
    st.lists(PIECES, max_size=25).map("".join),
    st.lists(PIECES, max_size=3).map("".join),
)
def test_no_text_breaks_the_readers(
    parse: Callable[[AnyResult], object], code: int, out: str, err: str
) -> None:
    for returncode in (code, 0):
        with suppress(SchedulerUnavailableError, SubmitRefusedError):
            parse(Result(returncode, out, err))


@given(st.integers(1, 255), st.lists(PIECES, max_size=9).map("".join))
def test_a_failed_qstat_never_says_that_there_are_no_jobs(code: int, text: str) -> None:
    for result in (Result(code, text), Result(-code, text), Result(code, "", text)):
        with pytest.raises(SchedulerUnavailableError):
            ge.parse_query(result)


# qstat -j: why a job is in error state


def test_the_reason_of_an_error_state_is_read() -> None:
    stuck = "in error state: it will not start as it is"
    why = "can't chdir to /home/hpcuser/t/gone: No such file or directory"
    both = recorded("qstat-j.Eqw").stdout + recorded("qstat-j.Eqw-no-workdir").stdout
    read = ge.parse_explanation(Result(stdout=both))
    assert read["59"] == f"{stuck}: {why}"
    assert read["54"].endswith('"/home/hpcuser/t/nonexistent/dir": No such file or directory')
    assert set(read) == {"54", "59"}


def test_a_job_that_is_not_in_error_state_has_no_reason() -> None:
    assert ge.parse_explanation(recorded("qstat-j.two-known")) == {}
    assert ge.parse_explanation(recorded("qstat-error.qmaster-down")) == {}


def test_reasons_are_asked_for_those_in_error_state_only() -> None:
    seen = queue("qstat-r.mixed")
    stuck = [key for key, job in seen.items() if "E" in job.native_state]
    assert ge.explain_argv(seen.values()) == ["qstat", "-j", ",".join(stuck)]
    rest = [job for key, job in seen.items() if key not in stuck]
    assert ge.explain_argv(rest) is None
