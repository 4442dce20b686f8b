"""A download as a submitit job: on Slurm's node without GPUs, or on this host."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from hpcjobs.ask import ask
from hpcjobs.assemble import Assembly
from hpcjobs.commands import run
from hpcjobs.config.services import find_node
from hpcjobs.durations import format_duration
from hpcjobs.errors import InputError, SchedulerUnavailableError, SubmitRefusedError
from hpcjobs.evidence import Silence
from hpcjobs.files import write_json
from hpcjobs.model import JobState, Node, Observation, Service
from hpcjobs.place import place
from hpcjobs.predownload.records import (
    JOB,
    SUBMISSION,
    directories,
    new_directory,
    read_end,
    read_request,
    read_values,
    same,
    write_end,
)
from hpcjobs.predownload.request import MODEL, Request
from hpcjobs.processes import ProcessIdentity, hostname
from hpcjobs.schedulers import live
from hpcjobs.store import AttemptRecord
from hpcjobs.workspace import Workspace


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
    options = sbatch_options(assembly) if service.scheduler == "slurm" else {}
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
        try:
            return Download(directory, name, live("slurm").parse_submit(result))
        except SubmitRefusedError as error:
            write_end(directory, (), (error.what,))  # nobody need look for it
            raise
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


def sbatch_options(assembly: Assembly) -> dict[str, str | bool]:
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
