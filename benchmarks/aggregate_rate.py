#!/usr/bin/env python3
"""How long an aggregate takes, against reading the same files with plain `json.load`.

usage: benchmarks/aggregate_rate.py [FILES]     (default: 10000)

Makes a tree of FILES results of one model from the golden ones, and reads it in turn in both ways,
three times, each in a process of its own; the median counts. Prints the ratio, the peak of memory,
and the same for a tenth of the files: twice linear is linear.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "tests/golden/aggregates/complete/raw/hosted_vllm/acme/full-8B"
MODEL = "org/model"

PLAIN = """
import json, os, resource, sys, time
start = time.perf_counter()
for entry in os.scandir(sys.argv[1]):
    with open(entry.path) as file:
        json.load(file)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
OURS = """
import resource, sys, time
from pathlib import Path
from hpcjobs.results.added_functions import read_table
from hpcjobs.results.raw_tree import aggregate_tree, find_tree, tree_document
table, functions = read_table(Path(sys.argv[2]))
start = time.perf_counter()
tree = find_tree(Path(sys.argv[3]), sys.argv[4])
document = tree_document(tree, aggregate_tree(table, tree, functions))
assert document["hpcjobs"]["values"]
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def make_tree(root: Path, files: int) -> None:
    """Results of one model, each with a time of its own."""
    directory = root / MODEL
    directory.mkdir(parents=True)
    texts = []
    for path in sorted(SOURCE.glob("results_2025*.json")):
        document = json.loads(path.read_text())
        document["config_general"]["model_name"] = MODEL
        texts.append(json.dumps(document, indent=2))
    start = datetime(2026, 1, 1)
    for number in range(files):
        at = start + timedelta(seconds=number)
        name = f"results_{at:%Y-%m-%dT%H-%M-%S}.{number % 10**6:06d}.json"
        (directory / name).write_text(texts[number % len(texts)])


def measured(code: str, root: Path) -> tuple[float, int]:
    """Seconds, and kilobytes at the highest."""
    done = subprocess.run(
        [sys.executable, "-c", code, root / MODEL, ROOT / "conf/metrics.yaml", root, MODEL],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, kilobytes = done.stdout.split()
    return float(seconds), int(kilobytes)


def main() -> None:
    """Measure, and print a table."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print("files  json.load  aggregate  ratio  MB (json.load)  MB (aggregate)")
    for count in (max(files // 10, 1), files):
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            make_tree(root, count)
            pairs = [(measured(PLAIN, root), measured(OURS, root)) for _ in range(3)]
        plain = statistics.median(seconds for (seconds, _), _ in pairs)
        ours = statistics.median(seconds for _, (seconds, _) in pairs)
        ratio = statistics.median(b[0] / a[0] for a, b in pairs)
        low, high = (max(pair[index][1] for pair in pairs) / 1024 for index in (0, 1))
        print(f"{count:5}  {plain:8.2f}s {ours:9.2f}s  {ratio:5.2f}  {low:14.0f}  {high:14.0f}")


if __name__ == "__main__":
    main()
