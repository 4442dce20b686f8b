"""What PBS says, read from recordings of a real one (see tests/fixtures/pbs/README.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.errors import SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import pbs

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "pbs"
FAILED, CANCELLED = JobState.FAILED, JobState.CANCELLED
MANIFEST = {
    line.split("\t")[0]: line.split("\t")
    for line in (RECORDINGS / "MANIFEST.tsv").read_text().splitlines()
}


@dataclass(frozen=True)
class Result:
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""


def recorded(name: str) -> Result:
    """A recording, as hpcjobs.commands would give it."""

    def text(ending: str) -> str:
        path = RECORDINGS / f"{name}.{ending}"
        return path.read_bytes().decode(errors="backslashreplace") if path.exists() else ""

    assert text("out") or text("err") or name in MANIFEST
    status = int(MANIFEST[name][2].removeprefix("rc=")) if name in MANIFEST else 0
    return Result(status, text("out"), text("err"))


def as_dsv(text: str) -> str:
    """Wrapped text as `-F dsv` prints the same jobs."""
    lines = []
    for record in re.split(r"^Job Id: ", text, flags=re.MULTILINE)[1:]:
        native_id, *words = record.replace("\n\t", "").strip().split("\n    ")
        fields = [word.replace(" = ", "=", 1) for word in words]
        lines.append(pbs.SEPARATOR.join([f"Job Id: {native_id}", *fields]) + "\n")
    return "".join(lines)


def job(recording: str, form: str = "text") -> Observation:
    """The only job of a recorded `qstat -f`."""
    result = recorded(recording)
    text = as_dsv(result.stdout) if form == "dsv" else result.stdout
    (one,) = pbs.parse_query(Result(result.returncode, text, result.stderr)).values()
    return one


def dsv(letter: str = "R", native_id: str = "7.pbs1", name: str = "n", **fields: object) -> Result:
    words = [f"Job Id: {native_id}", f"Job_Name={name}", f"job_state={letter}"]
    words += [f"{key}={value}" for key, value in fields.items()]
    return Result(stdout=pbs.SEPARATOR.join(words) + "\n")


def only(result: Result) -> Observation:
    (one,) = pbs.parse_query(result).values()
    return one


def find(result: Result) -> Observation | None:
    return pbs.parse_find(result, "name")


# ---- How jobs stand ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "dsv"])
@pytest.mark.parametrize(
    ("recording", "state", "detail"),
    [
        ("running.qstat_-xfw", JobState.RUNNING, ""),
        ("running-two-chunks.qstat_-f", JobState.RUNNING, ""),
        ("exiting.qstat_-f", JobState.RUNNING, "exiting"),
        ("qdel-node-down.qstat_-f", JobState.RUNNING, ""),
        ("rerun-running-with-stale-exit-status.qstat_-xf", JobState.RUNNING, ""),
        (
            "queued-queue-not-started.qstat_-f",
            JobState.PENDING,
            "Not Running: Queue not started.",
        ),
        (
            "queued-can-never-run.qstat_-f",
            JobState.PENDING,
            "Can Never Run: Insufficient amount of resource: ngpus (R: 500 A: 200 T: 200): "
            "it will not start as it is",
        ),
        ("waiting-a.qstat_-f", JobState.PENDING, "waits for its time"),
        ("dep-afterok.qstat_-f", JobState.PENDING, "waits for another job"),
        ("held-user.qstat_-xfw", JobState.HELD, "held"),
        (
            "requeued-held-exit-11.qstat_-xf",
            JobState.HELD,
            "Job held by hpcuser on Sat Nov 21 07:39:14 2026",
        ),
        (
            "held-too-many-failed-attempts.qstat_-xf",
            JobState.HELD,
            "job held, too many failed attempts to run: it will not start as it is",
        ),
    ],
)
def test_the_living(form: str, recording: str, state: JobState, detail: str) -> None:
    one = job(f"state-{recording}", form)
    assert (one.state, one.detail, one.reason, one.exit_status) == (state, detail, None, None)
    assert not one.state.final


@pytest.mark.parametrize("form", ["text", "dsv"])
@pytest.mark.parametrize(
    ("recording", "state", "reason", "status", "detail"),
    [
        ("dep-afternotok-ran", JobState.SUCCEEDED, None, 0, "Exit_status 0"),
        ("finished-exit3", FAILED, Reason.EXIT_CODE, 3, "Exit_status 3"),
        ("finished-self-sigkill-137", FAILED, Reason.EXIT_CODE, -9, "Exit_status 137"),
        ("finished-shell-sigkill-265", FAILED, Reason.EXIT_CODE, -9, "Exit_status 265"),
        (
            "walltime-killed-plain",
            FAILED,
            Reason.TIMEOUT,
            None,
            "killed at the walltime (Exit_status -29)",
        ),
        (
            "walltime-killed-ignoring-term",
            FAILED,
            Reason.TIMEOUT,
            None,
            "killed at the walltime (Exit_status -29)",
        ),
        (
            "qdeled-running-F271",
            CANCELLED,
            None,
            -15,
            "terminated by hpcuser@localhost (Exit_status 271)",
        ),
        ("qdeled-queued", CANCELLED, None, None, "terminated"),
        ("qdeled-held", CANCELLED, None, None, "deleted"),
        (
            "qdeled-after-too-many-attempts",
            CANCELLED,
            None,
            None,
            "terminated (Exit_status -3)",
        ),
        (
            "dep-afterok-parent-failed-deleted",
            FAILED,
            Reason.SCHEDULER_ERROR,
            None,
            "it never started: what it waited for did not succeed",
        ),
    ],
)
def test_the_ended(
    form: str,
    recording: str,
    state: JobState,
    reason: Reason | None,
    status: int | None,
    detail: str,
) -> None:
    one = job(f"state-{recording}.qstat_-xf", form)
    assert (one.state, one.reason, one.exit_status, one.detail) == (state, reason, status, detail)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Exit_status": -27, "substate": 93}, Reason.OUT_OF_MEMORY),
        ({"Exit_status": -20, "substate": 93}, Reason.NODE_FAILURE),
        ({"Exit_status": -4, "substate": 93}, Reason.NODE_FAILURE),
        ({"Exit_status": -2, "substate": 93}, Reason.SCHEDULER_ERROR),
        ({"substate": 92}, Reason.SCHEDULER_ERROR),
        ({"Exit_status": "garbled"}, Reason.SCHEDULER_ERROR),
    ],
)
def test_ends_that_were_not_recorded(fields: dict[str, object], reason: Reason) -> None:
    one = only(dsv("F", **fields))
    assert (one.state, one.reason) == (FAILED, reason)


@pytest.mark.parametrize(
    ("letter", "state"),
    [
        ("S", JobState.SUSPENDED),
        ("U", JobState.SUSPENDED),
        ("T", JobState.PENDING),
        ("M", JobState.UNKNOWN),
        ("Z", JobState.UNKNOWN),
    ],
)
def test_letters_that_were_not_recorded(letter: str, state: JobState) -> None:
    one = only(dsv(letter, Exit_status=0))
    assert (one.state, one.native_state, one.exit_status) == (state, letter, None)


def test_what_was_left_by_an_earlier_run_does_not_explain_a_deletion() -> None:
    assert only(dsv("F", substate=91, Exit_status=-20)).state is CANCELLED
    assert only(dsv("F", substate=91, Exit_status=0)).state is CANCELLED
    assert only(dsv("F", substate=91, Exit_status=-29)).reason is Reason.TIMEOUT


def test_an_end_is_dated_by_the_only_time_that_has_a_zone() -> None:
    assert job("state-finished-exit3.qstat_-xf").ended == 1795246710.0
    assert job("state-running.qstat_-xfw").ended is None


# ---- Odd answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("recording", ["dsv/odd-D-unit-sep", "dsv/odd.xfw"])
def test_odd_names_and_values_are_not_guessed_at(recording: str) -> None:
    seen = pbs.parse_query(recorded(recording))
    assert [(key, one.name) for key, one in seen.items()] == [
        ("3972.pbs1", "1e5"),
        ("3973.pbs1", "nan"),
    ]


@pytest.mark.parametrize("recording", ["vars-newline.xf", "vars-utf8.xf", "vars-bs.xf"])
@pytest.mark.parametrize("form", ["text", "dsv"])
def test_variables_of_any_content_hide_nothing(recording: str, form: str) -> None:
    one = job(f"odd/{recording}", form)
    assert (one.name, one.state, one.exit_status) == ("env", JobState.SUCCEEDED, 0)


def test_a_value_that_looks_like_an_attribute_does_not_count() -> None:
    forged = "a\n    job_state = F\n    Job_Name = other"
    text = f"Job Id: 7.pbs1\n    Job_Name = n\n    job_state = R\n    V = {forged}\n\n"
    one = only(Result(stdout=text))
    assert (one.name, one.state) == ("n", JobState.RUNNING)


def test_the_servers_name_after_an_id_may_be_written_otherwise() -> None:
    seen = pbs.parse_query(dsv(native_id="7.pbs1.abci.local"))
    assert "7.pbs2" in seen and "7" in seen and "8.pbs1" not in seen and "x" not in seen
    assert seen["7.pbs1"].native_id == "7.pbs1.abci.local"


def test_of_two_servers_that_gave_one_number_only_the_very_id_is_known() -> None:
    text = dsv(name="a").stdout + dsv(native_id="7.pbs2", name="b").stdout
    seen = pbs.parse_query(Result(stdout=text))
    assert (seen["7.pbs1"].name, seen["7.pbs2"].name, seen.get("7.pbs3")) == ("a", "b", None)


def test_ids_that_are_not_known_are_absent() -> None:
    assert pbs.parse_query(recorded("err-qstat-unknown")) == {}
    known = Result(153, dsv().stdout, recorded("err-qstat-unknown").stderr)
    assert list(pbs.parse_query(known)) == ["7.pbs1"]
    assert pbs.parse_query(Result()) == {}


def test_another_users_job_that_is_not_shown_is_absent() -> None:
    assert pbs.parse_query(recorded("otherjobs-off.qstat_rootjob")) == {}


def test_without_a_history_an_ended_job_is_absent() -> None:
    assert pbs.parse_query(recorded("history-off.qstat-x")) == {}
    assert pbs.parse_query(recorded("history-off.qstat-finished")) == {}


@pytest.mark.parametrize(
    "result",
    [
        *(
            recorded(name)
            for name in sorted(MANIFEST)
            if re.match(r"err-(server|no)-.*-qstat", name)
        ),
        recorded("err-qstat-finished-no-x"),
        recorded("err-qstat-malformed"),
        recorded("err-qstat-json-without-f"),
        recorded("err-qstat-wrong-server"),
        recorded("history-off.qstat-x-f-json"),
        recorded("odd/newest-client.json"),
        recorded("odd/vars-numeric.json"),
        recorded("odd/submit-arguments-backslash-INVALID.json"),
        recorded("otherjobs-off.qstat"),
        Result(-9, dsv().stdout),
        Result(0, dsv().stdout.rstrip("\n")),
        Result(0, "Job Id: 7.pbs1\x1fJob_Name=n\n"),
        Result(0, "Job Id: seven\x1fJob_Name=n\x1fjob_state=F\n"),
        Result(0, "Welcome to the cluster\n"),
        Result(0, "Job Id: 7.pbs1\n    Job_Name = n\n    job_state = F\n"),
    ],
)
def test_what_is_no_whole_answer_is_no_fact(result: Result) -> None:
    with pytest.raises(SchedulerUnavailableError, match="qstat"):
        pbs.parse_query(result)


def test_a_banner_above_an_answer_is_passed_over() -> None:
    assert only(Result(stdout=f"Maintenance on Monday\n\n{dsv().stdout}")).name == "n"


# ---- Dialects ------------------------------------------------------------------------------------


def test_the_dialect_is_chosen_by_what_the_client_says_of_itself() -> None:
    usage = recorded("err-qstat-json-without-f").stderr
    assert pbs.dialect(Result(2, "", usage)) == "dsv"
    older = usage.replace(" [-E]", "")
    assert pbs.dialect(Result(2, "", older)) == "wide"
    oldest = "usage: qstat [-f] [-W site_specific] [-x] [ job_identifier... | destination... ]"
    assert pbs.dialect(Result(2, "", oldest)) == "wrapped"


def test_no_command_is_made_for_no_job_since_it_would_be_about_all() -> None:
    for make in (pbs.query_argv, pbs.cancel_argv):
        with pytest.raises(ValueError, match="no job"):
            make(["", "-x", "x.pbs1"])


def test_all_ids_go_into_one_command_whatever_the_dialect() -> None:
    for dialect in pbs.ARGUMENTS:
        argv = pbs.query_argv(["1.a", "2.a"], dialect)
        assert (argv[0], argv[-2:]) == ("qstat", ["1.a", "2.a"])
        assert "-x" in argv and "-f" in argv and "json" not in argv


# ---- Found by its name ---------------------------------------------------------------------------


def test_the_newest_of_a_name_is_found_and_how_it_stands_is_asked_next() -> None:
    assert find(recorded("empty-none")) is None
    found = find(Result(stdout="8.pbs1\n10.pbs1\n9.pbs1\n"))
    assert found is not None
    assert (found.native_id, found.name, found.state) == ("10.pbs1", "name", JobState.UNKNOWN)
    assert len(recorded("mixed-qselect").stdout.split()) > 10
    assert find(recorded("mixed-qselect_-x_-s_F")) is not None


@pytest.mark.parametrize(
    "result",
    [recorded("err-server-down-qselect"), Result(stdout="7.pbs1\n8.pb"), Result(stdout="hello\n")],
)
def test_a_search_without_an_answer_is_no_fact(result: Result) -> None:
    with pytest.raises(SchedulerUnavailableError, match="qselect did not answer"):
        find(result)


# ---- Submitting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "native_id"),
    [
        (recorded("qsub-script-ok").stdout, "0.pbs1"),
        ("Group gaa50000: 12 points left\n4711.pbs1\n", "4711.pbs1"),
        ("12\n4711.pbs-a.site.jp\nThank you\n", "4711.pbs-a.site.jp"),
        ("4711.pbs1\n4711.pbs1\n", "4711.pbs1"),
    ],
)
def test_the_id_is_found_below_a_banner(text: str, native_id: str) -> None:
    assert pbs.parse_submit(Result(stdout=text)) == native_id


@pytest.mark.parametrize(
    "name",
    [name for name, row in MANIFEST.items() if name.startswith("err-qsub") and row[2] != "rc=0"],
)
def test_a_refusal_tells_what_pbs_said(name: str) -> None:
    result = recorded(name)
    with pytest.raises(SubmitRefusedError) as caught:
        pbs.parse_submit(result)
    said = result.stderr.splitlines()[0].removeprefix("qsub: ").strip()
    assert said[:200] in caught.value.what


@pytest.mark.parametrize(
    "result",
    [
        *(
            recorded(name)
            for name in sorted(MANIFEST)
            if re.match(r"err-(server|no)-.*-qsub", name)
        ),
        Result(0, "", ""),
        Result(0, "welcome\n", ""),
        Result(0, "12\n", ""),
        Result(0, "4711.pb", ""),
        Result(0, "4711.pbs1\n4712.pbs1\n", ""),
        Result(1, "4711.pbs1\n", "site-qsub: internal error"),
        Result(-9, "", "qsub: Unknown queue"),
        Result(162, "", "qsub: System error"),
        Result(1, "", "gateway timeout"),
    ],
)
def test_what_may_have_been_submitted_all_the_same_is_no_refusal(result: Result) -> None:
    with pytest.raises(SchedulerUnavailableError, match="qsub did not answer"):
        pbs.parse_submit(result)


def test_a_job_may_wait_for_the_success_of_another() -> None:
    script = Path("/a b/job.sh")
    assert pbs.submit_argv(script, "g") == ["qsub", "-f", "/a b/job.sh"]
    assert pbs.submit_argv(script, "g", "7.pbs1")[2:4] == ["-W", "depend=afterok:7.pbs1"]


# ---- Cancelling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["err-qdel-finished", "err-qdel-twice"])
def test_what_has_ended_need_not_be_cancelled(name: str) -> None:
    assert pbs.parse_cancel(recorded(name)) == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("err-qdel-mixed", "Unknown Job Id 99999"),
        ("err-server-down-qdel", "Connection refused"),
        ("otherjobs-off.qdel_rootjob", "Unauthorized Request  2648.pbs1"),
    ],
)
def test_what_could_not_be_cancelled_is_told(name: str, said: str) -> None:
    assert said in pbs.parse_cancel(recorded(name))
    assert pbs.parse_cancel(Result(1)) != ""


# ---- Clusters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "files", "name"),
    [
        ({}, {}, ""),
        ({}, {"/etc/pbs.conf": "PBS_EXEC=/opt/pbs\nPBS_SERVER=PBS1\n"}, "pbs1"),
        (
            {"PBS_CONF_FILE": "/x"},
            {"/x": "PBS_SERVER=two", "/etc/pbs.conf": "PBS_SERVER=one"},
            "two",
        ),
        ({"PBS_DEFAULT": "four", "PBS_SERVER": ""}, {"/etc/pbs.conf": "PBS_SERVER=one"}, "four"),
        ({"PBS_SERVER": "three"}, {"/etc/pbs.conf": "PBS_SERVER=one"}, "three"),
    ],
)
def test_the_cluster_is_that_of_the_server(
    environ: dict[str, str], files: dict[str, str], name: str
) -> None:
    assert pbs.cluster(environ, lambda path: files.get(path, "")) == name


# ---- Whatever is said ----------------------------------------------------------------------------

WORDS = ["Job Id: 7.pbs1", "Job Id: 12", "Job_Name=n", "    Job_Name = n", "job_state=F", "Q", "",
         "    job_state = R", "Exit_status=0", "Exit_status=\u0663", "\t", "substate=91", "x" * 300,
         "history_timestamp=" + "9" * 13]  # fmt: skip
LINES = st.lists(st.sampled_from(WORDS), max_size=7).flatmap(
    lambda words: st.sampled_from([pbs.SEPARATOR, "\n"]).map(lambda mark: mark.join(words))
)
TEXTS = st.text(max_size=200) | st.lists(LINES, max_size=4).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


@given(st.integers(-15, 255), TEXTS, TEXTS)
def test_reading_raises_nothing_but_that_there_was_no_answer(
    returncode: int, stdout: str, stderr: str
) -> None:
    result = Result(returncode, stdout, stderr)
    parsers: tuple[Callable[[Result], object], ...] = (pbs.parse_query, find)
    for parse in parsers:
        with suppress(SchedulerUnavailableError):
            parse(result)
    with suppress(SchedulerUnavailableError, SubmitRefusedError):
        assert re.fullmatch(r"[0-9]+[.].+", pbs.parse_submit(result))
    assert isinstance(pbs.parse_cancel(result), str)
    assert pbs.dialect(result) in pbs.ARGUMENTS
