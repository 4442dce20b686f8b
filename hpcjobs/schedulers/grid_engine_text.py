"""What Grid Engine's `qstat` (XML or text) and `qacct` print, read into observations. Pure.

A half answer is no answer: what cannot be read whole is never taken for "there is no such job".
Array tasks are not ours and are passed over. Times are local ones without a zone.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from hpcjobs.durations import local_moment, parse_duration
from hpcjobs.errors import SchedulerUnavailableError
from hpcjobs.model import JobState, Observation, Reason
from hpcjobs.schedulers import Result

LINE = re.compile(
    r" *(?P<id>[0-9]{1,12}) +[0-9.]+ +(?P<name>\S+) +\S+(?: +(?P<state>[A-Za-z]{1,8}))?"
    r" +(?P<since>[0-9]{2}/[0-9]{2}/[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?"
    r"(?P<rest>(?: .*)?)"
)
"""A job in the text of qstat. The rest is `[queue] [jclass] slots [tasks]`."""

TASKS = re.compile(r"(?:^|.* )[0-9]+ +[0-9][0-9,:.-]*")
"""Such a rest, of an array's tasks: `48 2-10:1`."""

WHOLE_NAME = re.compile(r"\s+Full jobname:\s+(\S+)\s*")
HEADER = re.compile(r"^job-ID\s+prior\s+name\s", re.MULTILINE)

SLACK = 10.0
"""A kill this many seconds before the walltime still is one at the walltime."""

LIMIT_KILLS = ("37", "44")
"""`failed` codes of a job killed at its limit; where the job went on undisturbed, its exit status
is 0. Only 44 (Altair) says which limit."""

STUCK = "in error state: it will not start as it is"

AGAIN = ("24", "25")
"""`failed` codes of a record that is not the job's end: it went back into the queue."""

BY_ITSELF = ("0", "30", "100")
"""`failed` codes where the exit status is the job's own."""

LOST = "19"
"""`before writing exit_status`: the host crashed or the job's supervisor was killed. Its
exit_status of 0 means nothing."""


def read_qstat(result: Result) -> dict[str, Observation]:
    """The living jobs, by id.

    Raises:
        SchedulerUnavailableError: no conclusion can be drawn from this answer.
    """
    if result.returncode != 0:
        raise no_answer("qstat", result)
    text = result.stdout
    if "<job_info" in text or "<?xml" in text:
        jobs = _xml(text)
    elif text.strip():
        jobs = _text(text)
    elif result.stderr.strip():
        raise no_answer("qstat", result)
    else:
        jobs = []
    return {job.native_id: job for job in jobs}


def _xml(text: str) -> list[Observation]:
    """Not by an XML parser: what Grid Engine prints is not always well-formed. A `<` in a name is
    `%lt;`, so a tag is a tag.
    """
    opened = len(re.findall(r"<job_info(?=[\s>])(?:[^>]*[^/>])?>", text))
    if not (
        opened == text.count("</job_info>") > 0
        and re.search(r"<queue_info\s*/?>", text)
        and re.search(r"<job_info\s*/?>", text)
        and "_error>" not in text
    ):
        raise _garbled(text)
    jobs = []
    blocks = re.findall(r"<job_list\b[^>]*>(.*?)</job_list>", text, re.DOTALL)
    if len(blocks) != text.count("<job_list") or len(blocks) != text.count("</job_list>"):
        raise _garbled(text)
    for block in blocks:
        native_id, name, state = (
            _element(block, key) for key in ("JB_job_number", "JB_name", "state")
        )
        if native_id is None or not _is_id(native_id) or name is None or state is None:
            raise _garbled(block)
        if _element(block, "tasks") is None:
            since = _seconds(_element(block, "JAT_start_time") or "")
            jobs.append(_living(native_id, name, state, since))
    return jobs


def _element(block: str, key: str) -> str | None:
    found = re.search(rf"<{key}>(.*?)</{key}>", block, re.DOTALL)
    return None if found is None else html.unescape(found[1]).replace("%lt;", "<").strip()


def _text(text: str) -> list[Observation]:
    """The listing of `qstat -r`: a line a job, which cuts its name to ten characters, and below it
    indented lines, the whole name first. It has no end mark: if it were cut off right after one of
    those lines, that would go unseen.
    """
    header = HEADER.search(text)
    if header is None or not text.endswith("\n"):
        raise _garbled(text)
    jobs: list[Observation] = []
    waiting: re.Match[str] | None = None
    seen = 0
    for line in text[header.start() :].split("\n")[1:]:
        if waiting is not None:  # the whole name must come next
            name = WHOLE_NAME.fullmatch(line)
            if name is None or not name[1].startswith(waiting["name"][:10]):
                raise _garbled(f"{waiting[0]}: its whole name is missing")
            if not TASKS.fullmatch(waiting["rest"].strip()):
                since = _seconds(waiting["since"])
                jobs.append(_living(waiting["id"], name[1], waiting["state"] or "", since))
            waiting = None
        elif line.strip("- \t") and (not line[0].isspace() or re.match(r" {0,12}[0-9]+ ", line)):
            waiting = LINE.fullmatch(line)
            seen += 1
            if waiting is None:
                raise _garbled(line)
    if waiting is not None or not seen:  # the header stands above jobs only
        raise _garbled(text)
    return jobs


def _living(native_id: str, name: str, letters: str, since: float | None) -> Observation:
    """By the letters of its state, of which about 35 combinations exist: the first rule counts."""
    state, detail = JobState.UNKNOWN, f"{letters or 'a job without a state'}: not known"
    if not re.fullmatch(r"[A-Za-z]*", letters):
        pass
    elif "E" in letters:
        state = JobState.HELD
        detail = f"{STUCK}; why: qstat -j {native_id}"
    elif "d" in letters:
        state, detail = JobState.RUNNING, f"{letters}: being deleted"
    elif set(letters) & set("sSTNP"):
        state, detail = JobState.SUSPENDED, f"{letters}: suspended"
    elif set(letters) & set("rt"):
        state, detail = JobState.RUNNING, ""
    elif "h" in letters:
        state, detail = JobState.HELD, f"{letters}: held"
    elif "q" in letters:
        state, detail = JobState.PENDING, f"{letters}: started anew" if "R" in letters else ""
    elif "z" in letters:  # how it ended, the accounting tells
        return Observation(
            native_id, name, JobState.FAILED, letters, Reason.EXIT_CODE, detail="ended"
        )
    started = since if state in (JobState.RUNNING, JobState.SUSPENDED) else None
    return Observation(native_id, name, state, letters, since=started, detail=detail)


def read_reasons(result: Result) -> dict[str, str]:
    """Why jobs are in error state, by id, from `qstat -j`; nothing where it says nothing."""
    reasons: dict[str, str] = {}
    for record in re.split(r"^={20,}\s*$", result.stdout, flags=re.MULTILINE):
        native_id = re.search(r"^job_number: +([0-9]{1,12})$", record, re.MULTILINE)
        said = re.search(r"^error reason +1: +(.*\S)", record, re.MULTILINE)
        if native_id and said:
            why = re.sub(r"^[0-9/]+ [0-9:]+ \[[0-9:]+\]: (error: )?", "", said[1])
            reasons[native_id[1]] = f"{STUCK}: {why}"
    return reasons


def read_qacct(result: Result) -> dict[str, Observation]:
    """The ended jobs, by id: the last record of each, since one that ran again has several.

    Raises:
        SchedulerUnavailableError: it said nothing.
    """
    if result.returncode == 1 and re.search(
        r"^error: job (id|name) .*not found\s*$", result.stderr, re.MULTILINE
    ):
        return {}
    if result.returncode != 0 or (result.stdout and not result.stdout.endswith("\n")):
        raise no_answer("qacct", result)
    told: dict[str, Observation] = {}
    for record in re.split(r"^={20,}\s*$", result.stdout, flags=re.MULTILINE)[1:]:
        fields = dict(re.findall(r"^([a-z_]+)[ \t]+(.*?)[ \t]*$", record, re.MULTILINE))
        native_id = fields.get("jobnumber", "")
        if not _is_id(native_id) or fields.get("taskid", "undefined") != "undefined":
            continue
        if fields.get("pe_taskid", "NONE") not in ("NONE", "undefined"):
            continue  # a part of a parallel job
        ended = _ended(native_id, fields)
        if ended is None:  # half a record: an older one is not its end either
            told.pop(native_id, None)
        else:
            told[native_id] = ended
    return told


def _ended(native_id: str, fields: Mapping[str, str]) -> Observation | None:
    failed = re.match(r"([0-9]{1,5})\b\s*:?\s*(.*)", fields.get("failed", ""))
    status = re.match(r"([0-9]{1,9})\b", fields.get("exit_status", ""))
    name = fields.get("jobname")
    if failed is None or status is None or not name:
        return None
    code, words, number = failed[1], f"{failed[1]}: {failed[2]}".rstrip(": "), int(status[1])
    since, ended = _seconds(fields.get("start_time", "")), _seconds(fields.get("end_time", ""))
    exit_status: int | None = number
    if number > 128 and code in ("100", *LIMIT_KILLS):
        exit_status = 128 - number
    elif code not in (*BY_ITSELF, *LIMIT_KILLS):
        exit_status = None
    deleted = fields.get("deleted_by", "NONE")
    reason: Reason | None = Reason.EXIT_CODE
    state, detail = JobState.FAILED, f"{words}, exit status {number}"
    if code in AGAIN:
        state, reason, detail = JobState.UNKNOWN, None, f"{words}: back in the queue"
    elif code == "0" and number == 0:
        state, reason, detail = JobState.SUCCEEDED, None, ""
    elif _timed_out(code, number, fields):
        reason, detail = Reason.TIMEOUT, f"killed at the walltime ({words})"
    elif deleted not in ("NONE", "") and number != 0:
        state, reason, detail = JobState.CANCELLED, None, f"deleted by {deleted}"
    elif code == "0":
        detail = f"exit status {number}"
    elif code == LOST:
        reason = Reason.NODE_FAILURE
        detail = f"{words}: its host crashed, or its supervisor was killed"
    elif code not in (*BY_ITSELF, *LIMIT_KILLS):
        memory = re.search(r"memory|h_vmem", failed[2]) and number != 0
        reason = Reason.OUT_OF_MEMORY if memory else Reason.SCHEDULER_ERROR
        detail = words
    return Observation(
        native_id, name, state, words, reason, exit_status, since, ended, detail=detail
    )


def _timed_out(code: str, exit_status: int, fields: Mapping[str, str]) -> bool:
    """Whether it was killed at its walltime. A kill by qdel, or for memory, has code 100 too."""
    if code == "44":
        return exit_status != 0
    ran = re.match(r"[0-9]+(\.[0-9]+)?", fields.get("ru_wallclock", ""))
    limit = None
    for key in ("submit_cmd", "hard_resources", "category"):
        for value in re.findall(r"(?:^|[\s,])h_rt=([0-9:]+)", fields.get(key, "")):
            limit = _duration(value)
    past = None if ran is None or limit is None else float(ran[0]) >= limit - SLACK
    if code == "37":  # h_rt, h_cpu or h_vmem
        return exit_status != 0 and past is not False
    return code == "100" and exit_status == 137 and past is True


def _duration(value: str) -> float | None:
    """`1800` or `0:30:00`."""
    if value.isdecimal():
        return float(value)
    try:
        return parse_duration(value)
    except ValueError:
        return None


def _seconds(moment: str) -> float | None:
    """In epoch seconds: XML's, text's or Altair's, or Son of Grid Engine's qacct's."""
    forms = ("%Y-%m-%dT%H:%M:%S", "%m/%d/%Y %H:%M:%S", "%a %b %d %H:%M:%S %Y")
    return local_moment(re.sub(r"\.[0-9]+$", "", moment.strip()), *forms)


def _is_id(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) is not None


def no_answer(program: str, result: Result) -> SchedulerUnavailableError:
    """The error for a command that told nothing."""
    said = shown(result.stderr) or shown(result.stdout) or f"exit status {result.returncode}"
    return SchedulerUnavailableError(f"{program} did not answer: {said}")


def shown(complaint: str) -> str:
    """On one line, without what is said of every refusal."""
    lines = (line.strip() for line in complaint.splitlines())
    return "; ".join(dict.fromkeys(one for one in lines if one and one != "Exiting."))[:400]


def _garbled(text: str) -> SchedulerUnavailableError:
    return SchedulerUnavailableError(
        f"qstat's answer is garbled: {shown(text)[:200]}",
        do="if ~/.sge_qstat changes what qstat prints (-f, -ext), take that out",
    )
