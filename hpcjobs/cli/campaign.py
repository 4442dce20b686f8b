"""What `plan`, `submit`, `sync`, `watch` share: a campaign's jobs shown, agreed to, submitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.choices import job_json, pretend_gpus, show_plan
from hpcjobs.cli.context import Context, interactive, warn
from hpcjobs.cli.table import table
from hpcjobs.durations import format_duration
from hpcjobs.errors import ExitCode, InputError
from hpcjobs.model import Attempt, JobState

if TYPE_CHECKING:
    from hpcjobs.assemble import Assembly
    from hpcjobs.campaign.batches import Batch
    from hpcjobs.campaign.planned import Item, Planned
    from hpcjobs.campaign.rooms import Room
    from hpcjobs.config.campaigns import Campaign
    from hpcjobs.store import Store

YAML = (".yaml", ".yml")


def names_campaign(args: Sequence[str], flags: Sequence[str]) -> bool:
    """Whether one of these words is a campaign's file, and not the value of an option."""
    before = ""
    for word in args:
        value = before.startswith("-") and "=" not in before and before not in flags
        if word.endswith(YAML) and not word.startswith("-") and not value:
            return True
        before = word
    return False


def read(context: Context, path: str) -> Campaign:
    """The campaign of that file.

    Raises:
        InputError: something in it is wrong.
    """
    from hpcjobs.config.campaigns import read_campaign

    return read_campaign(context.workspace, Path(path))


def plan_again(
    context: Context, campaign: Campaign, store: Store, *, even_failed: bool = False
) -> Planned:
    """What is to be done, and the notes told."""
    from hpcjobs.campaign.planned import plan_campaign

    planned = plan_campaign(context.workspace, campaign, store, even_failed=even_failed)
    for note in planned.notes:
        warn(note)
    return planned


@contextmanager
def feeding(context: Context) -> Iterator[None]:
    """Be the only one that submits jobs of a campaign in this workspace.

    Raises:
        LockedError: a `sync`, `watch` or `submit` of a campaign is at work.
    """
    from hpcjobs.lock import workspace_lock

    path = context.workspace.jobs / "sync.lock"
    with workspace_lock(path, wait=0.0, busy="a campaign of this workspace is being fed already"):
        yield


def assemblies_of(items: Sequence[Batch]) -> list[Assembly]:
    """Each once, in the order of the jobs."""
    return list({id(one.assembly): one.assembly for one in items}.values())


def attempts_of(context: Context, items: Sequence[Batch]) -> list[Attempt]:
    """The attempts that would be made."""
    from hpcjobs.submit import next_attempt

    return [next_attempt(context.workspace, one.record, one.job) for one in items]


def require_ready(context: Context, items: Sequence[Batch]) -> None:
    """Refuse what would fail after it was submitted.

    Raises:
        InputError: a personal value, key or weights lack, or a script cannot be rendered.
    """
    from hpcjobs.schedulers import live

    for assembly in assemblies_of(items):
        live(assembly.service.scheduler)
        _with_jobs(assembly, items)
        assembly.require_ready()
    for item, attempt in zip(items, attempts_of(context, items), strict=True):
        item.assembly.renderer.render(attempt)
    for assembly in assemblies_of(items):
        assembly.personal.require_nothing_missing()


def _with_jobs(assembly: Assembly, items: Sequence[Batch]) -> int:
    assembly.jobs[:] = [one.job for one in items if one.assembly is assembly]
    return len(assembly.jobs)


def submit_items(
    context: Context, items: Sequence[Batch], as_json: bool, again: bool = False
) -> tuple[int, list[dict[str, Any]]]:
    """Submit them; the exit code, and what became of each group, as plain values.

    `again`: also those with a result, which is suspect and which a person wants again.
    A scheduler that does not answer is not asked again.
    """
    from hpcjobs.cli.submitting import submit_planned

    codes: list[int] = []
    documents = []
    silent: set[str] = set()
    known = {one.job.id: one.attempts for one in items}
    for assembly in assemblies_of(items):
        if assembly.service.name in silent:
            continue
        count = _with_jobs(assembly, items)
        code, _, document = submit_planned(context, assembly, again, as_json, count, known)
        codes.append(code)
        documents.append(document)
        if code == ExitCode.INTERRUPTED:
            break
        if code == ExitCode.UNAVAILABLE:
            silent.add(assembly.service.name)
    return next((code for code in codes if code != ExitCode.OK), ExitCode.OK), documents


def why_ask(campaign: Campaign, items: Sequence[Batch]) -> str:
    """Why a person is to be asked first; empty if nobody need be."""
    from hpcjobs.price import price_of

    if len(items) > campaign.ask_jobs:
        return f"{len(items)} job(s), more than {campaign.ask_jobs}"
    if campaign.ask_price is None:
        return ""
    most = Decimal()
    for item in items:
        price = price_of(item.assembly.service, item.job)
        if price is not None and price.most is None:
            return f"a price that is not known ({price.note})"
        most += price.most if price is not None and price.most is not None else 0
    above = most > campaign.ask_price
    return f"at most {most} points, more than {campaign.ask_price}" if above else ""


def agreed(campaign: Campaign, items: Sequence[Batch], yes: bool, ask: bool) -> bool:
    """Whether these may be submitted.

    Raises:
        InputError: a person is to be asked, and nobody is there.
    """
    why = "" if yes else why_ask(campaign, items)
    if not items or not why:
        return True
    if not ask or not interactive():
        raise InputError(
            f"{why} would be submitted, and nobody is there to be asked",
            do="add --yes, or raise ask_above in the campaign (hpcjobs plan shows what it is)",
        )
    return click.confirm("Submit?", default=True, err=True)


# ---- Shown ---------------------------------------------------------------------------------------


def show_submissions(context: Context, items: Sequence[Batch], rooms: dict[str, Room]) -> None:
    """The jobs with walltime and price, service by service, and the limits that hold there."""
    names = list(dict.fromkeys(one.job.service for one in items))
    for name in names:
        of_service = [one for one in items if one.job.service == name]
        service = of_service[0].assembly.service
        show_plan(service, attempts_of(context, of_service), 0, _saved(of_service))
        if name in rooms:
            click.echo(_limits(service.limits, name, rooms[name], len(of_service)))
    if not names:
        click.echo("nothing is to be submitted")


def _saved(items: Sequence[Batch]) -> str:
    from hpcjobs.packing import in_words

    served = any(one.assembly.provider.server for one in items)
    return in_words(sum(len(one.items) for one in items), len(items), served)


def _limits(limits: Any, name: str, room: Room, wanted: int) -> str:
    load = room.load
    others = "others than ours are not counted: its query does not show them"
    if load.others is not None:
        others = f"{load.others} of them not submitted here"
    parts = [f"{name}: {load.unfinished} in the queue or running ({others})"]
    if limits:
        parts.append(", ".join(f"at most {count} {what}" for what, count in limits.items()))
    if wanted > room.more:
        parts.append(f"room for {room.more} now, {wanted - room.more} wait")
    return "; ".join(parts)


def show_decisions(items: Sequence[Item], batches: Sequence[Batch]) -> None:
    """All evaluations, what is done about each, in which job, and why."""
    jobs = _jobs_of(batches)
    rows = [
        (
            one.decision.act.value,
            jobs.get(one.job.id, one.job_id),
            one.row.task,
            one.job.model,
            one.job.settings_name or "-",
            f"{one.job.service}/{one.job.node}",
            format_duration(one.job.walltime) if one.submits else "-",
            one.decision.why,
        )
        for one in items
    ]
    header = ("what", "job", "task", "model", "settings", "where", "walltime", "why")
    click.echo(table(rows, header))


def counts(items: Sequence[Item], submitted: Sequence[Batch] = ()) -> str:
    """How many are to submit, under way, done and stopped; `submitted`: since the decision."""
    taken = {item.job.id for one in submitted for item in one.items}
    found = Counter("under way" if one.job.id in taken else stands(one) for one in items)
    order = ("to submit", "to repeat", "under way", "done", "stopped")
    return ", ".join(f"{found[name]} {name}" for name in order if found[name]) or "nothing to do"


def stands(item: Item) -> str:
    """How an evaluation stands, in a word."""
    from hpcjobs.retry import Act

    act = item.decision.act
    if act.submits:
        return "to repeat" if item.attempts else "to submit"
    if act is not Act.LEAVE:
        return "stopped"
    own = item.record
    done = own.state is JobState.SUCCEEDED if own and own.attempts else False
    return "done" if done or item.decision.why.startswith("done") else "under way"


def items_json(items: Sequence[Item], batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """Each evaluation and what is done about it, in which job, as plain values."""
    jobs = _jobs_of(batches)
    return [{**_item_json(one), "job": jobs.get(one.job.id, one.job_id)} for one in items]


def _jobs_of(batches: Sequence[Batch]) -> dict[str, str]:
    """By the id of a job with that evaluation only: the one that is submitted for it."""
    return {item.job.id: one.job.id for one in batches for item in one.items}


def _item_json(item: Item) -> dict[str, Any]:
    return {
        **job_json(item.job, item.assembly.service),
        "max_samples": item.row.max_samples,
        "attempts": item.attempts,
        "decision": item.decision.act.value,
        "stands": stands(item),
        "exclude": list(item.decision.exclude),
        "why": item.decision.why,
    }


def prices_json(items: Sequence[Batch]) -> dict[str, Any]:
    """By service: what these cost in all."""
    from hpcjobs.cli.prices import total_json

    services = {one.job.service: one.assembly.service for one in items}
    return {
        name: total_json(service, [one.job for one in items if one.job.service == name])
        for name, service in services.items()
    }


def dry_run(context: Context, items: Sequence[Batch], as_json: bool) -> None:
    """Every script that would be submitted, in full."""
    from hpcjobs.cli.choices import scripts_json, show_scripts
    from hpcjobs.cli.context import print_json

    groups = []
    for assembly in assemblies_of(items):
        pretend_gpus(assembly)
        mine = [one for one in items if one.assembly is assembly]
        scripts = [assembly.renderer.render(one) for one in attempts_of(context, mine)]
        if as_json:
            groups.append(scripts_json(assembly.service, scripts))
        else:
            show_scripts(assembly, scripts, as_json=False)
    if as_json:
        print_json({"groups": groups})
    elif not items:
        click.echo("nothing is to be submitted")
