"""A download as a submitit job: on Slurm's node without GPUs, or on this host."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hpcjobs.ask import ask
from hpcjobs.assemble import Assembly
from hpcjobs.commands import run
from hpcjobs.config.services import find_node
from hpcjobs.durations import format_duration
from hpcjobs.errors import InputError, SchedulerUnavailableError
from hpcjobs.evidence import Silence
from hpcjobs.files import write_json
from hpcjobs.model import JobState, Node, Observation, Service
from hpcjobs.place import place
from hpcjobs.predownload.fetching import DownloadFailedError
from hpcjobs.predownload.records import (
    JOB,
    SUBMISSION,
    End,
    directories,
    new_directory,
    read_end,
    read_request,
    read_values,
    same,
)
from hpcjobs.predownload.request import MODEL, Request
from hpcjobs.processes import ProcessIdentity, hostname
from hpcjobs.schedulers import live
from hpcjobs.store import AttemptRecord
from hpcjobs.workspace import Workspace

LATE = 15.0
"""Seconds that the end of a job may take to be seen on a shared disk."""


@dataclass(frozen=True)
class Download:
    """A download that was submitted."""

    directory: Path
    name: str
    native_id: str

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.directory / f"{self.native_id}_0_log.out"


def as_job(service: Service) -> bool:
    """Whether downloads are jobs there; else they run in the foreground."""
    return service.scheduler in ("local", "slurm")


def require_libraries(request: Request, service: Service) -> None:
    """Refuse what would fail for want of a library.

    Raises:
        InputError: huggingface-hub or submitit is not installed.
    """
    needed = {"submitit": as_job(service),
              "huggingface_hub": any(thing.kind == MODEL for thing in request.things)}  # fmt: skip
    for module, wanted in needed.items():
        if wanted and importlib.util.find_spec(module) is None:
            raise InputError(
                f"{module.replace('_', '-')} is not installed",
                where="predownload",
                do="pip install 'hpcjobs[predownload]'",
            )


def submit(assembly: Assembly, request: Request) -> Download:
    """Submit a download.

    Raises:
        SubmitRefusedError: the scheduler refused.
        SchedulerUnavailableError: it did not say whether it took it.
    """
    service, workspace = assembly.service, assembly.workspace
    options = _options(assembly) if service.scheduler == "slurm" else {}
    if "%" in str(workspace.root):
        raise InputError(
            f"{workspace.root}: submitit takes a % in a path for a job's number",
            where="--workspace",
            do="move the workspace to a plain path",
        )
    directory = new_directory(workspace, request)
    name = f"hpcjobs-predownload-{directory.name}"
    submission = {
        "scheduler": service.scheduler,
        "place": _place(service),
        "name": name,
        "walltime": service.download_walltime,
        "options": {"job-name": name, **options},
    }
    write_json(directory / SUBMISSION, submission)
    argv = [sys.executable, "-m", "hpcjobs.predownload.submitting", str(directory)]
    result = run(argv, timeout=service.submit_timeout + 30.0)  # what importing submitit may take
    if service.scheduler == "slurm":
        return Download(directory, name, live("slurm").parse_submit(result))
    if result.returncode != 0 or not re.fullmatch(r"[0-9]+\n", result.stdout):
        raise SchedulerUnavailableError(f"submitit started no job: {result.stderr.strip()[-400:]}")
    return Download(directory, name, result.stdout.strip())


def running(workspace: Workspace, service: Service, request: Request) -> Download | None:
    """A download of just this that is in the queue or runs.

    Raises:
        SchedulerUnavailableError: the scheduler does not say.
    """
    for directory in directories(workspace):
        submission = read_values(directory / SUBMISSION)
        if (
            submission is None
            or submission["scheduler"] != service.scheduler
            or read_end(directory) is not None
            or not same(read_request(directory), request)
        ):
            continue
        job = read_values(directory / JOB) or {}
        found = Download(directory, submission["name"], job.get("native_id", ""))
        seen = look(workspace, service, found)
        if seen is not None and not seen.state.final and read_end(directory) is None:
            return replace(found, native_id=seen.native_id)
    return None


def look(workspace: Workspace, service: Service, download: Download) -> Observation | None:
    """How the job stands; None = it is not there (any more).

    Raises:
        SchedulerUnavailableError: the scheduler does not say.
    """
    submission = read_values(download.directory / SUBMISSION) or {}
    if service.scheduler == "local":
        process = (read_values(download.directory / JOB) or {}).get("process")
        here = submission.get("place") == _place(service)
        if here and process is not None and ProcessIdentity.from_json(process).is_alive():
            state = JobState.RUNNING
            return Observation(download.native_id, download.name, state, "alive", None)
        return None
    record = AttemptRecord(
        1, download.name, submission.get("place", ""), 0.0, native_id=download.native_id or None
    )
    # Not throttled, nor kept for others: whoever calls this paces itself.
    answer = ask(workspace, replace(service, poll_seconds=0), [record]).get(download.name)
    if answer is None or isinstance(answer, Silence) or answer.name != download.name:
        return None
    return answer


def follow(
    workspace: Workspace,
    service: Service,
    download: Download,
    show: Callable[[bytes], None],
    tell: Callable[[str], None],
) -> End:
    """Wait for the end of a download, and pass on what it prints and how it stands.

    Raises:
        DownloadFailedError: something could not be fetched, or it ended without a word.
    """
    here = service.scheduler == "local"
    pace, late = (0.5, 2.0) if here else (max(2.0, service.poll_seconds), LATE)
    offset, asked, gone, told = 0, float("-inf"), float("inf"), ""
    how = "it is not in the queue any more"
    while True:
        end = read_end(download.directory)
        offset = _pass_on(download.log, offset, show)
        now = time.monotonic()
        if end is not None:
            require_success(download, end)
            return end
        if now - gone > late:
            raise _failed(download, f"it ended without a word: {how}")
        if now - asked >= pace:
            asked = now
            try:
                seen = look(workspace, service, download)
            except SchedulerUnavailableError as error:
                said = error.what  # no conclusion; it is asked again
            else:
                said = "" if seen is None else f"{seen.native_state} {seen.detail}".strip()
                alive = seen is not None and not seen.state.final
                gone = float("inf") if alive else min(gone, now)
                how = said or how
            if said not in (told, "", "alive"):
                tell(f"job {download.native_id}: {said}")
                told = said
        time.sleep(0.2 if here else 1.0)


def require_success(download: Download, end: End) -> None:
    """Raise DownloadFailedError if something could not be fetched."""
    if end.errors:
        raise _failed(download, "; ".join(end.errors))


def _failed(download: Download, what: str) -> DownloadFailedError:
    return DownloadFailedError(
        what,
        where=f"job {download.native_id}",
        do=f"read {download.log}; check the name, the network of that node, and HF_TOKEN in .env "
        "if it is gated; what was fetched is kept",
    )


def _pass_on(log: Path, offset: int, show: Callable[[bytes], None]) -> int:
    """Show what a log has grown by; how much was shown in all."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return offset
    if data:
        show(data)
    return offset + len(data)


def download_node(service: Service) -> Node:
    """The node that downloads run on.

    Raises:
        InputError: none is named, and all have GPUs.
    """
    if service.download_node:
        return find_node(service, service.download_node)
    for node in service.nodes.values():
        if not node.gpus:
            return node
    raise InputError(
        f"{service.name} has no node without GPUs to download on",
        where=service.where,
        do='name one that has the network: `predownload: {node: NAME, walltime: "04:00:00"}`',
    )


def _options(assembly: Assembly) -> dict[str, str | bool]:
    """The words for sbatch; True is a bare flag."""
    service, node = assembly.service, download_node(assembly.service)

    def expand(text: str) -> str:
        return assembly.personal.expand(text, where=service.where)

    given = {**service.options, **node.options}
    given.pop("signal", None)  # submitit's own
    further = {name: expand(value) for name, value in given.items()}
    account = expand(service.group)
    assembly.personal.require_nothing_missing()
    return {
        "time": format_duration(min(service.download_walltime, service.walltime_max)),
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(node.cores),
        "no-requeue": True,
        **({"account": account} if account else {}),
        **{name: value or True for name, value in further.items() if value or not given[name]},
    }


def _place(service: Service) -> str:
    return place(live(service.scheduler)) if service.scheduler == "slurm" else hostname()
