"""Workspaces with made-up but plausible results of many models, as `hpcjobs aggregate` leaves them.

With jobs in the journal, their markers, and raw results, so that costs and errors are really found.
"""

from __future__ import annotations

import datetime
import json
import math
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hpcjobs import journal
from hpcjobs.config.metrics import Metric, MetricTable, read_metrics
from hpcjobs.config.settings import merged, read_task_settings
from hpcjobs.model import Job, TaskRun
from hpcjobs.store import job_to_json
from hpcjobs.workspace import defaults_root

MODELS = (
    "tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5",
    "tokyotech-llm/Llama-3.3-Swallow-70B-Instruct-v0.4",
    "tokyotech-llm/Gemma-2-Llama-Swallow-27b-it-v0.1",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-235B-A22B-Instruct-2507",
    "meta-llama/Llama-3.3-70B-Instruct",
    "google/gemma-3-27b-it",
    "llm-jp/llm-jp-3.1-13b-instruct4",
    "openai/gpt-oss-120b",
    "openai/gpt-oss-20b",
    "東京科学大学/つばめ-日本語-8B-指示調整済み",
    "microsoft/phi-4",
)
HOSTILE = (
    '<script>document.title="pwned"</script>',
    '"><img src=x onerror="document.title=\'pwned\'">',
    '=HYPERLINK("http://example.com")',
    "{{ 7*7 }}{% raw %}",
    "a\u202eb & c_d $x$ \\input{/etc/passwd}",
)
AT = 1_767_323_045.0


def shipped_table() -> MetricTable:
    return read_metrics(defaults_root() / "conf" / "metrics.yaml")


@cache
def settings_of(script: str) -> dict[str, object]:
    """What a task is evaluated with."""
    table = read_task_settings(defaults_root() / "generation_settings" / "task_settings.csv")
    return merged({}, table.get(script, {}))


def write_results(
    root: Path,
    models: Sequence[str] = MODELS,
    metrics: int | None = None,
    *,
    seed: int = 1,
    missing: float = 0.05,
    **changes: dict[str, Any],
) -> list[Path]:
    """Aggregates of these models below `root`; `changes` by model go into its `hpcjobs` part."""
    chooser = random.Random(seed)
    table = [metric for metric in shipped_table().metrics if metric.set == "default"][:metrics]
    events: list[journal.Event] = []
    paths = []
    for place, model in enumerate(models):
        skill = 0.45 + 0.4 * chooser.random()
        document = _document(root, table, place, model, skill, missing, chooser, events)
        document["hpcjobs"].update(changes.get(model, {}))
        name = model if "/" in model.strip("/") and "<" not in model else f"org/model{place}"
        path = root / "results" / "hosted_vllm" / name / "aggregated_results.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, ensure_ascii=False))
        paths.append(path)
    (root / "jobs").mkdir(exist_ok=True)
    journal_file = root / "jobs" / "journal.jsonl"
    with journal_file.open("a") as file:
        file.writelines(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
    return paths


def _document(
    root: Path, table: Sequence[Metric], place: int, model: str, skill: float, missing: float,
    chooser: random.Random, events: list[journal.Event],
) -> dict[str, Any]:  # fmt: skip
    results: dict[str, float] = {}
    values: dict[str, Any] = {}
    absent: dict[str, str] = {}
    by_task: dict[str, list[Metric]] = {}
    for metric in table:
        by_task.setdefault(metric.tasks[0], []).append(metric)
    gone = {task for task in by_task if chooser.random() < missing}
    for number, (task, members) in enumerate(by_task.items()):
        if task in gone:
            for metric in members:
                results[metric.name] = -1
                absent[metric.name] = f"no result for {task}"
            continue
        samples = random.Random(task).choice([50, 100, 198, 500, 1000, 2000])  # of the data set
        seconds = round(chooser.uniform(300, 7000))
        job = _job(root, place, number, model, task, seconds, events)
        raw: dict[str, float] = {}
        hardness = chooser.uniform(-0.25, 0.15)
        for metric in members:
            share = min(max(skill + hardness + chooser.uniform(-0.05, 0.05), 0.02), 0.98)
            value = round(share * samples) / samples
            results[metric.name] = value
            for name in metric.metrics:
                raw[name] = value
                raw[f"{name}_stderr"] = math.sqrt(value * (1 - value) / max(samples - 1, 1))
        if any(metric.aggregate == "micro_average" for metric in members):
            raw = {}  # of subsets; the number of samples says enough
        file = _raw_file(root, job, model, task, raw, samples, seconds)
        for metric in members:
            values[metric.name] = {
                "files": [str(file.relative_to(root))],
                "tasks": [task],
                "samples": samples,
                "at": datetime.datetime.fromtimestamp(AT + 3600 * number).isoformat(),
                "seconds": seconds,
                "versions": ["lighteval 0.8.0", "vllm 0.10.1"],
                "jobs": [f"{job.id}-01 (tsubame/node_q)"],
                "settings": {job.tasks[0].key: dict(job.tasks[0].settings)},
            }
    ordered = {metric.name: results[metric.name] for metric in table}
    return {
        "model": f"hosted_vllm/{model}",
        "results": ordered,
        "overall": ",".join(map(str, ordered.values())),
        "tasks": list(ordered),
        "custom_settings": {"path": "", "name": "", "version": ""},
        "hpcjobs": {
            "version": "0.1.0",
            "complete": not absent,
            "max_samples": None,
            "missing": absent,
            "unfinished": {},
            "failed": {},
            "suspect": {},
            "not_in_any_metric": [],
            "values": values,
        },
    }


def _job(
    root: Path, place: int, number: int, model: str, task: str, seconds: int,
    events: list[journal.Event],
) -> Job:  # fmt: skip
    key = f"m{place:02d}j{number:03d}"
    script = task.split("|")[1]
    run = TaskRun(f"ja_{number}", script, f"ja/{number}", "lighteval", settings_of(script))
    job = Job(
        id=key, digest=key, service="tsubame", node="node_q", provider="vllm", model=model,
        settings_name="", settings_version="", settings_path="", tasks=(run,), walltime=7200,
        result_prefix="hosted_vllm",
    )  # fmt: skip
    end = AT + seconds
    events += [
        journal.event(journal.PLANNED, AT, key, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, AT, key, 1, name=key, place=""),
        journal.event(journal.SUBMITTED, AT, key, 1, native_id="1"),
        journal.event(journal.ENDED, end, key, 1, state="SUCCEEDED", reason=None, detail=""),
    ]
    directory = root / "jobs" / key / "01"
    directory.mkdir(parents=True, exist_ok=True)
    for name, value, at in (("started", "-", AT), ("exit_code", "0", end)):
        when = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
        (directory / name).write_text(f"{value} {when:%Y-%m-%dT%H:%M:%SZ}\n")
    return job


def _raw_file(
    root: Path, job: Job, model: str, task: str, raw: dict[str, float], samples: int, seconds: int
) -> Path:
    directory = root / "jobs" / job.id / "01" / "results"
    directory.mkdir(exist_ok=True)
    path = directory / "results_2026-01-02T03-04-05.000000.json"
    content = {
        "config_general": {
            "lighteval_sha": "0.8.0",
            "model_name": model,
            "total_evaluation_time_secondes": str(seconds),
        },
        "results": {task: raw},
        "config_tasks": {
            task.rpartition("|")[0]: {"effective_num_docs": samples, "original_num_docs": samples}
        },
    }
    path.write_text(json.dumps(content))
    return path
