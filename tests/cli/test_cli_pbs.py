"""What hpcjobs makes of PBS when it fails, with a fake one on PATH (tests/fakes/pbs), and of every
end that a job can have there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import ask, evidence
from hpcjobs.cli import main

FAKES = Path(__file__).parents[1] / "fakes" / "pbs"
SERVICE = """scheduler: pbs
template: schedulers/pbs.sh.j2
times: {walltime_max: "1:00:00", poll_seconds: 0, grace_seconds: GRACE, submit_timeout: 2}
nodes: {cpu: {cores: 1, memory_gb: 1, runtime: hrt_q}}
"""
HOUR = 3600


@dataclass
class Cluster:
    """A workspace, and the fake PBS that its service is driven by."""

    root: Path
    fake: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        """`hpcjobs WORDS... --json`: its exit code, and what it printed."""
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(self.root), *words, "--json"])
        shown = self.capsys.readouterr()
        return int(str(ended.value.code)), json.loads(shown.out or "{}")

    def submit(self, code: int = 0) -> dict[str, Any]:
        ended, outcome = self.run(
            *("submit", "--service", "ours", "--node", "cpu", "--provider", "deepinfra"),
            *("--model", "org/model", "--tasks", "ja_gpqa", "--yes"),
        )
        assert ended == code, outcome
        return outcome

    def status(self) -> dict[str, Any]:
        """The only job, and under `warnings` what else was said."""
        _, answer = self.run("status")
        (job,) = answer["jobs"]
        return {**job, "warnings": answer["warnings"]}

    def fail(self, **faults: str) -> None:
        (self.fake / "faults.json").write_text(json.dumps(faults))

    def calls(self) -> list[str]:
        return (self.fake / "calls").read_text().split()

    def native(self) -> list[Path]:
        return sorted((self.fake / "jobs").glob("*.json"))

    def change(self, **fields: str) -> None:
        """What PBS says of the only job."""
        (path,) = self.native()
        words = {key.replace("shown_as", "shown as"): value for key, value in fields.items()}
        path.write_text(json.dumps({**json.loads(path.read_text()), **words}))

    def mark(self, **markers: str) -> None:
        """What the job itself has told, an hour ago."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - HOUR))
        for name, value in markers.items():
            (Path(self.status()["directory"]) / name).write_text(f"{value} {at}\n")


@pytest.fixture
def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Cluster]:
    def make(grace: int = 600) -> Cluster:
        root, fake = tmp_path / "ws", tmp_path / "pbs"
        (root / "conf" / "services").mkdir(parents=True)
        (root / "conf/services/ours.yaml").write_text(SERVICE.replace("GRACE", str(grace)))
        (root / ".env").write_text("DEEPINFRA_API_KEY=not-a-real-key\n")
        (root / ".env").chmod(0o600)
        fake.mkdir()
        return Cluster(root, fake, capsys)

    monkeypatch.setenv("FAKE_PBS", str(tmp_path / "pbs"))
    monkeypatch.setenv("PATH", f"{FAKES}:{os.environ['PATH']}")
    monkeypatch.setattr(ask, "QUERY_TIMEOUT", 2.0)
    monkeypatch.setattr(evidence, "SETTLE_SECONDS", 0.0)
    ask._dialect.cache_clear()
    return make


Make = Callable[..., Cluster]


# ---- Submitting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lost", "cut", "empty", "garbage", "killed"])
def test_a_job_that_was_taken_without_a_good_answer_is_adopted_and_not_doubled(
    cluster: Make, fault: str
) -> None:
    here = cluster()
    here.fail(qsub=fault)
    assert "qsub did not answer" in here.submit(code=4)["unanswered"]
    here.fail()
    assert [one["model"] for one in here.submit()["kept"]] == ["org/model"]
    job = here.status()
    assert (job["native_id"], job["state"]) == ("1.pbs1", "PENDING")
    assert here.calls().count("qsub") == len(here.native()) == 1
    assert here.calls().count("qselect") == 1


@pytest.mark.parametrize("fault", ["down", "hang"])
def test_a_job_that_was_not_taken_is_not_submitted_again_before_that_is_certain(
    cluster: Make, fault: str
) -> None:
    here = cluster(grace=2)
    here.fail(qsub=fault, qselect=fault)
    here.submit(code=4)
    assert here.status()["state"] == "UNKNOWN"
    assert here.submit()["kept"]  # nobody knows whether PBS has it
    here.fail()
    seen = here.status()
    assert (seen["state"], here.native()) == ("UNKNOWN", [])
    end = time.monotonic() + 20
    while seen["state"] == "UNKNOWN" and time.monotonic() < end:
        time.sleep(0.2)
        seen = here.status()
    assert (seen["state"], seen["reason"]) == ("FAILED", "SUBMIT_FAILED")
    here.submit()
    assert len(here.native()) == 1


# ---- Watching ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["down", "hang", "cut", "garbage", "killed", "lost"])
def test_no_answer_is_no_end(cluster: Make, fault: str) -> None:
    here = cluster(grace=0)  # what is absent is gone at once
    here.submit()
    here.change(job_state="R")
    assert here.status()["state"] == "RUNNING"
    here.fail(qstat=fault)
    seen = here.status()
    assert seen["state"] == "UNKNOWN"
    assert any("qstat" in warning for warning in seen["warnings"])
    here.fail()
    assert here.status()["state"] == "RUNNING"


def test_an_empty_answer_counts_only_after_the_grace(cluster: Make) -> None:
    here = cluster(grace=600)
    here.submit()
    here.fail(qstat="empty")
    seen = here.status()
    assert (seen["state"], seen["detail"]) == (
        "UNKNOWN",
        "not in the queue; waiting for its exit code",
    )


def test_which_client_it_is_is_asked_once_a_process(cluster: Make) -> None:
    here = cluster()
    here.submit()
    for _ in range(2):
        assert here.status()["state"] == "PENDING"
    assert here.calls().count("qstat") == 3


def test_another_name_for_the_server_does_not_lose_a_job(cluster: Make) -> None:
    here = cluster(grace=0)
    here.submit()
    here.change(job_state="R", shown_as="1.pbs1.site.example.org")
    assert here.status()["state"] == "RUNNING"


def test_an_id_that_went_to_another_job_is_not_ours(cluster: Make) -> None:
    here = cluster()
    here.submit()
    here.change(job_state="F", substate="92", Exit_status="0", Job_Name="somebody-elses")
    assert here.status()["state"] == "UNKNOWN"


# ---- Ends ----------------------------------------------------------------------------------------

STARTED = {"started": "1.pbs1"}


@pytest.mark.parametrize(
    ("fields", "markers", "state", "reason"),
    [
        # It ended itself, and told so.
        ({"job_state": "F", "Exit_status": "3"}, {"exit_code": "3"}, "FAILED", "EXIT_CODE"),
        ({"job_state": "F", "Exit_status": "0"}, {"exit_code": "0"}, "FAILED", "NO_RESULT"),
        ({"job_state": "E", "Exit_status": "1"}, {"exit_code": "1"}, "FAILED", "EXIT_CODE"),
        # At the walltime PBS sends TERM: the trap's exit code is not what counts.
        (
            {"job_state": "F", "Exit_status": "-29", "substate": "93"},
            {"signal": "TERM", "exit_code": "143"},
            "FAILED",
            "TIMEOUT",
        ),
        ({"job_state": "F", "Exit_status": "-29", "substate": "93"}, {}, "FAILED", "TIMEOUT"),
        # Deleted: 271, 265 where it was forced, 0 where a trap ended with 0.
        (
            {"job_state": "F", "Exit_status": "271", "substate": "91"},
            {"signal": "TERM", "exit_code": "143"},
            "CANCELLED",
            None,
        ),
        ({"job_state": "F", "Exit_status": "271", "substate": "91"}, {}, "CANCELLED", None),
        ({"job_state": "F", "Exit_status": "265", "substate": "91"}, {}, "CANCELLED", None),
        ({"job_state": "F", "Exit_status": "0", "substate": "91"}, {}, "CANCELLED", None),
        # Killed by somebody else, and nothing was told.
        ({"job_state": "F", "Exit_status": "265", "substate": "93"}, {}, "FAILED", "EXIT_CODE"),
        ({"job_state": "F", "Exit_status": "0", "substate": "92"}, {}, "FAILED", "NO_RESULT"),
        ({"job_state": "F", "Exit_status": "-20", "substate": "93"}, {}, "FAILED", "NODE_FAILURE"),
        ({"job_state": "F", "Exit_status": "-27", "substate": "93"}, {}, "FAILED", "OUT_OF_MEMORY"),
        # Started anew by PBS, which the script refuses; the status is of the run before.
        ({"job_state": "R", "Exit_status": "-11", "run_count": "2"}, {}, "RUNNING", None),
        (
            {"job_state": "F", "Exit_status": "93", "run_count": "2"},
            {"restarted": "1.pbs1"},
            "FAILED",
            "PREEMPTED",
        ),
    ],
)
def test_an_end_is_told_as_it_was(
    cluster: Make,
    fields: dict[str, str],
    markers: dict[str, str],
    state: str,
    reason: str | None,
) -> None:
    here = cluster(grace=0)
    here.submit()
    here.mark(**STARTED, **markers)
    here.change(**fields)
    seen = here.status()
    assert (seen["state"], seen["reason"]) == (state, reason), seen["detail"]


@pytest.mark.parametrize(
    ("fields", "state", "reason"),
    [
        ({"substate": "91", "comment": "Not Running and terminated"}, "CANCELLED", None),
        ({"substate": "91"}, "CANCELLED", None),
        ({"substate": "92", "Hold_Types": "s"}, "FAILED", "SCHEDULER_ERROR"),
    ],
)
def test_what_never_ran_did_not_succeed(
    cluster: Make, fields: dict[str, str], state: str, reason: str | None
) -> None:
    here = cluster(grace=0)
    here.submit()
    here.change(job_state="F", **fields)
    seen = here.status()
    assert (seen["state"], seen["reason"]) == (state, reason)


# ---- Cancelling ----------------------------------------------------------------------------------


def test_a_cancelled_job_is_cancelled(cluster: Make) -> None:
    here = cluster()
    here.submit()
    assert here.run("cancel", "--all", "--yes")[0] == 0
    assert here.status()["state"] == "CANCELLED"


@pytest.mark.parametrize("fault", ["down", "hang"])
def test_a_cancellation_that_did_not_arrive_is_told(
    cluster: Make, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    here = cluster()
    here.submit()
    here.fail(qdel=fault)
    monkeypatch.setattr("hpcjobs.cancel.run", lambda argv, timeout: ask.run(argv, timeout=2.0))
    with pytest.raises(SystemExit):
        main(["-w", str(here.root), "cancel", "--all", "--yes"])
    assert "qdel" in here.capsys.readouterr().err
    assert here.status()["state"] == "PENDING"
