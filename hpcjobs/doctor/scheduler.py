"""The scheduler's commands: on PATH, and answering. Only questions are asked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping

from hpcjobs.doctor.ask import Answer, ask, there
from hpcjobs.doctor.check import Check, Subject, fail, ok, skipped, warn
from hpcjobs.model import Service
from hpcjobs.processes import user_name
from hpcjobs.schedulers import LIVE

NEEDED: Mapping[str, tuple[str, ...]] = {
    "slurm": ("sbatch", "squeue", "scancel"),
    "grid_engine": ("qsub", "qstat", "qdel"),
    "pbs": ("qsub", "qstat", "qselect", "qdel"),
    "local": (),
}
ACCOUNTING: Mapping[str, str] = {"slurm": "sacct", "grid_engine": "qacct"}
"""Asked for jobs that the queue has forgotten; without it their own markers must do."""

NO_ANSWER = (
    "nothing can be submitted or watched until it answers; wait, and see the site's news. "
    "Jobs that run go on, and hpcjobs concludes nothing from silence"
)


def look_at_service(subject: Subject) -> Iterator[Check]:
    """Which service, and whether hpcjobs drives its scheduler."""
    service = _service(subject)
    shown = f"{service.name}: {service.title} ({service.scheduler}; {service.where})"
    if service.scheduler in LIVE:
        yield ok("service", shown)
    else:
        yield warn(
            "service",
            f"{shown}: this version writes its scripts, but does not submit them",
            "hpcjobs render ... --output-dir DIR, and submit them by hand",
        )


def look_at_commands(subject: Subject) -> Iterator[Check]:
    """Whether the commands are there."""
    scheduler = _service(subject).scheduler
    needed = NEEDED[scheduler]
    missing = [name for name in needed if not there(name)]
    if missing:
        yield fail(
            "commands",
            f"not on PATH: {' '.join(missing)}",
            "run this on a login node of the cluster, in a login shell (bash -l); "
            "or load the scheduler's module",
        )
    elif needed:
        yield ok("commands", " ".join(needed))


def look_at_controller(subject: Subject) -> Iterator[Check]:
    """Whether the scheduler answers."""
    service = _service(subject)
    if service.scheduler == "local":
        answer = ask([sys.executable, "-m", "hpcjobs.local", "query", "0"])
        yield judge_answer("local queue", answer)
        yield judge_gpus(ask(["nvidia-smi", "-L"], limit=30))
        return
    if not all(there(name) for name in NEEDED[service.scheduler]):
        yield skipped("scheduler", "its commands are not there")
        return
    if service.scheduler == "slurm":
        yield from _slurm(service, subject.group)
    elif service.scheduler == "grid_engine":
        yield judge_answer("scheduler", ask(["qstat", "-u", user_name()]))
    else:
        yield judge_answer("scheduler", ask(["qstat", "-B"]))
    if service.scheduler in ACCOUNTING:
        yield from _accounting(service.scheduler)


def _slurm(service: Service, group: str) -> Iterator[Check]:
    if there("scontrol"):
        yield judge_ping(ask(["scontrol", "ping"]))
    else:
        yield judge_answer("scheduler", ask(["squeue", "--noheader", f"--user={user_name()}"]))
    if there("sinfo"):
        yield judge_partitions(ask(["sinfo", "--noheader", "--format=%R"]), partitions(service))
    if there("sacctmgr"):
        wanted = [f"user={user_name()}", "format=Account,Partition"]
        asked = ["sacctmgr", "--noheader", "--parsable2", "--readonly", "show", "associations"]
        yield judge_association(ask([*asked, *wanted]), service.options.get("account") or group)


def _accounting(scheduler: str) -> Iterator[Check]:
    program = ACCOUNTING[scheduler]
    do = "jobs that the queue has forgotten are then judged by their own markers alone"
    if not there(program):
        yield warn("accounting", f"{program} is not on PATH", do)
        return
    if scheduler == "grid_engine":  # reads the whole file, gigabytes of it: not to be tried
        yield ok("accounting", f"{program} is there (not tried: it reads a very large file)")
        return
    columns = ["--noheader", "--allocations", "--parsable2", "--format=JobIDRaw"]
    answer = ask([program, *columns, "--starttime=now-1hour"])
    yield ok("accounting", program) if answer.good else warn("accounting", answer.complaint, do)


def judge_answer(name: str, answer: Answer) -> Check:
    """Any answer with exit status 0 will do."""
    return ok(name, "answers") if answer.good else fail(name, answer.complaint, NO_ANSWER)


def judge_gpus(answer: Answer) -> Check:
    """The GPUs of this machine."""
    found = [line for line in answer.stdout.splitlines() if line.startswith("GPU ")]
    if answer.good and found:
        return ok("GPUs", f"{len(found)}: {found[0].partition(' (UUID')[0]}")
    why = answer.complaint or "nvidia-smi lists none"
    return skipped("GPUs", f"none to be seen ({why}): nodes with GPUs cannot be used here")


def judge_ping(answer: Answer) -> Check:
    """`scontrol ping`: one controller that is up is enough."""
    lines = [line.strip() for line in answer.stdout.splitlines() if " is " in line]
    up = [line for line in lines if line.endswith(" is UP")]
    if up:
        return ok("scheduler", up[0])
    return fail("scheduler", lines[0] if lines else answer.complaint or "no answer", NO_ANSWER)


def partitions(service: Service) -> dict[str, str]:
    """Partition by node, as far as the service names them in full."""
    found: dict[str, str] = {}
    for node in service.nodes.values():
        name = {**service.options, **node.options}.get("partition", "")
        if name and "$" not in name:
            found[node.name] = name
    return found


def judge_partitions(answer: Answer, wanted: Mapping[str, str]) -> Check:
    """Whether the partitions that the nodes name exist (and may be seen)."""
    if not answer.good:
        return skipped("partitions", answer.complaint)
    known = set(answer.stdout.split())
    missing = sorted(
        f"{name} (node {node})"
        for node, names in wanted.items()
        for name in names.split(",")
        if name not in known
    )
    if missing:
        return fail(
            "partitions",
            f"not on this cluster: {', '.join(missing)}; there are: {_some(known)}",
            "put the right `partition:` into the service's nodes (conf/services/)",
        )
    return ok("partitions", _some(known & {n for one in wanted.values() for n in one.split(",")}))


def judge_association(answer: Answer, account: str) -> Check:
    """Whether the accounting knows us, and the account that pays."""
    if not answer.good:
        return skipped("account", answer.complaint)
    known = {line.split("|")[0] for line in answer.stdout.splitlines() if line.strip()}
    if "$" in account:
        account = ""
    if account and known and account not in known:
        return fail(
            "account",
            f"you have no association with {account}; with: {_some(known)}",
            "put one of these into the service's `group` (or where it is taken from: .env)",
        )
    if not known:
        return warn(
            "account",
            "the accounting has no association of yours",
            "where associations are enforced nothing can be submitted: ask the operators",
        )
    return ok("account", account or _some(known))


def _some(names: Iterable[str], limit: int = 8) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return (", ".join(listed[:limit]) + more) or "none"


def _service(subject: Subject) -> Service:
    if subject.service is None:
        raise AssertionError("looked at without a service")
    return subject.service
