"""What lacks for models × tasks: missing, failed, stale or suspect, or still under way.

Wanted are, for every evaluation, the tasks that were submitted for any of them (trial runs apart),
or those that are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcjobs.config.changed_options import changed_options
from hpcjobs.config.metrics import MetricTable
from hpcjobs.config.settings import changes, read_model_settings
from hpcjobs.config.submissions import Submission
from hpcjobs.errors import InputError
from hpcjobs.model import Job, TaskRun
from hpcjobs.results.aggregate import Aggregate
from hpcjobs.results.collect import Collected, Standing
from hpcjobs.results.report import metrics_of
from hpcjobs.workspace import Workspace

MISSING = "missing"
"""Never submitted."""
FAILED = "failed"
STALE = "stale"
"""Its settings have changed since."""
SUSPECT = "suspect"
"""Its result is not to be trusted, or a value made of it is missing or in doubt."""
UNDER_WAY = "under way"


@dataclass(frozen=True)
class AsNow:
    """What the workspace says now of its tasks."""

    settings: Mapping[str, Mapping[str, object]]
    """By script."""
    options: Mapping[str, Mapping[str, object]]
    """By key; of those that its table has."""


@dataclass(frozen=True)
class Gap:
    """A task of an evaluation that has no value to rely on; `row` would submit it again."""

    state: str
    row: Submission
    trial: bool = False
    """It was a free trial run. A table of what is to be submitted says nothing of that: the same
    row would be a job that is paid for."""

    @property
    def in_table(self) -> bool:
        """Whether it goes into the table of what is to be submitted."""
        return self.state != UNDER_WAY and not self.trial


def wanted_tasks(found: Sequence[Collected], one: Collected) -> list[str]:
    """The tasks that were submitted for any model, as full runs or as trials like this one."""
    samples = one.evaluation.max_samples
    alike = [other for other in found if other.evaluation.max_samples == samples]
    return list(dict.fromkeys(s.task.key for other in alike for s in other.standings))


def find_gaps(
    workspace: Workspace,
    table: MetricTable,
    now: AsNow,
    collected: Collected,
    result: Aggregate,
    wanted: Sequence[str],
) -> list[Gap]:
    """The gaps of one evaluation, in the order of the wanted tasks.

    Args:
        workspace: where the model's settings are, as they are now.
        table: the metrics.
        now: the settings and options of the tasks.
        collected: where its tasks stand.
        result: its numbers.
        wanted: keys of tasks.
    """
    standings = {one.task.key: one for one in collected.standings}
    paid = [one for one in collected.standings if not one.job.trial]
    latest = max(paid or collected.standings, key=_submitted).job
    gaps = []
    for key in wanted:
        standing = standings.get(key)
        if standing is None:
            gaps.append(_gap(MISSING, "never submitted", latest, key))
            continue
        state, why = _state(workspace, table, now, standing, result)
        if state:
            gaps.append(_gap(state, why, standing.job, key))
    return gaps


def _state(
    workspace: Workspace,
    table: MetricTable,
    now: AsNow,
    standing: Standing,
    result: Aggregate,
) -> tuple[str, str]:
    if not standing.finished:
        return UNDER_WAY, standing.why
    if standing.stale:
        return STALE, standing.why
    if standing.suspect:
        return SUSPECT, standing.doubt.why if standing.doubt else ""
    if not standing.done:
        return FAILED, standing.why
    if changed := _changed(workspace, now, standing.job, standing.task):
        return STALE, changed
    whys = []
    for metric in metrics_of(table, [standing.task.script]):
        value = result.values.get(metric.name)
        if value is None:
            continue
        if value.value is None:
            whys.append(f"{metric.name}: {value.why}")
        elif value.doubt:
            whys.append(f"{metric.name}: {value.doubt}")
    return (SUSPECT, "; ".join(whys)) if whys else ("", "")


def _changed(workspace: Workspace, now: AsNow, job: Job, run: TaskRun) -> str:
    """How the settings differ from those it was evaluated with; empty if they do not."""
    try:
        settings = read_model_settings(workspace, job.model, job.settings_name)
    except InputError as error:
        return f"its settings cannot be read any more: {error.what}"
    found = changes(run.settings, job.settings_version, settings, now.settings.get(run.script, {}))
    options = changed_options(run.options, now.options.get(run.key, run.options))
    return "; ".join(
        f"its {what} have changed since: "
        + ", ".join(f"{name} {_shown(old)} -> {_shown(new)}" for name, (old, new) in some.items())
        for what, some in (("settings", found), ("options", options))
        if some
    )


def _shown(value: object) -> str:
    return "unset" if value is None else str(value)


def _gap(state: str, why: str, job: Job, key: str) -> Gap:
    row = Submission(
        model=job.model,
        task=key,
        service=job.service,
        node=job.node,
        provider=job.provider,
        settings=job.settings_name,
        max_samples=job.max_samples,
        state=state,
        why=why,
    )
    return Gap(state, row, job.trial)


def _submitted(standing: Standing) -> float:
    return standing.attempt.submitting_at if standing.attempt else 0.0
