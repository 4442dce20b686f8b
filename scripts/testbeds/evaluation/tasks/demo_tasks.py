"""The demo's questions as tasks of lighteval 0.8 and 0.13.

The questions lie in $HPCJOBS_TESTBED_QUESTIONS, a directory for each task. In lighteval 0.8 the
tasks belong to a suite `swallow`, as those of the Swallow fork do. Where $HPCJOBS_TESTBED_IMPATIENT
is set, lighteval does not wait minutes before it gives a question up.
"""

import inspect
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

from lighteval.metrics.metrics import Metrics
from lighteval.tasks import registry
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

QUESTIONS = Path(os.environ["HPCJOBS_TESTBED_QUESTIONS"])


def prompt(line, task_name=None):
    return Doc(task_name=task_name, query=line["question"], choices=[line["answer"]], gold_index=0)


def task(name, questions):
    values = {
        "name": name,
        "prompt_function": prompt,
        "hf_repo": str(QUESTIONS / questions),
        "hf_subset": "default",
        "hf_avail_splits": ["test"],
        "evaluation_splits": ["test"],
        "few_shots_split": None,
        "few_shots_select": None,
        "generation_size": 16,
        "stop_sequence": ["\n"],
        "version": 0,
    }
    if "suite" in inspect.signature(LightevalTaskConfig).parameters:
        values |= {"suite": ["swallow"], "metric": [Metrics.exact_match]}
    else:
        values |= {"metrics": [Metrics.exact_match]}
    return LightevalTaskConfig(**values)


if "swallow" not in registry.DEFAULT_SUITES:
    registry.DEFAULT_SUITES.append("swallow")

TASKS_TABLE = [
    task("demo_capitals", "demo_capitals"),
    task("demo_both:capitals", "demo_capitals"),
    task("demo_both:sums", "demo_sums"),
    task("demo_many", "demo_many"),
]

if "HPCJOBS_TESTBED_IMPATIENT" in os.environ:
    place = "endpoints." if find_spec("lighteval.models.endpoints.litellm_model") else ""
    module = import_module(f"lighteval.models.{place}litellm_model")
    module.time = SimpleNamespace(sleep=lambda _: None)
