"""The cluster that docs/slurm.md describes, rendered."""

from __future__ import annotations

import re
from pathlib import Path

from hpcjobs.assemble import Choices, assemble
from hpcjobs.model import Attempt
from hpcjobs.workspace import Workspace


def directives(shipped: Workspace, project: Path, node: str) -> list[str]:
    """The #SBATCH lines of a job on that node, without the workspace's path."""
    text = (project / "docs" / "slurm.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    services = shipped.root / "conf" / "services"
    services.mkdir(parents=True)
    (services / "ours.yaml").write_text(example)
    shipped.env_file.write_text("REPO_PATH=/repo\nSLURM_ACCOUNT=research\n")
    choices = Choices(service="ours", node=node, models=("acme/tiny",), tasks=("en_hellaswag",))
    assembly = assemble(shipped, choices)
    script = assembly.renderer.render(Attempt(assembly.jobs[0], 1))
    lines = re.findall(r"^#SBATCH --(.*)$", script.text, re.MULTILINE)
    return [line for line in lines if str(shipped.root) not in line and "job-name" not in line]


COMMON = ["time=00:30:00", "open-mode=append", "no-requeue", "account=research"]
COMMON += ["nodes=1", "ntasks=1"]


def test_a_node_of_the_documented_cluster(shipped: Workspace, project: Path) -> None:
    assert directives(shipped, project, "a100") == [
        *COMMON, "cpus-per-task=16", "gres=gpu:1",
        "signal=B:USR1@120", "partition=gpu", "mem=120G", "constraint=a100",
    ]  # fmt: skip


def test_a_bare_flag_and_gpus_named_by_hand(shipped: Workspace, project: Path) -> None:
    assert directives(shipped, project, "whole") == [
        *["time=02:00:00", *COMMON[1:]], "cpus-per-task=64",
        "signal=B:USR1@120", "partition=gpu", "gres=gpu:a100:4", "exclusive", "mem=0",
    ]  # fmt: skip
