"""The commands of `python -m hpcjobs.local`: parse, call, print.

Exit codes: 0 done; 1 an unknown id (cancel), or not ended (shutdown); 2 wrong use; 3 the name is
used already; 5 the spool cannot be used; 6 locked by another process for too long.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hpcjobs.errors import ExitCode, HpcjobsError, InputError, LockedError
from hpcjobs.local import control, environment, spool_directory
from hpcjobs.local.job import BROKEN, Job, Snapshot, read_job
from hpcjobs.local.options import add_options, read_options
from hpcjobs.local.spool import Spool
from hpcjobs.local.supervisor import supervise


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except HpcjobsError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hpcjobs.local", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    submit = add("submit", _submit, "Put a script into the queue and print its id.")
    submit.add_argument("script", metavar="SCRIPT", type=Path)
    add_options(submit)
    query = add("query", _query, "Print a JSON object a line for each job.")
    query.add_argument("ids", metavar="ID", nargs="*")
    find = add("find", _find, "Print the job of that name, if there is one, as query does.")
    find.add_argument("name", metavar="NAME")
    cancel = add("cancel", _cancel, "End jobs, queued or running; does not wait for the end.")
    cancel.add_argument("ids", metavar="ID", nargs="+")
    internal = add("supervise", _supervise, "(internal) Be the supervisor.")
    internal.add_argument("--lock-fd", type=int, help=argparse.SUPPRESS)
    shutdown = add("shutdown", _shutdown, "End the supervisor; running jobs go on without it.")
    shutdown.add_argument("--kill-jobs", action="store_true", help="cancel every job first")
    return parser


def _submit(options: argparse.Namespace) -> int:
    script = options.script.absolute()
    if not script.is_file():
        raise InputError("the script is not a file", where=str(script))
    wanted = read_options(script, vars(options))
    output = Path(wanted.output or f"{script}.out")
    if not output.parent.is_dir():
        raise InputError("the directory of --output does not exist", where=str(output.parent))
    spool = _spool(create=True)
    job = Job(
        id=0,
        name=wanted.name or "",
        script=str(script),
        output=str(output),
        gpus=wanted.gpus,
        devices=wanted.devices,
        cpu_slots=wanted.cpu_slots,
        walltime=wanted.walltime,
        grace=wanted.grace,
        priority=wanted.priority,
        submitted=time.time(),
        umask=_umask(),
        environment=environment.scrubbed(os.environ),
    )
    with spool.mutex():
        job = spool.enqueue(job)
        _ensure_supervisor(spool)
    print(job.id, flush=True)
    return ExitCode.OK


def _query(options: argparse.Namespace) -> int:
    spool = _spool()
    ids = options.ids or [str(job_id) for job_id in spool.ids()]
    alive = False
    for text in ids:
        snapshot = _read(spool, text)
        alive = alive or (snapshot is not None and snapshot.state != "ended")
        _print(snapshot.view() if snapshot else {"id": text, "state": "unknown"})
    if alive:
        with contextlib.suppress(LockedError), spool.mutex(wait=5):
            _ensure_supervisor(spool)
    return ExitCode.OK


def _find(options: argparse.Namespace) -> int:
    snapshot = _spool().named(options.name)
    if snapshot:
        _print(snapshot.view())
    return ExitCode.OK


def _cancel(options: argparse.Namespace) -> int:
    spool = _spool()
    unknown = False
    with spool.mutex() if spool.directory.exists() else contextlib.nullcontext():
        for text in options.ids:
            if snapshot := _read(spool, text):
                control.cancel(spool, snapshot)
            else:
                unknown = True
                print(f"unknown id: {text}", file=sys.stderr)
        if any(snapshot.state != "ended" for snapshot in spool.read_all()[0]):
            _ensure_supervisor(spool)
    return ExitCode.SOME_FAILED if unknown else ExitCode.OK


def _supervise(options: argparse.Namespace) -> int:
    return supervise(_spool(), options.lock_fd)


def _shutdown(options: argparse.Namespace) -> int:
    spool = _spool()
    try:
        if not spool.directory.exists():
            return ExitCode.OK
        if options.kill_jobs:
            control.end_all_jobs(spool)
        control.end_supervisor(spool)
    except HpcjobsError as error:
        print(error, file=sys.stderr)
        return ExitCode.SOME_FAILED
    return ExitCode.OK


def _spool(*, create: bool = False) -> Spool:
    """The spool, checked if it exists; made first if `create`."""
    directory = spool_directory.spool_directory(os.environ)
    if create:
        spool_directory.prepare(directory)
    elif os.path.lexists(directory):
        spool_directory.check(directory)
    return Spool(directory)


def _read(spool: Spool, text: str) -> Snapshot | None:
    if not (text.isascii() and text.isdecimal() and str(int(text)) == text):
        return None
    try:
        return read_job(spool.path(int(text)))
    except BROKEN as error:
        if spool.path(int(text)).exists():
            print(f"cannot read the record of job {text}: {error!r}", file=sys.stderr)
        return None


def _ensure_supervisor(spool: Spool) -> None:
    """Start a supervisor, or say why not: what the command itself did stands."""
    try:
        control.ensure_supervisor(spool)
    except HpcjobsError as error:
        print(error, file=sys.stderr)


def _print(value: dict[str, object]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
