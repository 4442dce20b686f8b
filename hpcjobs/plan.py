"""What will be run: tasks and a model on a service, turned into jobs. Pure.

A job is known by what it is: planning the same thing again gives the same id, so that whatever
happened in between, nothing is submitted twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hpcjobs.config import frameworks
from hpcjobs.config import settings as generation
from hpcjobs.durations import format_duration
from hpcjobs.errors import InputError, nearest, printable
from hpcjobs.evaluators import check_settings, check_task, result_model_names
from hpcjobs.evaluators.served import parallel
from hpcjobs.model import Attempt, Job, Node, Provider, Service, Settings, Task, TaskRun
from hpcjobs.queueing import Queueing, checked

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_FIRST = "abcdefghjkmnpqrstvwxyz"  # a job's name must not begin with a digit (Grid Engine)
ID_LENGTH = 7
"""With the attempt's number, `-NN`, the ten characters that text `qstat` of Grid Engine shows."""


@dataclass(frozen=True)
class Request:
    """What a person asked for, with all names resolved."""

    workspace: str
    """Its identity: the same job in another workspace is another job."""
    service: Service
    node: Node
    provider: Provider
    tasks: Sequence[Task]
    task_settings: Mapping[str, Mapping[str, object]]
    """By the task's script name."""
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """What evaluators are told beside them, by the task's key."""
    path_of: Callable[[str], str] = str
    """Where something that settings name lies, if it is a file of the workspace."""
    max_samples: int | None = None
    queueing: Queueing = field(default_factory=Queueing)


def plan(request: Request, model: str, settings: Settings, taken: Mapping[str, str]) -> list[Job]:
    """One job for each task.

    Args:
        request: what was asked for.
        model: `ORG/NAME` or `NAME`.
        settings: the named settings of this model (empty ones if none was chosen).
        taken: digests by id, of the jobs that exist.

    Raises:
        InputError: a name, walltime, priority or setting does not fit.
    """
    check_model_name(model)
    asked = checked(request.queueing, request.service, request.node, request.max_samples)
    used = dict(taken)
    jobs = []
    for task in request.tasks:
        job = _job(request, model, settings, task, asked, used)
        used[job.id] = job.digest
        jobs.append(job)
    return jobs


def _job(
    request: Request,
    model: str,
    settings: Settings,
    task: Task,
    asked: Queueing,
    used: Mapping[str, str],
) -> Job:
    values = generation.merged(settings.values, request.task_settings.get(task.script, {}))
    options = dict(request.options.get(task.key, {}))
    check_task(task, request.provider, options)
    options.pop("generative", None)  # it was for people
    where = settings.path or task.where
    check_settings(task.framework, request.provider, values, where, options)
    _check_parallel(request, values, where)
    if request.provider.needs_weights and "weights" not in values:
        raise InputError(
            f"{request.provider.name} must be told which weights to serve for {printable(model)}",
            where="--settings",
            expected="settings with the key 'weights'",
            do=f"add it to generation_settings/custom_model_settings/{model}.yaml",
        )
    runs = (TaskRun(task.key, task.script, task.result_dir, task.framework, values, options),)
    paths = [request.path_of(str(values[key])) for key in ("weights", "lora") if key in values]
    digest = _digest(request, model, settings, runs)
    return Job(
        id=id_of(digest, used),
        digest=digest,
        service=request.service.name,
        node=request.node.name,
        provider=request.provider.name,
        model=model,
        settings_name=settings.name,
        settings_version=settings.version,
        settings_path=settings.path,
        settings_digest=sha256(generation.that_count(settings.values)),
        tasks=runs,
        walltime=walltime(task, request.node, request.service, trial=asked.trial),
        max_samples=request.max_samples,
        priority=asked.priority or "",
        reservation=asked.reservation,
        mail=asked.mail,
        trial=asked.trial,
        scheduler_options=asked.options,
        devices=asked.devices,
        result_prefix=request.provider.result_prefix,
        model_names=result_model_names(request.provider, model, *paths),
    )


def walltime(task: Task, node: Node, service: Service, *, trial: bool = False) -> int:
    """Seconds that the task may take on this node, from the runtime table; a trial is cut short.

    Raises:
        InputError: the table has no column for the node, or asks for more than the service allows.
    """
    for column in node.runtime:
        if column in task.walltimes:
            seconds = task.walltimes[column]
            break
    else:
        raise InputError(
            f"{task.key} has no time for the node {node.name}",
            where=task.where,
            expected=f"a value in the column {' or '.join(node.runtime)}",
            nearest=nearest(node.runtime[0], [*task.extra, *task.walltimes]),
        )
    if seconds > service.walltime_max:
        raise InputError(
            f"{task.key} asks for {format_duration(seconds)} on {node.name}",
            where=f"{task.where}, column {column}",
            expected=f"at most {format_duration(service.walltime_max)} on {service.name}",
        )
    if trial:
        seconds = min(seconds, service.trial_max)
    if seconds <= end_margin(service, trial):
        raise InputError(
            f"{task.key} asks for {format_duration(seconds)} on {node.name}",
            where=f"{task.where}, column {column}",
            expected=f"more than the end_margin of {service.name}, {service.end_margin} s",
        )
    return seconds


def end_margin(service: Service, trial: bool) -> int:
    """Seconds before the walltime at which the script ends itself; at most a sixth of a trial."""
    return min(service.end_margin, service.trial_max // 6) if trial else service.end_margin


def job_name(attempt: Attempt) -> str:
    """The unique name that the scheduler knows an attempt by: `ID-NN_TASK_MODEL`, ASCII.

    Packed tasks are counted: `ID-NN_5tasks_MODEL`.

    Letters, digits and `_ . -` only, beginning with a letter, at most 60 characters: what all
    schedulers allow.
    """
    job = attempt.job
    what = job.tasks[0].key if len(job.tasks) == 1 else f"{len(job.tasks)}tasks"
    words = [what, job.model.rpartition("/")[2]]
    shown = "_".join(re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-.") for word in words)
    return f"{attempt.label}_{shown}"[:60].rstrip("-._")


def check_model_name(model: str) -> None:
    """Refuse a model name that cannot be a path of two parts, that looks like an option, or that
    holds what would command a terminal or turn its text round.

    Raises:
        InputError: it is such a name.
    """
    parts = model.split("/")
    bad = len(parts) > 2 or any(part in ("", ".", "..") or part != part.strip() for part in parts)
    # Surrogates, which stand for bytes that are not UTF-8, are not printable either.
    if bad or model.startswith("-") or not model.isprintable() or len(model.encode()) > 200:
        raise InputError(
            f"the model name {printable(model)} is not allowed",
            where="--model",
            expected="ORG/NAME as on the Hugging Face hub; a local path goes into the settings, "
            "as 'weights'",
        )


def _digest(request: Request, model: str, settings: Settings, runs: tuple[TaskRun, ...]) -> str:
    what = {
        "workspace": request.workspace,
        "service": request.service.name,
        "node": request.node.name,
        "provider": request.provider.name,
        "model": model,
        "settings": [settings.name, settings.version],
        "tasks": [what_it_is(run) for run in runs],
        "max_samples": request.max_samples,
    }
    return sha256(what)


def work_of(job: Job, run: TaskRun) -> str:
    """What this task of the job evaluates, and where: the same in whatever job it is done.

    Other than an id, it does not depend on the workspace's path.
    """
    names = (job.service, job.node, job.provider, job.model)
    settings = (job.settings_name, job.settings_version, job.max_samples)
    return json.dumps([*names, *settings, what_it_is(run)], sort_keys=True)


def what_it_is(run: TaskRun) -> list[object]:
    """What makes its number what it is. Options only where there are any: ids must not change."""
    options = {
        name: value for name, value in run.options.items() if name not in frameworks.WITHOUT_EFFECT
    }
    known: list[object] = [run.key, run.script, run.framework, generation.that_count(run.settings)]
    return [*known, options] if options else known


def _check_parallel(request: Request, values: Mapping[str, object], where: str) -> None:
    """Refuse parallel sizes that the node's GPUs cannot have, or that leave some of them idle."""
    if not {"tensor_parallel", "data_parallel"} & set(values):
        return
    tensor, data = parallel(values, request.node.gpus)
    if tensor * data != request.node.gpus:
        raise InputError(
            f"tensor_parallel {tensor} x data_parallel {data} is not the {request.node.gpus} "
            f"GPU(s) of {request.node.name}",
            where=where,
            do="choose another node, or leave one of the two out",
        )


def sha256(what: object) -> str:
    """Hexadecimal digest of plain values."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def id_of(digest: str, used: Mapping[str, str]) -> str:
    """Seven characters of the digest; others of it where these belong to another job."""
    number = int(digest, 16)
    while True:
        number, first = divmod(number, len(_FIRST))
        rest, letters = number, [_FIRST[first]]
        for _ in range(ID_LENGTH - 1):
            rest, digit = divmod(rest, len(_ALPHABET))
            letters.append(_ALPHABET[digit])
        candidate = "".join(letters)
        if used.get(candidate, digest) == digest:
            return candidate
