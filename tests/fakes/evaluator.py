"""What the fake evaluators do: ask the server once, write a result, end.

Faults, for all tasks or below the task's name: ignore_term, stray, exit_at_start (see faults.py);
wait_for (a file); result_before (it asks); slow_once (a file,
from the second time on it is quick); hold (until it is stopped); no_question; exit.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
import urllib.request
from pathlib import Path

import faults as fakes


def run(
    program: str,
    *,
    task: str,
    url: str | None,
    key: str,
    results: list[str],
    value: dict[str, object],
    **more: object,
) -> None:
    """Be an evaluator."""
    asked = fakes.read_faults("EVALUATOR")
    faults = {**asked, **asked.get(task, {})}
    fakes.record(program, task=task, **more)
    fakes.apply(faults)
    if faults.get("result_before"):
        _leave(task, results, value)
    if "wait_for" in faults:
        fakes.wait_for(faults["wait_for"])
    if "slow_once" in faults and not Path(faults["slow_once"]).exists():
        Path(faults["slow_once"]).touch()
        time.sleep(120)
    if faults.get("hold"):
        time.sleep(120)
    if url is not None and not faults.get("no_question"):
        _ask(url, key, task)
    if "exit" in faults:
        sys.exit(faults["exit"])
    _leave(task, results, value)


def _leave(task: str, results: list[str], value: dict[str, object]) -> None:
    """A result, and the samples of it."""
    now = datetime.datetime.now().isoformat().replace(":", "-")
    path = Path(*results, f"results_{now}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False))
    samples = path.with_name(f"samples_{task}_{now}.jsonl")
    one = {"arguments": [["question", {}]], "resps": [["answer"]]}
    samples.write_text("".join(json.dumps({"doc_id": n, **one}) + "\n" for n in range(4)))


def _ask(url: str, key: str, task: str) -> None:
    request = urllib.request.Request(
        url,
        json.dumps({"task": task}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=60).read()
    except OSError as error:
        print(f"the server did not answer: {error}", flush=True)
        time.sleep(120)  # as evaluators do, which try again for hours
