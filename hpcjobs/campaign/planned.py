"""What is to be done about every row of a campaign, as the journal stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from hpcjobs.assemble import Assembly, Choices, assemble
from hpcjobs.campaign.past import Known, past_of
from hpcjobs.campaign.rows import MakeAssembly, assembled_rows
from hpcjobs.config.campaigns import Campaign
from hpcjobs.config.submissions import Submission
from hpcjobs.errors import InputError
from hpcjobs.model import Job, JobState
from hpcjobs.queueing import Packing, Queueing
from hpcjobs.retry import Act, Brakes, Decision, Ended, Policy, brakes, decide
from hpcjobs.shares import Works
from hpcjobs.store import AttemptRecord, JobRecord, Store
from hpcjobs.workspace import Workspace


@dataclass
class Item:
    """One evaluation of the campaign, and what is done about it."""

    row: Submission
    job: Job
    """As it would be submitted next."""
    assembly: Assembly
    record: JobRecord | None
    """All attempts at it, also those in which it was packed with others."""
    decision: Decision
    index: int = 0
    cause: str = ""
    """Why the latest attempt failed, where a cause is known."""
    planned_walltime: int = 0
    """What the runtime table says."""

    @property
    def submits(self) -> bool:
        """Whether it is to be submitted."""
        return self.decision.act.submits

    @property
    def attempts(self) -> int:
        """How many attempts the decision knew of."""
        return len(self.record.attempts) if self.record else 0

    @property
    def job_id(self) -> str:
        """The job of the latest attempt, which may have had other tasks, too; else its own."""
        last = self.record.last if self.record else None
        return self.record.job_of(last).id if self.record and last else self.job.id

    @property
    def age(self) -> tuple[float, int]:
        """What was submitted first comes first, then as the file has it."""
        first = self.record.attempts[0].submitting_at if self.attempts and self.record else 1e12
        return first, self.index


@dataclass
class Planned:
    """All evaluations of a campaign."""

    items: list[Item]
    notes: list[str] = field(default_factory=list)
    """For people: what was decided for them."""

    @property
    def to_submit(self) -> list[Item]:
        """Oldest first."""
        return sorted((one for one in self.items if one.submits), key=lambda one: one.age)


def policy_of(campaign: Campaign) -> Policy:
    """What the file allows."""
    return Policy(campaign.attempts, campaign.longer, campaign.in_a_row)


def plan_campaign(
    workspace: Workspace, campaign: Campaign, store: Store, *, even_failed: bool = False
) -> Planned:
    """What is to be done about every row of the campaign, as the journal stands.

    Args:
        workspace: where it is recorded.
        campaign: what is wanted.
        store: brought up to date.
        even_failed: a person wants also what the policy would not repeat.

    Raises:
        InputError: a name is unknown, or a file is wrong.
    """
    queueing = Queueing(priority=campaign.priority, mail=campaign.mail)
    make = partial(_assembly, workspace, queueing, campaign.packing)
    return plan_rows(
        workspace, campaign.rows, make, store, policy_of(campaign), even_failed=even_failed
    )


def plan_rows(
    workspace: Workspace,
    rows: Sequence[Submission],
    make: MakeAssembly,
    store: Store,
    policy: Policy,
    *,
    even_failed: bool = False,
) -> Planned:
    """The same for rows of whatever origin."""
    planned, works = Planned([]), Works(store)
    known = Known(works)
    notes: dict[str, None] = {}
    pending = [(index, row, 0) for index, row in enumerate(rows)]
    while pending:
        by_what = {(row.alike, row.task): (index, before) for index, row, before in pending}
        bigger = []
        for row, job, assembly in assembled_rows([row for _, row, _ in pending], make):
            notes.update(dict.fromkeys(assembly.notes))
            index, before = by_what[row.alike, row.task]
            record = works.record_of(job)
            item = _item(workspace, row, job, assembly, record, known, policy, before)
            item.index = index
            if item.decision.act is Act.BIGGER:
                bigger.append((item, replace(row, node=item.decision.node), before + item.attempts))
            else:
                planned.items.append(item)
        pending = []
        for item, row, before in bigger:
            try:
                list(assembled_rows([row], make))
            except InputError as error:
                why = f"{item.decision.why}, which cannot be: {error.what}"
                item.decision = Decision(Act.STOP, why)
                planned.items.append(item)
            else:
                pending.append((item.index, row, before))
    planned.items.sort(key=lambda one: one.index)
    planned.notes = list(notes)
    _hold_back(planned.items, policy)
    for item in planned.items:
        if even_failed and item.decision.act is Act.STOP:
            why = f"asked for, though: {item.decision.why}"
            item.decision = Decision(Act.AGAIN, why, item.job.walltime)
        item.planned_walltime = item.job.walltime
        item.job = _changed(item)
    return planned


def _assembly(
    workspace: Workspace,
    queueing: Queueing,
    packing: Packing | None,
    row: Submission,
    models: Sequence[str],
    tasks: Sequence[str],
) -> Assembly:
    choices = Choices(
        row.service, row.node, models, tasks, row.settings, row.provider, row.max_samples,
        queueing, packing,
    )  # fmt: skip
    return assemble(workspace, choices)


def _item(
    workspace: Workspace,
    row: Submission,
    job: Job,
    assembly: Assembly,
    record: JobRecord | None,
    known: Known,
    policy: Policy,
    before: int,
) -> Item:
    other = known.elsewhere(job)
    settled = record is not None and (record.active or record.state is JobState.SUCCEEDED)
    if other is not None and not settled:
        stands = "under way" if other.active else "done"
        where = f"as {other.job.id} on {other.job.service}/{other.job.node}"
        doubt = other.last.suspect if other.last and not other.active else None
        if doubt:
            said = "; ".join(f"{key}: {why}" for key, why in sorted(doubt.items()))
            decision = Decision(Act.STOP, f"done {where}, but suspect: {said}; not by itself")
        else:
            decision = Decision(Act.LEAVE, f"{stands} {where}")
        return Item(row, job, assembly, record, decision)
    past = past_of(workspace, record, before, assembly.personal.values)
    decision = decide(job, record, assembly.service, policy, past)
    if decision.act is Act.FIRST and (changed := known.made_before(job)):
        decision = replace(decision, why=changed)
    return Item(row, job, assembly, record, decision, cause=past.cause)


def _hold_back(items: Sequence[Item], policy: Policy) -> None:
    """Stop what would go to a model or service where the latest jobs failed alike."""
    ends = {(one.job, one.reason, one.cause): one for one in filter(None, map(_ended, items))}
    found: Brakes = brakes(ends.values(), policy)  # what packed tasks met together counts once
    for item in items:
        why = found.why(_model(item.job), item.job.service)
        if why and item.submits:
            item.decision = Decision(Act.STOP, why)


def _ended(item: Item) -> Ended | None:
    last: AttemptRecord | None = item.record.last if item.record else None
    if last is None or not last.state.final:
        return None
    job = item.record.job_of(last) if item.record else item.job
    return Ended(
        f"{job.id}-{last.number:02d}",
        _model(item.job),
        item.job.service,
        last.ended_at or last.submitting_at,
        last.state,
        last.reason,
        item.cause,
    )


def _model(job: Job) -> tuple[str, ...]:
    return (
        job.model, job.provider, job.settings_name, job.settings_version, job.settings_digest
    )  # fmt: skip


def _changed(item: Item) -> Job:
    """The job with what the decision changes: none of it is part of the job's id."""
    decision, job = item.decision, item.job
    if not item.submits:
        return job
    job = replace(job, walltime=decision.walltime or job.walltime)
    if decision.exclude:
        service = item.assembly.service
        given = {**service.options, **service.nodes[job.node].options, **job.scheduler_options}
        hosts = [*filter(None, [given.get("exclude", "")]), *decision.exclude]
        job = replace(job, scheduler_options={**job.scheduler_options, "exclude": ",".join(hosts)})
    return job
