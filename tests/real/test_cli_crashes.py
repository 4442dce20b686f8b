"""Whatever ends, hangs or fills up while jobs are submitted: none is lost, none is doubled."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from command_line import DEMO, CommandLine, command_line, default_signals, wait_for
from quick_jobs import hold, let_go, runs, use_quick_jobs
from small_disk import SmallDisk

from hpcjobs import journal
from hpcjobs.workspace import Workspace

pytestmark = pytest.mark.real

MISBEHAVING = Path(__file__).with_name("misbehaving.py")
BOTH = (*DEMO, "--tasks", "demo")
MANY = (*DEMO, "--tasks", "ja_mm*,ja_math*,ja_mifeval,ja_j*,ja_w*,ja_gpqa*,ja_humaneval")
ONCE = Counter({"demo_capitals": 1, "demo_sums": 1})


def misbehaving(line: CommandLine, how: str, *words: str) -> list[str]:
    return [sys.executable, str(MISBEHAVING), how, "-w", str(line.root), *words]


def events(line: CommandLine, kind: str) -> list[dict[str, Any]]:
    found = journal.read(Workspace(line.root).journal).events
    return [dict(one) for one in found if one["event"] == kind]


def names(line: CommandLine) -> list[str]:
    """What the queue has, by name; looked up without a command, which might mend something."""
    return [snapshot.job.name for snapshot in line.spool.read_all()[0]]


def assert_recorded(line: CommandLine) -> None:
    """Every job of the queue is known to the workspace, by the right id."""
    ids = {one["name"]: one["native_id"] for one in line.json("status")["jobs"]}
    assert {job["name"]: job["id"] for job in line.queue()} == ids


def no_longer_wait_for_lost_answers(line: CommandLine) -> None:
    """Look until it is certain that what the queue does not have, it never took."""
    line.service(times={"submit_timeout": 1, "grace_seconds": 0})
    wait_for(lambda: "UNKNOWN" not in {one["state"] for one in line.status().values()})
    line.service(times={"submit_timeout": 30, "grace_seconds": 15})


# ---- kill -9 -------------------------------------------------------------------------------------


def crashed_at(step: int, directory: Path) -> bool:
    """Kill `submit` at that step and go on after it; False if it has not so many."""
    directory.mkdir()
    with command_line(directory) as line:
        use_quick_jobs(line)
        hold(line)
        done = line.run(argv=misbehaving(line, f"die:{step}", *BOTH), code=None)
        if done.returncode == 0:
            return False
        assert done.returncode == -signal.SIGKILL, done.stderr
        taken = names(line)
        line.run("status")
        line.run(*BOTH)
        assert len(set(names(line)) - set(taken)) + len(taken) == len(names(line)) <= 2
        no_longer_wait_for_lost_answers(line)
        line.run(*BOTH)
        let_go(line)
        line.run("wait")
        assert_recorded(line)
        assert len(names(line)) == 2
        assert runs(line) == ONCE
    return True


def test_submit_may_be_killed_at_any_step(tmp_path: Path) -> None:
    def crashed(step: int) -> bool:
        try:
            return crashed_at(step, tmp_path / str(step))
        except BaseException as error:
            raise AssertionError(f"killed at step {step}: {error}") from error

    tried = 0
    with ThreadPoolExecutor(4) as pool:
        for first in itertools.count(1, 4):
            reached = list(pool.map(crashed, range(first, first + 4)))
            tried += sum(reached)
            if not all(reached):
                break
    assert tried > 20, "the steps are no longer found: see misbehaving.py"


def test_wait_may_be_killed(quick: CommandLine) -> None:
    hold(quick)
    quick.run(*BOTH)
    waiting = quick.start("wait")
    assert waiting.stdout is not None
    assert waiting.stdout.readline()
    waiting.kill()
    waiting.communicate()
    let_go(quick)
    quick.run("wait")
    assert runs(quick) == ONCE


def test_the_supervisor_may_be_killed_while_a_job_runs_and_one_is_queued(
    quick: CommandLine,
) -> None:
    quick.service(options={"cpu_slots": "1"})
    hold(quick)
    quick.run(*BOTH)
    wait_for(lambda: runs(quick))
    assert [job["state"] for job in quick.queue()] == ["running", "queued"]
    supervisor = quick.supervisor()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_for(lambda: not supervisor.is_alive())
    assert [one["state"] for one in quick.status().values()] == ["RUNNING", "PENDING"]
    let_go(quick)
    quick.run("wait")
    assert runs(quick) == ONCE


# ---- at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 4])
def test_submitted_by_several_at_once_each_job_is_there_once(
    quick: CommandLine, count: int
) -> None:
    started = [quick.start(*BOTH) for _ in range(count)]
    for process in started:
        _, complaint = process.communicate(timeout=60)
        assert (process.returncode, complaint) == (0, "")
    quick.run("wait")
    assert_recorded(quick)
    assert runs(quick) == ONCE


# ---- Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.parametrize("submitted", [0, 1, 3])
def test_after_ctrl_c_what_was_submitted_is_recorded_and_the_rest_goes_on(
    quick: CommandLine, submitted: int
) -> None:
    hold(quick)
    process = quick.start(*MANY)
    lock = quick.root / "jobs" / "journal.lock"
    wait_for(lambda: lock.exists() and len(events(quick, journal.SUBMITTED)) >= submitted)
    os.killpg(process.pid, signal.SIGINT)
    shown, complaint = process.communicate(timeout=30)
    there = len(names(quick))
    assert process.returncode == 130, complaint
    assert complaint.endswith("interrupted\n")
    if there:  # else it came before the first job was begun
        assert f"{there} submitted" in complaint
        assert "run the same command again to go on" in complaint
    assert submitted <= there == len(events(quick, journal.SUBMITTED))
    assert shown.count("queue") == there
    quick.run(*MANY)
    assert_recorded(quick)
    assert len(names(quick)) == len(quick.status()) > there


def test_ctrl_c_at_any_moment_is_told_in_one_line(tmp_path: Path) -> None:
    def interrupted_after(milliseconds: int) -> None:
        directory = tmp_path / str(milliseconds)
        directory.mkdir()
        with command_line(directory) as line:
            use_quick_jobs(line)
            hold(line)
            process = line.start(*MANY)
            wait_for(Workspace(line.root).identity_file.exists)
            time.sleep(milliseconds / 1000)  # any moment will do
            os.killpg(process.pid, signal.SIGINT)
            _, complaint = process.communicate(timeout=30)
            assert "Traceback" not in complaint
            # Python ends itself by the signal where this came in the midst of generated code.
            assert process.returncode in (0, 130, -signal.SIGINT), complaint
            if process.returncode:
                assert complaint.endswith("interrupted\n")
                line.run(*MANY)
            assert_recorded(line)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(interrupted_after, range(0, 400, 80)))


def test_ctrl_c_that_hits_the_check_of_a_script_is_no_verdict_on_it(
    quick: CommandLine, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    bash = programs / "bash"
    bash.write_text(
        f"#!/bin/sh\n[ $1 != -n ] || ! mkdir {programs}/hit || kill -INT $$\n"
        f'exec {shutil.which("bash")} "$@"\n'
    )
    bash.chmod(0o755)
    quick.run(*BOTH, PATH=f"{programs}:{quick.environment['PATH']}")
    assert len(names(quick)) == 2
    assert (programs / "hit").exists()


def test_ctrl_c_during_the_last_job_does_not_go_on_to_wait(quick: CommandLine) -> None:
    hold(quick)
    process = quick.start(*DEMO, "--tasks", "demo_sums", "--wait")
    wait_for(lambda: events(quick, journal.SUBMITTING))
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 130
    assert complaint.endswith("interrupted\n")
    assert_recorded(quick)


def test_a_second_ctrl_c_ends_at_once_and_the_job_is_found_again(quick: CommandLine) -> None:
    quick.spool.directory.mkdir(mode=0o700)
    with quick.spool.mutex():  # so that the queue does not answer
        process = quick.start(*BOTH)
        wait_for(lambda: events(quick, journal.SUBMITTING))
        os.killpg(process.pid, signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        os.killpg(process.pid, signal.SIGINT)
        _, complaint = process.communicate(timeout=10)
    assert process.returncode == 130
    assert complaint.endswith("interrupted\n")
    assert quick.status()["demo_capitals"]["state"] == "UNKNOWN"
    assert len(quick.json(*BOTH)["kept"]) == 1
    no_longer_wait_for_lost_answers(quick)
    quick.run(*BOTH, "--wait")
    assert_recorded(quick)
    assert runs(quick) == ONCE


def test_ctrl_c_while_waiting_leaves_the_jobs_alone(quick: CommandLine) -> None:
    hold(quick)
    process = quick.start(*BOTH, "--wait")
    wait_for(lambda: sum(runs(quick).values()) == 2)
    time.sleep(0.3)  # into the waiting, not the end of the submission
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint.strip()) == (130, "interrupted")
    let_go(quick)
    quick.run("wait")
    assert runs(quick) == ONCE


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, line: CommandLine, *words: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            default_signals()
            os.chdir(line.elsewhere)
            os.execvpe(sys.executable, line.argv(*words), line.environment)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until the text was shown."""
        end = time.monotonic() + 30
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            self.read()

    def read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], 0.1)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other side is closed
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        """Read until it ends; the exit code, or minus the signal."""

        def ended() -> object:
            self.read()
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

        wait_for(ended)
        while select.select([self.master], [], [], 0)[0] and self.read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def hang_up(self) -> int:
        """Close the terminal and wait for the end; the exit code, or minus the signal."""
        os.close(self.master)
        wait_for(lambda: os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


ASKING = tuple(word for word in BOTH if word != "--yes")


def test_ctrl_c_at_the_prompt_submits_nothing(quick: CommandLine) -> None:
    terminal = Terminal(quick, *ASKING)
    terminal.until("Submit?")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "interrupted" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert not quick.spool.directory.exists()
    assert not Workspace(quick.root).journal.exists()


def test_no_at_the_prompt_submits_nothing_and_yes_submits(quick: CommandLine) -> None:
    terminal = Terminal(quick, *ASKING)
    terminal.until("Submit?")
    terminal.type("n\n")
    assert terminal.end() != 0
    assert "nothing was submitted" in terminal.shown
    assert not quick.spool.directory.exists()
    terminal = Terminal(quick, *ASKING)
    terminal.until("Submit?")
    terminal.type("\n")
    assert terminal.end() == 0
    quick.run("wait")
    assert runs(quick) == ONCE


def test_a_hang_up_of_the_terminal_leaves_the_jobs_alone(quick: CommandLine) -> None:
    hold(quick)
    terminal = Terminal(quick, *BOTH, "--wait")
    wait_for(lambda: sum(runs(quick).values()) == 2)
    assert terminal.hang_up() == -signal.SIGHUP
    let_go(quick)
    quick.run("wait")
    assert_recorded(quick)
    assert runs(quick) == ONCE


def test_a_hang_up_during_the_submission_loses_nothing(quick: CommandLine) -> None:
    hold(quick)
    terminal = Terminal(quick, *MANY)
    wait_for(lambda: len(events(quick, journal.SUBMITTING)) == 2)
    assert terminal.hang_up() == -signal.SIGHUP
    wait_for(lambda: not starting_to_submit(quick))
    no_longer_wait_for_lost_answers(quick)
    quick.run(*MANY)
    assert_recorded(quick)
    assert len(names(quick)) == len(quick.status())


def starting_to_submit(line: CommandLine) -> bool:
    """Whether a `hpcjobs.local submit` of this workspace still runs."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"submit\0" + bytes(line.root) in path.read_bytes():
                return True
    return False


# ---- The scheduler -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["hang", "garbage", "fail"])
def test_no_answer_to_a_submission_is_no_conclusion(quick: CommandLine, how: str) -> None:
    done = quick.run(argv=misbehaving(quick, how, *BOTH), code=4)
    assert "looked up by name" in done.stderr
    assert "1 not tried" in done.stderr
    assert [one["state"] for one in quick.status().values()] == ["UNKNOWN"]
    assert len(quick.json(*BOTH)["kept"]) == 1  # and the other one submitted
    no_longer_wait_for_lost_answers(quick)
    assert {one["state"] for one in quick.status().values()} >= {"FAILED"}
    quick.run(*BOTH)
    quick.run("wait")
    assert runs(quick) == ONCE


def test_a_lost_answer_is_found_again_by_name(quick: CommandLine) -> None:
    hold(quick)
    quick.run(argv=misbehaving(quick, "lost", *BOTH), code=4)
    assert len(names(quick)) == 1
    assert len(quick.json(*BOTH)["submitted"]) == 1
    assert_recorded(quick)
    adopted = [one for one in events(quick, journal.SUBMITTED) if one.get("adopted")]
    assert len(adopted) == 1
    let_go(quick)
    quick.run("wait")
    assert runs(quick) == ONCE


def test_a_refusal_is_told_and_the_job_can_be_submitted_again(quick: CommandLine) -> None:
    done = quick.run(argv=misbehaving(quick, "refuse", *BOTH), code=1)
    assert done.stderr.count("no more jobs today") == 2
    assert {one["reason"] for one in quick.status().values()} == {"SUBMIT_FAILED"}
    again = quick.run(argv=misbehaving(quick, "refuse", *BOTH, "--wait", "--json"), code=1)
    assert [one["attempt"] for one in json.loads(again.stdout)["refused"]] == [2, 2]
    assert not quick.spool.directory.exists()
    quick.run(*BOTH, "--wait")
    assert runs(quick) == ONCE


@pytest.mark.parametrize("how", ["hang", "lost", "garbage", "fail", "refuse"])
def test_while_the_scheduler_does_not_answer_jobs_are_unknown_and_never_submitted_again(
    quick: CommandLine, how: str
) -> None:
    quick.service(times={"submit_timeout": 1, "grace_seconds": 0})
    hold(quick)
    quick.service(times={"submit_timeout": 30})
    quick.run(*BOTH)
    quick.service(times={"submit_timeout": 1})
    wait_for(lambda: sum(runs(quick).values()) == 2)
    for _ in range(2):
        done = quick.run(argv=misbehaving(quick, how, "status"))
        assert "❔ unknown 2" in done.stdout
        assert "warning: local: " in done.stderr
        again = quick.run(argv=misbehaving(quick, how, *BOTH))
        assert "0 job(s) to submit" in again.stdout
    assert len(names(quick)) == 2
    let_go(quick)
    wait_for(lambda: all(job["state"] == "ended" for job in quick.queue()))
    # Now the jobs themselves have told their end; nobody else needs to.
    done = quick.run(argv=misbehaving(quick, how, "status"))
    assert "🟢 done 2" in done.stdout
    assert runs(quick) == ONCE


def test_an_empty_answer_is_no_conclusion(quick: CommandLine) -> None:
    hold(quick)
    quick.run(*BOTH)
    quick.service(times={"grace_seconds": 0})
    wait_for(lambda: sum(runs(quick).values()) == 2)
    for _ in range(2):
        done = quick.run(argv=misbehaving(quick, "empty", "status"))
        assert "❔ unknown 2" in done.stdout


def test_another_local_queue_knows_nothing_of_our_jobs(quick: CommandLine, tmp_path: Path) -> None:
    hold(quick)
    quick.run(*BOTH)
    quick.service(times={"grace_seconds": 0})
    wait_for(lambda: sum(runs(quick).values()) == 2)
    for _ in range(2):
        done = quick.run("status", HPCJOBS_LOCAL_DIR=str(tmp_path / "another"))
        assert "❔ unknown 2" in done.stdout
    done = quick.run(*BOTH, HPCJOBS_LOCAL_DIR=str(tmp_path / "another"))
    assert "0 job(s) to submit" in done.stdout


def test_a_reader_who_goes_away_does_not_stop_a_submission(quick: CommandLine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = quick.argv(*BOTH)
    done = subprocess.run(argv, cwd=quick.elsewhere, env=quick.environment, stdout=writing)
    os.close(writing)
    assert done.returncode == 0
    assert len(quick.status()) == 2
    quick.run("wait")
    assert sum(runs(quick).values()) == 2


@pytest.mark.parametrize("how", ["hang", "garbage", "fail"])
def test_a_cancellation_that_nobody_answers_is_told(quick: CommandLine, how: str) -> None:
    hold(quick)
    quick.run(*BOTH)
    done = quick.run(argv=misbehaving(quick, how, "cancel", "--all", "--yes"), code=None)
    assert done.returncode in ((0, 1) if how == "garbage" else (1,))
    assert "warning: " in done.stderr
    quick.run("cancel", "--all", "--yes")
    quick.run("wait", code=None)  # 1 if they end while it waits
    assert {one["state"] for one in quick.status().values()} == {"CANCELLED"}


# ---- Disks ---------------------------------------------------------------------------------------


@pytest.fixture
def small(disk: SmallDisk, tmp_path: Path) -> Iterator[CommandLine]:
    """A workspace on the small disk, with quick jobs."""
    with command_line(tmp_path, "disk/workspace") as line:
        use_quick_jobs(line)
        yield line
        disk.free()


def test_on_a_full_disk_nothing_is_submitted_without_a_record(
    small: CommandLine, disk: SmallDisk
) -> None:
    full = 0
    for pages in range(9):
        disk.fill(pages)
        done = small.run(*BOTH, code=None)
        recorded = [one["name"] for one in events(small, journal.SUBMITTING)]
        assert set(names(small)) <= set(recorded)
        if done.returncode == 5:
            full += 1
            assert done.stderr.count("No space left") + done.stderr.count("disk is full") == 1
            assert "do: free some space" in done.stderr
        else:
            assert done.returncode == 0
        small.run("status")
        disk.free()
    assert full >= 3
    wait_for(lambda: all(job["state"] == "ended" for job in small.queue()))
    no_longer_wait_for_lost_answers(small)
    small.run(*BOTH, "--wait")
    attempts = (small.root / "jobs" / "ran").read_text().split()[::2]
    assert len(attempts) == len(set(attempts))


def test_on_a_full_disk_status_shows_and_warns(small: CommandLine, disk: SmallDisk) -> None:
    hold(small)
    small.run(*BOTH)
    wait_for(lambda: sum(runs(small).values()) == 2)
    disk.fill()
    done = small.run("status")
    assert "running 2" in done.stdout
    assert "shown, but not recorded: " in done.stderr
    disk.free()
    assert {one["state"] for one in small.status().values()} == {"RUNNING"}


def test_on_a_full_disk_the_old_aggregate_stays_whole(small: CommandLine, disk: SmallDisk) -> None:
    small.run(*BOTH, "--wait")
    small.run("aggregate")
    (path,) = small.root.rglob("aggregated_results.json")
    old = path.read_bytes()
    disk.fill()
    done = small.run("aggregate", code=5)
    assert done.stderr.count("error: ") == 1
    assert "do: free some space" in done.stderr
    assert path.read_bytes() == old
    assert [*path.parent.iterdir()] == [path]
    disk.free()
    small.run("aggregate")


# ---- Rights --------------------------------------------------------------------------------------

POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""Root, too, then has only the rights that files and directories give."""


@contextlib.contextmanager
def read_only(root: Path) -> Iterator[None]:
    paths = [root, *root.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path in reversed(paths):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@pytest.fixture
def powerless(quick: CommandLine) -> CommandLine:
    if POWERLESS and not shutil.which("setpriv"):
        pytest.skip("NOT TESTED: missing rights (no setpriv to give up root's)")
    return quick


def test_in_a_read_only_workspace_one_can_look_but_not_submit(powerless: CommandLine) -> None:
    line = powerless

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return line.run(argv=[*POWERLESS, *line.argv(*words)], code=code)

    with read_only(line.root):
        done = run(*BOTH, code=5)
        assert "Permission denied" in done.stderr
        assert "do: check who owns it" in done.stderr
        run(*BOTH, "--dry-run")
    hold(line)
    line.run(*BOTH)
    wait_for(lambda: sum(runs(line).values()) == 2)
    with read_only(line.root):
        done = run("status")
        assert "running 2" in done.stdout
        assert "shown, but not recorded: " in done.stderr
        run("logs", line.status()["demo_sums"]["job"], "--script")
        for command in (["aggregate"], ["cancel", "--all", "--yes"], [*BOTH, "--again"]):
            assert "Permission denied" in run(*command, code=5).stderr
    assert {one["state"] for one in line.status().values()} == {"RUNNING"}
    let_go(line)
    line.run("wait")
    assert runs(line) == ONCE


def test_what_a_colleague_needs_to_look_is_readable_as_the_umask_says(quick: CommandLine) -> None:
    quick.run(*BOTH, "--wait")
    mask = os.umask(0)
    os.umask(mask)
    workspace = Workspace(quick.root)
    for path in (workspace.identity_file, workspace.journal):
        assert path.stat().st_mode & 0o777 == 0o644 & ~mask
