"""Whatever happens to a campaign while it is fed: nothing is lost, nothing is doubled."""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command_line import CommandLine, command_line, wait_for
from small_disk import SmallDisk
from test_campaign import Campaign

from hpcjobs import journal
from hpcjobs.workspace import Workspace

pytestmark = pytest.mark.real

MISBEHAVING = Path(__file__).with_name("misbehaving.py")
TWO = Counter(ja_good=1, ja_dies=1)
FOUR = Counter(ja_good=1, ja_dies=1, ja_flaky=2, ja_server=2)


@pytest.fixture
def campaign(line: CommandLine) -> Campaign:
    return Campaign(line)


def misbehaving(line: CommandLine, how: str, *words: object) -> list[str]:
    return [sys.executable, str(MISBEHAVING), how, "-w", str(line.root), *map(str, words)]


# ---- kill -9 -------------------------------------------------------------------------------------


def killed_at(words: tuple[str, ...], step: int, directory: Path) -> bool:
    """Kill the command at that step and go on after it; False if it has not so many."""
    directory.mkdir()
    with command_line(directory) as line:
        campaign = Campaign(line)
        campaign.write("ja_good", "ja_dies")
        command = (words[0], campaign.path, *words[1:])
        done = line.run(argv=misbehaving(line, f"die:{step}", *command), code=None)
        if done.returncode in (0, 1):
            return False
        assert done.returncode == -signal.SIGKILL, (step, done.stderr)
        line.run("submit", campaign.path, "--yes", code=None)
        line.service(times={"submit_timeout": 1, "grace_seconds": 0})
        line.run("watch", campaign.path, "--interval", "0.2", code=1)
        stands = {key: one["stands"] for key, one in campaign.items().items()}
        assert stands == {"ja_good": "done", "ja_dies": "stopped"}, step
        campaign.assert_nothing_doubled()
        assert campaign.tries() == TWO, step
    return True


@pytest.mark.parametrize(
    ("words", "stride", "least"),
    [(("submit", "--yes"), 2, 10), (("watch", "--interval", "0.2"), 4, 10)],
    ids=["submit", "watch"],
)
def test_what_feeds_may_be_killed_at_any_step(
    tmp_path: Path, words: tuple[str, ...], stride: int, least: int
) -> None:
    """Of `sync` all steps are tried (test_campaign), of these every second and fourth."""
    tried = 0
    with ThreadPoolExecutor(4) as pool:
        for first in itertools.count(1, 4 * stride):
            steps = range(first, first + 4 * stride, stride)
            reached = list(
                pool.map(lambda step: killed_at(words, step, tmp_path / str(step)), steps)
            )
            tried += sum(reached)
            if not all(reached):
                break
    print(f"killed at {tried} steps of {words[0]}: nothing lost, nothing doubled")
    assert tried > least, "the steps are no longer found: see misbehaving.py"


# ---- Answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_queue_that_answers_as_it_likes_is_fed_to_the_end(campaign: Campaign, seed: int) -> None:
    line = campaign.line
    campaign.write(*FOUR)
    text = campaign.path.read_text()
    campaign.path.write_text(text.replace("attempts: 4", "attempts: 99, in_a_row: 99"))
    line.service(times={"submit_timeout": 3, "grace_seconds": 1})
    command = misbehaving(line, f"any:{seed}", "watch", campaign.path, "--interval", "0.2")
    done = line.run(argv=command, code=1)
    campaign.assert_nothing_doubled()
    assert campaign.tries() == FOUR
    told = [one for one in done.stderr.splitlines() if one.startswith("faults: ")]
    print(*told, f"{sum(FOUR.values())} attempts ran, none lost, none doubled")
    assert "'late'" in told[0] or "'lost'" in told[0]


# ---- Two terminals -------------------------------------------------------------------------------


def test_who_feeds_at_once_from_several_terminals_feeds_once(campaign: Campaign) -> None:
    line = campaign.line
    campaign.write(*FOUR)
    watch = ("watch", campaign.path, "--interval", "0.2")
    started = [
        line.start(*words)
        for words in (watch, ("submit", campaign.path), watch, ("sync", campaign.path), watch)
    ]
    wait_for(lambda: len(campaign.ran()) >= 2)
    started[0].send_signal(signal.SIGKILL)  # whoever held the lock: another goes on
    ended = [(one.communicate(timeout=90)[1], one.returncode) for one in started]
    assert all("Traceback" not in complaint for complaint, _ in ended)
    assert [code for _, code in ended[2::2]] == [1, 1]
    assert ended[1][1] in (0, 6)
    assert ended[3][1] in (1, 3, 6)
    campaign.assert_nothing_doubled()
    assert campaign.tries() == FOUR
    kept_out = sum("is being fed already" in complaint for complaint, _ in ended)
    print(
        f"5 at once, one killed, {kept_out} kept out at some time: {len(campaign.ran())} attempts"
    )


# ---- A full disk ---------------------------------------------------------------------------------

MORE = ("ja_good", "ja_dies", "ja_flaky", "ja_slow")
ON_DISK = Counter(ja_held=1, ja_good=1, ja_dies=1, ja_flaky=2, ja_slow=3)


@pytest.fixture
def small(disk: SmallDisk, tmp_path: Path) -> Iterator[Campaign]:
    """A campaign on the small disk. Its first job has the only slot, and holds it: no other writes
    while the disk is full.
    """
    with command_line(tmp_path, "disk/workspace") as line:
        campaign = Campaign(line)
        line.service(options={"cpu_slots": "1"}, times={"walltime_max": "00:10:00"})
        table = line.root / "conf" / "tasks_runtime.csv"
        held = "ja_held,ja_held,ja/held,lm_eval,"
        assert held in table.read_text()
        table.write_text(table.read_text().replace(f"{held}00:00:04", f"{held}00:10:00"))
        (line.root / "jobs").mkdir()
        (line.root / "jobs" / "hold").touch()
        campaign.write("ja_held")
        line.run("sync", campaign.path, code=3)
        wait_for(lambda: campaign.ran())
        campaign.write("ja_held", *MORE)
        yield campaign
        disk.free()


def to_its_end(campaign: Campaign, watch: Callable[[], object]) -> None:
    (campaign.line.root / "jobs" / "hold").unlink()
    watch()
    campaign.assert_nothing_doubled()
    assert campaign.tries() == ON_DISK


@pytest.mark.parametrize("command", ["sync", "submit"])
def test_on_a_full_disk_a_step_submits_nothing_without_a_record(
    small: Campaign, disk: SmallDisk, command: str
) -> None:
    line, full, well = small.line, 0, 0
    for pages in range(12):
        disk.fill(pages)
        done = line.run(command, small.path, "--yes", code=None)
        events = journal.read(Workspace(line.root).journal).events
        recorded = {one["name"] for one in events if one["event"] == journal.SUBMITTING}
        assert {one.job.name for one in line.spool.read_all()[0]} <= recorded
        if done.returncode == 5:
            full += 1
            assert "do: free some space" in done.stderr
        else:
            well += 1
            assert done.returncode == (3 if command == "sync" else 0), done.stderr
        disk.free()
    assert full >= 3
    assert well >= 1
    line.service(times={"submit_timeout": 1, "grace_seconds": 0})
    to_its_end(small, lambda: line.run("watch", small.path, "--interval", "0.2", code=1))
    print(f"{full} steps on a full disk, {well} with just enough room: none lost, none doubled")


def test_watch_waits_until_there_is_room_on_the_disk_again(
    small: Campaign, disk: SmallDisk
) -> None:
    line = small.line
    disk.fill()
    watching = line.start("watch", small.path, "--interval", "0.2")
    time.sleep(3)  # some steps
    assert watching.poll() is None
    assert len(line.spool.read_all()[0]) == 1
    disk.free()
    to_its_end(small, lambda: wait_for(lambda: watching.poll() is not None, 60.0))
    _, complaint = watching.communicate(timeout=10)
    assert watching.returncode == 1, complaint
    assert complaint.count("No space left on device") >= 1
    print(
        f"{complaint.count('warning')} warning(s), then {len(small.ran())} attempts, none doubled"
    )
