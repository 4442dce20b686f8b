"""`submit CAMPAIGN` beside others that feed: by the same lock as theirs."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
from command_line import CommandLine, wait_for
from quick_jobs import hold, let_go, runs

from hpcjobs.lock import workspace_lock
from hpcjobs.workspace import Workspace

pytestmark = pytest.mark.real

CAMPAIGN = """\
service: local
node: cpu
provider: llamacpp
settings: demo
models: [hpcjobs/tiny-demo]
tasks: [demo_capitals, demo_sums]
"""
ONCE = Counter({"demo_capitals": 1, "demo_sums": 1})


@pytest.fixture
def campaign(quick: CommandLine) -> Path:
    path = quick.elsewhere / "campaign.yaml"
    path.write_text(CAMPAIGN)
    return path


def test_while_another_feeds_nothing_is_submitted_and_a_person_is_told(
    quick: CommandLine, campaign: Path
) -> None:
    lock = Workspace(quick.root).jobs / "sync.lock"
    with workspace_lock(lock):
        done = quick.run("submit", campaign, "--yes", code=6)
        assert "a campaign of this workspace is being fed already: process " in done.stderr
        assert str(lock) in done.stderr
        assert quick.run("sync", campaign, "--yes", code=6).stderr == ""  # cron is not told
        quick.run("submit", campaign, "--dry-run")  # it writes nothing
    assert quick.queue() == []
    quick.run("submit", campaign, "--yes", "--wait")
    assert not lock.exists()
    assert runs(quick) == ONCE


def test_one_who_waits_for_its_jobs_keeps_nobody_from_feeding(
    quick: CommandLine, campaign: Path
) -> None:
    hold(quick)
    waiting = quick.start("submit", campaign, "--yes", "--wait")
    wait_for(lambda: sum(runs(quick).values()) == 2)
    wait_for(lambda: quick.run("sync", campaign, "--yes", code=None).returncode == 3)
    assert waiting.poll() is None
    let_go(quick)
    _, complaint = waiting.communicate(timeout=60)
    assert (waiting.returncode, complaint) == (0, "")
    assert runs(quick) == ONCE


def test_the_lock_of_one_that_was_killed_is_taken_over(quick: CommandLine, campaign: Path) -> None:
    hold(quick)
    watching = quick.start("watch", campaign, "--yes", "--interval", "0.2")
    lock = Workspace(quick.root).jobs / "sync.lock"
    wait_for(lambda: lock.exists() and runs(quick))
    watching.send_signal(signal.SIGKILL)
    watching.communicate(timeout=30)
    quick.run("submit", campaign, "--yes")
    assert not lock.exists()
    let_go(quick)
    quick.run("wait")
    assert runs(quick) == ONCE


@pytest.mark.parametrize("limit", [1, 2])
def test_submit_and_sync_at_once_keep_below_the_limit(
    quick: CommandLine, campaign: Path, limit: int
) -> None:
    hold(quick)
    campaign.write_text(f"{CAMPAIGN}limits: {{unfinished: {limit}}}\n")
    words = (("submit",), ("sync",), ("submit",), ("sync",))
    started = [quick.start(*one, campaign, "--yes") for one in words]
    codes = []
    for process in started:
        _, complaint = process.communicate(timeout=60)
        assert "Traceback" not in complaint
        codes.append(process.returncode)
    assert set(codes) <= {0, 3, 6}
    assert len(quick.queue()) == limit
    let_go(quick)
    quick.run("wait")
    quick.run("watch", campaign, "--yes", "--interval", "0.2")
    assert runs(quick) == ONCE
    print(f"four at once, of which {codes.count(6)} were kept out: never more than {limit}")
