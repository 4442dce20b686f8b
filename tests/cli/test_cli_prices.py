"""What jobs cost, as `submit`, `render`, `status` and `services` show it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import journal
from hpcjobs.assemble import Choices, assemble
from hpcjobs.cli import main
from hpcjobs.model import Job, TaskRun
from hpcjobs.store import job_to_json
from hpcjobs.workspace import Workspace, defaults_root

Run = Callable[..., tuple[str, str]]
ON_TSUBAME = ("--service", "tsubame", "--node", "node_q", "--model", "org/name")
ON_ABCI = ("--service", "abci", "--node", "rt_HG", "--model", "org/name")
HOURLY = "price: {unit: coins, formula: hourly}"
TABLE = """\
key,script,result_dir,framework,hrt_q,wlt_HG
""" + "".join(f"x_{n},s,x/{n},lighteval,02:00:00,02:00:00\n" for n in range(8))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Gives a command in a workspace with eight tasks of two hours; what it printed."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "tasks_runtime.csv").write_text(TABLE)

    def run(*words: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(tmp_path), *words])
        printed = capsys.readouterr()
        assert int(str(ended.value.code or 0)) == code, printed
        return printed.out, printed.err

    return run


def test_a_dry_run_shows_what_each_job_costs_and_all_of_them(run: Run) -> None:
    shown, _ = run("submit", *ON_TSUBAME, "--tasks", "x_0,x_1", "--dry-run")
    *_, header, first, _second, _count, price = shown.splitlines()
    assert header.endswith("walltime  points at most")
    assert first.endswith("02:00:00  0.4000")
    assert price.startswith("price: at most 0.8000 points in all, and 0.1290 even if")


def test_the_priority_is_in_the_price(run: Run) -> None:
    shown, _ = run("submit", *ON_TSUBAME, "--tasks", "x_0", "--priority", "-3", "--dry-run")
    assert "price: at most 1.6000 points" in shown


def test_a_dry_run_in_json_has_exact_texts(run: Run) -> None:
    shown, _ = run("submit", *ON_TSUBAME, "--tasks", "x_0,x_1", "--dry-run", "--json")
    found = json.loads(shown)
    one = {"unit": "points", "least": "0.0645", "most": "0.4000", "note": None}
    assert [job["price"] for job in found["jobs"]] == [one, one]
    assert found["price"] == {**one, "least": "0.1290", "most": "0.8000"}


@pytest.mark.parametrize("state", ["SUCCEEDED", None])
def test_what_would_be_left_alone_is_said_and_not_priced(
    run: Run, tmp_path: Path, state: str | None
) -> None:
    words = ("submit", *ON_TSUBAME, "--tasks", "x_0,x_1", "--dry-run")
    choices = Choices("tsubame", "node_q", ("org/name",), ("x_0",))
    (job,) = assemble(Workspace(tmp_path), choices).jobs
    first = job.id
    events = [
        journal.event(journal.PLANNED, 1.0, first, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, 1.0, first, 1, name=f"{first}-01", place="elsewhere"),
    ]
    if state:
        events.append(journal.event(journal.ENDED, 2.0, first, 1, state=state))
    (tmp_path / "jobs").mkdir()
    journal.append(tmp_path / "jobs" / "journal.jsonl", events)
    shown, _ = run(*words)
    assert f"left alone, in the queue or done already: {first}  x_0  org/name" in shown
    assert shown.count("would run: ") == 1
    assert "\n1 job(s) to submit, 02:00:00 asked for in all; 1 in the queue or done" in shown
    assert "price: at most 0.4000 points" in shown
    found = json.loads(run(*words, "--json")[0])
    assert [one["left_alone"] for one in found["jobs"]] == [True, False]
    assert found["price"]["most"] == "0.4000"
    again = json.loads(run(*words, "--json", "--again")[0])
    assert [one["left_alone"] for one in again["jobs"]] == [not state, False]


def test_render_shows_the_price_beside_its_list_of_files(run: Run, tmp_path: Path) -> None:
    words = ("render", *ON_TSUBAME, "--tasks", "x_0", "--output-dir", str(tmp_path / "out"))
    shown, told = run(*words)
    assert [Path(line).is_file() for line in shown.splitlines()] == [True]
    assert "price: at most 0.4000 points" in told
    found = json.loads(run(*words, "--json")[0])
    assert found["price"]["most"] == found["scripts"][0]["price"]["most"] == "0.4000"


@pytest.mark.parametrize(
    ("tasks", "hint"), [("x_*", "hint: 8 of these jobs packed on 1 rt_HF"), ("x_0,x_1", None)]
)
def test_abci_is_told_when_packing_is_cheaper(run: Run, tasks: str, hint: str | None) -> None:
    shown, _ = run("submit", *ON_ABCI, "--tasks", tasks, "--dry-run")
    if hint is None:
        assert "price: at most 12.0000 points" in shown
        assert "hint:" not in shown
    else:
        assert "price: at most 48.0000 points" in shown
        assert hint in shown
        assert "at most 32.0000 points; hpcjobs does not pack jobs itself" in shown


def test_a_priority_without_a_price_is_no_number(run: Run) -> None:
    words = ("submit", *ON_ABCI, "--tasks", "x_0", "--priority", "7", "--dry-run")
    assert "price: not known: abci does not say what the priority 7 costs" in run(*words)[0]
    price = json.loads(run(*words, "--json")[0])["price"]
    assert (price["least"], price["most"]) == (None, None)
    assert "priority 7" in price["note"]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--trial", "--max-samples", "1"), "price: nothing: a trial run is free"),
        (("--reservation", "12"), "price: billed with its reservation"),
        (("--scheduler-option", "q=prior"), "price: not known: q may change what is billed"),
    ],
)
def test_what_is_billed_otherwise_is_told(run: Run, more: tuple[str, ...], line: str) -> None:
    shown, _ = run("submit", *ON_TSUBAME, "--tasks", "x_0", *more, "--dry-run")
    assert shown.splitlines()[-1] == line


def test_where_nothing_is_priced_nothing_is_said(run: Run) -> None:
    words = ("submit", "--service", "local", "--node", "gpu_1", "--model", "org/name")
    shown, _ = run(*words, "--tasks", "x_0", "--dry-run")
    assert "price:" not in shown
    assert "at most" not in shown.partition("would run:")[2]
    found = json.loads(run(*words, "--tasks", "x_0", "--dry-run", "--json")[0])
    assert found["price"] is None
    assert found["jobs"][0]["price"] is None


def test_submit_shows_the_price_before_it_asks(run: Run, tmp_path: Path) -> None:
    priced(tmp_path, "local", ("scheduler: local", "scheduler: local\n" + HOURLY))
    own = tmp_path / "conf" / "services" / "local.yaml"
    own.write_text(own.read_text().replace("{cores: 1,", "{price: {per_hour: 3}, cores: 1,", 1)
                   .replace("{gpus: ", "{price: {per_hour: 3}, gpus: "))  # fmt: skip
    (tmp_path / ".env").write_text("OPENAI_API_KEY=key\n")
    (tmp_path / ".env").chmod(0o600)
    words = ("--service", "local", "--node", "cpu", "--provider", "openai", "--tasks", "x_0")
    shown, told = run("submit", *words, "--model", "openai/name", code=2)
    assert "price: at most 6.0000 coins in all" in shown
    assert "nobody is there to be asked" in told


def priced(workspace: Path, service: str, change: tuple[str, str]) -> None:
    """A shipped service with a price of its own."""
    text = (defaults_root() / "conf" / "services" / f"{service}.yaml").read_text()
    assert change[0] in text
    own = workspace / "conf" / "services" / f"{service}.yaml"
    own.parent.mkdir()
    own.write_text(text.replace(*change))


def test_a_cluster_of_ones_own_needs_no_python(run: Run, tmp_path: Path) -> None:
    text = (defaults_root() / "conf" / "services" / "slurm.yaml").read_text()
    text = text.replace("# price: {unit: GPU hours", "price: {unit: GPU hours")
    for node, figure in (("gpu_1:", 1), ("gpu_4:", 4), ("cpu:", 0)):
        text = text.replace(f"  {node} {{", f"  {node} {{price: {{per_hour: {figure}}}, ")
    (tmp_path / "conf" / "services").mkdir()
    (tmp_path / "conf" / "services" / "ours.yaml").write_text(text)
    words = ("--service", "ours", "--node", "gpu_1", "--model", "org/name", "--tasks", "x_0")
    shown, _ = run("submit", *words, "--dry-run")
    assert shown.endswith("price: at most 2.0000 GPU hours in all\n")


def test_the_class_of_a_group_is_in_its_own_service_file(run: Run, tmp_path: Path) -> None:
    priced(tmp_path, "abci", ("class: standard", "class: accelerated"))
    shown, _ = run("submit", *ON_ABCI, "--tasks", "x_0", "--dry-run")
    assert "price: at most 3.0000 points" in shown


def test_an_unknown_formula_is_told_with_the_nearest(run: Run, tmp_path: Path) -> None:
    priced(tmp_path, "abci", ("formula: abci3", "formula: abci4"))
    _, told = run("submit", *ON_ABCI, "--tasks", "x_0", "--dry-run", code=2)
    assert "'abci4' is not known" in told
    assert "did you mean: abci3" in told


def test_a_service_shows_how_it_counts(run: Run) -> None:
    shown, _ = run("services", "show", "tsubame")
    assert "price in points, by coefficient with the formula tsubame4" in shown
    assert "-5 x1, -4 x2, -3 x4" in shown
    found = json.loads(run("services", "show", "tsubame", "--json")[0])
    assert found["price"]["priorities"] == {"-5": "1", "-4": "2", "-3": "4"}
    assert found["nodes"]["cpu_4"]["price"] == {"coefficient": "0.015"}


# What an ended attempt cost


def an_ended_job(workspace: Path, service: str = "tsubame", **markers: str) -> None:
    """A job of node_q with half an hour, whose first attempt has ended."""
    task = TaskRun("x_0", "s", "x/0", "lighteval", {})
    job = Job(
        "abcdef0", "d", service, "node_q", "vllm", "org/name", "", "", "", (task,), 1800,
        priority="-5",
    )  # fmt: skip
    events = [
        journal.event(journal.PLANNED, 0.0, job.id, spec=job_to_json(job)),
        journal.event(journal.SUBMITTING, 1.0, job.id, 1, name="abcdef0-01_x", place="here"),
        journal.event(journal.ENDED, 2.0, job.id, 1, state="FAILED", reason="EXIT_CODE"),
    ]
    (workspace / "jobs").mkdir()
    journal.append(workspace / "jobs" / "journal.jsonl", events)
    directory = workspace / "jobs" / job.id / "01"
    directory.mkdir(parents=True)
    for name, content in markers.items():
        (directory / name).write_text(content)


STARTED = "node 2026-01-01T00:00:00Z\n"
AFTER_142_S = "1 2026-01-01T00:02:22Z\n"


def spent(run: Run) -> Any:
    return json.loads(run("status", "--json")[0])["jobs"][0]["spent"]


def test_an_ended_attempt_tells_about_what_it_cost(run: Run, tmp_path: Path) -> None:
    an_ended_job(tmp_path, started=STARTED, exit_code=AFTER_142_S)
    assert spent(run) == {"unit": "points", "about": "0.0270"}


@pytest.mark.parametrize(
    "markers",
    [
        {},
        {"started": STARTED},
        {"exit_code": AFTER_142_S},
        {"started": STARTED, "exit_code": AFTER_142_S, "restarted": STARTED},
        {"started": AFTER_142_S, "exit_code": STARTED},
    ],
    ids=["never started", "killed", "no start", "started twice", "a clock that went back"],
)
def test_what_an_attempt_did_not_tell_is_no_number(
    run: Run, tmp_path: Path, markers: dict[str, str]
) -> None:
    an_ended_job(tmp_path, **markers)
    assert spent(run) is None


@pytest.mark.parametrize("service", ["local", "gone"])
def test_a_job_of_a_service_without_a_price_cost_nothing_known(
    run: Run, tmp_path: Path, service: str
) -> None:
    an_ended_job(tmp_path, service, started=STARTED, exit_code=AFTER_142_S)
    assert spent(run) is None
