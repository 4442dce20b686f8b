"""A campaign on a Slurm that fails (tests/fakes/slurm), under a clock that jumps: each evaluation
is run to its end, and none twice at once. The truth is what the fake took, and what ran.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import ask, evidence, observe
from hpcjobs.cli import main

FAKES = Path(__file__).parents[1] / "fakes" / "slurm"
GRACE = 600
HOUR = 3600
SERVICE = f"""scheduler: slurm
times: {{walltime_max: "1:00:00", poll_seconds: 0, grace_seconds: {GRACE}, submit_timeout: 1}}
nodes: {{cpu: {{cores: 1, memory_gb: 1, runtime: hrt_q}}}}
"""
TASKS = """key,script,result_dir,framework,hrt_q
ja_a,ja_a,ja/a,lm_eval,00:10:00
ja_b,ja_b,ja/b,lm_eval,00:10:00
ja_c,ja_c,ja/c,lm_eval,00:10:00
"""
KEYS = ("ja_a", "ja_b", "ja_c")
CAMPAIGN = """service: ours
node: cpu
provider: deepinfra
models: [acme/one]
tasks: [ja_a, ja_b, ja_c]
retry: {attempts: 9, in_a_row: 99}
"""
TEMPLATE = r"""#!/bin/bash
#SBATCH --job-name={{ name | directive("--job-name") }}
cd {{ attempt_dir | sh }} && mkdir work || exit 93
mark() { printf '%s %s\n' "$2" "$(date -u -d "@$NOW" +%FT%TZ)" >".$1" && mv ".$1" "$1"; }
mark started "$SLURM_JOB_ID"
echo {{ attempt.label | sh }} {{ tasks[0].key | sh }} >>../../ran
[ -z "${DIES:-}" ] || exit 1
mkdir -p results/{{ tasks[0].result_dir | sh }} && cd results/{{ tasks[0].result_dir | sh }}
cat >results_2026-01-01T00-00-00.000000.json <<'END'
{"config": {}, "model_name": "{{ job.model }}", "n-samples": {},
 "results": {"{{ tasks[0].script }}": {"exact_match,strip": 0.5}}}
END
cat >{{ ("samples_" ~ tasks[0].script ~ "_2026-01-01T00-00-00.000000.jsonl") | sh }} <<'END'
{"doc_id": 0, "arguments": [["question", {}]], "resps": [["answer"]]}
END
touch -d "@$NOW" *
cd {{ attempt_dir | sh }} && mark exit_code 0
"""


class Clock:
    """The clock of this host, put forward or back by a test."""

    def __init__(self) -> None:
        self.real, self.ahead = time.time, 0.0

    def __call__(self) -> float:
        return self.real() + self.ahead

    def jump(self, seconds: float) -> None:
        self.ahead += seconds


class Cluster:
    """A workspace with a campaign, and the fake Slurm that its service is driven by."""

    def __init__(
        self, root: Path, fake: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.root, self.fake, self.clock, self.capsys = root, fake, clock, capsys
        self.campaign = root / "campaign.yaml"

    def run(self, *words: str) -> tuple[int, Any]:
        """`hpcjobs WORDS... --json`: its exit code, and what it printed."""
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(self.root), *words, "--json"])
        shown = self.capsys.readouterr()
        assert "Traceback" not in shown.err
        return int(str(ended.value.code)), json.loads(shown.out or "{}")

    def sync(self) -> int:
        """One step; how many were submitted."""
        before = len(self.taken())
        code, _ = self.run("sync", str(self.campaign), "--yes")
        assert code in (0, 1, 3, 4)
        return len(self.taken()) - before

    def states(self) -> Counter[str]:
        """How the latest attempts stand, as the journal has it after a look."""
        return Counter(job["state"] for job in self.run("status", "--all")[1]["jobs"])

    def fail(self, **faults: str) -> None:
        (self.fake / "faults.json").write_text(json.dumps(faults))

    def taken(self) -> list[str]:
        """The names of all that Slurm ever took."""
        path = self.fake / "taken"
        return path.read_text().split() if path.exists() else []

    def jobs(self) -> dict[str, dict[str, Any]]:
        """By id: what Slurm knows now."""
        paths = (self.fake / "jobs").glob("*.json")
        return {path.stem: json.loads(path.read_text()) for path in paths}

    def change(self, native_id: str, **fields: object) -> None:
        path = self.fake / "jobs" / f"{native_id}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    def execute(self, *, dies: bool = False, accounted: bool = True) -> int:
        """Run all that waits in the queue; how many that were. Who dies leaves no exit code."""
        waiting = [(key, job) for key, job in self.jobs().items() if job["queued"]]
        for native_id, job in waiting:
            variables = {"SLURM_JOB_ID": native_id, "NOW": str(int(self.clock()))}
            done = subprocess.run(
                ["bash", job["script"]],
                env={**os.environ, **variables, **({"DIES": "yes"} if dies else {})},
                capture_output=True,
                text=True,
            )
            assert done.returncode == (1 if dies else 0), done.stderr
            state, code = ("NODE_FAIL", "1:0") if dies else ("COMPLETED", "0:0")
            self.change(native_id, state=state, exit=code, queued=False, accounted=accounted)
        return len(waiting)

    def to_its_end(self) -> None:
        """Steps and runs until all is done."""
        for _ in range(20):
            code, _ = self.run("sync", str(self.campaign), "--yes")
            if code == 0:
                return
            self.execute()
            self.clock.jump(GRACE + 61)
        raise AssertionError(self.run("plan", str(self.campaign))[1])

    def ran(self) -> Counter[str]:
        """How often each task ran."""
        path = self.root / "jobs" / "ran"
        return Counter(path.read_text().split()[1::2]) if path.exists() else Counter()

    def assert_none_lost_none_doubled(self, repeated: int = 0) -> None:
        names, labels = self.taken(), (self.root / "jobs" / "ran").read_text().split()[::2]
        assert len(names) == len(set(names)) == len(KEYS) + repeated
        assert len(labels) == len(set(labels))
        done = self.run("plan", str(self.campaign))[1]["items"]
        assert [one["stands"] for one in done] == ["done"] * len(KEYS)
        print(f"{len(names)} taken, {len(labels)} ran, {repeated} of them repeated as is due")


@pytest.fixture
def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cluster]:
    root, fake = tmp_path / "ws", tmp_path / "slurm"
    for name, text in {
        "conf/services/ours.yaml": SERVICE,
        "conf/tasks_runtime.csv": TASKS,
        "conf/task_groups.yaml": "default: ['ja_*']\n",
        "templates/schedulers/slurm.sh.j2": TEMPLATE,
        "campaign.yaml": CAMPAIGN,
        ".env": "DEEPINFRA_API_KEY=not-a-real-key\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / ".env").chmod(0o600)
    fake.mkdir()
    (fake / "next").write_text("100")
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setenv("FAKE_SLURM", str(fake))
    monkeypatch.setenv("PATH", f"{FAKES}:{os.environ['PATH']}")
    monkeypatch.setattr(ask, "QUERY_TIMEOUT", 1.0)
    for module in (evidence, observe):
        monkeypatch.setattr(module, "SETTLE_SECONDS", 0.0)
    return Cluster(root, fake, clock, capsys)


# ---- Answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lost", "late", "empty", "garbage", "cut", "hang", "down"])
def test_answers_to_submissions_that_go_wrong_lose_and_double_nothing(
    cluster: Cluster, fault: str
) -> None:
    cluster.fail(sbatch=fault)
    code, _ = cluster.run("sync", str(cluster.campaign), "--yes")
    assert code == 4
    end = time.monotonic() + 20
    while fault == "late" and not cluster.taken() and time.monotonic() < end:
        assert set(cluster.states()) <= {"UNKNOWN", "PENDING"}  # it is looked for by its name
        time.sleep(0.2)
    cluster.fail()
    cluster.to_its_end()
    assert cluster.ran() == Counter(KEYS)
    cluster.assert_none_lost_none_doubled()


@pytest.mark.parametrize("command", ["squeue", "sacct"])
@pytest.mark.parametrize("fault", ["lost", "empty", "garbage", "cut", "hang", "down"])
def test_answers_to_questions_that_go_wrong_lose_and_double_nothing(
    cluster: Cluster, command: str, fault: str
) -> None:
    assert cluster.sync() == len(KEYS)
    cluster.fail(**{command: fault})
    for _ in range(2):
        assert cluster.sync() == 0
    cluster.execute()  # their own markers tell it all
    for _ in range(2):
        assert cluster.sync() == 0
    cluster.fail()
    cluster.to_its_end()
    assert cluster.ran() == Counter(KEYS)
    cluster.assert_none_lost_none_doubled()


@pytest.mark.parametrize("fault", ["lost", "cut", "hang", "down"])
def test_while_nobody_answers_nothing_is_repeated_however_long_it_lasts(
    cluster: Cluster, fault: str
) -> None:
    assert cluster.sync() == len(KEYS)
    cluster.fail(squeue=fault, sacct=fault)
    for _ in range(2):
        cluster.clock.jump(24 * HOUR)
        assert cluster.sync() == 0
    cluster.fail()
    cluster.to_its_end()
    assert cluster.ran() == Counter(KEYS)
    cluster.assert_none_lost_none_doubled()


@pytest.mark.parametrize("fault", ["empty", "garbage"])
def test_an_answer_without_jobs_is_no_end_within_the_grace(cluster: Cluster, fault: str) -> None:
    """Slurm tells in the same way that it has forgotten them all."""
    assert cluster.sync() == len(KEYS)
    cluster.fail(squeue=fault, sacct=fault)
    for _ in range(3):
        assert cluster.sync() == 0
        assert cluster.states() == {"UNKNOWN": len(KEYS)}
        cluster.clock.jump(GRACE / 4)
    cluster.fail()
    assert cluster.sync() == 0
    assert cluster.states() == {"PENDING": len(KEYS)}
    cluster.fail(squeue=fault, sacct=fault)
    cluster.clock.jump(GRACE / 2)
    assert cluster.sync() == 0  # the grace begins anew
    cluster.fail()
    cluster.to_its_end()
    cluster.assert_none_lost_none_doubled()


# ---- The accounting is hours late ----------------------------------------------------------------


def test_what_told_its_end_does_not_wait_for_the_accounting(cluster: Cluster) -> None:
    cluster.sync()
    cluster.execute(accounted=False)
    assert cluster.sync() == 0
    assert cluster.states() == {"SUCCEEDED": len(KEYS)}
    cluster.assert_none_lost_none_doubled()


def test_an_end_that_the_accounting_tells_within_the_grace_is_taken_from_it(
    cluster: Cluster,
) -> None:
    cluster.sync()
    cluster.execute(dies=True, accounted=False)
    for _ in range(3):
        assert cluster.sync() == 0
        assert cluster.states() == {"UNKNOWN": len(KEYS)}
        cluster.clock.jump(GRACE / 4)
    for native_id in cluster.jobs():
        cluster.change(native_id, accounted=True)
    assert cluster.sync() == len(KEYS)
    assert [job["reason"] for job in reasons(cluster)] == ["NODE_FAILURE"] * len(KEYS)
    cluster.to_its_end()
    cluster.assert_none_lost_none_doubled(repeated=len(KEYS))


def test_an_end_that_it_tells_hours_later_changes_nothing_any_more(cluster: Cluster) -> None:
    cluster.sync()
    cluster.execute(dies=True, accounted=False)
    assert cluster.sync() == 0
    cluster.clock.jump(GRACE + 61)
    assert cluster.sync() == len(KEYS)  # gone from queue and accounting, without a word
    assert [job["reason"] for job in reasons(cluster)] == ["VANISHED"] * len(KEYS)
    cluster.clock.jump(5 * HOUR)
    for native_id in cluster.jobs():
        cluster.change(native_id, accounted=True)
    assert cluster.sync() == 0
    assert [job["reason"] for job in reasons(cluster)] == ["VANISHED"] * len(KEYS)
    cluster.to_its_end()
    cluster.assert_none_lost_none_doubled(repeated=len(KEYS))


def reasons(cluster: Cluster) -> list[dict[str, Any]]:
    """The first attempts that have ended, as the journal has them."""
    from hpcjobs import journal
    from hpcjobs.workspace import Workspace

    events = journal.read(Workspace(cluster.root).journal).events
    return [dict(one) for one in events if one["event"] == journal.ENDED and one["attempt"] == 1]


# ---- Ids are given anew --------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETED", "FAILED"])
def test_a_job_of_somebody_else_with_our_id_is_not_ours(cluster: Cluster, state: str) -> None:
    cluster.sync()
    cluster.execute(dies=True, accounted=False)
    for native_id in cluster.jobs():
        cluster.change(native_id, name="theirs", state=state, queued=True, accounted=True)
    for _ in range(2):
        assert cluster.sync() == 0
    cluster.clock.jump(GRACE + 61)
    again = cluster.sync()
    if state == "RUNNING":  # one of ours that was renamed would look like this
        assert again == 0
        for native_id in cluster.jobs():
            cluster.change(native_id, queued=False, accounted=False)
        cluster.sync()
        cluster.clock.jump(GRACE + 61)
        again = cluster.sync()
    assert again == len(KEYS)
    for native_id, job in cluster.jobs().items():
        if job["name"] == "theirs":
            cluster.change(native_id, queued=False)
    cluster.to_its_end()
    cluster.assert_none_lost_none_doubled(repeated=len(KEYS))


def test_attempts_of_the_same_job_may_have_the_same_id(cluster: Cluster) -> None:
    cluster.sync()
    cluster.execute(dies=True)
    first = set(cluster.jobs())
    (cluster.fake / "next").write_text("100")
    assert cluster.sync() == len(KEYS)
    assert set(cluster.jobs()) == first
    assert cluster.states() == {"PENDING": len(KEYS)}
    cluster.to_its_end()
    cluster.assert_none_lost_none_doubled(repeated=len(KEYS))


def test_a_first_attempt_with_the_id_of_an_older_job_is_not_ended_by_its_record(
    cluster: Cluster,
) -> None:
    """The accounting still has the older one's row; that of ours is not there yet."""
    cluster.sync()
    for native_id in cluster.jobs():
        cluster.change(native_id, queued=False, name="an-older-one", state="FAILED", exit="1:0")
    for _ in range(2):
        assert cluster.sync() == 0
        assert cluster.states() == {"UNKNOWN": len(KEYS)}


# ---- The clock jumps -----------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-10 * 365 * 24 * HOUR, -HOUR, HOUR, 10 * 365 * 24 * HOUR])
@pytest.mark.parametrize("when", ["queued", "running", "ended", "gone"])
def test_a_clock_that_jumps_loses_and_doubles_nothing(
    cluster: Cluster, jump: float, when: str
) -> None:
    assert cluster.sync() == len(KEYS)
    repeated = 0
    if when == "running":
        for native_id in cluster.jobs():
            cluster.change(native_id, state="RUNNING")
        cluster.sync()
    if when == "ended":
        cluster.execute()
    if when == "gone":
        cluster.execute(dies=True, accounted=False)
        cluster.sync()
        repeated = len(KEYS)
    cluster.clock.jump(jump)
    for _ in range(2):
        again = cluster.sync()
        assert again in ((0, len(KEYS)) if when == "gone" else (0,))
    if when == "gone" and jump < 0:  # it is gone since a time that is still to come
        cluster.clock.jump(-jump)
    cluster.to_its_end()
    assert set(cluster.ran()) == set(KEYS)
    cluster.assert_none_lost_none_doubled(repeated)


def test_a_clock_that_jumps_to_and_fro_does_not_feed_too_much(cluster: Cluster) -> None:
    cluster.campaign.write_text(f"{CAMPAIGN}limits: {{unfinished: 1}}\n")
    assert cluster.sync() == 1
    for jump in (HOUR, -2 * HOUR, 30 * 24 * HOUR, -31 * 24 * HOUR, 0.0):
        cluster.clock.jump(jump)
        assert cluster.sync() == 0
    cluster.to_its_end()
    cluster.assert_none_lost_none_doubled()
