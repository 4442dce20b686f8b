"""The whole way, all of it real: command line, queue, llama.cpp's server, lm_eval; right scores."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_line import DEMO, CommandLine, command_line, need, wait_for

from hpcjobs import __version__

pytestmark = pytest.mark.real

SCORES = {"demo_capitals": 0.75, "demo_sums": 0.875}
RESULTS = Path("results", "llamacpp", "hpcjobs", "tiny-demo", "demo")
FILE = "aggregated_results.json"
HOSTILE = "a 'q\" $(touch pwned) `touch pwned` \\ * 日本語"


@dataclass
class Evaluated:
    """A workspace in which the demo was evaluated, and what was said meanwhile."""

    line: CommandLine
    submitted: str
    followed: str
    waited: str
    aggregated: str
    document: dict[str, Any]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluated]:
    need("lm_eval", "xllamacpp")
    with command_line(tmp_path_factory.mktemp("evaluated")) as line:
        line.service(options={"cpu_slots": "2"})
        submitted = line.run(*DEMO, "--tasks", "demo").stdout
        following = line.start("logs", line.status()["demo_sums"]["job"], "-f")
        waited = line.run("wait").stdout
        followed, complaint = following.communicate(timeout=30)
        assert (following.returncode, complaint) == (0, "")
        aggregated = line.run("aggregate").stdout
        document = json.loads((line.root / RESULTS / FILE).read_text())
        yield Evaluated(line, submitted, followed, waited, aggregated, document)


@pytest.fixture
def copy(evaluated: Evaluated, tmp_path: Path) -> Iterator[CommandLine]:
    """A copy of that workspace, as it was, to spoil."""
    with command_line(tmp_path) as line:
        shutil.copytree(evaluated.line.root, line.root, dirs_exist_ok=True)
        yield line


def result_file(line: CommandLine, task: str) -> Path:
    job = line.status()[task]["job"]
    (path,) = (line.root / "jobs" / job / "01").rglob("results_*.json")
    return path


# ---- What comes out ------------------------------------------------------------------------------


def test_the_scores_are_right(evaluated: Evaluated) -> None:
    assert evaluated.document["results"] == SCORES
    assert "demo_capitals  0.7500  8 samples" in evaluated.aggregated
    assert "demo_sums      0.8750  8 samples" in evaluated.aggregated
    assert str(evaluated.line.root / RESULTS / FILE) in evaluated.aggregated


def test_every_key_of_the_aggregate_is_right(evaluated: Evaluated) -> None:
    document = dict(evaluated.document)
    about = dict(document.pop("hpcjobs"))
    values = about.pop("values")
    assert document == {
        "model": "llamacpp/hpcjobs/tiny-demo",
        "results": SCORES,
        "overall": "0.75,0.875",
        "tasks": ["demo_capitals", "demo_sums"],
        "custom_settings": {
            "path": "generation_settings/custom_model_settings/hpcjobs/tiny-demo.yaml",
            "name": "demo",
            "version": "1",
        },
    }
    assert about == {
        "version": __version__,
        "complete": True,
        "max_samples": None,
        **{key: {} for key in ("missing", "unfinished", "failed", "suspect")},
        **{key: {} for key in ("accepted_suspect", "evidence")},
        "not_in_any_metric": [],
    }
    jobs = {task: one["job"] for task, one in evaluated.line.status().items()}
    assert list(values) == list(SCORES)
    for task, value in values.items():
        (file,) = value.pop("files")
        assert file.startswith(f"jobs/{jobs[task]}/01/results/demo/")
        assert (evaluated.line.root / file).is_file()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+", value.pop("at"))
        assert 0 < value.pop("seconds") < 120
        assert value.pop("versions")[0].startswith("lm_eval 0.4.")
        assert value == {
            "tasks": [task],
            "samples": 8,
            "jobs": [f"{jobs[task]}-01 (local/cpu)"],
            "settings": {
                task: {
                    "max_new_tokens": 16,
                    "temperature": 0.0,
                    "weights": "demo/tiny-demo.gguf",
                }
            },
        }


def test_aggregate_as_json_is_the_same(evaluated: Evaluated) -> None:
    said = evaluated.line.json("aggregate", "--model", "hpcjobs/tiny-demo")
    (one,) = (one for one in said["evaluations"] if one["hpcjobs"]["max_samples"] is None)
    assert one["path"] == str(evaluated.line.root / RESULTS / FILE)
    assert one["results"] == SCORES
    assert said["warnings"] == []


def test_the_values_go_into_tables_a_comparison_and_a_report(copy: CommandLine) -> None:
    need("pandas", "pyarrow")
    copy.run("aggregate")
    table = copy.run("export").stdout.splitlines()
    model = "llamacpp/hpcjobs/tiny-demo"
    assert table == [
        "model,settings,settings_version,demo_capitals,demo_sums",
        f"{model},demo,1,0.75,0.875",
    ]
    other = copy.root / "results" / "other" / FILE
    other.parent.mkdir()
    document = json.loads((copy.root / RESULTS / FILE).read_text())
    document["results"]["demo_sums"] = 0.0
    other.write_text(json.dumps(document))
    found = copy.json("compare", copy.root / RESULTS / FILE, other)
    assert found["warnings"] == []
    capitals, sums = found["metrics"]
    # lm_eval's own: of a sample, so with n - 1.
    assert capitals["values"][0]["error_from"] == "reported"
    assert capitals["values"][0]["standard_error"] == pytest.approx((0.75 * 0.25 / 7) ** 0.5)
    assert capitals["differences"][1]["verdict"] == "within noise"
    assert sums["values"][1]["error_from"] == "binomial"  # no longer what the raw file says
    assert sums["differences"][1]["verdict"] == "beyond noise"
    other.unlink()
    copy.run("report", "--output", copy.root / "report.html")
    page = (copy.root / "report.html").read_text()
    for part in ("0.7500", "0.8750", "local/cpu", "lm_eval 0.4.", 'class="chip complete"'):
        assert part in page
    assert "stale" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_submit_and_wait_tell_each_job(evaluated: Evaluated) -> None:
    jobs = {task: one["job"] for task, one in evaluated.line.status().items()}
    for task, job in jobs.items():
        assert re.search(rf"queue  {job}-01  \d+  {task}  hpcjobs/tiny-demo", evaluated.submitted)
        assert re.search(rf"running  {job}-01  {task}  evaluating {task}", evaluated.waited)
        assert re.search(rf"done  {job}-01  {task}\n", evaluated.waited)
    assert "2 job(s) to submit, 00:20:00 asked for in all" in evaluated.submitted


def test_status_tells_how_it_went(evaluated: Evaluated) -> None:
    line = evaluated.line
    for task, job in line.status().items():
        directory = line.root / "jobs" / job["job"] / f"{job['attempt']:02d}"
        expected = {
            "state": "SUCCEEDED",
            "reason": None,
            "detail": "",
            "suspect": {},
            "tasks": [task],
            "model": "hpcjobs/tiny-demo",
            "provider": "llamacpp",
            "settings": "demo",
            "service": "local",
            "node": "cpu",
            "walltime": "00:10:00",
            "name": f"{job['job']}-{job['attempt']:02d}_{task}_tiny-demo",
            "directory": str(directory),
        }
        assert expected.items() <= job.items()
        assert job["native_id"] in {one["id"] for one in line.queue()}
        assert job["submitted_at"] < job["ended_at"]
    plain = line.run("--no-emoji", "status")
    assert plain.stdout.isascii()
    assert "done 2" in plain.stdout
    assert plain.stderr == ""


def test_an_id_may_be_shortened(evaluated: Evaluated) -> None:
    keys = [one["job"] for one in evaluated.line.status().values()]
    for key in keys:
        (length,) = {
            next(n for n in range(1, 8) if sum(one.startswith(key[:n]) for one in keys) == 1)
        }
        for shown in (key[:length], key[:length].upper(), f"{key}-01"):
            assert [one["job"] for one in evaluated.line.json("status", shown)["jobs"]] == [key]


def test_logs_show_the_evaluator_the_server_the_job_and_the_script(evaluated: Evaluated) -> None:
    line, job = evaluated.line, evaluated.line.status()["demo_sums"]["job"]

    def logs(*words: object) -> str:
        return line.run("logs", job, "--attempt", 1, *words).stdout

    assert "|demo_sums|" in logs()
    assert logs("--task", "demo_sums") == logs()
    assert logs("-n", 3) == "".join(logs().splitlines(keepends=True)[-3:])
    assert logs("-n", 0) == ""
    assert "model" in logs("--server").lower()
    assert logs("--script").startswith("#!/bin/bash\n#HPCJOBS --name ")
    assert logs("--job-log").splitlines()[-1].endswith("exit code 0")
    assert logs() in evaluated.followed
    assert "starting llamacpp on port" in evaluated.followed  # before the evaluator: the job's log


def test_the_same_again_submits_nothing(evaluated: Evaluated) -> None:
    line = evaluated.line
    before = (line.queue(), (line.root / "jobs" / "journal.jsonl").read_bytes())
    said = line.run(*DEMO, "--tasks", "demo", "--wait")
    assert "0 job(s) to submit" in said.stdout
    assert "2 in the queue or done already, left alone" in said.stdout
    assert [one["state"] for one in line.json(*DEMO, "--tasks", "demo")["kept"]] == [
        *("SUCCEEDED", "SUCCEEDED")
    ]
    assert (line.queue(), (line.root / "jobs" / "journal.jsonl").read_bytes()) == before
    assert line.run("wait").returncode == 0
    assert line.run("cancel", "--all").stdout.startswith("0 asked to end, 2 had ended already")


def test_again_makes_a_second_attempt_and_few_samples_another_result(line: CommandLine) -> None:
    need("lm_eval", "xllamacpp")
    few = (*DEMO, "--tasks", "demo_sums", "--max-samples", "2")
    line.run(*few, "--wait")
    job = line.status()["demo_sums"]["job"]
    first = {p: p.read_bytes() for p in (line.root / "jobs" / job).rglob("*") if p.is_file()}
    line.run(*few, "--again", "--wait")
    assert [one["attempt"] for one in line.status().values()] == [2]
    assert all(path.read_bytes() == content for path, content in first.items())
    assert len(line.queue()) == 2
    line.run("aggregate")
    assert not (line.root / RESULTS / FILE).exists()
    document = json.loads((line.root / RESULTS / "max_samples_2" / FILE).read_text())
    value = document["hpcjobs"]["values"]["demo_sums"]
    assert value["jobs"] == [f"{job}-02 (local/cpu)"]
    assert (value["samples"], document["hpcjobs"]["max_samples"]) == (2, 2)
    assert document["results"]["demo_capitals"] == -1
    assert "demo_capitals" in document["hpcjobs"]["missing"]


# ---- What must not count -------------------------------------------------------------------------


def spoiled(content: str) -> dict[str, tuple[str, str]]:
    """Contents that must not count, and what is said of each."""
    return {
        "truncated": (content[: len(content) // 2], "it is cut off after"),
        "empty": ("", "it is empty"),
        "not JSON": ("<html></html>", "it is not JSON"),
        "a list": ("[]", ""),
        "of another model": (
            content.replace("hpcjobs/tiny-demo", "hpcjobs/other"),
            "is of another model: 'hpcjobs/other'",
        ),
        "not a number": (re.sub(r"0\.875", "NaN", content), ""),
        "without results": (json.dumps({**json.loads(content), "results": {}}), "no results"),
    }


def test_a_spoiled_result_never_counts_and_is_named(copy: CommandLine) -> None:
    path = result_file(copy, "demo_sums")
    whole = path.read_text()
    for what, (content, why) in spoiled(whole).items():
        assert content != whole, what
        path.write_text(content)
        said = copy.run("aggregate", code=1).stdout
        assert f"failed: demo_sums: {path.relative_to(copy.root)}: " in said, what
        assert why in said, what
        document = json.loads((copy.root / RESULTS / FILE).read_text())
        assert document["results"] == {"demo_capitals": 0.75, "demo_sums": -1}
        assert document["overall"] == "0.75,-1"
        assert document["hpcjobs"]["complete"] is False
        assert list(document["hpcjobs"]["failed"]) == ["demo_sums"]
    path.write_text(whole)
    copy.run("aggregate")
    assert json.loads((copy.root / RESULTS / FILE).read_text())["results"] == SCORES


def test_a_result_that_is_gone_never_counts(copy: CommandLine) -> None:
    result_file(copy, "demo_sums").unlink()
    assert "failed: demo_sums: its result is gone" in copy.run("aggregate", code=1).stdout


def test_a_strange_file_beside_a_result_makes_it_doubtful(copy: CommandLine) -> None:
    path = result_file(copy, "demo_sums")
    other = path.with_name("results_2030-01-01T00-00-00.000000.json")
    other.write_text(path.read_text().replace("hpcjobs/tiny-demo", "hpcjobs/other"))
    assert f"{other.name}: is of another model" in copy.run("aggregate", code=1).stdout


# ---- Ends on the way -----------------------------------------------------------------------------


def test_a_queued_and_a_running_job_can_be_cancelled(line: CommandLine) -> None:
    need("lm_eval", "xllamacpp")
    said = line.run(*DEMO, "--tasks", "demo").stdout
    running, queued = re.findall(r"queue  (\w{7})-01", said)
    line.wait_until("demo_capitals", "RUNNING", "evaluating")
    assert line.status()["demo_sums"]["state"] == "PENDING"
    assert line.run("aggregate", code=3).stdout.count("unfinished: ") == 2
    assert line.run("wait", "--timeout", "0", code=3).stderr == "not finished yet\n"
    assert len(line.json("wait", "--timeout", "0", code=3)["jobs"]) == 2
    assert line.run("logs", queued, code=2).stderr.startswith(f"error: {line.root}/jobs/{queued}")
    assert len(line.processes()) >= 3
    line.run("cancel", queued[:5])
    assert line.wait_until("demo_sums", "CANCELLED")["reason"] is None
    assert line.status()["demo_capitals"]["state"] == "RUNNING"
    line.run("cancel", "--all", code=2)  # nobody is there to be asked
    assert line.json("cancel", running)["jobs"][0]["job"] == running
    line.run("wait", running, queued, code=1)
    assert {one["state"] for one in line.status().values()} == {"CANCELLED"}
    wait_for(lambda: not line.processes(), 5.0)
    assert line.run("cancel", "--all", "--yes").stdout.startswith("0 asked to end, 2 had ended")
    assert "failed: demo_sums: CANCELLED" in line.run("aggregate", code=1).stdout


def test_a_hostile_workspace_path_is_only_a_path(tmp_path: Path) -> None:
    need("lm_eval", "xllamacpp")
    with command_line(tmp_path, f"{HOSTILE}/ws") as line:
        line.run(*DEMO, "--tasks", "demo_sums", "--max-samples", "2", "--wait")
        job = line.status()["demo_sums"]
        assert job["directory"] == str(line.root / "jobs" / job["job"] / "01")
        assert "|demo_sums|" in line.run("logs", job["job"][:4]).stdout
        line.run("aggregate")
        document = json.loads((line.root / RESULTS / "max_samples_2" / FILE).read_text())
        assert document["hpcjobs"]["values"]["demo_sums"]["samples"] == 2


def test_a_newline_in_the_workspace_path_is_no_hindrance(tmp_path: Path) -> None:
    need("lm_eval", "xllamacpp")
    with command_line(tmp_path, "a\nb") as line:
        line.run(*DEMO, "--tasks", "demo_sums", "--max-samples", "2", "--wait")
