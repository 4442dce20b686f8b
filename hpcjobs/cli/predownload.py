"""`hpcjobs predownload`, and what `submit --predownload` does first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.choices import with_target
from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.errors import ExitCode, HpcjobsError, InputError

if TYPE_CHECKING:
    from hpcjobs.assemble import Assembly
    from hpcjobs.model import Job, Service
    from hpcjobs.predownload.job import Download
    from hpcjobs.predownload.records import Fetched
    from hpcjobs.predownload.request import Request, Thing


@dataclass
class Brought:
    """What a download brought, or will bring."""

    present: Sequence[Thing] = ()
    fetched: Sequence[Fetched] = ()
    download: Download | None = None
    """The job that fetches it."""
    left: Sequence[str] = ()
    """Tasks whose data sets are not fetched."""
    ended: bool = True


@click.command()
@with_target
@click.option(
    "--dataset", "datasets", multiple=True, metavar="ORG/NAME", help="A data set; repeatable."
)
@click.option("--again", is_flag=True, help="Ask the hub also for what is in the caches.")
@click.option("--wait/--no-wait", default=True, help="Follow it to its end (default).")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def predownload(
    context: Context,
    /,
    *,
    datasets: tuple[str, ...],
    again: bool,
    wait: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Fetch models and data sets into the caches, before their jobs.

    A job of its own on Slurm (on a node without GPUs) and on this host, which goes on if this
    command is interrupted; elsewhere it runs here. Data sets of lm_eval's tasks are fetched, those
    of lighteval's are to be named.

    \b
    hpcjobs predownload --service slurm --node gpu_1 --model ORG/NAME --tasks 'ja_*'
    """
    from hpcjobs.assemble import Choices, assemble

    assembly = assemble(context.workspace, Choices(**options))
    for note in assembly.notes:
        warn(note)
    try:
        brought = bring(assembly, assembly.jobs, datasets, again=again, wait=wait, quiet=as_json)
    except HpcjobsError as error:
        if as_json and error.exit_code == ExitCode.SOME_FAILED:
            print_json({"state": "failed", "error": error.what})
        raise
    if as_json:
        print_json(_json(brought))
    return ExitCode.OK


def bring(
    assembly: Assembly,
    jobs: Sequence[Job],
    datasets: Sequence[str] = (),
    *,
    again: bool = False,
    wait: bool = True,
    quiet: bool = False,
) -> Brought:
    """Fetch what these jobs will want to find and the caches lack.

    Raises:
        InputError: a library or a value is missing.
        DownloadFailedError: something could not be fetched.
        SchedulerUnavailableError, SubmitRefusedError: no job could be submitted for it.
    """
    from hpcjobs.predownload.request import not_fetched, request_for

    request = request_for(assembly, jobs, datasets)
    return _bring(assembly, request, not_fetched(jobs), again=again, wait=wait, quiet=quiet)


def _bring(
    assembly: Assembly,
    request: Request,
    left: Sequence[str],
    *,
    again: bool = False,
    wait: bool,
    quiet: bool,
) -> Brought:
    from hpcjobs.predownload import job as jobs_of
    from hpcjobs.predownload.following import follow
    from hpcjobs.predownload.records import missing

    workspace, service = assembly.workspace, assembly.service
    if left:
        warn(
            f"the data sets of lighteval's tasks are not fetched ({', '.join(left)}): "
            "`hpcjobs predownload --dataset ORG/NAME` fetches one by its name"
        )
    lacking = list(request.things) if again else missing(workspace, request)
    brought = Brought(tuple(thing for thing in request.things if thing not in lacking), left=left)
    for thing in brought.present:
        _say(f"in the caches already: {thing}", quiet)
    if not lacking:
        _say("nothing to fetch", quiet)
        return brought
    request = replace(request, things=tuple(lacking))
    jobs_of.require_libraries(request, service)
    if not jobs_of.as_job(service):
        _in_the_foreground(brought, assembly, request, wait)
        return brought
    download = jobs_of.running(workspace, service, request)
    found = "is fetching that already" if download else "fetches"
    if download is None:
        download = jobs_of.submit(assembly, request)
    brought.download, brought.ended = download, wait
    _say(f"job {download.native_id} {found}: {', '.join(map(str, lacking))}", quiet)
    _say(f"its log: {download.log}", quiet)
    if wait:
        try:
            end = follow(
                workspace, service, download,
                (lambda data: None) if quiet else _show, lambda text: _say(text, quiet),
            )  # fmt: skip
        except KeyboardInterrupt:
            click.echo(
                f"\nthe download goes on; follow it by the same command again, or: "
                f"tail -f {download.log}",
                err=True,
            )
            raise
        brought.fetched = end.fetched
    return brought


def wait_for_download(assembly: Assembly, jobs: Sequence[Job], quiet: bool) -> str:
    """Fetch first, for `submit`: in the foreground, or by a job that the others wait for.

    Returns:
        The native id of the job to wait for; empty = all is there.

    Raises:
        DownloadFailedError and others: as for `bring`; nothing is then to be submitted.
    """
    brought = bring(assembly, jobs, wait=_follows(assembly.service), quiet=quiet)
    return _to_wait_for(brought)


def wait_for_downloads(wanted: Sequence[tuple[Assembly, Sequence[Job]]], quiet: bool) -> None:
    """The same for groups of jobs: one download for each service, told to the renderers.

    Jobs of a group whose things are all there do not wait for those of others.

    Raises:
        DownloadFailedError and others: as for `bring`; nothing is then to be submitted.
    """
    from hpcjobs.predownload.request import not_fetched, request_for, together

    by_service: dict[str, list[tuple[Assembly, Sequence[Job]]]] = {}
    for assembly, jobs in wanted:
        by_service.setdefault(assembly.service.name, []).append((assembly, jobs))
    for groups in by_service.values():
        requests = [request_for(assembly, jobs) for assembly, jobs in groups]
        left = not_fetched([job for _, jobs in groups for job in jobs])
        first = groups[0][0]
        brought = _bring(first, together(requests), left, wait=_follows(first.service), quiet=quiet)
        native_id = _to_wait_for(brought)
        for (assembly, _), request in zip(groups, requests, strict=True):
            waits = not set(request.things) <= set(brought.present)
            assembly.renderer.after = native_id if waits else ""


def _follows(service: Service) -> bool:
    """Whether its jobs cannot wait for another job, so that we do."""
    return service.scheduler != "slurm"


def _to_wait_for(brought: Brought) -> str:
    """The native id of the job that others are to wait for; empty = all is there."""
    from hpcjobs.predownload.following import require_success
    from hpcjobs.predownload.records import read_end

    if brought.ended or brought.download is None:
        return ""
    # Slurm takes a dependency on a job that it has forgotten for one that is satisfied, also if
    # that job failed: what has ended by now is judged here.
    end = read_end(brought.download.directory)
    if end is None:
        return brought.download.native_id
    require_success(brought.download, end)
    return ""


def _in_the_foreground(brought: Brought, assembly: Assembly, request: Any, wait: bool) -> None:
    from hpcjobs.predownload.fetching import DownloadFailedError, fetch
    from hpcjobs.predownload.records import new_directory, read_end

    if not wait:
        raise InputError(
            f"{assembly.service.name}: downloads run in the foreground there",
            where="--no-wait",
            do="leave it out",
        )
    directory = new_directory(assembly.workspace, request)
    errors = fetch(directory)
    if errors:
        raise DownloadFailedError(
            "; ".join(errors),
            where="predownload",
            do="check the name, the network, and HF_TOKEN in .env if it is gated; "
            "what was fetched is kept",
        )
    end = read_end(directory)
    brought.fetched = end.fetched if end else ()


def _json(brought: Brought) -> dict[str, Any]:
    download = brought.download
    return {
        "state": "done" if brought.ended else "submitted",
        "present": [vars(thing) for thing in brought.present],
        "fetched": [{**vars(one.thing), "files": len(one.files)} for one in brought.fetched],
        "not_fetched": list(brought.left),
        "native_id": download.native_id if download else None,
        "log": str(download.log) if download else None,
    }


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        click.echo(text, err=True)


def _show(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.flush()
