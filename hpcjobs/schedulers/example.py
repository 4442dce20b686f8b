"""An example to copy: how a scheduler becomes known to hpcjobs (docs/add-a-scheduler.md).

The scheduler is made up. It is called Example, and has three commands:

    ex-submit SCRIPT     prints    job 17 accepted
    ex-list              prints    17|NAME|waiting|-     one line for each of one's own jobs, also
                         for those of the last days; then the line `end`
    ex-cancel ID...      complains on its standard error, one line a job that it cannot cancel

A module like this one is pure: it makes argument lists, and reads what was printed. It runs
nothing, opens nothing, and does not look at the clock (tests/unit/test_architecture.py sees to it),
so that every answer a scheduler has ever given can be kept as a test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hpcjobs.errors import SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import Result

# True where each machine has a queue of its own, which no other machine can ask.
SINGLE_HOST = False

# The scheduler's words become ours here, and only here. What is in neither table is UNKNOWN, which
# is shown, is never an end, and is never a reason to submit again.
ALIVE = {
    "waiting": JobState.PENDING,
    "held": JobState.HELD,
    "running": JobState.RUNNING,
    "frozen": JobState.SUSPENDED,
}
# A reason is given only where the scheduler itself knows it. EXIT_CODE says no more than that the
# job failed; SUCCEEDED is the scheduler's word, and whether it is true, the job itself tells.
ENDED = {
    "done": (JobState.SUCCEEDED, None),
    "failed": (JobState.FAILED, Reason.EXIT_CODE),
    "too long": (JobState.FAILED, Reason.TIMEOUT),
    "cancelled": (JobState.CANCELLED, None),
}


def cluster(environ: Mapping[str, str], read: Callable[[str], str]) -> str:
    """One workspace may be seen from several clusters: this keeps their jobs apart.

    The scheduler, which may be away, is not asked; a file or a variable must tell it. "" = unknown.
    """
    told = re.search(r"^cluster (\S+)", read("/etc/example.conf"), re.MULTILINE)
    return told[1] if told else ""


def submit_argv(script: Path, group: str, after: str = "") -> list[str]:
    """All that can stand in the script stands in its template, templates/schedulers/NAME.sh.j2.

    `after` is for schedulers that can wait for the *success* of another job.
    """
    if after:
        raise ValueError("Example cannot wait for the success of another job")
    return ["ex-submit", *(["--group", group] if group else []), str(script)]


def parse_submit(result: Result) -> str:
    """Here a job can be lost or doubled, so there are three outcomes, not two.

    An id: it was taken. SubmitRefusedError: it certainly was not, by a decision about this job.
    Everything else is SchedulerUnavailableError: it may have been taken although the answer was
    lost; hpcjobs then looks for it by its name, and submits nothing until that is settled.
    """
    taken = re.search(r"^job ([0-9]+) accepted$", result.stdout, re.MULTILINE)
    if result.returncode == 0 and taken:
        return taken[1]
    if result.returncode > 0 and result.stderr.startswith("refused: "):
        raise SubmitRefusedError(f"Example {result.stderr.strip()}")
    raise _no_answer("ex-submit", result)


def probe_argv() -> list[str] | None:
    """A command that tells which of several dialects the clients here speak; None = only one."""
    return None


def dialect(result: Result) -> str:
    """Its name, read from the probe's answer; `query_argv` and `find_argv` are given it."""
    return ""


def query_argv(native_ids: Collection[str], dialect: str = "") -> list[str]:
    """One command for all jobs, however many: schedulers do not like to be asked often."""
    return ["ex-list"]


def parse_query(result: Result) -> Mapping[str, Observation]:
    """A job that is not in what this returns counts as gone, after a while as lost.

    So only a whole answer is an answer: look for an exit status, a last line, a known form. Never
    read an empty text, a timeout, a banner or half a line as "no such job".
    """
    lines = result.stdout.splitlines()
    if result.returncode != 0 or lines[-1:] != ["end"]:
        raise _no_answer("ex-list", result)
    jobs = [_observation(line) for line in lines[:-1] if "|" in line]  # others are a banner
    return {job.native_id: job for job in jobs}


def find_argv(name: str, dialect: str = "") -> list[str]:
    """Looks for a job whose id was never told. `name` is unique, and `query_argv` may do."""
    return query_argv(())


def parse_find(result: Result, name: str) -> Observation | None:
    """The job of exactly that name; None only if there certainly is none."""
    jobs = parse_query(result).values()
    return next((job for job in jobs if job.name == name), None)


# Where ended jobs are asked for by another command (sacct, qacct), the next three say how. What an
# accounting does not know is no fact, since it lags.


def history_argv(native_ids: Collection[str]) -> list[str] | None:
    """None: ex-list tells of ended jobs, too."""
    return None


def parse_history(result: Result) -> Mapping[str, Observation]:
    """Nothing is asked, so nothing is said."""
    return {}


def find_history_argv(name: str) -> list[str] | None:
    """None, as for `history_argv`."""
    return None


# Where the queue does not say why a job is stuck, and one more command does.


def explain_argv(seen: Collection[Observation]) -> list[str] | None:
    """None: there is no such command."""
    return None


def parse_explanation(result: Result) -> Mapping[str, str]:
    """Nothing is asked, so nothing is said."""
    return {}


def cancel_argv(native_ids: Collection[str]) -> list[str]:
    """One command for all of them."""
    return ["ex-cancel", *native_ids]


def parse_cancel(result: Result) -> str:
    """What is told to the person; a job that had ended already is nothing to complain of."""
    lines = [line for line in result.stderr.splitlines() if not line.endswith("has ended")]
    if result.returncode != 0 and not result.stderr.strip():
        return f"ex-cancel ended with {result.returncode}"
    return "\n".join(lines) if result.returncode != 0 else ""


def _observation(line: str) -> Observation:
    columns = line.split("|")
    if len(columns) != 4 or not columns[0].isascii() or not columns[0].isdigit():
        raise SchedulerUnavailableError(f"ex-list's answer is garbled: {line}")
    native_id, name, word, code = columns
    # The name goes along: ids are used again, and a job of another name is not ours.
    if word in ENDED:
        state, reason = ENDED[word]
        status = int(code) if re.fullmatch(r"-?[0-9]{1,5}", code, re.ASCII) else None
        return Observation(native_id, name, state, word, reason, status, detail=f"{word} ({code})")
    return Observation(native_id, name, ALIVE.get(word, JobState.UNKNOWN), word)


def _no_answer(program: str, result: Result) -> SchedulerUnavailableError:
    complaint = result.stderr.strip() or f"exit status {result.returncode}"
    return SchedulerUnavailableError(f"{program} did not answer: {complaint}")
