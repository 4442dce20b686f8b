"""A suspect result on the command line: shown, not counted, counted only where a person says so."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import journal
from hpcjobs.assemble import Choices, assemble
from hpcjobs.cli import main
from hpcjobs.model import Job, TaskRun
from hpcjobs.store import job_to_json
from hpcjobs.submit import give_identity
from hpcjobs.workspace import Workspace

EVALUATIONS = Path(__file__).parents[1] / "fixtures" / "evaluations"
TABLE = 'metrics:\n  - {name: tiny, aggregate: pick, task: "tiny_gen|0", metric: em}\n'
WHY = (
    "2 answers lost: the requests failed, and count as wrong answers; "
    "2 of 4 answers are empty (sample tiny_gen|0 3, tiny_gen|0 0)"
)
Run = Callable[..., tuple[str, str]]

if importlib.util.find_spec("pyarrow") is None and os.environ.get("CI") != "true":
    pytest.skip("NOT TESTED: pyarrow missing", allow_module_level=True)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(tmp_path), "--no-emoji", *words])
        printed = capsys.readouterr()
        assert int(str(ended.value.code or 0)) == code, printed
        return printed.out, printed.err

    return run


def ended(job: Job, number: int = 1, **told: Any) -> list[journal.Event]:
    """Submitted and succeeded, as the journal tells it."""
    head = [journal.event(journal.PLANNED, 0.0, job.id, spec=job_to_json(job))]
    name = f"{job.id}-{number:02d}"
    return [
        *(head if number == 1 else []),
        journal.event(journal.SUBMITTING, 1.0 + number, job.id, number, name=name, place="here"),
        journal.event(journal.ENDED, 2.0, job.id, number, state="SUCCEEDED", **told),
    ]


@pytest.fixture
def leave(tmp_path: Path) -> Callable[..., Job]:
    """An attempt of a job that succeeded, as a version without a gate recorded it."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/metrics.yaml").write_text(TABLE)

    def make(tree: str, number: int = 1) -> Job:
        run = TaskRun("ja_x", "tiny_gen", "x/x", "lighteval", {})
        job = Job(
            id="abcdef0", digest="d", service="local", node="cpu", provider="vllm", model="org/m",
            settings_name="", settings_version="", settings_path="", tasks=(run,), walltime=60,
            model_names=("openai/tiny", "hosted_vllm/acme/tiny-1B"),
        )  # fmt: skip
        attempt = tmp_path / f"jobs/abcdef0/{number:02d}"
        shutil.copytree(EVALUATIONS / tree, attempt / "results/x/x")
        (attempt / "results/x/x/stdout.log").rename(attempt / "ja_x.log")
        journal.append(tmp_path / "jobs/journal.jsonl", ended(job, number))
        return job

    return make


def document(run: Run, *words: str, code: int) -> dict[str, Any]:
    (one,) = json.loads(run("aggregate", "--json", *words, code=code)[0])["evaluations"]
    assert isinstance(one, dict)
    return one


def test_it_is_shown_by_status_and_wait(run: Run, leave: Callable[..., Job]) -> None:
    leave("lighteval-failures/0.13.0_die2")
    out, err = run("status")
    assert "suspect  abcdef0-01  ja_x" in out
    assert f"ja_x: {WHY}" in out
    assert out.endswith("suspect 1\n")
    assert err == ""
    (one,) = json.loads(run("status", "--json")[0])["jobs"]
    assert (one["state"], one["suspect"]) == ("SUCCEEDED", {"ja_x": WHY})
    assert "suspect" in run("wait", "abcdef0", code=1)[0]
    assert WHY[:30] in run("diagnose", "abc")[0]


def test_it_is_looked_at_once(
    run: Run, leave: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave("lighteval-failures/0.13.0_die2")
    run("status")
    before = (tmp_path / "jobs/journal.jsonl").read_text()
    assert before.count('"checked"') == 1

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("hpcjobs.results.trust.task_trust", never)
    monkeypatch.setattr("hpcjobs.results.checking.task_trust", never)
    assert "suspect 1" in run("status")[0]
    assert (tmp_path / "jobs/journal.jsonl").read_text() == before


def test_it_does_not_count_and_is_named_with_the_lines_that_show_it(
    run: Run, leave: Callable[..., Job]
) -> None:
    leave("lighteval-failures/0.13.0_die2")
    found = document(run, code=1)
    about = found["hpcjobs"]
    assert found["results"] == {"tiny": -1}
    assert (about["complete"], about["suspect"], about["failed"]) == (False, {"ja_x": WHY}, {})
    assert about["missing"] == {"tiny": f"ja_x: suspect: {WHY}"}
    assert any("ja_x.log:43: " in line for line in about["evidence"]["ja_x"])
    out, _ = run("aggregate", code=1)
    assert f"suspect: ja_x: {WHY}\n    ja_x.log:42: " in out
    assert "Connection error" in out
    assert "--accept-suspect" in out


def test_it_counts_if_a_person_says_so_and_the_file_tells(
    run: Run, leave: Callable[..., Job]
) -> None:
    leave("lighteval-failures/0.13.0_die2")
    found = document(run, "--accept-suspect", code=0)
    about = found["hpcjobs"]
    assert found["results"] == {"tiny": 0.5}
    assert (about["complete"], about["suspect"]) == (True, {})
    assert about["accepted_suspect"] == {"ja_x": WHY}
    assert about["values"]["tiny"]["suspect"] == {"ja_x": WHY}
    assert (
        "counted, though suspect: ja_x: 2 answers lost" in run("aggregate", "--accept-suspect")[0]
    )


def test_what_is_no_result_counts_by_nobodys_word(run: Run, leave: Callable[..., Job]) -> None:
    leave("lighteval-failures/0.13.0_poisoned_cache")
    found = document(run, "--accept-suspect", code=1)
    assert found["results"] == {"tiny": -1}
    assert "all 4 answers are empty" in found["hpcjobs"]["failed"]["ja_x"]


def test_an_earlier_result_that_is_done_is_better_than_a_suspect_one(
    run: Run, leave: Callable[..., Job]
) -> None:
    leave("lighteval-good/0.13.0")
    leave("lighteval-failures/0.13.0_die2", 2)
    for words in ((), ("--accept-suspect",)):
        found = document(run, *words, code=0)
        assert found["results"] == {"tiny": 1}
        assert found["hpcjobs"]["values"]["tiny"]["jobs"] == ["abcdef0-01 (local/cpu)"]
        assert found["hpcjobs"]["accepted_suspect"] == {}


def test_check_lists_it(
    run: Run, leave: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    leave("lighteval-failures/0.13.0_die2")
    (gap,) = json.loads(run("aggregate", "--check", "--json", code=1)[0])["gaps"]
    assert (gap["state"], gap["task"], gap["why"]) == ("suspect", "ja_x", WHY)


@pytest.mark.parametrize("other", [["--check"], ["--raw-results", "."]])
def test_it_is_accepted_in_an_aggregate_of_jobs_only(run: Run, other: list[str]) -> None:
    assert (
        "--accept-suspect does not go with"
        in run("aggregate", "--accept-suspect", *other, code=2)[1]
    )


def test_it_is_not_submitted_again_by_itself(run: Run, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    give_identity(workspace)
    choices = Choices(
        service="local", node="cpu", models=["hpcjobs/tiny-demo"], tasks=["demo_sums"],
        settings="demo", provider="llamacpp",
    )  # fmt: skip
    (job,) = assemble(workspace, choices).jobs
    journal.append(workspace.journal, ended(job, suspect={"demo_sums": "odd"}, unread=False))
    words = [
        *("submit", "--service", "local", "--node", "cpu", "--model", "hpcjobs/tiny-demo"),
        *("--tasks", "demo_sums", "--settings", "demo", "--provider", "llamacpp"),
    ]
    out, err = run(*words)
    assert "0 job(s) to submit" in out
    assert f"left alone: {job.id} demo_sums is suspect: odd" in err
    assert "--again" in err
    (kept,) = json.loads(run(*words, "--json")[0])["kept"]
    assert (kept["state"], kept["suspect"]) == ("SUCCEEDED", {"demo_sums": "odd"})


def test_an_old_event_of_a_success_is_looked_at_and_a_strange_one_passed_over(
    run: Run, leave: Callable[..., Job], tmp_path: Path
) -> None:
    job = leave("lighteval-good/0.13.0")
    strange = [
        journal.event(journal.CHECKED, 3.0, job.id, 1, suspect="x"),
        journal.event(journal.CHECKED, 3.0, job.id, 1),
        journal.event(journal.CHECKED, 3.0, job.id, 9, suspect={}),
    ]
    journal.append(tmp_path / "jobs/journal.jsonl", strange)
    assert "done 1" in run("status")[0]


def test_what_could_not_be_looked_at_yet_is_told(
    run: Run, leave: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave("lighteval-failures/0.13.0_die2")
    monkeypatch.setattr("hpcjobs.observe.CHECK_SECONDS", 0.0)
    out, err = run("status")
    assert "nobody has looked at its answers yet" in out
    assert "the answers of 1 job(s) were not looked at yet" in err


@pytest.mark.parametrize(
    ("tree", "model", "said"),
    [
        ("lighteval-failures/0.13.0_die2", "openai/tiny", "2 of 4 answers are empty"),
        ("lighteval-failures/0.13.0_poisoned_cache", "openai/tiny", "all 4 answers are empty"),
        ("lighteval-good/0.13.0", "hosted_vllm/acme/tiny-1B", ""),
        ("lm_eval-good/local-chat-completions", "acme/tiny-1B", ""),
    ],
)
@pytest.mark.parametrize("below", ["", "results"])
def test_of_results_that_others_made_it_is_said_and_they_count(
    run: Run, tmp_path: Path, tree: str, model: str, said: str, below: str
) -> None:
    if below and "lm_eval" in tree:
        return
    words = ("--raw-results", str(EVALUATIONS / tree / below), "--model", model)
    _, err = run("aggregate", *words, "--output", str(tmp_path / "out"))
    assert ("suspect, though counted: " + said in err) == bool(said)
    assert bool(said) == ("suspect" in err)
