"""What all ways of submitting share: the scripts, the question, and what is told of each job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.choices import job_json
from hpcjobs.cli.context import Context, interactive, warn
from hpcjobs.cli.table import keys_of, signed
from hpcjobs.errors import ExitCode, InputError, printable
from hpcjobs.model import Attempt, Job, JobState, Service

if TYPE_CHECKING:
    from hpcjobs.assemble import Assembly
    from hpcjobs.render import Script
    from hpcjobs.submit import Outcome


def pack_jobs(assembly: Assembly, again: bool) -> None:
    """Pack what would be submitted, if that is asked for; what is left alone stays as it is."""
    from hpcjobs.shares import Works
    from hpcjobs.store import load

    if assembly.packing is None:
        return
    store = load(assembly.workspace.journal)
    works = Works(store)
    settled = [works.settled(job, again) for job in assembly.jobs]
    left = [job for job, why in zip(assembly.jobs, settled, strict=True) if why]
    rest = [job for job, why in zip(assembly.jobs, settled, strict=True) if not why]
    assembly.jobs[:] = [*(one.job for one in assembly.packed(rest, store.digests)), *left]


def scripts_of(assembly: Assembly, again: bool, every: bool = False) -> list[Script]:
    """The scripts of the jobs that would be submitted, or of `every` job."""
    from hpcjobs.shares import Works
    from hpcjobs.store import load
    from hpcjobs.submit import next_attempt

    store = load(assembly.workspace.journal)
    works, records = Works(store), store.jobs
    chosen = [job for job in assembly.jobs if every or not works.settled(job, again)]
    attempts = [next_attempt(assembly.workspace, records.get(job.id), job) for job in chosen]
    return [assembly.renderer.render(attempt) for attempt in attempts]


def tell_repeats(assembly: Assembly, jobs: Sequence[Job], most: int = 5) -> None:
    """Say which tasks failed before in a way that may come again: one may want to look first."""
    from hpcjobs.retry import PASSING
    from hpcjobs.shares import Works
    from hpcjobs.store import load

    works = Works(load(assembly.workspace.journal))
    told = []
    for job in jobs:
        for run in job.tasks:
            record = works.record_of(job, run)
            last = record.last if record else None
            if record and last and last.state is JobState.FAILED and last.reason not in PASSING:
                why = f"{last.reason.value if last.reason else ''}: {last.detail}"
                told.append(f"{run.key} failed before ({record.job_of(last).id}) with {why}")
    for line in told[:most]:
        warn(printable(line)[1:-1])
    if told:
        more = f"{len(told) - most} more failed before; " if len(told) > most else ""
        warn(f"{more}why, and what to do: hpcjobs diagnose")


def left_alone(assembly: Assembly, again: bool) -> set[str]:
    """The ids of the jobs that would not be submitted: in the queue or done already."""
    from hpcjobs.shares import Works
    from hpcjobs.store import load

    works = Works(load(assembly.workspace.journal))
    return {job.id for job in assembly.jobs if works.settled(job, again)}


def confirmed(count: int, as_json: bool) -> bool:
    """Whether a person says yes.

    Raises:
        InputError: nobody can be asked.
    """
    if as_json or not interactive():
        raise InputError(
            f"{count} job(s) would be submitted, and nobody is there to be asked",
            do="add --yes (or --dry-run to see them first)",
        )
    return click.confirm("Submit?", default=True, err=True)


def submit_planned(
    context: Context,
    assembly: Assembly,
    again: bool,
    as_json: bool,
    planned: int,
    known: dict[str, int] | None = None,
) -> tuple[int, Outcome, dict[str, Any]]:
    """Submit, and tell of each; the exit code, what became of it, and that as plain values.

    `known` says how many attempts of each job this was decided by (see hpcjobs.submit).
    """
    from hpcjobs.submit import submit as submit_jobs

    native_ids: dict[str, str] = {}

    def report(attempt: Attempt, native_id: str) -> None:
        native_ids[attempt.label] = native_id
        if not as_json:
            keys = keys_of(attempt.job.tasks)
            click.echo(
                f"{signed('queue', context.emoji)}  {attempt.label}  {native_id}  "
                f"{keys}  {printable(attempt.job.model)[1:-1]}"
            )

    outcome = submit_jobs(
        assembly.workspace,
        assembly.service,
        assembly.renderer,
        assembly.jobs,
        again=again,
        known=known,
        report=report,
    )
    tried = len(outcome.submitted) + len(outcome.refused) + len(outcome.left)
    others = planned - tried - (outcome.unanswered is not None)
    if others > 0 and not as_json:
        click.echo(f"{others} were submitted by another hpcjobs meanwhile")
    code = _explain(outcome, as_json)
    return code, outcome, _outcome_json(assembly.service, outcome, native_ids)


def _explain(outcome: Outcome, as_json: bool) -> int:
    for record in outcome.kept:
        if record.last is not None and record.last.suspect:
            for key, why in record.last.suspect.items():
                warn(f"left alone: {record.job.id} {key} is suspect: {why}")
            warn("submit it with --again, or take it as it is: hpcjobs aggregate --accept-suspect")
    for attempt, error in outcome.refused:
        click.echo(f"error: {attempt.label}: {error}", err=True)
    if outcome.left:
        done = len(outcome.submitted) + len(outcome.kept)
        click.echo(
            f"{done} submitted or there before, {len(outcome.left)} not tried: "
            "run the same command again to go on",
            err=True,
        )
    if outcome.unanswered is not None:
        click.echo(f"error: {outcome.unanswered}", err=True)
        click.echo("  whether it took that job is looked up by name: run hpcjobs status", err=True)
        return ExitCode.UNAVAILABLE
    if outcome.interrupted:
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    return ExitCode.SOME_FAILED if outcome.refused or outcome.left else ExitCode.OK


def _outcome_json(service: Service, outcome: Outcome, native_ids: dict[str, str]) -> dict[str, Any]:
    return {
        "submitted": [
            {**job_json(attempt.job, service), "attempt": attempt.number,
             "native_id": native_ids[attempt.label]}
            for attempt in outcome.submitted
        ],
        "kept": [
            {**job_json(record.job, service), "state": record.state.value,
             "suspect": record.last.suspect if record.last else None}
            for record in outcome.kept
        ],
        "refused": [
            {**job_json(attempt.job, service), "attempt": attempt.number, "error": error.what}
            for attempt, error in outcome.refused
        ],
        "left": [job_json(job, service) for job in outcome.left],
        "interrupted": outcome.interrupted,
        "unanswered": outcome.unanswered.what if outcome.unanswered else None,
    }  # fmt: skip
