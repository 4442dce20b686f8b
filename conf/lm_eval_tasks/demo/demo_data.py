"""Data of the demo tasks: the JSONL files next to this file, read without the hub or a cache.

lm_eval calls these functions through ``custom_dataset: !function demo_data.<name>`` and passes
the task's metadata and the model arguments as keyword arguments; they are not needed here.
"""

import json
from pathlib import Path

import datasets

HERE = Path(__file__).resolve().parent


def _load(name: str) -> datasets.DatasetDict:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})


def capitals(**_: object) -> datasets.DatasetDict:
    """Eight questions about capitals, three of them in Japanese."""
    return _load("demo_capitals.jsonl")


def sums(**_: object) -> datasets.DatasetDict:
    """Eight small sums."""
    return _load("demo_sums.jsonl")
