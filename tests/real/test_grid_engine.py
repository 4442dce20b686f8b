"""hpcjobs against a real Grid Engine, which scripts/testbeds/grid_engine.sh starts here.

The service is the shipped `tsubame`, with shorter times. The evaluators are fakes that end as a
test wants, but for the last test, where all is real. What shakes the master has its own testbed.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_workspace import REPOSITORY, ClusterWorkspace, missing, wait_until

pytestmark = pytest.mark.real

SCRIPT = REPOSITORY / "scripts" / "testbeds" / "grid_engine.sh"
USER, GROUP = "hpcuser", "tga-hpcjobs"
MANY = 300
NORMAL, SHORT, ENDLESS = "cpu_4", "gpu_1", "cpu_16"
HOLD, LATER = "h", "a=203012312359"
"""`qsub -h`, and `qsub -a` (not before)."""

SERVER = """#!/bin/bash
export FAKE_RECORDS={root}/records
exec {python} {repository}/tests/fakes/vllm "$@"
"""
# What the fake evaluator does is told by the model's name.
EVALUATOR = """#!/bin/bash
case $* in
  *acme/exit-3*) exit 3 ;;
  *) exec sleep 300 ;;
esac
"""
MODULE = """module() { echo "$*" >>modules; }\n"""
TASKS = """key,script,result_dir,framework,hrt_q,hrt_f,hrt_short,hrt_endless
demo_capitals,demo_capitals,demo/capitals,lm_eval,00:10:00,00:10:00,00:00:25,30:00:00
demo_sums,demo_sums,demo/sums,lm_eval,00:10:00,00:10:00,00:00:25,30:00:00
"""
PERSONAL = """TSUBAME_GROUP={group}
REPO_PATH={root}
HUGGINGFACE_CACHE={root}/cache
UV_CACHE={root}/cache
VLLM_CACHE={root}/cache
DEEPINFRA_API_KEY=not-a-real-key
"""


def service(environment: str, **times: int) -> str:
    """The shipped service; only its times and the places of its programs are others."""
    value = yaml.safe_load((REPOSITORY / "conf/services/tsubame.yaml").read_text())
    value["times"] |= {"end_margin": 13, "stop_grace": 2, "poll_seconds": 0, **times}
    value["environments"] = dict.fromkeys(("vllm", "llamacpp", "lm_eval"), environment)
    value["nodes"][SHORT]["runtime"] = "hrt_short"
    value["nodes"][ENDLESS]["runtime"] = "hrt_endless"
    return yaml.safe_dump(value)


@dataclass
class Testbed:
    """A running Grid Engine, as root sees it."""

    __test__ = False
    parent: Path
    """Of the testbed's directory and of the workspaces."""
    lag: int = 0
    """Of the accounting, in seconds."""
    user: str = USER
    """Who submits; empty = root."""

    @property
    def directory(self) -> Path:
        return self.parent / "testbed"

    def script(self, action: str) -> str:
        lag = ["--accounting-lag", str(self.lag)] if action == "up" else []
        done = subprocess.run(
            [SCRIPT, action, "--directory", self.directory, *lag],
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        """With what `up` said."""
        told = dict(re.findall(r"(\w+)=(\S+)", self.script("status").split("export", 1)[1]))
        path = told.pop("PATH").replace("$PATH", os.environ["PATH"])
        return {**os.environ, **told, "PATH": path}

    def command(self, *words: str) -> str:
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def signal(self, number: signal.Signals) -> None:
        """To the master."""
        pid = (self.directory / "run" / "pids" / "sge_qmaster").read_text().split()[0]
        os.kill(int(pid), number)

    def names(self) -> list[str]:
        """Of all jobs in the queue."""
        return re.findall(r"Full jobname:\s+(\S+)", self.command("qstat", "-u", "*", "-r"))

    def record(self, native_id: str) -> dict[str, str]:
        """Of an ended job, once it is accounted: that may be after the job itself told its end."""

        def told() -> dict[str, str]:
            done = subprocess.run(
                ["qacct", "-j", native_id], env=self.environment, capture_output=True, text=True
            )
            facts = re.findall(r"^(\w+) +(.*?) *$", done.stdout, re.MULTILINE)
            return dict(facts) if done.returncode == 0 else {}

        found = wait_until(f"the record of {native_id}", told)
        assert isinstance(found, dict)
        return found

    def kill(self, native_id: str, what: str, number: signal.Signals) -> None:
        """A signal to a running job's `pid` (its shepherd) or its `job_pid` (its script)."""
        job = self.directory / "spool/execd/localhost/active_jobs" / f"{native_id}.1"
        os.kill(int((job / what).read_text()), number)

    def workspace(
        self, name: str, *, group: str = GROUP, real: bool = False, **times: int
    ) -> Workspace:
        workspace = Workspace(self.parent / name, "tsubame", self.user, self.environment, self)
        root = workspace.root
        template = (REPOSITORY / "templates/services/tsubame.sh.j2").read_text()
        profile = "/etc/profile.d/modules.sh"
        assert profile in template
        times = {"grace_seconds": 3, "submit_timeout": 30, **times}
        workspace.write(
            {
                "conf/services/tsubame.yaml": service(sys.prefix if real else str(root), **times),
                "conf/tasks_runtime.csv": TASKS,
                "conf/task_groups.yaml": "default: [demo_capitals]\ndemo: ['demo_*']\n",
                "templates/services/tsubame.sh.j2": template.replace(profile, f"{root}/modules.sh"),
                "modules.sh": MODULE,
                ".env": PERSONAL.format(group=group, root=root),
                "bin/lm_eval": EVALUATOR,
                "bin/vllm": SERVER.format(root=root, python=sys.executable, repository=REPOSITORY),
                "records/about": "what the fake server was given\n",
            }
        )
        return workspace


@dataclass
class Workspace(ClusterWorkspace):
    """One whose service is the testbed."""

    testbed: Testbed

    def submit(
        self,
        *models: str,
        node: str = NORMAL,
        provider: str = "deepinfra",
        code: int = 0,
        words: tuple[str, ...] = (),
        option: str = "",
    ) -> dict[str, Any]:
        words += ("--scheduler-option", option) if option else ()
        return super().submit(*models, node=node, provider=provider, code=code, words=words)

    def calls(self, action: Callable[[], object]) -> Counter[str]:
        """How often each of the scheduler's commands is called, `qstat -help` apart."""
        path = self.root / "calls"
        for command in ("qsub", "qstat", "qacct", "qdel"):
            self.wrap(command, f'echo "{command} $*" >>{path}; exec "$REAL" "$@"')
        path.unlink(missing_ok=True)
        action()
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(line.split()[0] for line in lines if line != "qstat -help")


@contextmanager
def started(lag: int = 0) -> Iterator[Testbed]:
    if os.getuid() != 0:
        missing("the testbed of Grid Engine needs root")
    if shutil.which("apt-get") is None:
        missing("the testbed of Grid Engine needs apt-get (Debian)")
    parent = Path(tempfile.mkdtemp(prefix="hpcjobs-tests-", dir="/var/tmp"))
    parent.chmod(0o755)
    bed = Testbed(parent, lag)
    try:
        assert "export PATH=" in bed.script("up")
        look = subprocess.run(
            ["runuser", "-u", USER, "--", sys.executable, "-c", "import hpcjobs"],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )
        if look.returncode != 0:  # a checkout or a Python below /root
            bed.user = ""
            warnings.warn(f"Grid Engine is tested as root: {look.stderr}", stacklevel=1)
        yield bed
    finally:
        bed.script("down")
        shutil.rmtree(parent)


@pytest.fixture(scope="module")
def grid_engine() -> Iterator[Testbed]:
    with started() as bed:
        yield bed


@pytest.fixture(scope="module")
def shaken() -> Iterator[Testbed]:
    """Its master is stopped and killed."""
    with started() as bed:
        yield bed


@pytest.fixture(scope="module")
def hung(shaken: Testbed) -> Iterator[Future[dict[str, Any]]]:
    """What was seen while a master hung: each command then waits for its own time limit, so this
    goes on beside the other tests.
    """
    with ThreadPoolExecutor() as pool:
        yield pool.submit(_let_the_master_hang, shaken)


def _let_the_master_hang(bed: Testbed) -> dict[str, Any]:
    watched = bed.workspace("hung")
    watched.submit("acme/before")
    watched.wait_for("acme/before", "RUNNING")
    late, never = (bed.workspace(name, submit_timeout=5) for name in ("hung-late", "hung-never"))
    with _stopped_master(bed):
        # A wrapper of the site that outlives us: the job is taken when we no longer listen.
        late.wrap("qsub", 'setsid "$REAL" "$@" >/dev/null 2>&1 & exec sleep 60')
        told = [late.submit("acme/while-hung", code=4)["unanswered"]]
    wait_until("it is taken", lambda: len(bed.names()) == 2)
    with _stopped_master(bed):
        told.append(never.submit("acme/while-hung", code=4)["unanswered"])
        seen = watched.status()
    return {"told": told, "seen": seen, "watched": watched, "never": never, "late": late}


@contextmanager
def _stopped_master(bed: Testbed) -> Iterator[None]:
    bed.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        bed.signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def lagging() -> Iterator[Future[dict[str, Any]]]:
    """How a killed job ends where the accounting lags; beside the other tests, too."""
    with started(lag=15) as bed, ThreadPoolExecutor() as pool:
        yield pool.submit(_wait_for_the_accounting, bed)


def _wait_for_the_accounting(bed: Testbed) -> dict[str, Any]:
    workspace = bed.workspace("lagging", grace_seconds=30)
    workspace.submit("acme/killed")
    job = workspace.wait_for("acme/killed", "RUNNING")
    bed.command("qdel", job["native_id"])
    return workspace.wait_for("acme/killed", "FAILED")


@pytest.fixture(scope="module")
def ends(grid_engine: Testbed, hung: object, lagging: object) -> Workspace:
    """All that end in their own way are submitted at once, so that the slow ones pass together."""
    workspace = grid_engine.workspace("ends")
    workspace.submit("acme/too-long", "acme/frozen", node=SHORT, provider="vllm")
    workspace.submit(
        *("acme/exit-3", "acme/cancelled", "acme/killed-by-root", "acme/suspended"),
        *("acme/lost-host",),
    )
    workspace.submit(
        "acme/held", "acme/cancelled-while-pending", "acme/deleted-while-pending", option=HOLD
    )
    workspace.submit("acme/notified", option="notify")
    frozen = workspace.wait_for("acme/frozen", "RUNNING")
    wait_until("it evaluates", lambda: list(Path(frozen["directory"]).glob("task.*.started")))
    grid_engine.kill(frozen["native_id"], "job_pid", signal.SIGSTOP)  # it cannot end itself
    return workspace


def test_up_again_is_harmless_and_status_tells_what_runs(grid_engine: Testbed) -> None:
    before = grid_engine.script("status")
    grid_engine.script("up")
    assert grid_engine.script("status") == before
    assert "sge_qmaster runs, pid " in before


def test_an_exit_code_is_told(ends: Workspace) -> None:
    job = ends.wait_for("acme/exit-3", "FAILED")
    assert (job["reason"], job["detail"]) == ("EXIT_CODE", "exit code 3 of demo_capitals")
    assert job["native_id"].isdigit()


def test_the_job_belongs_to_an_ordinary_user_and_its_group_pays(ends: Workspace) -> None:
    job = ends.wait_for("acme/exit-3", "FAILED")
    facts = ends.testbed.record(job["native_id"])
    assert (facts["owner"], facts["group"], facts["exit_status"]) == (
        ends.user or "root",
        GROUP,
        "3",
    )
    assert facts["jobname"] == job["name"]
    assert "cpu_4=1" in facts["category"] and "h_rt=600" in facts["category"]


def test_modules_are_loaded(ends: Workspace) -> None:
    job = ends.wait_for("acme/exit-3", "FAILED")
    modules = (Path(job["directory"]) / "modules").read_text()
    assert modules == "purge\nload cuda/12.8.0\n"


def test_a_running_job_is_cancelled(ends: Workspace) -> None:
    job = ends.wait_for("acme/cancelled", "RUNNING")
    ends.cancel(job)
    ends.wait_for("acme/cancelled", "CANCELLED")


def test_a_job_with_notify_is_told_before_it_is_killed(ends: Workspace) -> None:
    job = ends.wait_for("acme/notified", "RUNNING")
    wait_until("it runs", (Path(job["directory"]) / "task.demo_capitals.started").exists)
    ends.cancel(job)
    job = ends.wait_for("acme/notified", "CANCELLED")
    assert "stopped by signal USR2" in job["detail"]
    assert (Path(job["directory"]) / "exit_code").exists()


def test_a_pending_job_is_cancelled_though_no_record_of_it_ever_comes(ends: Workspace) -> None:
    job = ends.wait_for("acme/cancelled-while-pending", "HELD")
    ends.cancel(job)
    ends.wait_for("acme/cancelled-while-pending", "CANCELLED")


def test_a_held_job_runs_when_it_is_released(ends: Workspace) -> None:
    job = ends.wait_for("acme/held", "HELD")
    ends.testbed.command("qrls", job["native_id"])
    ends.wait_for("acme/held", "RUNNING")


def test_a_suspended_job_is_suspended(ends: Workspace) -> None:
    job = ends.wait_for("acme/suspended", "RUNNING")
    ends.testbed.command("qmod", "-sj", job["native_id"])
    ends.wait_for("acme/suspended", "SUSPENDED")
    ends.testbed.command("qmod", "-usj", job["native_id"])
    ends.wait_for("acme/suspended", "RUNNING")


def test_a_running_job_that_root_deletes_was_killed(ends: Workspace) -> None:
    """Grid Engine's record does not tell a deletion from any other SIGKILL."""
    job = ends.wait_for("acme/killed-by-root", "RUNNING")
    ends.testbed.command("qdel", job["native_id"])
    job = ends.wait_for("acme/killed-by-root", "FAILED")
    assert (job["reason"], job["detail"]) == ("EXIT_CODE", "killed by signal KILL")


def test_a_pending_job_that_root_deletes_vanished(ends: Workspace) -> None:
    job = ends.wait_for("acme/deleted-while-pending", "HELD")
    ends.testbed.command("qdel", job["native_id"])
    job = ends.wait_for("acme/deleted-while-pending", "FAILED")
    assert job["reason"] == "VANISHED"


def test_a_job_whose_host_is_lost_has_not_succeeded(ends: Workspace) -> None:
    """The record then says exit_status 0, beside failed 19."""
    job = ends.wait_for("acme/lost-host", "RUNNING")
    script = Path(job["directory"]) / "started"
    wait_until("it runs", script.exists)
    directory = ends.testbed.directory / "spool/execd/localhost/active_jobs"
    own = int((directory / f"{job['native_id']}.1" / "job_pid").read_text())
    ends.testbed.kill(job["native_id"], "pid", signal.SIGKILL)
    os.killpg(own, signal.SIGKILL)
    job = ends.wait_for("acme/lost-host", "FAILED")
    assert job["reason"] == "NODE_FAILURE"
    record = ends.testbed.record(job["native_id"])
    assert record["failed"].startswith("19 ") and record["exit_status"] == "0"


def test_a_job_in_error_stays_so_until_it_is_cancelled_and_then_tells_why(
    grid_engine: Testbed,
) -> None:
    workspace = grid_engine.workspace("error")
    workspace.submit("acme/nowhere", option=HOLD)
    job = workspace.wait_for("acme/nowhere", "HELD")
    shutil.rmtree(job["directory"])
    grid_engine.command("qrls", job["native_id"])
    wait_until(
        "Grid Engine gives up", lambda: "error" in workspace.status()["acme/nowhere"]["detail"]
    )
    for _ in range(4):
        job = workspace.status()["acme/nowhere"]
        assert job["state"] == "HELD"
        assert "in error state" in job["detail"]
        assert f"can't chdir to {job['directory']}" in job["detail"]
        time.sleep(1)
    kept = workspace.submit("acme/nowhere", option=HOLD)
    assert [one["model"] for one in kept["kept"]] == ["acme/nowhere"]
    workspace.cancel(job)
    job = workspace.wait_for("acme/nowhere", "FAILED")
    assert (job["reason"], job["detail"]) == (
        "SCHEDULER_ERROR",
        "28: changing into working directory",
    )


def test_what_grid_engine_refuses_is_told_with_its_words(grid_engine: Testbed) -> None:
    workspace = grid_engine.workspace("refused", group="tga-nosuch")
    outcome = workspace.submit("acme/refused", code=1)
    assert 'group "tga-nosuch" does not exist' in outcome["refused"][0]["error"]
    job = workspace.status()["acme/refused"]
    assert (job["state"], job["reason"]) == ("FAILED", "SUBMIT_FAILED")
    workspace = grid_engine.workspace("refused-too")
    outcome = workspace.submit("acme/refused", code=1, option="q=nowhere.q")
    assert "nowhere.q" in outcome["refused"][0]["error"]


def test_what_would_be_refused_is_found_before_qsub(grid_engine: Testbed) -> None:
    workspace = grid_engine.workspace("wrong")
    model = ("--model", "acme/wrong", "--provider", "deepinfra")

    def say(node: str, *words: str) -> str:
        done = workspace.run(
            "submit", "--service", "tsubame", "--node", node, *model, "--yes", *words
        )
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr

    def all_of_it() -> None:
        assert "node_q" in say("node_k")
        assert "24:00:00" in say(ENDLESS)
        assert "h_rt" in say(NORMAL, "--scheduler-option", "l=h_rt=1:00:00")
        assert "-5" in say(NORMAL, "--priority", "-6")
        workspace.write({".env": "DEEPINFRA_API_KEY=not-a-real-key\n"})
        assert "TSUBAME_GROUP" in say(NORMAL)

    assert workspace.calls(all_of_it) == {}


def test_a_trial_runs_without_a_group(grid_engine: Testbed) -> None:
    workspace = grid_engine.workspace("trial", group="tga-nosuch")
    workspace.submit("acme/tried", words=("--trial", "--max-samples", "1"))
    job = workspace.wait_for("acme/tried", "RUNNING")
    shown = grid_engine.command("qstat", "-j", job["native_id"])
    assert "trial=1" in shown and "h_rt=180" in shown
    workspace.cancel(job)


@pytest.mark.parametrize("dialect", ["xml", "text"])
def test_both_dialects_of_qstat_tell_the_same(grid_engine: Testbed, dialect: str) -> None:
    workspace = grid_engine.workspace(f"dialect-{dialect}")
    calls = workspace.root / "calls"
    workspace.wrap(
        "qstat",
        f"echo $* >>{calls}\n"
        + {
            "xml": 'exec "$REAL" "$@"',
            "text": 'case " $* " in\n'
            '  *" -help "*) "$REAL" -help | grep -v -e -xml ;;\n'
            '  *" -xml "*) echo \'qstat: unknown option "-xml"\' >&2; exit 1 ;;\n'
            '  *) exec "$REAL" "$@" ;;\n'
            "esac",
        }[dialect],
    )
    assert workspace.submit("acme/running")["submitted"]
    workspace.submit("acme/pending", option=LATER)
    workspace.submit("acme/held", "acme/broken", option=HOLD)
    running = workspace.wait_for("acme/running", "RUNNING")
    broken = workspace.wait_for("acme/broken", "HELD")
    shutil.rmtree(broken["directory"])
    grid_engine.command("qrls", broken["native_id"])
    grid_engine.command("qmod", "-sj", running["native_id"])
    workspace.wait_for("acme/running", "SUSPENDED")
    wait_until("an error", lambda: "in error state" in workspace.status()["acme/broken"]["detail"])
    states = {model: job["state"] for model, job in workspace.status().items() if model}
    assert states == {
        "acme/running": "SUSPENDED",
        "acme/pending": "PENDING",
        "acme/held": "HELD",
        "acme/broken": "HELD",
    }
    assert workspace.run("cancel", "--all", "--yes").returncode == 0
    for model in states:
        workspace.wait_for(model, "FAILED" if model == "acme/broken" else "CANCELLED")
    asked = [line.split() for line in calls.read_text().splitlines() if line.startswith("-u ")]
    assert asked and all(("-xml" in words) == (dialect == "xml") for words in asked)


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_a_submission_whose_answer_was_lost_is_adopted_and_not_doubled(
    grid_engine: Testbed, how: str
) -> None:
    workspace = grid_engine.workspace(f"lost-answer-{how}", submit_timeout=5, grace_seconds=60)
    then = {
        "fails": 'echo "error: commlib error: got read error" >&2; exit 1',
        "hangs": "exec sleep 60",
    }[how]
    workspace.wrap("qsub", f'"$REAL" "$@" >/dev/null; {then}')
    outcome = workspace.submit("acme/lost", code=4)
    assert "qsub did not answer" in outcome["unanswered"]
    workspace.unwrap("qsub")
    again = workspace.submit("acme/lost")
    assert [job["model"] for job in again["kept"]] == ["acme/lost"]
    job = workspace.wait_for("acme/lost", "RUNNING")
    assert job["native_id"].isdigit()
    assert grid_engine.names().count(job["name"]) == 1


def test_a_job_that_ended_before_it_was_found_is_adopted_from_the_accounting(
    grid_engine: Testbed,
) -> None:
    workspace = grid_engine.workspace("lost-and-ended", grace_seconds=60)
    workspace.wrap("qsub", '"$REAL" "$@" >/dev/null; echo "error: commlib error" >&2; exit 1')
    workspace.submit("acme/exit-3", code=4)
    (name,) = (one.parent.parent.name for one in workspace.root.glob("jobs/*/*/job.sh"))
    marker = next(workspace.root.glob("jobs/*/*/job.sh")).parent / "exit_code"
    wait_until("it ended", lambda: marker.exists() and not [
        one for one in grid_engine.names() if one.startswith(name)
    ])  # fmt: skip
    job = workspace.wait_for("acme/exit-3", "FAILED")
    assert (job["reason"], job["detail"]) == ("EXIT_CODE", "exit code 3 of demo_capitals")
    assert job["native_id"].isdigit()


def test_many_jobs_are_watched_with_one_qstat_and_one_qacct_a_poll(grid_engine: Testbed) -> None:
    workspace = grid_engine.workspace("many")
    models = [f"acme/model-{number}" for number in range(MANY)]
    start = time.monotonic()
    submitted = workspace.calls(lambda: workspace.submit(*models, option=LATER))
    took = time.monotonic() - start
    print(f"{MANY} jobs submitted in {took:.1f} s, {MANY / took:.0f}/s")
    assert submitted == {"qsub": MANY}
    assert len(set(grid_engine.names())) == len(grid_engine.names()) >= MANY
    start = time.monotonic()
    assert workspace.calls(lambda: workspace.state(models[0])) == {"qstat": 1}
    print(f"status of {MANY}: {time.monotonic() - start:.2f} s")
    assert {job["state"] for model, job in workspace.status().items() if model} == {"PENDING"}
    cancelled = workspace.calls(lambda: workspace.run("cancel", "--all", "--yes"))
    assert cancelled["qdel"] == 1

    def poll() -> bool:
        made = workspace.calls(lambda: seen.update(workspace.status()))
        assert set(made) <= {"qstat", "qacct"} and set(made.values()) <= {1}, made
        return all(seen[model]["state"] == "CANCELLED" for model in models)

    seen: dict[str, Any] = {}
    wait_until("all are cancelled", poll)


def test_a_job_that_ends_itself_before_h_rt_is_a_timeout_and_stops_its_server(
    ends: Workspace,
) -> None:
    job = ends.wait_for("acme/too-long", "FAILED")
    assert (job["reason"], job["detail"]) == ("TIMEOUT", "it ended itself just before the walltime")
    directory = Path(job["directory"])
    for marker in ("started", "ready", "task.demo_capitals.started", "failure", "exit_code"):
        assert (directory / marker).exists(), marker
    assert "acme/too-long" not in _command_lines()
    assert ends.testbed.record(job["native_id"])["failed"] == "0"


def test_a_job_that_is_killed_at_h_rt_is_a_timeout_and_its_server_ends(ends: Workspace) -> None:
    job = ends.wait_for("acme/frozen", "FAILED", seconds=90)
    assert job["reason"] == "TIMEOUT"
    assert job["detail"].startswith("killed at the walltime (37: ")
    assert not (Path(job["directory"]) / "exit_code").exists()
    assert "acme/frozen" not in _command_lines()


def _command_lines() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_a_hung_master_makes_nothing_final_and_doubles_nothing(
    hung: Future[dict[str, Any]], shaken: Testbed
) -> None:
    found = hung.result(timeout=120)
    assert found["told"] == ["qsub did not answer within 5 s"] * 2
    assert found["seen"]["acme/before"]["state"] == "UNKNOWN"
    assert "qstat did not answer within" in found["seen"][""][0]
    found["watched"].wait_for("acme/before", "RUNNING")
    late, never = found["late"], found["never"]
    late.unwrap("qsub")
    late.wait_for("acme/while-hung", "RUNNING")
    assert late.submit("acme/while-hung")["kept"]
    assert never.wait_for("acme/while-hung", "FAILED")["reason"] == "SUBMIT_FAILED"
    assert never.submit("acme/while-hung")["submitted"]
    assert len(shaken.names()) == len(set(shaken.names())) == 3


def test_a_master_that_is_away_makes_nothing_final(
    hung: Future[dict[str, Any]], shaken: Testbed
) -> None:
    hung.result(timeout=120)
    workspace = shaken.workspace("away", grace_seconds=5)
    workspace.submit("acme/through-it-all")
    before = workspace.wait_for("acme/through-it-all", "RUNNING")
    other = shaken.workspace("away-too", grace_seconds=5, submit_timeout=5)
    shaken.signal(signal.SIGKILL)
    try:
        seen = [workspace.status() for _ in range(3)]
        outcome = other.submit("acme/in-vain", code=4)
    finally:
        shaken.script("up")
    assert {one["acme/through-it-all"]["state"] for one in seen} == {"UNKNOWN"}
    assert "qstat did not answer" in seen[0][""][0]
    assert "qsub did not answer" in outcome["unanswered"]
    after = workspace.wait_for("acme/through-it-all", "RUNNING")
    assert after["native_id"] == before["native_id"]
    assert other.wait_for("acme/in-vain", "FAILED")["reason"] == "SUBMIT_FAILED"
    other.submit("acme/in-vain")
    job = other.wait_for("acme/in-vain", "RUNNING")
    assert "-02_" in job["name"]
    assert len(shaken.names()) == len(set(shaken.names()))


def test_an_end_is_awaited_where_the_accounting_lags(lagging: Future[dict[str, Any]]) -> None:
    job = lagging.result(timeout=120)
    assert (job["reason"], job["detail"]) == ("EXIT_CODE", "killed by signal KILL")


def test_a_whole_evaluation_ends_in_the_known_scores(grid_engine: Testbed) -> None:
    """Its tasks are packed: one job, one server."""
    if not (Path(sys.prefix) / "bin" / "lm_eval").exists():
        missing("lm_eval is not installed (pip install -e '.[demo]')")
    workspace = grid_engine.workspace("evaluation", real=True)
    done = workspace.run(
        *("submit", "--service", "tsubame", "--node", NORMAL, "--provider", "llamacpp"),
        *("--model", "hpcjobs/tiny-demo", "--settings", "demo", "--tasks", "demo"),
        *("--pack", "--yes", "--wait"),
    )
    assert done.returncode == 0, done.stdout + done.stderr + workspace.logs()
    assert len([*workspace.root.glob("jobs/*/01/job.sh")]) == 1
    done = workspace.run("aggregate")
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (workspace.root / "results").rglob("aggregated_results.json")
    document = json.loads(path.read_text())
    assert document["results"] == {"demo_capitals": 0.75, "demo_sums": 0.875}
    assert document["hpcjobs"]["complete"] is True
