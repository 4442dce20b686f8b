"""What is to be fetched, and where to: from planned jobs to values that a file can hold.

No key is among them. Whoever fetches reads HF_TOKEN from `.env` by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hpcjobs.assemble import Assembly
from hpcjobs.model import Job, Provider

MODEL, DATASET, TASK = "model", "dataset", "lm_eval task"
"""The kinds of things: a model, a data set by its name, all that one task of lm_eval loads."""

EVALUATORS = {TASK: ("lm_eval",), DATASET: ("lighteval", "lm_eval")}
"""Whose Python loads it: a cache that another version of `datasets` made may not be read."""

_PLACES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_DATASETS_CACHE",
           "XDG_CACHE_HOME")  # fmt: skip
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Thing:
    """One thing that a job will want to find."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Request:
    """What is to be fetched, and all that must be known for it."""

    things: tuple[Thing, ...]
    exports: Mapping[str, str]
    """The service's variables, as its jobs will have them."""
    inherits: bool
    """Whether the jobs see the caches that our own environment names."""
    env_file: str
    umask: str
    environments: Mapping[str, str] = field(default_factory=dict)
    """Directory of the evaluators' virtual environments; those that are not here are on PATH."""
    include_path: str = ""
    """The workspace's own tasks of lm_eval."""

    def environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        """The variables to fetch with: the caches of the jobs, and not offline."""
        dropped = {*_OFFLINE, *(() if self.inherits else _PLACES)}
        kept = {name: value for name, value in outer.items() if name not in dropped}
        further = {name: value for name, value in self.exports.items() if name not in _OFFLINE}
        return {**kept, **further}

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Request:
        """The reverse of `to_json`."""
        things = tuple(Thing(**thing) for thing in value["things"])
        return cls(**{**value, "things": things})


def request_for(assembly: Assembly, jobs: Sequence[Job], datasets: Sequence[str] = ()) -> Request:
    """What these jobs will want to find, and these data sets.

    Raises:
        InputError: a personal value is missing.
    """
    service, renderer = assembly.service, assembly.renderer
    models: list[str] = []
    tasks: list[str] = []
    for job in jobs:
        for task in job.tasks:
            weights = renderer.weights(job.model, task)
            # A path is there already, or will never be.
            if _loads_from_hub(assembly.provider) and not Path(weights).exists():
                models.append(str(weights))
            if task.framework == "lm_eval":
                tasks.append(task.script)
    things = [
        *(Thing(MODEL, name) for name in models),
        *(Thing(DATASET, name) for name in datasets),
        *(Thing(TASK, name) for name in tasks),
    ]

    def expand(text: str) -> str:
        return assembly.personal.expand(text, where=service.where)

    exports = {name: expand(value) for name, value in service.exports.items()}
    request = Request(
        things=tuple(dict.fromkeys(things)),
        exports={name: value for name, value in exports.items() if value},
        inherits=service.scheduler == "slurm",  # sbatch hands our environment on
        env_file=str(assembly.workspace.env_file),
        umask=service.umask,
        environments={
            name: expand(service.environments[name])
            for name in ("lighteval", "lm_eval")
            if name in service.environments and (tasks or datasets)
        },
        include_path=str(assembly.workspace.find_file("conf", "lm_eval_tasks")) if tasks else "",
    )
    assembly.personal.require_nothing_missing()
    return request


def together(requests: Sequence[Request]) -> Request:
    """What several groups of jobs of one service want, as one request."""
    things = dict.fromkeys(thing for one in requests for thing in one.things)
    environments = {
        name: path for one in requests for name, path in one.environments.items()
    }  # of one service: where two name one, it is the same
    include_path = next((one.include_path for one in requests if one.include_path), "")
    return replace(
        requests[0], things=tuple(things), environments=environments, include_path=include_path
    )


def _loads_from_hub(provider: Provider) -> bool:
    """Whether a name that is no path is one of the hub: GGUF files and APIs have others."""
    return provider.server in ("vllm", "lmdeploy") or bool(provider.in_process)


def not_fetched(jobs: Sequence[Job]) -> list[str]:
    """The keys of the tasks whose data sets cannot be found out: those of lighteval."""
    keys = [task.key for job in jobs for task in job.tasks if task.framework != "lm_eval"]
    return list(dict.fromkeys(keys))


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Where huggingface-hub keeps what it downloads, in this environment."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return Path(environment[name]).expanduser()
    if environment.get("HF_HOME"):
        return Path(environment["HF_HOME"], "hub").expanduser()
    cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache, "huggingface", "hub").expanduser()
