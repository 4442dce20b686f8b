"""Models that think aloud: refused before submission where nobody parses their reasoning.

Only what lies on this machine's disks is looked at; the job looks again, before its server starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from hpcjobs.commands import run
from hpcjobs.errors import InputError, SchedulerUnavailableError, printable
from hpcjobs.model import Job
from hpcjobs.workspace import Workspace


def unparsed(job: Job) -> bool:
    """Whether an answer of this job's model would hold its reasoning, if it has any."""
    return any(
        "reasoning_parser" not in task.settings and task.options.get("output") != "loglikelihood"
        for task in job.tasks
    )


def refuse_unparsed_thinking(
    workspace: Workspace, jobs: Iterable[tuple[Job, str]], huggingface_home: str
) -> None:
    """Refuse jobs whose model's tokenizer has think tags, while the settings name no parser.

    Args:
        workspace: whose program looks at models.
        jobs: with what their model is loaded from.
        huggingface_home: the cache that the jobs use; empty = the usual one.

    Raises:
        InputError: there is such a job.
    """
    program = workspace.find_file("templates", "servers", "look_at_model.py")
    seen: dict[str, bool] = {}
    for job, weights in jobs:
        if not unparsed(job):
            continue
        if weights not in seen:
            seen[weights] = _thinks(program, weights, huggingface_home)
        if seen[weights]:
            raise InputError(
                f"the tokenizer of {printable(job.model)} has think tags, and no reasoning_parser "
                "is set",
                where=job.settings_path or "--settings",
                expected="a parser of vLLM's, such as deepseek_r1; deepseek_r1_markup; or ignore",
                do="add the setting reasoning_parser (generation_settings/template.yaml has more)",
            )


def _thinks(program: Path, weights: str, home: str) -> bool:
    chosen = [f"HF_HOME={home}"] if home else []
    argv = ["env", "HF_HUB_OFFLINE=1", *chosen, sys.executable, str(program), weights]
    if not os.access(program, os.R_OK):
        return False
    try:
        return "thinks yes" in run(argv, timeout=60.0).stdout.splitlines()
    except SchedulerUnavailableError:
        return False  # the job itself looks again
