"""The local queue as its users meet it: real supervisors, starters and jobs."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hpcjobs.local import control
from hpcjobs.local.job import START_FAILED, claim_path, start_path, write_once
from hpcjobs.local.spool import Spool, take_lock
from hpcjobs.processes import ProcessIdentity, boot_id, marked

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found], seconds: float = 15.0) -> Found:
    """What `condition` gives, once that is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.03)
    return found


class Queue:
    """`python -m hpcjobs.local` with a spool and scripts of its own."""

    def __init__(self, directory: Path) -> None:
        self.scripts = directory / "my scripts"
        self.scripts.mkdir()
        self.spool = Spool(directory / "spool")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PYTHONPATH": str(ROOT),
            "HPCJOBS_LOCAL_DIR": str(self.spool.directory),
        }

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "hpcjobs.local", *map(str, arguments)]

    def run(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def script(self, text: str, name: str = "job") -> Path:
        path = self.scripts / f"{name}.sh"
        path.write_text(text + "\n")
        return path

    def submit(self, text: str, *options: object, name: str = "job", **variables: str) -> str:
        done = self.run("submit", self.script(text, name), "--name", name, *options, **variables)
        assert done.returncode == 0, done.stderr
        assert done.stdout.removesuffix("\n").isdecimal()
        return done.stdout.strip()

    def enqueue(self, text: str, *options: object, name: str = "job") -> str:
        """Submit, but have no supervisor started: another holds its lock."""
        self.spool.directory.mkdir(mode=0o700, exist_ok=True)
        lock = take_lock(self.spool.lock)
        assert lock is not None
        try:
            return self.submit(text, *options, name=name)
        finally:
            os.close(lock)

    def query(self, *ids: str) -> list[dict[str, Any]]:
        done = self.run("query", *ids)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def job(self, job_id: str) -> dict[str, Any]:
        return self.query(job_id)[0]

    def wait_until(self, job_id: str, state: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["state"] == state else None

        return wait_for(reached)

    def written(self, name: str) -> str:
        """The content of a file that a job writes, once it is there."""
        path = self.scripts / name
        return wait_for(lambda: path.exists() and path.read_text())

    def kill_supervisor(self, number: signal.Signals = signal.SIGKILL) -> ProcessIdentity:
        identity = wait_for(self.supervisor)
        os.kill(identity.pid, number)
        wait_for(lambda: not identity.is_alive())
        return identity

    def supervisor(self) -> ProcessIdentity | None:
        identity = control.read_identity(self.spool)
        return identity if identity and identity.is_alive() else None

    def marked(self) -> set[int]:
        found: set[int] = set()
        for job_id in self.spool.ids():
            found |= marked(f"HPCJOBS_LOCAL_JOB={self.spool.path(job_id)}")
        return found


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = Queue(tmp_path)
    yield queue
    done = queue.run("shutdown", "--kill-jobs")
    log = queue.spool.log.read_text() if queue.spool.log.exists() else ""
    assert done.returncode == 0, done.stderr + log
    assert queue.marked() == set()
    assert queue.supervisor() is None
    assert "Traceback" not in log


GATE = "while [ ! -e gate ]; do sleep 0.05; done"
STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"


def test_a_job_runs_in_its_directory_and_its_exit_status_is_known(queue: Queue) -> None:
    job_id = queue.submit('pwd; echo "err" >&2; cat; exit 7')
    job = queue.wait_until(job_id, "ended")
    assert (job["id"], job["name"], job["exit_status"]) == (job_id, "job", 7)
    assert job["ended_because"] is None
    assert job["submitted"] <= job["started"] <= job["ended"]
    assert queue.written("job.sh.out") == f"{queue.scripts}\nerr\n"


def test_directives_in_the_script_are_obeyed(queue: Queue) -> None:
    text = f"#HPCJOBS --gpus 1 --devices 5,6 --output log/o.txt --walltime 00:01:00\n{GATE}"
    (queue.scripts / "log").mkdir()
    job = queue.wait_until(queue.submit(text), "running")
    assert (job["devices"], job["walltime"]) == ([5], 60)
    assert (queue.scripts / "log" / "o.txt").exists()


def test_wrong_use_ends_with_2(queue: Queue) -> None:
    wrong = queue.script("#!/bin/bash\n#HPCJOBS --gpuz 1")
    done = queue.run("submit", wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{wrong}:2: unknown option '--gpuz'" in done.stderr
    assert queue.run("submit", queue.scripts / "absent.sh").returncode == 2
    assert queue.run("submit", queue.script("true"), "--gpus", 1).returncode == 2
    assert queue.run("submit", queue.script("true"), "--name", "a b").returncode == 2
    assert queue.run("submit", queue.script("true"), "--output", "no/such/f").returncode == 2
    assert not queue.spool.directory.exists()


def test_a_refused_spool_is_an_error_of_every_command(queue: Queue) -> None:
    queue.spool.directory.mkdir()
    queue.spool.directory.chmod(0o777)
    for command in (["submit", queue.script("true")], ["query"], ["find", "x"], ["cancel", "1"]):
        done = queue.run(*command)
        assert done.returncode == 5
        assert "others may write" in done.stderr
    queue.spool.directory.chmod(0o700)


def test_without_a_spool_there_are_no_jobs(queue: Queue) -> None:
    assert queue.query() == []
    assert queue.query("1", "x") == [
        {"id": "1", "state": "unknown"},
        {"id": "x", "state": "unknown"},
    ]
    assert queue.run("cancel", "1").returncode == 1
    assert not queue.spool.directory.exists()


def test_jobs_wait_for_their_devices(queue: Queue) -> None:
    say = f'echo "$CUDA_VISIBLE_DEVICES" >> "$0.devices"; {GATE}'
    first = queue.submit(say, "--gpus", 1, "--devices", "0", name="a")
    second = queue.submit(say, "--gpus", 1, "--devices", "0", name="b")
    third = queue.submit(say, "--gpus", 2, "--devices", "0,1,2", name="c")
    assert queue.wait_until(first, "running")["devices"] == [0]
    assert queue.wait_until(third, "running")["devices"] == [1, 2]
    assert queue.job(second)["state"] == "queued"
    (queue.scripts / "gate").touch()
    ended = [queue.wait_until(job_id, "ended") for job_id in (first, second, third)]
    assert [job["exit_status"] for job in ended] == [0, 0, 0]
    assert ended[1]["started"] >= ended[0]["ended"]
    assert [queue.written(f"{name}.sh.devices") for name in "abc"] == ["0\n", "0\n", "1,2\n"]


def test_a_job_is_found_by_its_name(queue: Queue) -> None:
    job_id = queue.submit(GATE, name="a.b+c")
    assert json.loads(queue.run("find", "a.b+c").stdout)["id"] == job_id
    nothing = queue.run("find", "a.b")
    assert (nothing.returncode, nothing.stdout) == (0, "")


def test_a_used_name_is_refused(queue: Queue) -> None:
    queue.wait_until(queue.submit("true"), "ended")
    again = queue.run("submit", queue.script("true"), "--name", "job")
    assert (again.returncode, again.stdout) == (3, "")
    assert again.stderr == "name already used: id 1\n"


def test_many_submissions_at_once_all_count(queue: Queue) -> None:
    text = 'echo x >> "$0.ran"'
    with ThreadPoolExecutor(20) as pool:
        ids = list(
            pool.map(lambda n: queue.submit(text, "--cpu-slots", 20, name=f"n{n}"), range(20))
        )
    assert sorted(map(int, ids)) == list(range(1, 21))
    wait_for(lambda: {job["state"] for job in queue.query()} == {"ended"})
    assert [queue.written(f"n{n}.sh.ran") for n in range(20)] == ["x\n"] * 20


def test_a_walltime_ends_what_ignores_term_and_what_left_the_session(queue: Queue) -> None:
    text = f'setsid bash -c "echo \\$\\$ > child; {STUBBORN}" &\n{STUBBORN}'
    job_id = queue.submit(text, "--walltime", "00:00:01", "--grace", "0.5")
    child = ProcessIdentity.of(int(queue.written("child")))
    assert child
    job = queue.wait_until(job_id, "ended")
    assert (job["ended_because"], job["exit_status"]) == ("walltime", -signal.SIGKILL)
    assert job["ended"] - job["started"] >= 1.4
    assert not child.is_alive()


def test_a_job_may_tidy_up_within_its_grace(queue: Queue) -> None:
    text = "trap 'echo tidy > tidied; exit 9' TERM; while :; do sleep 0.1; done"
    job = queue.wait_until(queue.submit(text, "--walltime", "00:00:01"), "ended")
    assert (job["ended_because"], job["exit_status"]) == ("walltime", 9)
    assert queue.written("tidied")


def test_what_a_job_leaves_behind_is_ended(queue: Queue) -> None:
    text = f'setsid bash -c "echo \\$\\$ > child; {STUBBORN}" & while [ ! -s child ]; do :; done'
    job_id = queue.submit(text, "--grace", "0.3")
    child = ProcessIdentity.of(int(queue.written("child")))
    job = queue.wait_until(job_id, "ended")
    assert (job["ended_because"], job["exit_status"]) == (None, 0)
    assert child is None or not child.is_alive()


def test_what_lost_its_mark_but_not_its_session_is_ended(queue: Queue) -> None:
    text = "env -i bash -c 'echo $$ > child; sleep 60; true' & while [ ! -s child ]; do :; done"
    job_id = queue.submit(text)
    child = ProcessIdentity.of(int(queue.written("child")))
    assert queue.wait_until(job_id, "ended")["exit_status"] == 0
    assert child is None or not child.is_alive()


def test_a_queued_job_is_cancelled_at_once(queue: Queue) -> None:
    queue.submit(GATE, name="first")
    job_id = queue.submit("echo > ran", name="second")
    assert queue.run("cancel", job_id).returncode == 0
    job = queue.job(job_id)
    assert (job["state"], job["ended_because"], job["exit_status"]) == ("ended", "cancelled", None)
    (queue.scripts / "gate").touch()
    queue.wait_until("1", "ended")
    assert not (queue.scripts / "ran").exists()


def test_running_jobs_are_cancelled_whatever_other_ids_are_named(queue: Queue) -> None:
    job_id = queue.submit(STUBBORN, "--grace", "0.3")
    pid = queue.wait_until(job_id, "running")["pid"]
    done = queue.run("cancel", "77", job_id)
    assert done.returncode == 1
    assert "unknown id: 77" in done.stderr
    assert queue.run("cancel", job_id).returncode == 0
    job = queue.wait_until(job_id, "ended")
    assert (job["ended_because"], job["exit_status"]) == ("cancelled", -signal.SIGKILL)
    assert ProcessIdentity.of(pid) is None
    assert queue.run("cancel", job_id).returncode == 0
    assert queue.job(job_id) == job


def test_a_supervisor_killed_while_a_job_runs_is_replaced_and_the_job_adopted(
    queue: Queue,
) -> None:
    job_id = queue.submit(f'echo x >> "$0.ran"; {GATE}')
    pid = queue.wait_until(job_id, "running")["pid"]
    queue.written("job.sh.ran")
    killed = queue.kill_supervisor()
    job = queue.job(job_id)
    assert (job["state"], job["pid"]) == ("running", pid)
    assert wait_for(queue.supervisor) != killed
    (queue.scripts / "gate").touch()
    job = queue.wait_until(job_id, "ended")
    assert (job["ended_because"], job["exit_status"]) == ("lost", None)
    assert queue.written("job.sh.ran") == "x\n"


def test_a_job_that_ended_unseen_is_lost_and_what_it_left_is_ended(queue: Queue) -> None:
    text = f'setsid bash -c "echo \\$\\$ > child; {STUBBORN}" & {GATE}'
    job_id = queue.submit(text, "--grace", "0.2")
    child = ProcessIdentity.of(int(queue.written("child")))
    assert child
    main = ProcessIdentity.of(queue.wait_until(job_id, "running")["pid"])
    queue.kill_supervisor()
    (queue.scripts / "gate").touch()
    wait_for(lambda: not (main and main.is_alive()))
    job = queue.wait_until(job_id, "ended")
    assert (job["ended_because"], job["exit_status"]) == ("lost", None)
    assert not child.is_alive()


def test_an_adopted_job_is_ended_at_its_walltime(queue: Queue) -> None:
    job_id = queue.submit(STUBBORN, "--walltime", "00:00:01", "--grace", "0.2")
    queue.wait_until(job_id, "running")
    queue.kill_supervisor()
    job = queue.wait_until(job_id, "ended")
    assert (job["ended_because"], job["exit_status"]) == ("walltime", None)


def test_an_adopted_job_keeps_its_devices(queue: Queue) -> None:
    options = ["--gpus", 1, "--devices", "0"]
    first = queue.submit(GATE, *options, name="a")
    queue.wait_until(first, "running")
    queue.kill_supervisor()
    second = queue.submit("true", *options, name="b")
    third = queue.submit("true", name="c")
    queue.wait_until(third, "ended")  # a round of the new supervisor has passed
    assert queue.job(second)["state"] == "queued"
    (queue.scripts / "gate").touch()
    assert queue.wait_until(second, "ended")["started"] >= queue.job(first)["ended"]


def test_term_to_the_supervisor_leaves_jobs_running(queue: Queue) -> None:
    job_id = queue.submit(GATE)
    pid = queue.wait_until(job_id, "running")["pid"]
    queue.kill_supervisor(signal.SIGTERM)
    assert ProcessIdentity.of(pid)
    assert queue.wait_until(job_id, "running")["pid"] == pid


def test_queued_jobs_survive_any_number_of_killed_supervisors_and_run_once(queue: Queue) -> None:
    text = 'echo x >> "$0.ran"; sleep 0.05'
    names = [f"n{n}" for n in range(8)]
    ids = [queue.enqueue(text, "--cpu-slots", 3, name=name) for name in names]
    rounds = 0
    while any(job["state"] != "ended" for job in queue.query(*ids)):
        rounds += 1
        assert rounds < 60
        identity = wait_for(lambda: queue.supervisor() or take_free(queue))
        time.sleep(0.03 * (rounds % 12))  # at another moment of its life each time
        if isinstance(identity, ProcessIdentity):
            with contextlib.suppress(ProcessLookupError):
                os.kill(identity.pid, signal.SIGKILL)
    assert [queue.written(f"{name}.sh.ran") for name in names] == ["x\n"] * 8


def take_free(queue: Queue) -> bool:
    """Whether no supervisor holds the lock."""
    lock = take_lock(queue.spool.lock)
    if lock is not None:
        os.close(lock)
    return lock is not None


def test_a_start_that_nobody_claimed_is_made_anew(queue: Queue) -> None:
    job_id = queue.enqueue('echo "$CUDA_VISIBLE_DEVICES" >> ran', "--gpus", 1, "--devices", "2")
    directory = queue.spool.path(int(job_id))
    write_once(start_path(directory, 1), {"devices": [2], "time": time.time()})
    assert queue.wait_until(job_id, "ended")["exit_status"] == 0
    assert json.loads(claim_path(directory, 1).read_text()) == {"abandoned": True}
    assert claim_path(directory, 2).exists()
    assert queue.written("ran") == "2\n"


def test_a_cancel_in_the_start_window_holds(queue: Queue) -> None:
    job_id = queue.enqueue("echo > ran")
    directory = queue.spool.path(int(job_id))
    write_once(start_path(directory, 1), {"devices": [], "time": time.time()})
    assert queue.run("cancel", job_id).returncode == 0
    assert queue.wait_until(job_id, "ended")["ended_because"] == "cancelled"
    assert not (queue.scripts / "ran").exists()


def test_a_starter_that_comes_after_the_start_was_given_up_runs_nothing(queue: Queue) -> None:
    job_id = queue.enqueue("echo > ran")
    directory = queue.spool.path(int(job_id))
    write_once(start_path(directory, 1), {"devices": [], "time": time.time()})
    write_once(claim_path(directory, 1), {"abandoned": True})
    starter = control.start_starter(directory, 1)
    assert starter.wait(timeout=20) == 3
    assert not (queue.scripts / "ran").exists()
    queue.run("cancel", job_id)


def test_a_starter_that_claims_before_the_supervisor_is_back_is_adopted(queue: Queue) -> None:
    job_id = queue.enqueue(f"echo x >> ran; {GATE}")
    directory = queue.spool.path(int(job_id))
    write_once(start_path(directory, 1), {"devices": [], "time": time.time()})
    starter = control.start_starter(directory, 1)
    queue.written("ran")
    assert queue.job(job_id)["pid"] == starter.pid
    (queue.scripts / "gate").touch()
    assert starter.wait(timeout=20) == 0
    assert queue.wait_until(job_id, "ended")["ended_because"] == "lost"
    assert queue.written("ran") == "x\n"


def test_a_job_of_another_boot_ended_by_reboot(queue: Queue) -> None:
    job_id = queue.enqueue("echo > ran")
    directory = queue.spool.path(int(job_id))
    write_once(start_path(directory, 1), {"devices": [], "time": time.time()})
    somebody = ProcessIdentity.of(os.getpid())
    assert somebody
    claim = {**somebody.to_json(), "boot_id": "another", "time": time.time()}
    assert boot_id() != "another"
    write_once(claim_path(directory, 1), claim)
    job = queue.wait_until(job_id, "ended")
    assert (job["ended_because"], job["exit_status"]) == ("reboot", None)
    assert somebody.is_alive()
    assert not (queue.scripts / "ran").exists()


def test_a_second_supervisor_goes_away(queue: Queue) -> None:
    job_id = queue.submit(GATE)
    queue.wait_until(job_id, "running")
    first = queue.supervisor()
    assert queue.run("supervise").returncode == 6
    assert queue.supervisor() == first


def test_the_supervisor_ends_by_itself_and_comes_back_for_a_new_job(queue: Queue) -> None:
    queue.wait_until(queue.submit("true", name="a"), "ended")
    identity = queue.supervisor()
    wait_for(lambda: queue.supervisor() is None)
    assert identity
    queue.query()
    assert queue.supervisor() is None
    assert queue.wait_until(queue.submit("true", name="b"), "ended")["exit_status"] == 0


def test_shutdown_leaves_jobs_running_unless_told_otherwise(queue: Queue) -> None:
    job_id = queue.submit(GATE)
    pid = queue.wait_until(job_id, "running")["pid"]
    assert queue.run("shutdown").returncode == 0
    assert queue.supervisor() is None
    assert ProcessIdentity.of(pid)
    assert queue.run("shutdown").returncode == 0
    assert queue.run("shutdown", "--kill-jobs").returncode == 0
    assert ProcessIdentity.of(pid) is None
    assert queue.job(job_id)["ended_because"] == "cancelled"


def test_a_closed_terminal_ends_no_job(queue: Queue) -> None:
    script = queue.script(GATE)
    submit = subprocess.list2cmdline(queue.command("submit", script))
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(queue.environment)
        os.execvp("bash", ["bash", "-c", f"{submit}; sleep 60"])
    job = wait_for(lambda: next(iter(queue.query()), None))
    queue.wait_until(job["id"], "running")
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGHUP
    (queue.scripts / "gate").touch()
    assert queue.wait_until(job["id"], "ended")["exit_status"] == 0  # its parent lived on, too


def test_signals_that_the_submitter_ignored_work_in_the_job(queue: Queue) -> None:
    script = queue.script("grep SigIgn /proc/self/status > ignored")
    submit = subprocess.list2cmdline(queue.command("submit", script))
    subprocess.run(
        ["bash", "-c", f"trap '' HUP INT TERM; {submit}"], env=queue.environment, check=True
    )
    assert int(queue.written("ignored").split()[1], 16) == 0


def test_no_secret_of_the_submitter_reaches_the_job(queue: Queue) -> None:
    secret = "hf_very_secret"
    variables = {"HF_TOKEN": secret, "OPENAI_API_KEY": secret, "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    job_id = queue.submit("env > seen", **variables)
    queue.wait_until(job_id, "ended")
    seen = dict(line.split("=", 1) for line in queue.written("seen").splitlines())
    assert secret not in seen.values()
    assert (seen["LC_ALL"], seen["TZ"], seen["CUDA_VISIBLE_DEVICES"]) == ("C", "Asia/Tokyo", "")
    assert seen["PATH"] == f"{os.environ['PATH']}:{Path(sys.executable).parent}"
    assert seen["HPCJOBS_LOCAL_ID"] == job_id
    assert seen["HPCJOBS_LOCAL_JOB"] == str(queue.spool.path(int(job_id)))
    kept = "".join(path.read_text() for path in queue.spool.directory.rglob("*.json"))
    assert secret not in kept


def test_a_job_submitted_by_a_job_is_not_part_of_it(queue: Queue) -> None:
    inner = queue.script(f"echo > inner; {GATE}", "inner")
    submit = subprocess.list2cmdline(queue.command("submit", inner, "--cpu-slots", 9))
    lines = [
        f"export PYTHONPATH='{ROOT}' HPCJOBS_LOCAL_DIR='{queue.spool.directory}'",
        *('kill -9 $(sed \'s/.*pid": \\([0-9]*\\).*/\\1/\' "$HPCJOBS_LOCAL_DIR/supervisor.lock")',),
        f"until {submit} > id; do :; done",
    ]
    outer = queue.submit("\n".join(lines), name="outer")
    inner_id = queue.written("id").strip()
    queue.wait_until(outer, "ended")
    assert queue.wait_until(inner_id, "running")
    assert queue.written("inner")


def test_a_job_whose_directory_is_gone_fails_to_start(queue: Queue) -> None:
    queue.submit(GATE, name="first")
    elsewhere = queue.scripts / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.sh").write_text("true\n")
    job_id = queue.run("submit", elsewhere / "x.sh").stdout.strip()
    (elsewhere / "x.sh").unlink()
    elsewhere.rmdir()
    (queue.scripts / "gate").touch()
    job = queue.wait_until(job_id, "ended")
    assert (job["ended_because"], job["exit_status"]) == ("start_failed", None)
    assert "No such file" in (queue.spool.path(int(job_id)) / START_FAILED).read_text()


def test_a_broken_record_hinders_no_other_job(queue: Queue) -> None:
    broken = queue.enqueue("true", name="a")
    job_id = queue.enqueue("true", name="b")
    (queue.spool.path(int(broken)) / "job.json").write_text('{"id": 1')
    assert queue.wait_until(job_id, "ended")["exit_status"] == 0
    assert queue.query()[0] == {"id": broken, "state": "unknown"}
    assert queue.run("find", "b").stdout
    assert queue.run("find", "a").returncode == 5
