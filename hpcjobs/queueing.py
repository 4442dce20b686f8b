"""What is asked of the scheduler for some jobs: how urgent they are, where they run, who is told.

Checked before anything is rendered, so that a scheduler never refuses what could be known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hpcjobs.errors import InputError, printable, unknown
from hpcjobs.model import Node, Service

OURS: Mapping[str, str] = {
    "grid_engine": "N S wd cwd o e j r p g ar m M t b C V v sync terse shell "
    "clear clearp clears adds mods now verify help inherit",
    "pbs": "N P o e j k r p J v V m M S C R f z I X G u",
    "slurm": "job-name J chdir D output o error e open-mode array a clusters cluster M wait W wrap "
    "parsable export export-file reservation mail-user mail-type requeue no-requeue time nodes "
    "test-only uid gid jobid help usage version autocomplete",
    "local": "",
}
"""Words that the templates write themselves, or that would break how jobs are found again."""

OURS_WITHIN: Mapping[str, Mapping[str, str]] = {
    "grid_engine": {"l": "h_rt s_rt", "w": "p v"},
    "pbs": {
        "l": "walltime nodes",
        "W": "umask depend block sandbox stagein stageout interactive job_name output_path "
        "error_path join_path keep_files remove_files rerunable priority mail_points mail_users "
        "variable_list shell_path_list array_indices_submitted user_list resource_list "
        "resource_list.walltime resource_list.nodes",
    },
}
"""The same within options that hold lists of words. `-w v` of Grid Engine submits nothing; by `-W`
PBS takes any attribute of a job, under its long name."""

LOCAL_OPTIONS = frozenset({"devices", "cpu_slots"})

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_RESERVATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")


@dataclass(frozen=True)
class Queueing:
    """What was typed."""

    priority: str | None = None
    reservation: str = ""
    mail: str = ""
    trial: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    """Further words for the scheduler, by name; they come before the node's."""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Packing:
    """How several tasks of a model share a job (see hpcjobs.packing)."""

    walltime: int | None = None
    """Seconds that a packed job may ask for; None = as many as its service allows."""
    at_once: int = 1
    """So many evaluators ask one server at the same time."""


def checked(asked: Queueing, service: Service, node: Node, max_samples: int | None) -> Queueing:
    """The same with the priority decided.

    Raises:
        InputError: the service does not have that, or a word is not allowed.
    """
    _check_trial(asked, service, max_samples)
    _check_devices(asked, service, node)
    if service.scheduler == "local" and (asked.reservation or asked.mail or asked.options):
        raise InputError(
            f"{service.name} has no reservations, mail or further options",
            where="--reservation, --mail, --scheduler-option",
            do="leave them out",
        )
    if asked.reservation:
        _match(_RESERVATION, asked.reservation, "--reservation", "letters, digits and . _ -")
    if asked.mail:
        _match(_MAIL, asked.mail, "--mail", "an address, NAME@HOST")
    check_options(service.scheduler, asked.options, service.nodes, where="--scheduler-option")
    if service.scheduler == "pbs" and "q" in asked.options:
        raise InputError(
            "the queue belongs to the node", where="--scheduler-option", do="choose it by --node"
        )
    return replace(asked, priority=_priority(asked, service))


def check_options(
    scheduler: str, options: Mapping[str, str], nodes: Iterable[str], *, where: str
) -> None:
    """Refuse words for the scheduler that hpcjobs writes itself, or that are no words.

    Args:
        scheduler: what the words are for.
        options: they.
        nodes: names of the service's nodes; on Grid Engine one of them is the resource type.
        where: for the message.

    Raises:
        InputError: one is not allowed.
    """
    for name, value in options.items():
        if scheduler == "local" and name in LOCAL_OPTIONS:
            continue
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{printable(name)} is not an option of a scheduler",
                where=where,
                expected="its name without dashes, such as q or partition",
            )
        if scheduler == "pbs" and len(name) > 1:  # `-hN x` is `-h -N x`
            raise InputError(
                f"{printable(name)} is not an option of qsub", where=where, expected="one letter"
            )
        ours = _ours(scheduler, name)
        if ours:
            meant = "" if ours == name else f", which {name} may be short for,"
            raise InputError(
                f"the option {ours}{meant} is set by hpcjobs itself",
                where=where,
                do="leave it out (see --priority, --reservation and --mail of submit)",
            )
        within = set(OURS_WITHIN.get(scheduler, {}).get(name, "").split())
        if scheduler == "grid_engine" and name == "l":
            within |= set(nodes)
        words = [part.partition("=")[0] for part in value.split(",")]
        if scheduler == "pbs":  # it does not tell WALLTIME from walltime
            words = [word.lower() for word in words]
        taken = within & set(words)
        if taken:
            raise InputError(
                f"-{name} {', '.join(sorted(taken))} is set by hpcjobs itself",
                where=where,
                do="choose the node by --node; its time is in the runtime table"
                if name == "l"
                else "leave it out",
            )


def _ours(scheduler: str, name: str) -> str:
    """The word of hpcjobs that this is, or that sbatch may take it for: it knows long options by
    their beginning; empty if there is none.
    """
    for ours in OURS[scheduler].split():
        if name == ours or (scheduler == "slurm" and len(ours) > 1 and ours.startswith(name)):
            return ours
    return ""


def _check_trial(asked: Queueing, service: Service, max_samples: int | None) -> None:
    if not asked.trial:
        return
    if not service.trial_max:
        raise InputError(f"{service.name} has no trial runs", where="--trial", do="leave it out")
    if max_samples is None:
        raise InputError(
            f"a trial run lasts {service.trial_max} s, too short for a whole evaluation",
            where="--trial",
            do="add --max-samples N: its results are then kept apart",
        )
    if asked.reservation or asked.priority not in (None, *service.priorities[:1]):
        raise InputError(
            "a trial run has neither a priority nor a reservation", where="--trial", do="choose"
        )


def _check_devices(asked: Queueing, service: Service, node: Node) -> None:
    if not asked.devices:
        return
    if service.scheduler != "local":
        raise InputError(
            f"on {service.name} the scheduler gives out the GPUs",
            where="--cuda-visible-devices",
            do="leave it out; it is for --service local",
        )
    if len(asked.devices) != node.gpus:
        raise InputError(
            f"{len(asked.devices)} device(s) for {node.name}",
            where="--cuda-visible-devices",
            expected=f"{node.gpus} device(s), separated by commas",
        )


def _priority(asked: Queueing, service: Service) -> str:
    allowed = service.priorities
    if asked.priority is None:
        return allowed[0] if allowed else ""
    if allowed and asked.priority not in allowed:
        raise unknown(f"priority of {service.name}:", asked.priority, allowed, where="--priority")
    return _match(re.compile(r"-?\d+"), asked.priority, "--priority", "a whole number")


def _match(pattern: re.Pattern[str], text: str, where: str, expected: str) -> str:
    if not pattern.fullmatch(text):
        raise InputError(f"{printable(text)} is not allowed", where=where, expected=expected)
    return text
