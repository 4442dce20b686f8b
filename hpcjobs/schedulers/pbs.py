"""PBS Professional and OpenPBS: `qsub`, `qstat -x` for living and ended jobs alike, `qselect`.

`qstat -F dsv`: one line a job, nothing guessed. (`-F json` often is no JSON, and an answer without
jobs looks the same whether there are none or the server is away.) `-E` makes one request of many
ids, and drops those that are not known; a client without it prints wrapped text. One reader reads
both. The server's name after an id is written in more than one way: the number counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hpcjobs.errors import SubmitRefusedError
from hpcjobs.model import JobState, Observation
from hpcjobs.schedulers import Result
from hpcjobs.schedulers.pbs_text import SEPARATOR, is_whole, no_answer, number, read_jobs, shown

SINGLE_HOST = False

CONFIGURATION = "/etc/pbs.conf"
ARGUMENTS = {  # of qstat, by dialect
    "dsv": ("-E", "-x", "-f", "-F", "dsv", "-D", SEPARATOR),
    "wide": ("-x", "-f", "-w"),
    "wrapped": ("-x", "-f"),
}

NO_ANSWER = re.compile(
    r"cannot connect|Connection|Unknown Host|pbsconf error|pbs_iff|auth:|errno=|End of File"
    r"|[Pp]remature|[Pp]rotocol|System error|[Ii]nternal|[Cc]ommunication|[Tt]imed? ?out"
    r"|[Tt]ry again|shutting down|[Bb]usy|Broken pipe|not responding|No default server"
)
NO_ANSWER_STATUS = {104, 160, 162, 163, 183, 185, 186, 208, 212, 255}
"""PBS's errors modulo 256: try again, unknown host, system, internal, protocol, no connection, no
server, another protocol, server down; and 255, which is no error of PBS's."""

UNKNOWN = re.compile(r"q[a-z]+: Unknown Job Id \S+")
FINISHED = re.compile(r"qdel: Job has finished \S+")


def cluster(environ: Mapping[str, str], read: Callable[[str], str]) -> str:
    """`PBS_SERVER` or, as it was called once, `PBS_DEFAULT`, of the environment; or of pbs.conf."""
    text = read(environ.get("PBS_CONF_FILE") or CONFIGURATION)
    told = re.search(r"^\s*PBS_SERVER\s*=\s*(\S+)", text, re.MULTILINE)
    name = environ.get("PBS_SERVER") or environ.get("PBS_DEFAULT") or (told[1] if told else "")
    return name.strip("\"'").lower()


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
        ids = set(re.findall(r"^([0-9]{1,12}\.[A-Za-z0-9._-]+)\n", result.stdout, re.MULTILINE))
        if len(ids) == 1:
            return str(ids.pop())
        raise no_answer("qsub", result)
    complaint = result.stderr.strip()
    if (
        result.returncode > 0
        and result.returncode not in NO_ANSWER_STATUS
        and re.search(r"^(qsub|usage): ", complaint, re.MULTILINE)
        and not NO_ANSWER.search(complaint)
    ):
        raise SubmitRefusedError(f"PBS refused: {shown(complaint)}")
    raise no_answer("qsub", result)


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
    return ["qstat", *ARGUMENTS[dialect or "dsv"], *_ids(native_ids)]


def parse_query(result: Result) -> Mapping[str, Observation]:
    """By id, whatever is written for the server's name. Ids that are not known are absent."""
    complaints = result.stderr.strip().splitlines()
    forgotten = result.returncode > 0 and complaints and all(map(UNKNOWN.fullmatch, complaints))
    if (result.returncode != 0 and not forgotten) or not is_whole(result.stdout):
        raise no_answer("qstat", result)
    return read_jobs(result.stdout)


def find_argv(name: str, dialect: str = "") -> list[str]:
    """`qselect -x -N NAME`: the ids of all jobs of that name, ended ones too."""
    return ["qselect", "-x", "-N", name]


def parse_find(result: Result, name: str) -> Observation | None:
    """The newest job of that name. How it stands, the next query tells."""
    ids = result.stdout.split()
    if result.returncode != 0 or not is_whole(result.stdout) or not all(map(number, ids)):
        raise no_answer("qselect", result)
    if not ids:
        return None
    newest = max(ids, key=lambda one: int(number(one)))
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


def explain_argv(seen: Collection[Observation]) -> list[str] | None:
    """None: the comment is in the answer already."""
    return None


def parse_explanation(result: Result) -> Mapping[str, str]:
    """Nothing is asked, so nothing is said."""
    return {}


def cancel_argv(native_ids: Collection[str]) -> list[str]:
    """`qdel ID...`."""
    return ["qdel", *_ids(native_ids)]


def parse_cancel(result: Result) -> str:
    """What it complains of, but for jobs that had ended already; the others are cancelled."""
    if result.returncode == 0:
        return ""
    lines = [line.strip() for line in (result.stderr or result.stdout).splitlines()]
    serious = [line for line in lines if line and not FINISHED.fullmatch(line)]
    if lines and not serious:
        return ""
    complaint = shown("\n".join(serious)) or f"exit status {result.returncode}"
    return f"qdel: {complaint}"


def _ids(native_ids: Collection[str]) -> list[str]:
    """Without any, qstat would tell of everybody's jobs.

    Raises:
        ValueError: there is none.
    """
    ids = [one for one in native_ids if number(one)]
    if not ids:
        raise ValueError("there is no job to ask for")
    return ids
