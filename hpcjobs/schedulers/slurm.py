"""Slurm: `sbatch`, `squeue` for what the controller remembers, `sacct` for what it has forgotten.

Text, not JSON: `squeue --json` of 22.05 ends with 0 and no jobs when slurmctld is down. Both
queries print the same columns, so one reader reads both. A name of ours never holds the separator;
a name of somebody else's job that does only fails to be ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hpcjobs.errors import SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import Result

SINGLE_HOST = False

CONFIGURATIONS = (
    "/etc/slurm/slurm.conf",
    "/run/slurm/conf/slurm.conf",  # of sackd or slurmd, where the controller hands it out
    "/etc/slurm-llnl/slurm.conf",
)

SQUEUE = ("squeue", "--noheader", "--states=all", "--format=%A|%T||%j|%r")
SACCT = (
    "sacct",
    "--allocations",
    "--noheader",
    "--parsable2",
    "--format=JobIDRaw,State,ExitCode,JobName,Reason",
    "--starttime=now-30days",  # without it: since midnight
)
COLUMNS = 5
MANY = 8000
"""More ids than this would not go into one argument (128 KiB); all jobs are asked for instead."""

ALIVE = {
    "PENDING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,  # it has its nodes, which are booting
    "POWER_UP_NODE": JobState.PENDING,
    "REQUEUE_HOLD": JobState.HELD,
    "RESV_DEL_HOLD": JobState.HELD,
    "SPECIAL_EXIT": JobState.HELD,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING,
    "SUSPENDED": JobState.SUSPENDED,
    "STOPPED": JobState.SUSPENDED,
}
ENDED = {  # COMPLETED is Slurm's word only: whether it succeeded, the job itself tells
    "COMPLETED": (JobState.SUCCEEDED, None),
    "FAILED": (JobState.FAILED, Reason.EXIT_CODE),
    "CANCELLED": (JobState.CANCELLED, None),
    "TIMEOUT": (JobState.FAILED, Reason.TIMEOUT),
    "OUT_OF_MEMORY": (JobState.FAILED, Reason.OUT_OF_MEMORY),
    "NODE_FAIL": (JobState.FAILED, Reason.NODE_FAILURE),
    "BOOT_FAIL": (JobState.FAILED, Reason.NODE_FAILURE),
    "RECONFIG_FAIL": (JobState.FAILED, Reason.NODE_FAILURE),
    "PREEMPTED": (JobState.FAILED, Reason.PREEMPTED),
    "DEADLINE": (JobState.FAILED, Reason.SCHEDULER_ERROR),  # `--deadline`, not the walltime
    "LAUNCH_FAILED": (JobState.FAILED, Reason.SCHEDULER_ERROR),
}
HELD = re.compile(r"JobHeld|JobHold|\bheld\b")
NEVER = re.compile(
    r"DependencyNeverSatisfied|Partition(Time|Node)Limit|BadConstraints|Invalid(Account|QOS)"
)
"""Reasons that do not pass by themselves."""

NO_ANSWER = re.compile(
    r"timed out|contact slurm controller|connect failure|[Cc]onnection (refused|reset)|[Mm]unge"
    r"|authentication|transmi|persist_|PersistInit|Unable to process configuration|fetch config"
    r"|getaddrinfo|Communication|temporarily|standby mode|shutting down|Transport endpoint"
    r"|Message (receive|send|shutdown)|Insane message|Broken pipe|Interrupted system call"
    r"|Unspecified error|No error|Protocol version"
    r"|[Uu]nexpected message|Header lengths|No route to host|resolve_ctls"
)
NO_LOG = 53
"""FAILED with this as its signal: slurmd could not open the output or the working directory."""


def cluster(environ: Mapping[str, str], read: Callable[[str], str]) -> str:
    """`ClusterName` of slurm.conf; unknown where the clients fetch their configuration."""
    for path in (environ.get("SLURM_CONF", ""), *CONFIGURATIONS):
        found = re.search(r"^\s*ClusterName\s*=\s*(\S+)", read(path), re.MULTILINE | re.IGNORECASE)
        if found:
            return found[1].lower()  # as Slurm itself keeps it
    return ""


def submit_argv(script: Path, group: str, after: str = "") -> list[str]:
    """`sbatch --parsable SCRIPT`; everything else, the account too, stands in the script.

    A job whose predecessor failed could never start: Slurm then cancels it.
    """
    wait = [f"--dependency=afterok:{after}", "--kill-on-invalid-dep=yes"] if after else []
    return ["sbatch", "--parsable", *wait, str(script)]


def parse_submit(result: Result) -> str:
    """`ID`, or `ID;CLUSTER`, perhaps below a site's banner.

    An `sbatch` that times out may have submitted all the same. Only a complaint that Slurm itself
    makes of the job is a refusal.
    """
    if result.returncode == 0:
        # Half of an answer would be the id of another job.
        ids = re.findall(r"^([0-9]+)(?:;[^\s;]+)?\n", result.stdout, re.MULTILINE)
        if ids:
            return str(ids[-1])
        raise _no_answer("sbatch", result)
    complaint = result.stderr.strip()
    if (
        result.returncode > 0
        and re.search(r"^sbatch: ", complaint, re.MULTILINE)
        and not NO_ANSWER.search(complaint)
    ):
        raise SubmitRefusedError(f"Slurm refused: {_shown(complaint)}")
    raise _no_answer("sbatch", result)


def probe_argv() -> list[str] | None:
    """None: its clients are alike everywhere."""
    return None


def dialect(result: Result) -> str:
    """There is one only."""
    return ""


def query_argv(native_ids: Collection[str], dialect: str = "") -> list[str]:
    """`squeue -t all -j ID,ID,...`: all that slurmctld remembers, ended ones for MinJobAge."""
    return [*SQUEUE, *_jobs(native_ids)]


def parse_query(result: Result) -> Mapping[str, Observation]:
    """By id. An only id that is no longer known is an error to squeue; to us it is absent."""
    if result.returncode > 0 and "Invalid job id specified" in result.stderr:
        return {}
    return _read("squeue", result)


def history_argv(native_ids: Collection[str]) -> list[str] | None:
    """`sacct -X -n -P -j ID,ID,...`."""
    return [*SACCT, *_jobs(native_ids)]


def parse_history(result: Result) -> Mapping[str, Observation]:
    """By id. Rows may be missing, or half written, for some seconds after a job's start or end."""
    return _read("sacct", result)


def find_argv(name: str, dialect: str = "") -> list[str]:
    """`squeue -t all --name NAME`."""
    return [*SQUEUE, f"--name={name}"]


def parse_find(result: Result, name: str) -> Observation | None:
    """The job of that name: the living one, else the newest."""
    found = _read("squeue", result).values()
    return max(found, key=lambda job: (not job.state.final, int(job.native_id)), default=None)


def find_history_argv(name: str) -> list[str] | None:
    """`sacct -X -n -P --name NAME`."""
    return [*SACCT, f"--name={name}"]


def explain_argv(seen: Collection[Observation]) -> list[str] | None:
    """None: the queue says why."""
    return None


def parse_explanation(result: Result) -> Mapping[str, str]:
    """Nothing is asked, so nothing is said."""
    return {}


def cancel_argv(native_ids: Collection[str]) -> list[str]:
    """`scancel ID...`."""
    return ["scancel", *native_ids]


def parse_cancel(result: Result) -> str:
    """What it complains of; a job that has ended already is not an error to it."""
    return "" if result.returncode == 0 else result.stderr.strip() or result.stdout.strip()


def _jobs(native_ids: Collection[str]) -> list[str]:
    return [f"--jobs={','.join(native_ids)}"] if len(native_ids) <= MANY else []


def _read(program: str, result: Result) -> dict[str, Observation]:
    if result.returncode != 0 or (result.stdout and not result.stdout.endswith("\n")):
        raise _no_answer(program, result)
    seen: dict[str, Observation] = {}
    for line in result.stdout.splitlines():
        columns = line.split("|", COLUMNS - 1)
        if len(columns) == 1:  # a site's banner
            continue
        if len(columns) < COLUMNS or not re.fullmatch(r"[0-9]{1,12}", columns[0]):
            raise SchedulerUnavailableError(f"{program}'s answer is garbled: {_shown(line)}")
        observation = _observation(*columns)
        seen[observation.native_id] = observation
    return seen


def _observation(native_id: str, said: str, exit_code: str, name: str, why: str) -> Observation:
    word = (said.split() or [""])[0].rstrip("+")
    reason, detail = None, ""
    if word in ENDED:
        state, reason = ENDED[word]
        status = 0 if word == "COMPLETED" else _exit_status(exit_code)
        detail = f"{said} {exit_code}".strip() if reason is Reason.EXIT_CODE else said
        if word == "FAILED" and status == -NO_LOG:
            reason = Reason.SCHEDULER_ERROR
            detail += ": Slurm could not open its output file or working directory"
    else:
        state, status = ALIVE.get(word, JobState.UNKNOWN), None
        if state is JobState.PENDING and HELD.search(why):
            state = JobState.HELD
        if state in (JobState.PENDING, JobState.HELD):
            detail = why.replace("None", "") if word == "PENDING" else word
            detail += ": it will not start as it is" if NEVER.search(why) else ""
        elif word != "RUNNING":
            detail = word
    return Observation(native_id, name, state, said, reason, status, detail=detail)


def _exit_status(code: str) -> int | None:
    """Slurm's `STATUS:SIGNAL`; negative for a signal."""
    match = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})", code)
    if match is None:
        return None
    return -int(match[2]) if match[2] != "0" else int(match[1])


def _no_answer(program: str, result: Result) -> SchedulerUnavailableError:
    complaint = _shown(result.stderr) or f"exit status {result.returncode}"
    return SchedulerUnavailableError(f"{program} did not answer: {complaint}")


def _shown(complaint: str) -> str:
    """On one line, without what Slurm puts before each."""
    lines = (re.sub(r"^s[a-z]+: (error: )?", "", line) for line in complaint.splitlines())
    return "; ".join(filter(None, (line.strip() for line in lines)))[:400]
