"""PBS Professional and OpenPBS: `qsub`, `qstat -x` for living and ended jobs alike, `qselect`.

`qstat -F dsv`: one line a job, nothing guessed. (`-F json` often is no JSON, and an answer without
jobs looks the same whether there are none or the server is away.) `-E` makes one request of many
ids, and drops those that are not known; a client without it prints wrapped text. One reader reads
both. The server's name after an id is written in more than one way: the number counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from hpcjobs.errors import SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import Result

SINGLE_HOST = False

CONFIGURATION = "/etc/pbs.conf"
SEPARATOR = "\x1f"
"""A character that no name of ours and no comment holds."""

ARGUMENTS = {  # of qstat, by dialect
    "dsv": ("-E", "-x", "-f", "-F", "dsv", "-D", SEPARATOR),
    "wide": ("-x", "-f", "-w"),
    "wrapped": ("-x", "-f"),
}

ALIVE = {
    "Q": JobState.PENDING,
    "T": JobState.PENDING,  # on its way to a queue
    "W": JobState.PENDING,  # its time has not come
    "H": JobState.HELD,
    "R": JobState.RUNNING,
    "E": JobState.RUNNING,  # exiting; it has an Exit_status already
    "B": JobState.RUNNING,  # an array that has begun
    "S": JobState.SUSPENDED,
    "U": JobState.SUSPENDED,
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

NO_ANSWER = re.compile(
    r"cannot connect|Connection|Unknown Host|pbsconf error|pbs_iff|auth:|errno=|End of File"
    r"|[Pp]remature|[Pp]rotocol|System error|[Ii]nternal|[Cc]ommunication|[Tt]imed? ?out"
    r"|[Tt]ry again|shutting down|[Bb]usy|Broken pipe|not responding|No default server"
)
NO_ANSWER_STATUS = {160, 162, 163, 183, 185, 186, 212, 255}
"""PBS's error modulo 256: unknown host, system, internal, protocol, no connection, no server, down,
try again; and no connection at all."""

UNKNOWN = re.compile(r"q[a-z]+: Unknown Job Id \S+")
FINISHED = re.compile(r"qdel: Job has finished \S+")


def cluster(environ: Mapping[str, str], read: Callable[[str], str]) -> str:
    """`PBS_SERVER`, of the environment or of pbs.conf."""
    text = read(environ.get("PBS_CONF_FILE") or CONFIGURATION)
    told = re.search(r"^\s*PBS_SERVER\s*=\s*(\S+)", text, re.MULTILINE)
    return (environ.get("PBS_SERVER") or (told[1] if told else "")).strip("\"'").lower()


def submit_argv(script: Path, group: str, after: str = "") -> list[str]:
    """`qsub -f SCRIPT`; everything else, the group too, stands in the script.

    Without -f a second qsub stays behind and submits for the next ones, even after the first was
    given up. A job whose predecessor failed is ended by PBS without having run.
    """
    wait = ["-W", f"depend=afterok:{after}"] if after else []
    return ["qsub", "-f", *wait, str(script)]


def parse_submit(result: Result) -> str:
    """`NUMBER.SERVER`, perhaps below a site's banner.

    Only a complaint that PBS itself makes of the job is a refusal.
    """
    if result.returncode == 0:
        ids = re.findall(r"^([0-9]+(?:\.[A-Za-z0-9._-]+)?)$", result.stdout, re.MULTILINE)
        if ids:
            return str(ids[-1])
        raise _no_answer("qsub", result)
    complaint = result.stderr.strip()
    if (
        result.returncode > 0
        and result.returncode not in NO_ANSWER_STATUS
        and re.search(r"^(qsub|usage): ", complaint, re.MULTILINE)
        and not NO_ANSWER.search(complaint)
    ):
        raise SubmitRefusedError(f"PBS refused: {_shown(complaint)}")
    raise _no_answer("qsub", result)


def probe_argv() -> list[str] | None:
    """`qstat --help`: the usage names the options that there are; no server is asked."""
    return ["qstat", "--help"]


def dialect(result: Result) -> str:
    """`dsv` from the generation of ABCI on; else text, not wrapped where that can be had."""
    usage = result.stdout + result.stderr
    if "[-E]" in usage and "-F format" in usage and "-D delim" in usage:
        return "dsv"
    return "wide" if re.search(r"-f\].*-w\]", usage) else "wrapped"


def query_argv(native_ids: Collection[str], dialect: str = "") -> list[str]:
    """`qstat -E -x -f -F dsv ID...`: queue and history in one."""
    return ["qstat", *ARGUMENTS[dialect or "dsv"], *native_ids]


def parse_query(result: Result) -> Mapping[str, Observation]:
    """By id, whatever is written for the server's name. Ids that are not known are absent."""
    complaints = result.stderr.strip().splitlines()
    forgotten = result.returncode > 0 and complaints and all(map(UNKNOWN.fullmatch, complaints))
    if (result.returncode != 0 and not forgotten) or not _is_whole(result.stdout):
        raise _no_answer("qstat", result)
    return _ByNumber([_observation(*record) for record in _records(result.stdout)])


def find_argv(name: str, dialect: str = "") -> list[str]:
    """`qselect -x -N NAME`: the ids of all jobs of that name, ended ones too."""
    return ["qselect", "-x", "-N", name]


def parse_find(result: Result, name: str) -> Observation | None:
    """The newest job of that name. How it stands, the next query tells."""
    ids = result.stdout.split()
    if result.returncode != 0 or not _is_whole(result.stdout) or not all(map(_number, ids)):
        raise _no_answer("qselect", result)
    if not ids:
        return None
    newest = max(ids, key=lambda one: int(_number(one)))
    return Observation(newest, name, JobState.UNKNOWN, "", detail="found again by its name")


def history_argv(native_ids: Collection[str]) -> list[str] | None:
    """None: `qstat -x` tells of ended jobs as well, as long as the site keeps them."""
    return None


def parse_history(result: Result) -> Mapping[str, Observation]:
    """Nothing is asked, so nothing is said."""
    return {}


def find_history_argv(name: str) -> list[str] | None:
    """None, as for `history_argv`."""
    return None


def cancel_argv(native_ids: Collection[str]) -> list[str]:
    """`qdel ID...`."""
    return ["qdel", *native_ids]


def parse_cancel(result: Result) -> str:
    """What it complains of, but for jobs that had ended already; the others are cancelled."""
    if result.returncode == 0:
        return ""
    lines = [line.strip() for line in (result.stderr or result.stdout).splitlines()]
    serious = [line for line in lines if line and not FINISHED.fullmatch(line)]
    return "" if lines and not serious else "\n".join(serious) or f"qdel: {result.returncode}"


class _ByNumber(Mapping[str, Observation]):
    """Jobs by id: as it was said or, where only one has that number, by the number in it."""

    def __init__(self, jobs: Collection[Observation]) -> None:
        self._jobs = {job.native_id: job for job in jobs}
        self._numbered = {_number(native_id): job for native_id, job in self._jobs.items()}
        for number, count in Counter(map(_number, self._jobs)).items():
            if count > 1:
                del self._numbered[number]

    def __getitem__(self, native_id: str) -> Observation:
        return self._jobs.get(native_id) or self._numbered[_number(native_id)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)


def _number(native_id: str) -> str:
    """What is before the first dot; empty if that is no number."""
    number = native_id.partition(".")[0]
    return number if re.fullmatch(r"[0-9]{1,12}", number) else ""


def _is_whole(stdout: str) -> bool:
    return not stdout or stdout.endswith("\n")


def _records(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The id and the attributes of each job.

    One line a job, or one an attribute, which may go on after a line break and a tab. Values may
    hold line breaks of their own; what comes first counts.
    """
    records = re.split(r"^Job Id: ", text, flags=re.MULTILINE)[1:]
    if text.strip() and not records:
        raise SchedulerUnavailableError(f"qstat's answer is garbled: {_shown(text)}")
    for record in records:
        if SEPARATOR in record:
            native_id, *words = record.rstrip("\n").split(SEPARATOR)
        else:
            native_id, *words = re.sub(r"\n\t", "", record).split("\n")
        fields: dict[str, str] = {}
        for word in words:
            key, separator, value = word.partition("=")
            if separator:
                fields.setdefault(key.strip(), value.strip())
        if not _number(native_id) or not fields.get("Job_Name") or not fields.get("job_state"):
            raise SchedulerUnavailableError(f"qstat's answer is garbled: {_shown(record)}")
        yield native_id, fields


def _observation(native_id: str, fields: Mapping[str, str]) -> Observation:
    name, letter = fields["Job_Name"], fields["job_state"]
    comment = fields.get("comment", "")
    if letter in ENDED:
        return _ended(native_id, name, letter, fields)
    state, detail = ALIVE.get(letter, JobState.UNKNOWN), comment
    if letter == "H" and fields.get("substate") == WAITS_FOR_ANOTHER:
        state, detail = JobState.PENDING, comment or "waits for another job"
    elif state is JobState.RUNNING:
        detail = ""  # where and since when
    if NEVER.search(comment):
        detail = f"{comment}: it will not start as it is"
    return Observation(native_id, name, state, letter, detail=detail or letter.replace("R", ""))


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


def _no_answer(program: str, result: Result) -> SchedulerUnavailableError:
    complaint = _shown(result.stderr) or f"exit status {result.returncode}"
    return SchedulerUnavailableError(f"{program} did not answer: {complaint}")


def _shown(complaint: str) -> str:
    """On one line, without what PBS puts before each."""
    lines = (re.sub(r"^q[a-z]+: ", "", line).strip() for line in complaint.splitlines())
    return "; ".join(filter(None, lines))[:400]
