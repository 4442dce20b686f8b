"""From what was typed to jobs that can be rendered: reads the workspace's files, then plans."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcjobs.commands import run
from hpcjobs.config.environment import PersonalValues, read_personal_values
from hpcjobs.config.frameworks import read_frameworks
from hpcjobs.config.groups import read_task_table, select
from hpcjobs.config.providers import choose_provider, read_providers
from hpcjobs.config.services import find_node, read_service
from hpcjobs.config.settings import (
    DIRECTORY,
    read_model_settings,
    read_task_settings,
    settings_names,
)
from hpcjobs.errors import InputError, SchedulerUnavailableError, printable
from hpcjobs.evaluators import JUDGE_KEY, needs_judge
from hpcjobs.model import Job, JobState, Node, Provider, Service
from hpcjobs.packing import Packed, in_words, limit_of, pack
from hpcjobs.plan import Request, check_model_name, plan, work_of
from hpcjobs.queueing import Packing, Queueing
from hpcjobs.render import Renderer
from hpcjobs.store import Store, load
from hpcjobs.thinking import refuse_unparsed_thinking
from hpcjobs.workspace import Workspace


@dataclass(frozen=True)
class Choices:
    """What was typed."""

    service: str
    node: str
    models: Sequence[str]
    tasks: Sequence[str] = ()
    settings: str = ""
    provider: str = "vllm"
    max_samples: int | None = None
    queueing: Queueing = field(default_factory=Queueing)
    packing: Packing | None = None
    """How tasks share jobs; None = each has a job of its own."""


@dataclass
class Assembly:
    """Everything that is needed to render and to submit."""

    workspace: Workspace
    personal: PersonalValues
    service: Service
    node: Node
    provider: Provider
    renderer: Renderer
    jobs: list[Job]
    notes: list[str] = field(default_factory=list)
    """For people: what was decided for them."""
    packing: Packing | None = None
    saved: str = ""
    """What packing saves, for people."""

    def packed(self, jobs: Sequence[Job], taken: Mapping[str, str]) -> list[Packed]:
        """These jobs, packed as it was asked for.

        Args:
            jobs: of one task each.
            taken: digests by id, of the jobs that exist.

        Raises:
            InputError: the service does not allow the walltime of a packed job.
        """
        if self.packing is None:
            return [Packed(job, (job,)) for job in jobs]
        limit = limit_of(self.packing, self.service)
        at_once = 1 if self.provider.in_process else self.packing.at_once  # the GPUs hold one
        packed = pack(jobs, limit, at_once, self.renderer.server_values, taken)
        self.saved = in_words(len(jobs), len(packed), self.provider.server is not None)
        if at_once < self.packing.at_once and self.saved:
            self.saved += "; one task after the other, since each loads the model itself"
        return packed

    def require_ready(self) -> None:
        """Refuse what would fail after it was submitted.

        Raises:
            InputError: a personal value or key is missing, weights do not exist, there are no GPUs.
        """
        self.personal.require_nothing_missing()
        judged = any(
            needs_judge(task.framework, task.script) for job in self.jobs for task in job.tasks
        )
        for key in self.renderer.keys:
            if (
                (key == self.provider.key and self.provider.key_required)
                or (judged and key == JUDGE_KEY)
                or self.personal.get(key) is not None
            ):
                self.personal.require_key(key)
        if self.provider.needs_weights:
            for job in self.jobs:
                path = Path(self.renderer.weights(job.model, job.tasks[0]))
                if not path.is_file():
                    raise InputError(
                        f"the weights {path} do not exist",
                        where=job.settings_path,
                        expected="a file, by an absolute path or one below the workspace",
                    )
        if self.provider.server == "vllm":
            weights = [
                (job, str(self.renderer.weights(job.model, job.tasks[0]))) for job in self.jobs
            ]
            home = self.service.exports.get("HF_HOME", "")
            home = self.personal.expand(home, where=self.service.where)
            refuse_unparsed_thinking(self.workspace, weights, home)
        if self.service.scheduler == "local" and self.node.gpus:
            there = len(self.renderer.devices)
            if not self.jobs[0].devices and there < self.node.gpus:
                raise InputError(
                    f"{self.node.name} needs {self.node.gpus} GPU(s); this machine shows {there}",
                    where="--node",
                    do="choose a smaller node, or list the devices in conf/services/local.yaml",
                )


def assemble(workspace: Workspace, choices: Choices) -> Assembly:
    """Read the workspace's files and plan the jobs.

    Raises:
        InputError: a name is unknown, or a file is wrong.
    """
    service = read_service(workspace, choices.service)
    node = find_node(service, choices.node)
    providers = read_providers(workspace.find_file("conf", "providers.yaml"))
    provider = choose_provider(providers, choices.provider, node)
    tasks, groups = read_task_table(workspace)
    frameworks = read_frameworks(workspace.find_file("conf", "frameworks.yaml"))
    keys = select(choices.tasks or ("default",), tasks, groups)
    personal = read_personal_values(workspace.env_file)
    request = Request(
        workspace=workspace.identity,
        service=service,
        node=node,
        provider=provider,
        tasks=[tasks[key] for key in keys],
        task_settings=read_task_settings(workspace.find_file(DIRECTORY, "task_settings.csv")),
        options={key: frameworks.options(tasks[key]) for key in keys},
        path_of=lambda given: _path_of(workspace, given),
        max_samples=choices.max_samples,
        queueing=choices.queueing,
    )
    store = load(workspace.journal)
    taken = store.digests
    jobs: list[Job] = []
    notes: list[str] = personal.warnings()
    for model in dict.fromkeys(choices.models):
        check_model_name(model)
        settings = read_model_settings(workspace, model, choices.settings)
        planned = plan(request, model, settings, taken)
        jobs += [_found_again(store, job) for job in planned]
        taken |= {job.id: job.digest for job in jobs}
        notes += _changed_settings(store, jobs[-1])
        names = settings_names(workspace, model)
        if names and not choices.settings:
            notes.append(
                f"{printable(model)} has settings ({', '.join(names)}); none is used "
                "without --settings"
            )
    if choices.queueing.trial and len(jobs) > 1:
        raise InputError(
            f"{len(jobs)} trial runs at once",
            where="--trial",
            expected="one: a service runs one trial of a person at a time",
            do="choose one by --tasks KEY",
        )
    devices = _devices(service) if service.scheduler == "local" and node.gpus else ()
    renderer = Renderer(workspace, personal, service, provider, devices)
    packing = choices.packing
    return Assembly(workspace, personal, service, node, provider, renderer, jobs, notes, packing)


def _found_again(store: Store, job: Job) -> Job:
    """The job under the id that it has in the journal.

    The workspace may have been moved, or be seen by another path now: its jobs are still the same.
    """
    if job.id in store.jobs:
        return job
    known = [
        record
        for record in store.jobs.values()
        if (record.job.model, record.job.node) == (job.model, job.node)
        and [work_of(record.job, run) for run in record.job.tasks] == [work_of(job, job.tasks[0])]
    ]
    if not known:
        return job
    best = max(known, key=lambda one: (one.active, one.state is JobState.SUCCEEDED))
    return replace(job, id=best.job.id, digest=best.job.digest)


def _path_of(workspace: Workspace, given: str) -> str:
    path = workspace.find_file(given)
    return str(path) if path.exists() else given


def _changed_settings(store: Store, job: Job) -> list[str]:
    """A warning where settings were changed and their version was not raised."""
    for record in store.jobs.values():
        other = record.job
        same = (other.model, other.settings_name, other.settings_version) == (
            job.model,
            job.settings_name,
            job.settings_version,
        )
        if same and other.settings_digest != job.settings_digest:
            return [
                f"the settings {job.settings_name} of {printable(job.model)} were changed since "
                f"job {other.id}, under the same version {job.settings_version}: raise it; what "
                "was made before does not count any more"
            ]
    return []


def _devices(service: Service) -> tuple[str, ...]:
    """The GPUs of this machine that may be used, by index."""
    wanted = service.options.get("devices", "auto")
    if wanted != "auto":
        return tuple(part.strip() for part in wanted.split(",") if part.strip())
    try:
        listed = run(["nvidia-smi", "-L"], timeout=30.0)
    except SchedulerUnavailableError:
        return ()
    return tuple(re.findall(r"^GPU (\d+):", listed.stdout, re.MULTILINE))
