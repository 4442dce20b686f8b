"""hpcjobs against a real Slurm, which scripts/testbeds/slurm.sh starts here, as an ordinary user.

The evaluators are fakes that end as a test wants, but for the last test, where all is real.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "testbeds" / "slurm.sh"
USER = "hpcuser"
AS_USER = ("runuser", "-u", USER, "--")
MANY = 500

SERVER = """#!/bin/bash
echo "CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-}"
exec sleep 300
"""
# What the fake evaluator does is told by the model's name.
EVALUATOR = """#!/bin/bash
case $* in
  *acme/exit-3*) exit 3 ;;
  *acme/memory*) exec python3 -c 'import time; hoard = bytearray(600 << 20); time.sleep(60)' ;;
  *) exec sleep 300 ;;
esac
"""
TASKS = """key,script,result_dir,framework,hrt_long,hrt_short
demo_capitals,demo_capitals,demo/capitals,lm_eval,00:10:00,00:01:00
demo_sums,demo_sums,demo/sums,lm_eval,00:10:00,00:01:00
"""
SERVICE = """title: the testbed
scheduler: slurm
group: research
times: {{walltime_max: "08:00:00", poll_seconds: {poll}, grace_seconds: {grace},
  submit_timeout: 30, stop_grace: 2}}
umask: "022"
environments: {{lm_eval: "{environment}", llamacpp: "{environment}", vllm: "{environment}"}}
options: {{partition: cpu, comment: of-the-tests}}
nodes:
  cpu: {{cores: 1, memory_gb: 1, runtime: hrt_long}}
  warned: {{cores: 1, memory_gb: 1, runtime: hrt_short, options: {{signal: "B:USR1@50"}}}}
  held: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{hold: ""}}}}
  small: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{mem: 300M}}}}
  later: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{begin: now+2hours}}}}
  doomed: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{nodelist: cpu02}}}}
  refused: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{partition: nowhere}}}}
  gpu: {{gpus: 2, cores: 2, memory_gb: 4, runtime: hrt_long, options:
    {{partition: gpu, qos: normal, constraint: gpu, mem: 4G, nice: "10"}}}}
  whole: {{cores: 2, memory_gb: 4, runtime: hrt_long, options: {{exclusive: "", hold: ""}}}}
"""


def missing(what: str) -> None:
    """Skip loudly; where CI runs, nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(f"NOT TESTED against a real Slurm: {what}")


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.3)
    return value


@dataclass
class Testbed:
    """The running Slurm, as root sees it."""

    __test__ = False
    directory: Path
    ordinary: bool
    """Whether jobs are submitted by an ordinary user, and not by root."""

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.directory / "testbed/etc/slurm.conf")}

    def script(self, action: str) -> str:
        done = subprocess.run(
            [SCRIPT, action, "--directory", self.directory / "testbed"],
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def command(self, *words: str) -> str:
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def signal(self, daemon: str, number: signal.Signals) -> None:
        pids = self.directory / "testbed" / "run" / "pids"
        os.kill(int((pids / daemon).read_text().split()[0]), number)

    def workspace(self, name: str, *, poll: int = 0, grace: int = 25, real: bool = False) -> Any:
        return Workspace.make(self, self.directory / name, poll=poll, grace=grace, real=real)


@dataclass
class Workspace:
    """A workspace of the ordinary user, and hpcjobs in it."""

    testbed: Testbed
    root: Path

    @classmethod
    def make(cls, testbed: Testbed, root: Path, *, poll: int, grace: int, real: bool) -> Workspace:
        files = {
            "conf/services/cluster.yaml": SERVICE.format(
                poll=poll, grace=grace, environment=sys.prefix if real else root
            ),
            "conf/tasks_runtime.csv": TASKS,
            "conf/task_groups.yaml": "default: [demo_capitals]\ndemo: ['demo_*']\n",
            ".env": "DEEPINFRA_API_KEY=not-a-real-key\n",
            "bin/lm_eval": EVALUATOR,
            "bin/vllm": SERVER,
        }
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (root / ".env").chmod(0o600)
        for program in (root / "bin").iterdir():
            program.chmod(0o755)
        (root / "wrappers").mkdir()
        if testbed.ordinary:
            for path in (root, *root.rglob("*")):
                shutil.chown(path, USER, USER)
        return cls(testbed, root)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """`hpcjobs WORDS...`, to its end."""
        home = {"HOME": f"/home/{USER}"} if self.testbed.ordinary else {}
        return subprocess.run(
            [
                *(AS_USER if self.testbed.ordinary else ()),
                *(sys.executable, "-m", "hpcjobs", "--workspace", str(self.root), *words),
            ],
            cwd=self.root,
            env={
                **self.testbed.environment,
                **home,
                "PYTHONPATH": str(REPOSITORY),
                "PATH": f"{self.root / 'wrappers'}:{os.environ['PATH']}",
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=280,
        )

    def submit(
        self,
        *models: str,
        node: str = "cpu",
        provider: str = "deepinfra",
        code: int = 0,
        **variables: str,
    ) -> dict[str, Any]:
        chosen = [word for model in models for word in ("--model", model)]
        done = self.run(
            *("submit", "--service", "cluster", "--node", node, "--provider", provider),
            *("--yes", "--json", *chosen),
            **variables,
        )
        assert done.returncode == code, done.stdout + done.stderr
        outcome = json.loads(done.stdout)
        assert isinstance(outcome, dict)
        return outcome

    def status(self, **variables: str) -> dict[str, Any]:
        """By model; and under "" the warnings."""
        done = self.run("status", "--json", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        return {"": answer["warnings"], **{job["model"]: job for job in answer["jobs"]}}

    def state(self, model: str) -> str:
        return str(self.status()[model]["state"])

    def wait_for(
        self, model: str, *states: str, seconds: float = 60.0, **variables: str
    ) -> dict[str, Any]:
        last: dict[str, Any] = {}

        def there() -> bool:
            last.update(self.status(**variables)[model])
            print(model, last["native_id"], last["state"], last["reason"], last["detail"])
            return last["state"] in states

        try:
            wait_until(f"{model}: {states}", there, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None
        return last

    def wrap(self, command: str, text: str) -> None:
        """Put a script before a Slurm command on PATH; `$REAL` is the real one."""
        path = self.root / "wrappers" / command
        path.write_text(f"#!/bin/bash\nREAL={shutil.which(command)}\n{text}\n")
        path.chmod(0o755)

    def logs(self) -> str:
        """The ends of all logs of all jobs, for messages."""
        paths = sorted((self.root / "jobs").glob("*/*/*.log"))
        return "\n".join(f"== {path}\n{path.read_text()[-2000:]}" for path in paths)

    def native_jobs(self) -> list[str]:
        """The names of all jobs of this workspace that Slurm knows."""
        listed = self.testbed.command("squeue", "-h", "-t", "all", "-o", "%j %Z").splitlines()
        return [line.split()[0] for line in listed if line.split()[1].startswith(str(self.root))]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Testbed]:
    if os.getuid() != 0:
        missing("the testbed needs root")
    if shutil.which("apt-get") is None:
        missing("the testbed needs apt-get (Debian)")
    directory = Path(tempfile.mkdtemp(prefix="hpcjobs-tests-", dir="/var/tmp"))
    directory.chmod(0o755)
    testbed = Testbed(directory, ordinary=True)
    try:
        assert "export SLURM_CONF=" in testbed.script("up")
        look = subprocess.run(
            [*AS_USER, sys.executable, "-c", "import hpcjobs"],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )
        if look.returncode != 0:  # a checkout or a Python below /root
            testbed.ordinary = False
            warnings.warn(f"Slurm is tested as root: {look.stderr}", stacklevel=1)
        yield testbed
    finally:
        testbed.script("down")
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def ends(slurm: Testbed) -> Workspace:
    """All that end in their own way are submitted at once, so that the slow ones pass together."""
    workspace: Workspace = slurm.workspace("ends")
    workspace.submit("acme/too-long")
    (too_long,) = [one["native_id"] for one in workspace.status().values() if one]
    slurm.command("scontrol", "update", f"jobid={too_long}", "timelimit=1")
    workspace.submit("acme/warned", node="warned")
    workspace.submit("acme/exit-3", "acme/cancelled", "acme/stopped-by-root", "acme/suspended")
    workspace.submit("acme/memory", node="small")
    workspace.submit("acme/on-a-lost-node", node="doomed")
    workspace.submit("acme/held", "acme/cancelled-while-pending", node="held")
    workspace.submit("acme/with-gpus", node="gpu", provider="vllm")
    return workspace


def test_up_again_is_harmless_and_status_tells_what_runs(slurm: Testbed) -> None:
    before = slurm.script("status")
    slurm.script("up")
    assert slurm.script("status") == before
    assert "slurmctld runs, pid " in before


def test_an_exit_code_is_told(ends: Workspace) -> None:
    job = ends.wait_for("acme/exit-3", "FAILED")
    assert (job["reason"], job["detail"]) == ("EXIT_CODE", "exit code 3 of demo_capitals")
    assert job["native_id"].isdigit()


def test_a_running_job_is_cancelled(ends: Workspace) -> None:
    job = ends.wait_for("acme/cancelled", "RUNNING")
    assert ends.run("cancel", job["job"], "--yes").returncode == 0
    job = ends.wait_for("acme/cancelled", "CANCELLED")
    assert "stopped by signal TERM" in job["detail"]


def test_a_pending_job_is_cancelled(ends: Workspace) -> None:
    job = ends.wait_for("acme/cancelled-while-pending", "HELD")
    assert job["detail"] == "JobHeldUser"
    assert ends.run("cancel", job["job"], "--yes").returncode == 0
    job = ends.wait_for("acme/cancelled-while-pending", "CANCELLED")
    assert job["detail"].startswith("CANCELLED")


def test_a_held_job_runs_when_it_is_released(ends: Workspace) -> None:
    job = ends.wait_for("acme/held", "HELD")
    ends.testbed.command("scontrol", "release", job["native_id"])
    ends.wait_for("acme/held", "RUNNING")


def test_a_job_that_root_cancelled_is_cancelled_and_not_failed(ends: Workspace) -> None:
    job = ends.wait_for("acme/stopped-by-root", "RUNNING")
    ends.testbed.command("scancel", job["native_id"])
    job = ends.wait_for("acme/stopped-by-root", "CANCELLED", "FAILED")
    assert job["state"] == "CANCELLED"
    assert "CANCELLED" in job["detail"]


def test_a_suspended_job_is_suspended(ends: Workspace) -> None:
    job = ends.wait_for("acme/suspended", "RUNNING")
    ends.testbed.command("scontrol", "suspend", job["native_id"])
    ends.wait_for("acme/suspended", "SUSPENDED")
    ends.testbed.command("scontrol", "resume", job["native_id"])
    ends.wait_for("acme/suspended", "RUNNING")


def test_a_lost_node_is_a_node_failure(ends: Workspace) -> None:
    ends.wait_for("acme/on-a-lost-node", "RUNNING")
    change = ("scontrol", "update", "nodename=cpu02")
    ends.testbed.command(*change, "state=down", "reason=test")
    try:
        job = ends.wait_for("acme/on-a-lost-node", "FAILED", "CANCELLED")
        assert job["reason"] == "NODE_FAILURE"
        assert "NODE_FAIL" in job["detail"]
    finally:
        subprocess.run([*change, "state=resume"], env=ends.testbed.environment)  # or it came back


def test_after_a_node_failure_a_campaign_keeps_away_from_that_node(slurm: Testbed) -> None:
    workspace = slurm.workspace("excluded")
    campaign = workspace.root / "campaign.yaml"
    campaign.write_text(
        "service: cluster\nnode: cpu\nprovider: deepinfra\nmodels: [acme/moved]\n"
        "tasks: [demo_capitals]\n"
    )

    def node(name: str, state: str) -> None:
        slurm.command("scontrol", "update", f"nodename={name}", f"state={state}", "reason=test")

    def described(model: str) -> str:
        number = workspace.status()[model]["native_id"]
        return slurm.command("scontrol", "show", "job", number)

    def sync() -> None:
        done = workspace.run("sync", "campaign.yaml", "--yes")
        assert done.returncode == 3, done.stdout + done.stderr

    node("cpu01", "drain")  # so that it can but go to cpu02, at first and afterwards
    try:
        sync()
        workspace.wait_for("acme/moved", "RUNNING")
        assert " NodeList=cpu02\n" in described("acme/moved")
        node("cpu02", "down")
        failed = workspace.wait_for("acme/moved", "FAILED")
        assert failed["reason"] == "NODE_FAILURE"
        subprocess.run(  # or it came back by itself
            ["scontrol", "update", "nodename=cpu02", "state=resume"], env=slurm.environment
        )
        sync()
        job = workspace.wait_for("acme/moved", "PENDING")
        assert job["attempt"] == 2
        (script,) = (workspace.root / "jobs").glob("*/02/job.sh")
        assert "#SBATCH --exclude=cpu02\n" in script.read_text()
        assert " ExcNodeList=cpu02\n" in described("acme/moved")
        workspace.submit("acme/beside-it")
        workspace.wait_for("acme/beside-it", "RUNNING")  # there is room on cpu02
        assert " NodeList=cpu02\n" in described("acme/beside-it")
        assert workspace.state("acme/moved") == "PENDING"
    finally:
        node("cpu01", "resume")
    workspace.wait_for("acme/moved", "RUNNING")
    assert " NodeList=cpu01\n" in described("acme/moved")
    names = workspace.native_jobs()
    assert len(names) == len(set(names))


def test_gpus_are_given_with_all_that_the_service_asks_for(ends: Workspace) -> None:
    job = ends.wait_for("acme/with-gpus", "RUNNING")
    log = Path(job["directory"]) / "server.log"
    # Below what is said of the look at the model, which is on no hub.
    told = wait_until(
        "the server's log", lambda: log.exists() and "CUDA" in log.read_text() and log
    )
    assert told.read_text().splitlines()[-1] == "CUDA_VISIBLE_DEVICES=0,1"
    shown = ends.testbed.command("scontrol", "show", "job", job["native_id"])
    for fact in ("Account=research", "Partition=gpu", "QOS=normal", "Features=gpu", "Requeue=0",
                 "MinMemoryNode=4G", "Comment=of-the-tests"):  # fmt: skip
        assert fact in shown
    if ends.testbed.ordinary:
        assert f"UserId={USER}(" in shown


def test_a_flag_is_an_option_without_a_value(ends: Workspace) -> None:
    ends.submit("acme/alone", node="whole")
    shown = ends.testbed.command(
        "scontrol", "show", "job", ends.status()["acme/alone"]["native_id"]
    )
    assert "OverSubscribe=NO" in shown


def test_a_job_that_outgrows_its_memory_is_killed(ends: Workspace) -> None:
    """Without cgroups Slurm says FAILED and not OUT_OF_MEMORY; the recordings have the latter."""
    job = ends.wait_for("acme/memory", "FAILED", "CANCELLED", seconds=100)
    assert (job["reason"], job["detail"]) == ("EXIT_CODE", "killed by signal KILL")
    complaint = (Path(job["directory"]) / "scheduler.out").read_text()
    assert "memory limit" in complaint


def test_what_slurm_refuses_is_told_with_its_words(ends: Workspace) -> None:
    outcome = ends.submit("acme/refused", node="refused", code=1)
    assert "invalid partition specified: nowhere" in outcome["refused"][0]["error"]
    job = ends.status()["acme/refused"]
    assert (job["state"], job["reason"]) == ("FAILED", "SUBMIT_FAILED")


def test_a_submission_whose_answer_was_lost_is_adopted_and_not_doubled(slurm: Testbed) -> None:
    workspace = slurm.workspace("lost-answer")
    workspace.wrap("sbatch", '"$REAL" "$@" >/dev/null; echo "gateway timeout" >&2; exit 1')
    outcome = workspace.submit("acme/lost", code=4)
    assert outcome["unanswered"] == "sbatch did not answer: gateway timeout"
    (workspace.root / "wrappers" / "sbatch").unlink()
    again = workspace.submit("acme/lost")
    assert [job["model"] for job in again["kept"]] == ["acme/lost"]
    job = workspace.wait_for("acme/lost", "RUNNING")
    assert workspace.native_jobs() == [job["name"]]
    assert job["native_id"].isdigit()


def test_variables_of_an_enclosing_job_change_nothing(slurm: Testbed) -> None:
    workspace = slurm.workspace("enclosing")
    strange = {"SBATCH_PARTITION": "gpu", "SLURM_JOB_ID": "1", "SQUEUE_FORMAT": "%u",
               "SBATCH_HOLD": "1", "SQUEUE_STATES": "SUSPENDED"}  # fmt: skip
    workspace.submit("acme/inner", **strange)
    job = workspace.wait_for("acme/inner", "RUNNING", **strange)
    assert "Partition=cpu" in slurm.command("scontrol", "show", "job", job["native_id"])


def test_many_jobs_are_watched_with_one_squeue_and_one_sacct_a_poll(slurm: Testbed) -> None:
    workspace = slurm.workspace("many")
    calls = workspace.root / "calls"
    for command in ("sbatch", "squeue", "sacct", "scancel"):
        workspace.wrap(command, f'echo {command} >>{calls}; exec "$REAL" "$@"')

    def counted(action: Callable[[], object]) -> Mapping[str, int]:
        calls.unlink(missing_ok=True)
        action()
        words = calls.read_text().split() if calls.exists() else []
        return {word: words.count(word) for word in words}

    models = [f"acme/model-{number}" for number in range(MANY)]
    start = time.monotonic()
    assert counted(lambda: workspace.submit(*models, node="later")) == {"sbatch": MANY}
    took = time.monotonic() - start
    print(f"{MANY} jobs submitted in {took:.1f} s, {MANY / took:.0f}/s")
    assert len(set(workspace.native_jobs())) == MANY
    start = time.monotonic()
    assert counted(lambda: workspace.state(models[0])) == {"squeue": 1}
    print(f"status of {MANY}: {time.monotonic() - start:.2f} s")
    assert {job["state"] for model, job in workspace.status().items() if model} == {"PENDING"}
    assert workspace.run("cancel", "--all", "--yes").returncode == 0

    def poll() -> bool:
        made = counted(lambda: seen.update(workspace.status()))
        assert set(made) <= {"squeue", "sacct"} and set(made.values()) <= {1}, made
        return all(seen[model]["state"] == "CANCELLED" for model in models)

    seen: dict[str, Any] = {}
    wait_until("all are cancelled", poll)


def test_the_jobs_of_one_cluster_are_not_asked_for_at_another(slurm: Testbed) -> None:
    # The other cluster's commands would say that there are no such jobs: they would be "vanished".
    workspace = slurm.workspace("two-clusters", grace=1)
    workspace.submit("acme/here", node="later")
    other = slurm.directory / "other.conf"
    text = Path(slurm.environment["SLURM_CONF"]).read_text()
    other.write_text(text.replace("ClusterName=testbed", "ClusterName=other"))
    other.chmod(0o644)
    elsewhere = {"SLURM_CONF": str(other)}
    for _ in range(2):
        job = workspace.status(**elsewhere)["acme/here"]
        assert job["state"] == "UNKNOWN"
        assert job["detail"] == "it can be asked for only at cluster testbed"
        time.sleep(1.5)
    cancelled = workspace.run("cancel", job["job"], "--yes", **elsewhere)
    assert "is in the queue of cluster testbed: cancel it there" in cancelled.stderr
    assert workspace.submit("acme/here", node="later", **elsewhere)["submitted"] == []
    assert workspace.state("acme/here") == "PENDING"
    assert workspace.run("cancel", job["job"], "--yes").returncode == 0
    assert workspace.wait_for("acme/here", "CANCELLED")


def test_a_job_that_was_renamed_is_not_lost_nor_doubled(slurm: Testbed) -> None:
    workspace = slurm.workspace("renamed", grace=1)
    workspace.submit("acme/waits", node="later")
    workspace.submit("acme/runs")
    running = workspace.wait_for("acme/runs", "RUNNING")
    wait_until("it runs", (Path(running["directory"]) / "started").exists)
    for job in workspace.status().values():
        if isinstance(job, dict):
            slurm.command("scontrol", "update", f"jobid={job['native_id']}", "jobname=renamed")
    for _ in range(2):
        time.sleep(1.2)
        assert workspace.state("acme/runs") == "RUNNING"
        assert workspace.state("acme/waits") == "UNKNOWN"
    assert workspace.submit("acme/waits", node="later")["submitted"] == []
    assert workspace.run("cancel", "--all", "--yes").returncode == 0
    assert workspace.wait_for("acme/runs", "CANCELLED")


def test_the_scheduler_is_not_asked_again_within_its_poll_time(slurm: Testbed) -> None:
    workspace = slurm.workspace("patient", poll=60)
    workspace.submit("acme/one", node="later")
    calls = workspace.root / "calls"
    workspace.wrap("squeue", f'echo >>{calls}; exec "$REAL" "$@"')
    for _ in range(3):
        assert workspace.state("acme/one") == "PENDING"
    assert calls.read_text() == "\n"


def test_a_hung_controller_that_takes_a_job_after_all_is_understood(slurm: Testbed) -> None:
    workspace = slurm.workspace("hung")
    workspace.submit("acme/before")
    workspace.wait_for("acme/before", "RUNNING")
    slurm.signal("slurmctld", signal.SIGSTOP)
    try:
        # The record that is first brought up to date waits for squeue, then sbatch for its answer.
        outcome = workspace.submit("acme/while-hung", code=4)
        assert "timed out" in outcome["unanswered"].lower()
    finally:
        slurm.signal("slurmctld", signal.SIGCONT)
    job = workspace.wait_for("acme/while-hung", "RUNNING")
    assert len(workspace.native_jobs()) == 2
    assert job["native_id"].isdigit()
    assert workspace.state("acme/before") == "RUNNING"


def test_a_controller_that_is_away_makes_nothing_final(slurm: Testbed) -> None:
    workspace = slurm.workspace("away", grace=5)
    workspace.submit("acme/through-it-all")
    workspace.wait_for("acme/through-it-all", "RUNNING")
    other = slurm.workspace("away-too", grace=5)
    slurm.signal("slurmctld", signal.SIGTERM)
    try:
        with ThreadPoolExecutor() as pool:  # each waits long for an answer
            submitting = pool.submit(other.submit, "acme/in-vain", code=4)
            seen = workspace.status()
            outcome = submitting.result()
    finally:
        slurm.script("up")
    assert seen["acme/through-it-all"]["state"] == "UNKNOWN"
    assert "squeue did not answer" in seen[""][0]
    assert "sbatch did not answer" in outcome["unanswered"]
    workspace.wait_for("acme/through-it-all", "RUNNING")
    assert len(workspace.native_jobs()) == 1
    assert other.wait_for("acme/in-vain", "FAILED")["reason"] == "SUBMIT_FAILED"
    other.submit("acme/in-vain")
    assert len(other.native_jobs()) == 1


def test_a_walltime_kill_is_a_timeout(ends: Workspace) -> None:
    job = ends.wait_for("acme/too-long", "FAILED", "CANCELLED", seconds=120)
    assert (job["reason"], job["detail"]) == ("TIMEOUT", "stopped by signal TERM (TIMEOUT)")


def test_a_job_that_is_warned_before_the_walltime_is_a_timeout(ends: Workspace) -> None:
    job = ends.wait_for("acme/warned", "FAILED", "CANCELLED", seconds=120)
    assert job["reason"] == "TIMEOUT"
    assert "ended itself" in job["detail"]


def test_ended_jobs_are_told_by_accounting_and_without_it_by_their_own_markers(
    slurm: Testbed,
) -> None:
    workspace = slurm.workspace("forgotten", grace=15)
    workspace.submit("acme/exit-3")
    workspace.submit("acme/never-started", node="held")
    held = workspace.wait_for("acme/never-started", "HELD")
    name = workspace.status()["acme/exit-3"]["native_id"]
    slurm.command("scancel", held["native_id"])
    wait_until(
        "slurmctld forgets them",
        lambda: (
            not {held["native_id"], name}
            & set(slurm.command("squeue", "-h", "-t", "all", "-o", "%i").split())
        ),
        seconds=120,
    )
    slurm.signal("slurmdbd", signal.SIGTERM)
    try:
        seen = workspace.status()
        assert seen["acme/exit-3"]["reason"] == "EXIT_CODE"
        assert seen["acme/never-started"]["state"] == "UNKNOWN"
    finally:
        slurm.script("up")
    job = workspace.wait_for("acme/never-started", "CANCELLED", "FAILED")
    assert job["state"] == "CANCELLED"
    assert job["detail"] == "CANCELLED by 0"


def test_a_whole_evaluation_ends_in_the_known_scores(slurm: Testbed) -> None:
    if not (Path(sys.prefix) / "bin" / "lm_eval").exists():
        missing("lm_eval is not installed (pip install -e '.[demo]')")
    workspace = slurm.workspace("evaluation", real=True)
    done = workspace.run(
        *("submit", "--service", "cluster", "--node", "cpu", "--provider", "llamacpp"),
        *("--model", "hpcjobs/tiny-demo", "--settings", "demo", "--tasks", "demo"),
        *("--yes", "--wait"),
    )
    assert done.returncode == 0, done.stdout + done.stderr + workspace.logs()
    done = workspace.run("aggregate")
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (workspace.root / "results").rglob("aggregated_results.json")
    document = json.loads(path.read_text())
    assert document["results"] == {"demo_capitals": 0.75, "demo_sums": 0.875}
    assert document["hpcjobs"]["complete"] is True
