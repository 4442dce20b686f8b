"""The domain's values: what is evaluated, where it runs, and how a job stands.

Plain frozen dataclasses without behaviour that reads files, runs programs or asks the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum


class JobState(str, Enum):
    """How a job (or one attempt of it) stands. UNKNOWN may stand in for any and is never final."""

    PLANNED = "PLANNED"
    SUBMITTING = "SUBMITTING"
    PENDING = "PENDING"
    HELD = "HELD"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    UNKNOWN = "UNKNOWN"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether an attempt in this state never changes again."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Reason(str, Enum):
    """Why an attempt failed."""

    EXIT_CODE = "EXIT_CODE"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAILURE = "NODE_FAILURE"
    PREEMPTED = "PREEMPTED"
    SCHEDULER_ERROR = "SCHEDULER_ERROR"
    SUBMIT_FAILED = "SUBMIT_FAILED"
    SERVER_FAILED = "SERVER_FAILED"
    VANISHED = "VANISHED"
    NO_RESULT = "NO_RESULT"


@dataclass(frozen=True)
class Verdict:
    """What the evidence says of one attempt."""

    state: JobState
    reason: Reason | None = None
    detail: str = ""
    """For people: the fact that decided, or what is still missing."""


@dataclass(frozen=True)
class Task:
    """A row of conf/tasks_runtime.csv."""

    key: str
    """`{language}_{name}`, unique in the table."""
    script: str
    """The task's name in its framework."""
    result_dir: str
    """Where its raw results go, below the attempt's `results/`."""
    framework: str
    walltimes: Mapping[str, int] = field(default_factory=dict)
    """Seconds by column of the table."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Columns that hpcjobs does not know, kept as they are."""
    where: str = ""
    """`FILE:LINE`, for messages."""


@dataclass(frozen=True)
class Node:
    """A kind of node (resource type) of a service."""

    name: str
    gpus: int
    """Devices the job sees: MIG slices count as one. 0 = a CPU node."""
    cores: int
    memory_gb: float
    runtime: tuple[str, ...]
    """Columns of the runtime table that hold its walltimes: the first that the table has."""
    local_disk_gb: float = 0.0
    price: Mapping[str, Decimal] = field(default_factory=dict)
    """The site's figures, such as `coefficient` or `per_hour`."""
    part_of: str = ""
    """The kind of node that has several of these: the same GPUs, more of them."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What the scheduler must be told for this node; names are the scheduler's own."""
    description: str = ""
    bigger: str = ""
    """The kind of node for what cannot end on this one within the longest walltime."""


@dataclass(frozen=True)
class Pricing:
    """How a service counts what its jobs cost (see hpcjobs.price)."""

    unit: str
    """`points`, `GPU hours`, ...: for people."""
    formula: str
    figure: str
    """Which of a node's figures counts."""
    priorities: Mapping[str, Decimal] = field(default_factory=dict)
    """Factor by priority; empty = they all cost the same."""


@dataclass(frozen=True)
class Service:
    """Where jobs run: a file of conf/services/."""

    name: str
    scheduler: str
    title: str
    nodes: Mapping[str, Node]
    walltime_max: int
    """Seconds."""
    template: str
    """The template, below templates/, that a job script is rendered from."""
    group: str = ""
    """Who pays; may hold a `${NAME}` of .env."""
    priorities: tuple[str, ...] = ()
    """The values that `--priority` takes; the first is the default."""
    poll_seconds: int = 60
    """Never ask the scheduler more often than this."""
    grace_seconds: int = 600
    """How long a job may be missing everywhere before it counts as vanished."""
    submit_timeout: int = 60
    """Seconds until a submit command that does not answer is given up."""
    trial_max: int = 0
    """Seconds that a trial run may last, free and without a group; 0 = there are none."""
    end_margin: int = 0
    """Seconds before the walltime at which the script ends itself."""
    stop_grace: int = 5
    """Seconds between TERM and KILL for server and evaluator."""
    start_timeout: int = 1800
    """Seconds a model server may take to answer."""
    umask: str = "027"
    modules: tuple[str, ...] = ()
    exports: Mapping[str, str] = field(default_factory=dict)
    """Variables set in the job; values may hold `${NAME}` of .env."""
    environments: Mapping[str, str] = field(default_factory=dict)
    """Virtual environment (a directory, or `uv run ...`) by provider or framework; may hold
    `${NAME}`."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further words for the scheduler, by name; native."""
    stage_weights: bool = False
    """A server's weights are copied to the node's own disk first, where they fit."""
    load_format: str = ""
    """vLLM's `--load-format`, such as `runai_streamer`."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Counts such as `unfinished` and `running` jobs a user."""
    price: Pricing | None = None
    download_node: str = ""
    """The node where models and data sets are fetched; empty = the first without a GPU."""
    download_walltime: int = 4 * 3600
    """Seconds that fetching may take."""
    where: str = ""


@dataclass(frozen=True)
class Provider:
    """Who serves the model: an entry of conf/providers.yaml."""

    name: str
    server: str | None
    """The template below templates/servers/ that starts it in the job; None = there is none."""
    result_prefix: str
    """First part of the path of its results: `hosted_vllm`, ...; may be empty."""
    litellm: str = ""
    """What litellm calls it; goes before the model's name."""
    needs_gpu: bool = False
    """It serves on GPU nodes only."""
    base_url: str | None = None
    """Of a provider that runs elsewhere; may hold a `${NAME}` of .env."""
    in_process: Mapping[str, str] = field(default_factory=dict)
    """No server: what each framework calls the program by which it loads the model itself."""
    lm_eval: Mapping[str, str] = field(default_factory=dict)
    """lm_eval's models for its `chat` and `completions`, where they are not the local ones."""
    chat: bool = True
    """It takes chats."""
    completions: bool = True
    """It continues plain text."""
    loglikelihood: bool = False
    """It tells how likely a given text is (echo and logprobs)."""
    gpu_memory_utilization: float = 0.9
    """The part of a GPU's memory that vLLM may take."""
    key: str | None = None
    """The variable of .env that holds the key it wants."""
    key_required: bool = True
    """Without the key, nothing is submitted."""
    needs_weights: bool = False
    """The settings must say where the weights are (`weights:`)."""


@dataclass(frozen=True)
class Settings:
    """Named generation settings of one model, as found; `name` is empty where none was chosen."""

    name: str = ""
    version: str = ""
    path: str = ""
    """The YAML file, relative to the workspace or the defaults."""
    values: Mapping[str, object] = field(default_factory=dict)
    """Only what the model's settings say; None = unset."""


@dataclass(frozen=True)
class TaskRun:
    """One task within one job, with everything that gives its number a meaning."""

    key: str
    script: str
    result_dir: str
    framework: str
    settings: Mapping[str, object]
    """The merged settings it is evaluated with."""
    options: Mapping[str, object] = field(default_factory=dict)
    """What the evaluator is told beside them (see hpcjobs.config.frameworks)."""


@dataclass(frozen=True)
class Job:
    """One script given to a scheduler: one model, one service, one node, one or more tasks."""

    id: str
    """Seven characters; derived from what the job is, so planning the same again finds it."""
    digest: str
    """Of everything that the id stands for, in full."""
    service: str
    node: str
    provider: str
    model: str
    settings_name: str
    settings_version: str
    settings_path: str
    tasks: tuple[TaskRun, ...]
    """Several are packed behind one server (see hpcjobs.packing)."""
    walltime: int
    """Seconds."""
    max_samples: int | None = None
    priority: str = ""
    reservation: str = ""
    """The id of the reservation that it runs in."""
    mail: str = ""
    """The address that the scheduler writes to when it ends."""
    trial: bool = False
    """A free and short run without a group, where the service allows such."""
    scheduler_options: Mapping[str, str] = field(default_factory=dict)
    """Further words for the scheduler, for this job; they come before the node's."""
    devices: tuple[str, ...] = ()
    """The GPUs it must use (`--cuda-visible-devices`); empty = any."""
    result_prefix: str = ""
    """First part of the path of its results, from the provider."""
    settings_digest: str = ""
    """Of the model's own settings, whatever their version says."""
    model_names: tuple[str, ...] = ()
    """The names under which the model may stand in result files."""
    task_walltimes: tuple[int, ...] = ()
    """Of packed tasks, in their order: the seconds that each may need."""
    at_once: int = 1
    """So many packed tasks are evaluated at the same time."""


@dataclass(frozen=True)
class Attempt:
    """One submission of a job."""

    job: Job
    number: int

    @property
    def label(self) -> str:
        """`ID-NN`: what the scheduler's job name begins with."""
        return f"{self.job.id}-{self.number:02d}"


@dataclass(frozen=True)
class Observation:
    """What a scheduler said of one job at one time."""

    native_id: str
    name: str
    state: JobState
    native_state: str
    """In the scheduler's own words."""
    reason: Reason | None = None
    """Only where the scheduler itself explains an end."""
    exit_status: int | None = None
    since: float | None = None
    """When it started to run, in epoch seconds, where known."""
    ended: float | None = None
    """When it ended, likewise."""
    detail: str = ""
