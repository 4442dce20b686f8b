"""A dry render: the script of one job of the service, read by bash and by shellcheck."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from hpcjobs.assemble import Choices, assemble
from hpcjobs.doctor.ask import ask, first_line, there
from hpcjobs.doctor.check import Check, Subject, fail, ok, warn
from hpcjobs.model import Attempt, Node, Service
from hpcjobs.render import check_script


def look_at_scripts(subject: Subject) -> Iterator[Check]:
    """Whether the templates give a script for each kind of node; one is read closely."""
    service = subject.service
    if service is None:
        return
    for node in chosen_nodes(service):
        yield _rendered(subject, service, node)


def chosen_nodes(service: Service) -> list[Node]:
    """One node with GPUs and one without, as far as there are any."""
    nodes = list(service.nodes.values())
    with_gpu = [node for node in nodes if node.gpus][:1]
    return with_gpu + [node for node in nodes if not node.gpus][:1]


def _rendered(subject: Subject, service: Service, node: Node) -> Check:
    name = f"script {node.name}"
    provider, model = ("vllm", "org/name") if node.gpus else ("openai", "openai/name")
    if node.gpus and subject.models:
        model = subject.models[0]
    assembly = assemble(
        subject.workspace, Choices(service.name, node.name, [model], provider=provider)
    )
    if service.scheduler == "local":
        assembly.renderer.devices = tuple(str(index) for index in range(node.gpus))
    script = assembly.renderer.render(Attempt(assembly.jobs[0], 1))
    check_script(script)
    shown = f"{len(script.text.splitlines())} lines, as bash reads them"
    if not there("shellcheck"):
        return ok(name, shown)
    with tempfile.TemporaryDirectory(prefix="hpcjobs-doctor.") as directory:
        path = Path(directory, "job.sh")
        path.write_text(script.text, encoding="utf-8")
        answer = ask(["shellcheck", "--severity=error", "--format=gcc", str(path)])
    if answer.good:
        return ok(name, f"{shown} and shellcheck")
    if answer.returncode == 1:
        complaint = first_line(answer.stdout).removeprefix(f"{path}:")
        return fail(name, f"shellcheck: line {complaint}", f"mend templates/{service.template}")
    return warn(name, f"{shown}; {answer.complaint}", "shellcheck itself failed; see it by hand")
