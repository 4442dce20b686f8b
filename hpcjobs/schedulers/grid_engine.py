"""Grid Engine (Altair, Univa, Son of Grid Engine): `qsub`, `qstat` for the living, `qacct` for the
ended, `qdel`. What they print is read in grid_engine_text; docs/grid-engine.md explains both.

An empty id means every job to `qstat -j` and `qacct -j`, so ids are checked before they are passed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hpcjobs.errors import SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import Observation
from hpcjobs.processes import user_name
from hpcjobs.schedulers import Result
from hpcjobs.schedulers.grid_engine_text import (
    no_answer,
    read_qacct,
    read_qstat,
    read_reasons,
    shown,
)

SINGLE_HOST = False
SHOWS_ALL = True
"""The bulk query tells of all jobs of this user, not only of those that it is asked for."""

ROOTS = ("/var/lib/gridengine",)
"""Where a cell is looked for if SGE_ROOT is not set (Debian's clients know it by themselves)."""

NO_ANSWER = re.compile(
    r"commlib|qmaster|gdi|connect|communicat|time(d )?[ -]?out|receiv|unpack|answer list|temporar"
    r"|shut(ting)? down|busy|credential|certificate|authenticat"
    r'|can\'t resolve host(?!name "/)',  # that one is about a path with a colon
    re.IGNORECASE,
)
"""In a complaint of qsub: the master may have taken the job all the same, or was never asked."""

REFUSED = re.compile(
    r"^(Unable to run job: (?!warning)"
    r"|Unable to read script file because of error: "
    r"|qsub: (Unknown option|invalid option|argument to|ERROR!)"
    r"|(qsub: )?ERROR! invalid option)",
    re.MULTILINE,
)
ACCEPTED = re.compile(
    r"has (registered the job(-array task)? \S+ for deletion|deleted job(-array task)? \S+)"
    r"|is already in deletion"
)
COMPLAINT = re.compile(
    r"denied|error|unable|not |can't|cannot|fail|invalid|unknown|privilege", re.IGNORECASE
)


def cluster(environ: Mapping[str, str], read: Callable[[str], str]) -> str:
    """`$SGE_ROOT/$SGE_CELL/common/cluster_name`; not the master's host, which may change."""
    cell = environ.get("SGE_CELL") or "default"
    for root in filter(None, (environ.get("SGE_ROOT", ""), *ROOTS)):
        name = read(f"{root}/{cell}/common/cluster_name").strip()
        if name:
            return name.split()[0]
    return ""


def submit_argv(script: Path, group: str, after: str = "") -> list[str]:
    """`qsub -terse -g GROUP SCRIPT`; TSUBAME takes the group on the command line only.

    Raises:
        ValueError: there is an `after`. `-hold_jid` is released however that job ended.
    """
    if after:
        raise ValueError("Grid Engine cannot wait for the success of another job")
    return ["qsub", "-terse", *(["-g", group] if group else []), str(script)]


def parse_submit(result: Result) -> str:
    """The id, from `-terse` or from the sentence that a site's wrapper may print instead of it.

    An answer with several numbers, or with a number and a complaint, says nothing for certain: the
    job is then looked for by its name.
    """
    said = f"{result.stdout}\n{result.stderr}"
    told = re.findall(r"^Your job ([0-9]+) \(.*\) has been submitted", said, re.MULTILINE)
    if len(told) == 1:  # that is a fact, whatever else was said (`-w w` warns first)
        return str(told[0])
    array = re.search(r"^(Your job-array )?[0-9]+\.[0-9]+-[0-9]+:[0-9]+", said, re.MULTILINE)
    refused = REFUSED.search(said)
    ids = re.findall(r"^[ \t]*([0-9]{1,12})[ \t]*$", result.stdout, re.MULTILINE)
    if result.returncode == 0 and len(ids) == 1 and not refused and not array:
        return str(ids[0])
    if refused and result.returncode >= 0 and not (ids or told or array or NO_ANSWER.search(said)):
        raise SubmitRefusedError(f"Grid Engine refused: {shown(said)}")
    raise no_answer("qsub", result)


def probe_argv() -> list[str] | None:
    """`qstat -help`, which asks no master."""
    return ["qstat", "-help"]


def dialect(result: Result) -> str:
    """`xml`, or `text` where qstat does not know `-xml` (said of TSUBAME4)."""
    return "xml" if re.search(r"^\s*\[-xml\]", result.stdout + result.stderr, re.M) else "text"


def query_argv(native_ids: Collection[str], dialect: str = "") -> list[str]:
    """`qstat -u USER -s prs -xml`, or `-r` for `-xml`: all living jobs of this user.

    `-s prs` is the default, unless a ~/.sge_qstat hides some; `-r` is what prints whole names.
    `qstat -j ID` shows no states.
    """
    return ["qstat", "-u", _user(), "-s", "prs", "-xml" if dialect == "xml" else "-r"]


def parse_query(result: Result) -> Mapping[str, Observation]:
    """By id; XML or text, whichever it is."""
    return read_qstat(result)


def find_argv(name: str, dialect: str = "") -> list[str]:
    """As for `query_argv`: qstat does not select by name."""
    return query_argv((), dialect)


def parse_find(result: Result, name: str) -> Observation | None:
    """The living job of that name; the newest, should there be two."""
    found = [job for job in read_qstat(result).values() if job.name == name]
    return max(found, key=lambda job: int(job.native_id), default=None)


def history_argv(native_ids: Collection[str]) -> list[str] | None:
    """`qacct -j ID`; for several jobs `qacct -o USER -j`, since `-j 2,3` would read 2 only.

    Without `-d DAYS`, which would drop the records of jobs that never started.
    """
    ids = _ids(native_ids)
    if not ids:
        return None
    return ["qacct", "-j", ids[0]] if len(ids) == 1 else ["qacct", "-o", _user(), "-j"]


def parse_history(result: Result) -> Mapping[str, Observation]:
    """By id. A job that qacct does not know is no fact: its record may come minutes later."""
    return read_qacct(result)


def find_history_argv(name: str) -> list[str] | None:
    """`qacct -j NAME`; a name of ours begins with a letter and holds no wildcard."""
    return ["qacct", "-j", name] if re.fullmatch(r"[A-Za-z][\w.-]*", name, re.ASCII) else None


def explain_argv(seen: Collection[Observation]) -> list[str] | None:
    """`qstat -j ID,ID,...` of those in error state: no listing has the reason."""
    ids = _ids([job.native_id for job in seen if "E" in job.native_state and not job.state.final])
    return ["qstat", "-j", ",".join(ids)] if ids else None


def parse_explanation(result: Result) -> Mapping[str, str]:
    """By id. A job that has gone meanwhile is left out by qstat itself."""
    return read_reasons(result)


def cancel_argv(native_ids: Collection[str]) -> list[str]:
    """`qdel ID...`.

    Raises:
        ValueError: there is no id among them.
    """
    ids = _ids(native_ids)
    if not ids:
        raise ValueError("there is no job to cancel")
    return ["qdel", *ids]


def parse_cancel(result: Result) -> str:
    """What was not accepted, as qdel says it: on its standard output, one line a job."""
    lines = [line.strip() for line in f"{result.stdout}\n{result.stderr}".splitlines()]
    left = [line for line in lines if line.strip(".") and not ACCEPTED.search(line)]
    if result.returncode == 0:  # what else is said may be a site's banner
        left = [line for line in left if COMPLAINT.search(line)]
    elif not left:
        return f"qdel ended with {result.returncode}"
    return shown("\n".join(left))


def _ids(native_ids: Collection[str]) -> list[str]:
    return [one for one in native_ids if re.fullmatch(r"[0-9]{1,12}", one, re.ASCII)]


def _user() -> str:
    """Whose jobs are asked for."""
    try:
        return user_name()
    except KeyError as error:
        raise SchedulerUnavailableError("this user has no name on this machine") from error
