"""hpcjobs against a real PBS (OpenPBS, PBS Professional), where its `qsub` is on PATH.

None is in Debian, so without one these tests are skipped, also where CI runs. Jobs are submitted by
an ordinary user, where these tests run as root and that user can run this Python; else as root, who
is then allowed to submit for the time of these tests.

HPCJOBS_PBS_USER       who submits, if the tests run as root (hpcuser)
HPCJOBS_PBS_QUEUE      where to (the server's default queue, else the first that runs jobs)
HPCJOBS_PBS_GROUP      the project to name with -P (none)
HPCJOBS_PBS_DIRECTORY  where workspaces are made, seen by the nodes (/var/tmp)

The evaluators are fakes that end as a test wants, but for the last test, where all is real. What
would disturb others is done on the side of the client: a server that is away or hung is another
port. Only the test of a stopped server stops it, for half a minute, and only as root on its host.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.schedulers import pbs

pytestmark = [pytest.mark.real, pytest.mark.pbs]

REPOSITORY = Path(__file__).resolve().parents[2]
USER = os.environ.get("HPCJOBS_PBS_USER", "hpcuser")
GROUP = os.environ.get("HPCJOBS_PBS_GROUP", "")
ROOT = os.getuid() == 0
AS_USER = ("runuser", "-u", USER, "--")
MANY = 200

SERVER = """#!/bin/bash
exec sleep 300
"""
# What the fake evaluator does is told by the model's name.
EVALUATOR = """#!/bin/bash
case $* in
  *acme/exit-3*) exit 3 ;;
  *) exec sleep 300 ;;
esac
"""
TASKS = """key,script,result_dir,framework,hrt_long,hrt_short
demo_capitals,demo_capitals,demo/capitals,lm_eval,00:10:00,00:01:00
demo_sums,demo_sums,demo/sums,lm_eval,00:10:00,00:01:00
"""
NOTHING = "select=1:ncpus=0"
"""What most jobs here ask for, so that all of them run at once on any machine."""

SERVICE = """title: the testbed
scheduler: pbs
template: schedulers/pbs.sh.j2
group: "{group}"
times: {{walltime_max: "08:00:00", poll_seconds: {poll}, grace_seconds: {grace},
  submit_timeout: 15, end_margin: 30, stop_grace: 2}}
umask: "022"
environments: {{lm_eval: "{environment}", llamacpp: "{environment}", vllm: "{environment}"}}
options: {{q: {queue}}}
nodes:
  cpu: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{l: "{nothing}"}}}}
  short: {{cores: 1, memory_gb: 1, runtime: hrt_short, options: {{l: "{nothing}"}}}}
  held: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{h: "", l: "{nothing}"}}}}
  named: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{W: "run_count=0", A: account}}}}
  impossible: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{l: "select=1:ncpus=99999"}}}}
  refused: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{l: "no_such_resource=1"}}}}
"""


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.3)
    return value


@dataclass
class Testbed:
    """The PBS that is here."""

    __test__ = False
    directory: Path
    queue: str
    configuration: Path
    ordinary: bool
    """Whether jobs are submitted by another user than the one who runs the tests."""

    def command(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def as_user(self, *words: str) -> str:
        return self.command(*(AS_USER if self.ordinary else ()), *words)

    def shown(self, native_id: str) -> str:
        """All attributes of a job."""
        return self.command("qstat", "-x", "-f", "-w", native_id)

    def other_port(self, path: Path, port: int) -> dict[str, str]:
        """Variables by which the clients look for the same server at another port."""
        path.write_text(f"{self.configuration.read_text()}\nPBS_BATCH_SERVICE_PORT={port}\n")
        path.chmod(0o644)
        return {"PBS_CONF_FILE": str(path)}

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
                poll=poll,
                grace=grace,
                group=GROUP,
                queue=testbed.queue,
                nothing=NOTHING,
                environment=sys.prefix if real else root,
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
                **os.environ,
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
        code: int | None = 0,
        **variables: str,
    ) -> dict[str, Any]:
        chosen = [word for model in models for word in ("--model", model)]
        done = self.run(
            *("submit", "--service", "cluster", "--node", node, "--provider", provider),
            *("--yes", "--json", *chosen),
            **variables,
        )
        assert code in (None, done.returncode), done.stdout + done.stderr
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
        """Put a script before a command of PBS on PATH; `$REAL` is the real one."""
        path = self.root / "wrappers" / command
        path.write_text(f"#!/bin/bash\nREAL={shutil.which(command)}\n{text}\n")
        path.chmod(0o755)

    def logs(self) -> str:
        """The ends of all logs of all jobs, for messages."""
        paths = sorted((self.root / "jobs").glob("*/*/*.log"))
        return "\n".join(f"== {path}\n{path.read_text()[-2000:]}" for path in paths)

    def native_jobs(self) -> list[str]:
        """The names of all jobs of this workspace that PBS knows, ended ones too."""
        ids = self.testbed.command("qselect", "-x").split()
        listed = self.testbed.command("qstat", "-E", "-x", "-f", "-F", "dsv", "-D", "\x1f", *ids)
        here = f":{self.root}/jobs/"
        return [
            re.findall("\x1fJob_Name=([^\x1f]*)", line)[0]
            for line in listed.splitlines()
            if here in line
        ]


def chosen_queue() -> str:
    """The queue that the tests use."""
    told = os.environ.get("HPCJOBS_PBS_QUEUE")
    if told:
        return told
    server = subprocess.run(["qstat", "-Bf"], capture_output=True, text=True, timeout=30).stdout
    default = re.search(r"default_queue = (\S+)", server)
    shown = subprocess.run(["qstat", "-Qf"], capture_output=True, text=True, timeout=30).stdout
    running = [
        block.split()[0]
        for block in re.split(r"^Queue: ", shown, flags=re.MULTILINE)[1:]
        if "queue_type = Execution" in block and "enabled = True" in block
        and "started = True" in block
    ]  # fmt: skip
    if default and default[1] in running:
        return default[1]
    return running[0] if running else ""


def root_may_submit(queue: str) -> bool:
    """By default PBS takes no jobs of root."""
    words = ("qsub", "-h", "-q", queue, *(("-P", GROUP) if GROUP else ()), "--", "/bin/true")
    tried = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if tried.returncode == 0:
        subprocess.run(["qdel", tried.stdout.strip()], capture_output=True, timeout=60)
    return tried.returncode == 0


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    try:
        version = subprocess.run(
            ["qstat", "--version"], capture_output=True, text=True, timeout=30
        ).stdout
    except OSError:
        version = ""
    if "pbs_version" not in version or shutil.which("qsub") is None:
        # Not a failure where CI runs, either: no distribution that it has knows PBS.
        pytest.skip("NOT TESTED against a real PBS: no qsub and qstat of PBS on PATH")
    configuration = Path(os.environ.get("PBS_CONF_FILE", "/etc/pbs.conf"))
    queue = chosen_queue()
    if not queue:
        pytest.skip("NOT TESTED against a real PBS: its server does not answer, or runs no queue")
    where = os.environ.get("HPCJOBS_PBS_DIRECTORY", "/var/tmp")
    directory = Path(tempfile.mkdtemp(prefix="hpcjobs-tests-", dir=where))
    directory.chmod(0o755)
    testbed, let_root_submit = Testbed(directory, queue, configuration, ordinary=ROOT), False
    try:
        if ROOT:
            look = subprocess.run(
                [*AS_USER, sys.executable, "-c", "import hpcjobs"],
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                capture_output=True,
                text=True,
            )
            if look.returncode != 0:  # a checkout or a Python below /root, or no such user
                testbed.ordinary = False
                warnings.warn(f"PBS is tested as root: {look.stderr}", stacklevel=1)
                let_root_submit = not root_may_submit(queue)
                if let_root_submit:
                    testbed.command("qmgr", "-c", "set server acl_roots += root")
        yield testbed
    finally:
        if let_root_submit:
            subprocess.run(["qmgr", "-c", "set server acl_roots -= root"], timeout=60)
        ids = subprocess.run(["qselect"], capture_output=True, text=True, timeout=60).stdout.split()
        ours = [one for one in ids if f":{directory}/" in testbed.shown(one)]
        if ours:
            subprocess.run(["qdel", "-W", "force", *ours], timeout=60)
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def ends(testbed: Testbed) -> Workspace:
    """All that end in their own way are submitted at once, so that the slow ones pass together."""
    workspace: Workspace = testbed.workspace("ends")
    workspace.submit("acme/too-long", "acme/exit-3", "acme/cancelled", "acme/stopped-by-root")
    workspace.submit("acme/warned", node="short")
    workspace.submit("acme/held", "acme/cancelled-while-held", node="held")
    workspace.submit("acme/named", node="named")
    job = workspace.wait_for("acme/too-long", "RUNNING")
    subprocess.run(["qalter", "-l", "walltime=5", job["native_id"]], timeout=60)
    return workspace


def test_an_exit_code_is_told(ends: Workspace) -> None:
    job = ends.wait_for("acme/exit-3", "FAILED")
    assert (job["reason"], job["detail"]) == ("EXIT_CODE", "exit code 3 of demo_capitals")
    assert re.fullmatch(r"[0-9]+[.]\S+", job["native_id"])


def test_a_job_is_asked_for_as_the_service_says(ends: Workspace, testbed: Testbed) -> None:
    job = ends.wait_for("acme/named", "RUNNING")
    shown = testbed.shown(job["native_id"])
    for fact in ("Rerunable = False", "Join_Path = oe", "Keep_Files = oed", "Mail_Points = n",
                 "Resource_List.select = 1", "Resource_List.walltime = 00:10:00", "umask = 22",
                 "Account_Name = account", f"queue = {testbed.queue}",
                 f"Job_Name = {job['name']}"):  # fmt: skip
        assert fact in shown
    assert not GROUP or f"project = {GROUP}" in shown
    if testbed.ordinary:
        assert f"Job_Owner = {USER}@" in shown
    assert "not-a-real-key" not in shown
    directory = Path(job["directory"])
    assert (directory / "scheduler.out").exists()  # it can be followed while the job runs
    assert (directory / "scheduler.out").stat().st_mode & 0o777 == 0o644
    assert (directory / "started").read_text().split()[0] == job["native_id"]


def test_a_running_job_is_cancelled(ends: Workspace) -> None:
    job = ends.wait_for("acme/cancelled", "RUNNING")
    assert ends.run("cancel", job["job"], "--yes").returncode == 0
    job = ends.wait_for("acme/cancelled", "CANCELLED")
    assert "stopped by signal TERM" in job["detail"]


def test_a_held_job_is_cancelled(ends: Workspace) -> None:
    job = ends.wait_for("acme/cancelled-while-held", "HELD")
    assert job["detail"] == "held"
    assert ends.run("cancel", job["job"], "--yes").returncode == 0
    ends.wait_for("acme/cancelled-while-held", "CANCELLED")


def test_a_held_job_runs_when_it_is_released(ends: Workspace, testbed: Testbed) -> None:
    job = ends.wait_for("acme/held", "HELD")
    testbed.as_user("qrls", job["native_id"])
    ends.wait_for("acme/held", "RUNNING")


def test_what_can_never_run_is_told(ends: Workspace) -> None:
    if ends.submit("acme/cannot-run", node="impossible", code=None)["refused"]:
        pytest.skip("NOT TESTED against a real PBS: this one refuses it at once")
    wait_until(
        "the scheduler has looked at it",
        lambda: "it will not start as it is" in ends.status()["acme/cannot-run"]["detail"],
    )
    assert ends.state("acme/cannot-run") == "PENDING"


@pytest.mark.skipif(not ROOT, reason="NOT TESTED against a real PBS: this needs root")
def test_a_job_that_root_deleted_is_cancelled_and_not_failed(
    ends: Workspace, testbed: Testbed
) -> None:
    job = ends.wait_for("acme/stopped-by-root", "RUNNING")
    testbed.command("qdel", job["native_id"])
    job = ends.wait_for("acme/stopped-by-root", "CANCELLED", "FAILED")
    assert job["state"] == "CANCELLED"
    assert "terminated by root@" in job["detail"]


@pytest.mark.skipif(not ROOT, reason="NOT TESTED against a real PBS: this needs root")
def test_a_suspended_job_is_suspended(ends: Workspace, testbed: Testbed) -> None:
    job = ends.wait_for("acme/held", "RUNNING", "HELD")
    if job["state"] == "HELD":
        testbed.as_user("qrls", job["native_id"])
        job = ends.wait_for("acme/held", "RUNNING")
    testbed.command("qsig", "-s", "suspend", job["native_id"])
    ends.wait_for("acme/held", "SUSPENDED")
    testbed.command("qsig", "-s", "resume", job["native_id"])
    ends.wait_for("acme/held", "RUNNING")


def test_what_pbs_refuses_is_told_with_its_words(ends: Workspace) -> None:
    outcome = ends.submit("acme/refused", node="refused", code=1)
    assert "Unknown resource Resource_List.no_such_resource" in outcome["refused"][0]["error"]
    job = ends.status()["acme/refused"]
    assert (job["state"], job["reason"]) == ("FAILED", "SUBMIT_FAILED")


def test_a_job_whose_predecessor_failed_never_started(testbed: Testbed) -> None:
    script = testbed.directory / "dependent.sh"
    script.write_text(
        f"#!/bin/bash\n#PBS -q {testbed.queue}\n#PBS -l {NOTHING}\n"
        "#PBS -j oe\n#PBS -k oed\n#PBS -W umask=027\n"
        f"#PBS -o {testbed.directory}/dependent.out\n#PBS -l walltime=00:01:00\nexit 3\n"
    )
    first = testbed.as_user(*pbs.submit_argv(script, "")).strip()
    second = testbed.as_user(*pbs.submit_argv(script, "", after=first)).strip()

    def seen() -> Any:
        done = subprocess.run(
            pbs.query_argv([first, second], "dsv"), capture_output=True, text=True, timeout=60
        )
        return pbs.parse_query(done)

    wait_until("both have ended", lambda: all(job.state.final for job in seen().values()))
    assert (seen()[first].state, seen()[first].exit_status) == ("FAILED", 3)
    assert (seen()[second].state, seen()[second].reason) == ("FAILED", "SCHEDULER_ERROR")
    assert seen()[second].detail == "it never started: what it waited for did not succeed"
    shown = testbed.shown(second)
    assert "umask = 27" in shown and f"depend = afterok:{first.partition('.')[0]}" in shown


@pytest.mark.parametrize("dialect", ["wide", "wrapped"])
def test_an_older_client_is_understood(testbed: Testbed, dialect: str) -> None:
    workspace = testbed.workspace(f"older-{dialect}")
    less = "s/ .-E.//" if dialect == "wide" else "s/ .-E.//; s/ .-F format | -w.//; s/ .-w.$//"
    calls = workspace.root / "calls"
    workspace.wrap(
        "qstat",
        f'[ "$1" != --help ] || {{ "$REAL" --help 2>&1 | sed "{less}"; exit 2; }}\n'
        f'echo "$@" >>{calls}; exec "$REAL" "$@"',
    )
    workspace.submit("acme/a-rather-long-name-that-makes-lines-wrap", "acme/exit-3")
    workspace.submit("acme/forgotten", node="held")
    job = workspace.wait_for("acme/forgotten", "HELD")
    testbed.command("qdel", job["native_id"])
    testbed.command("qdel", "-x", job["native_id"])
    workspace.wait_for("acme/a-rather-long-name-that-makes-lines-wrap", "RUNNING")
    assert workspace.wait_for("acme/exit-3", "FAILED")["reason"] == "EXIT_CODE"
    assert workspace.wait_for("acme/forgotten", "FAILED")["reason"] == "VANISHED"
    asked = "-x -f -w " if dialect == "wide" else "-x -f "
    assert all(line.startswith(asked) for line in calls.read_text().splitlines())


def test_a_submission_whose_answer_was_lost_is_adopted_and_not_doubled(testbed: Testbed) -> None:
    workspace = testbed.workspace("lost-answer")
    workspace.wrap("qsub", '"$REAL" "$@" >/dev/null; echo "gateway timeout" >&2; exit 1')
    outcome = workspace.submit("acme/lost", code=4)
    assert outcome["unanswered"] == "qsub did not answer: gateway timeout"
    (workspace.root / "wrappers" / "qsub").unlink()
    again = workspace.submit("acme/lost")
    assert [job["model"] for job in again["kept"]] == ["acme/lost"]
    job = workspace.wait_for("acme/lost", "RUNNING")
    assert workspace.native_jobs() == [job["name"]]
    assert re.fullmatch(r"[0-9]+[.]\S+", job["native_id"])


def test_variables_of_an_enclosing_job_change_nothing(testbed: Testbed) -> None:
    workspace = testbed.workspace("enclosing")
    strange = {"PBS_DPREFIX": "#SOMETHING", "PBS_JOBID": "1.elsewhere", "PBS_QUEUE": "nowhere",
               "PBS_O_QUEUE": "nowhere"}  # fmt: skip
    workspace.submit("acme/inner", **strange)
    job = workspace.wait_for("acme/inner", "RUNNING", **strange)
    assert f"queue = {testbed.queue}" in testbed.shown(job["native_id"])


def test_many_jobs_are_watched_with_one_qstat_a_poll(testbed: Testbed) -> None:
    workspace = testbed.workspace("many")
    calls = workspace.root / "calls"
    for command in ("qsub", "qselect", "qdel"):
        workspace.wrap(command, f'echo {command} >>{calls}; exec "$REAL" "$@"')
    workspace.wrap("qstat", f'echo "qstat$1" | cut -c-7 >>{calls}; exec "$REAL" "$@"')

    def counted(action: Callable[[], object]) -> Mapping[str, int]:
        calls.unlink(missing_ok=True)
        action()
        words = calls.read_text().split() if calls.exists() else []
        return {word: words.count(word) for word in words}

    models = [f"acme/model-{number}" for number in range(MANY)]
    start = time.monotonic()
    assert counted(lambda: workspace.submit(*models, node="held")) == {"qsub": MANY}
    took = time.monotonic() - start
    print(f"{MANY} jobs submitted in {took:.1f} s, {MANY / took:.0f}/s")
    start = time.monotonic()
    one_poll = {"qstat--": 1, "qstat-E": 1}  # which client it is, and how the jobs stand
    assert counted(lambda: workspace.state(models[0])) == one_poll
    print(f"status of {MANY}: {time.monotonic() - start:.2f} s")
    assert {job["state"] for model, job in workspace.status().items() if model} == {"HELD"}
    made = counted(lambda: workspace.run("cancel", "--all", "--yes").check_returncode())
    assert made["qdel"] == 1 and made["qstat-E"] <= 2

    def poll() -> bool:
        seen = workspace.status()
        return all(seen[model]["state"] == "CANCELLED" for model in models)

    wait_until("all are cancelled", poll)
    assert len(set(workspace.native_jobs())) == MANY


def test_the_scheduler_is_not_asked_again_within_its_poll_time(testbed: Testbed) -> None:
    workspace = testbed.workspace("patient", poll=60)
    workspace.submit("acme/one", node="held")
    calls = workspace.root / "calls"
    workspace.wrap("qstat", f'[ "$1" = --help ] || echo >>{calls}; exec "$REAL" "$@"')
    for _ in range(3):
        assert workspace.state("acme/one") == "HELD"
    assert calls.read_text() == "\n"


def test_a_server_that_is_away_or_hung_makes_nothing_final(testbed: Testbed) -> None:
    workspace = testbed.workspace("away", grace=5)
    workspace.submit("acme/through-it-all")
    workspace.wait_for("acme/through-it-all", "RUNNING")
    with socket.create_server(("0.0.0.0", 0)) as silent:
        port = silent.getsockname()[1]
        hung = testbed.other_port(testbed.directory / "hung.conf", port)
        away = testbed.other_port(testbed.directory / "away.conf", 1)
        for model, variables in (("acme/in-vain", away), ("acme/in-vain-too", hung)):
            outcome = workspace.submit(model, code=4, **variables)
            assert re.match("qsub did not answer(: | within )", outcome["unanswered"])
            seen = workspace.status(**variables)
            assert seen["acme/through-it-all"]["state"] == "UNKNOWN"
            assert seen[model]["state"] == "UNKNOWN"
            assert any("did not answer" in warning for warning in seen[""])
    workspace.wait_for("acme/through-it-all", "RUNNING")
    for model in ("acme/in-vain", "acme/in-vain-too"):
        assert workspace.wait_for(model, "FAILED")["reason"] == "SUBMIT_FAILED"
        workspace.submit(model)
    assert len(workspace.native_jobs()) == 3


def server_pid(testbed: Testbed) -> int:
    """Of the server, if it runs on this host and may be stopped; else 0."""
    told = dict(re.findall(r"^(\w+)=(.*)$", testbed.configuration.read_text(), re.MULTILINE))
    lock = Path(told.get("PBS_HOME", "/nowhere"), "server_priv", "server.lock")
    return int(lock.read_text()) if ROOT and lock.exists() else 0


def test_a_submission_to_a_stopped_server_is_neither_lost_nor_doubled(testbed: Testbed) -> None:
    pid = server_pid(testbed)
    if not pid:
        pytest.skip("NOT TESTED against a real PBS: its server cannot be stopped from here")
    workspace = testbed.workspace("stopped", grace=5)
    os.kill(pid, signal.SIGSTOP)
    try:
        outcome = workspace.submit("acme/while-stopped", code=4)
        assert "did not answer within 15 s" in outcome["unanswered"]
    finally:
        os.kill(pid, signal.SIGCONT)
    job = workspace.wait_for("acme/while-stopped", "RUNNING", "FAILED")
    if job["state"] == "FAILED":
        assert job["reason"] == "SUBMIT_FAILED"
        assert workspace.native_jobs() == []
        workspace.submit("acme/while-stopped")
    assert len(workspace.native_jobs()) == 1


def test_a_walltime_kill_is_a_timeout(ends: Workspace, testbed: Testbed) -> None:
    shown = testbed.shown(ends.status()["acme/too-long"]["native_id"])
    if "Resource_List.walltime = 00:00:05" not in shown:
        pytest.skip("NOT TESTED against a real PBS: its qalter is disabled")
    job = ends.wait_for("acme/too-long", "FAILED", "CANCELLED", seconds=180)
    assert job["reason"] == "TIMEOUT"
    # PBS sends TERM and, 10 s later or at once, KILL: the job may have told of it or not.
    assert "killed at the walltime (Exit_status -29)" in job["detail"]


def test_a_job_that_ends_itself_before_the_walltime_is_a_timeout(ends: Workspace) -> None:
    job = ends.wait_for("acme/warned", "FAILED", "CANCELLED", seconds=120)
    assert job["reason"] == "TIMEOUT"
    assert "ended itself" in job["detail"]


def test_ended_jobs_that_pbs_has_forgotten_are_told_by_their_own_markers(testbed: Testbed) -> None:
    workspace = testbed.workspace("forgotten", grace=10)
    workspace.submit("acme/exit-3")
    workspace.submit("acme/never-started", node="held")
    held = workspace.wait_for("acme/never-started", "HELD")
    told = workspace.status()["acme/exit-3"]
    marker = Path(told["directory"]) / "exit_code"
    wait_until("it has ended", marker.exists)
    for native_id in (told["native_id"], held["native_id"]):
        subprocess.run(["qdel", native_id], capture_output=True, timeout=60)

        def forgotten(native_id: str = native_id) -> bool:
            done = subprocess.run(["qdel", "-x", native_id], capture_output=True, timeout=60)
            return done.returncode == 153

        wait_until("PBS has forgotten it", forgotten)
    seen = workspace.status()
    assert seen["acme/exit-3"]["reason"] == "EXIT_CODE"
    assert seen["acme/never-started"]["state"] == "UNKNOWN"
    assert workspace.wait_for("acme/never-started", "FAILED")["reason"] == "VANISHED"


def test_a_whole_evaluation_ends_in_the_known_scores(testbed: Testbed) -> None:
    if not (Path(sys.prefix) / "bin" / "lm_eval").exists():
        pytest.skip("NOT TESTED: lm_eval is not installed (pip install -e '.[demo]')")
    workspace = testbed.workspace("evaluation", real=True)
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
