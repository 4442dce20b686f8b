"""`hpcjobs predownload` as a job of a real Slurm, and the GPU jobs that wait for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import local_hub
import pytest
from command_line import ROOT, need, wait_for

pytestmark = pytest.mark.real

SCRIPT = ROOT / "scripts" / "testbeds" / "slurm.sh"
SERVICE = """title: the testbed
scheduler: slurm
group: research
times: {{walltime_max: "08:00:00", poll_seconds: 0, grace_seconds: 25, stop_grace: 2}}
umask: "022"
predownload: {{node: {node}, walltime: "00:20:00"}}
environments: {{lighteval: "{root}", vllm: "{root}"}}
exports: {{HF_HOME: "{root}/cache", HF_HUB_OFFLINE: "1", HF_ENDPOINT: "{hub}",
  HF_HUB_DISABLE_XET: "1"}}
nodes:
  gpu: {{gpus: 1, cores: 1, memory_gb: 1, runtime: hrt_long, options: {{partition: gpu}}}}
  cpu: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{partition: cpu, comment: tests}}}}
  refused: {{cores: 1, memory_gb: 1, runtime: hrt_long, options: {{partition: nowhere}}}}
"""
TASKS = """key,script,result_dir,framework,hrt_long
acme_one,acme_one,acme/one,lighteval,00:10:00
acme_two,acme_two,acme/two,lighteval,00:10:00
"""
# Loads the model as a server would, in the environment of the job, and says that it did.
SERVER = """#!{python}
import os, sys, time
from pathlib import Path
from huggingface_hub import snapshot_download
assert os.environ["HF_HUB_OFFLINE"] == "1"
directory = Path(snapshot_download(sys.argv[2]))
names = sorted(path.name for path in directory.rglob("*.*"))
Path(os.environ["SLURM_SUBMIT_DIR"], "found").write_text(" ".join(names))
time.sleep(300)
"""


@dataclass
class Cluster:
    """A Slurm, a hub and a workspace."""

    testbed: Path
    root: Path
    hub: local_hub.Hub

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SLURM_CONF": str(self.testbed / "etc" / "slurm.conf"),
            "PYTHONPATH": str(ROOT),
            "HF_TOKEN": "hf_of_the_shell",
        }

    def service(self, node: str = "cpu") -> None:
        text = SERVICE.format(root=self.root, hub=self.hub.url, node=node)
        (self.root / "conf" / "services").mkdir(parents=True, exist_ok=True)
        (self.root / "conf" / "services" / "cluster.yaml").write_text(text)

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "hpcjobs", "--workspace", str(self.root), *words],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def predownload(self, *words: str, code: int = 0) -> dict[str, Any]:
        done = self.run(
            *("predownload", "--service", "cluster", "--node", "gpu", "--json", *words), code=code
        )
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    def submit(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(
            *("submit", "--service", "cluster", "--node", "gpu", "--yes", "--predownload", *words),
            code=code,
        )

    def status(self, model: str) -> list[dict[str, Any]]:
        jobs = json.loads(self.run("status", "--json").stdout)["jobs"]
        return [job for job in jobs if job["model"] == model]

    def wait_until(self, model: str, state: str) -> list[dict[str, Any]]:
        def there() -> list[dict[str, Any]]:
            jobs = self.status(model)
            print(jobs)
            return jobs if {job["state"] for job in jobs} == {state} else []

        return wait_for(there, 60.0)

    def command(self, *words: str) -> str:
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def queue(self) -> list[str]:
        """The names of all jobs that have not ended."""
        return self.command("squeue", "-h", "-o", "%j").split()


@pytest.fixture(scope="module")
def testbed() -> Iterator[Path]:
    need("submitit", "huggingface_hub")
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        text = "NOT TESTED against a real Slurm: the testbed needs root and apt-get (Debian)"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    directory = Path(tempfile.mkdtemp(prefix="hpcjobs-tests-", dir="/var/tmp"))
    directory.chmod(0o755)
    command = [str(SCRIPT), "up", "--directory", str(directory / "testbed")]
    try:
        subprocess.run(command, check=True, timeout=600)
        yield directory / "testbed"
    finally:
        command[1] = "down"
        subprocess.run(command, check=True, timeout=600)
        shutil.rmtree(directory)


@pytest.fixture
def cluster(testbed: Path, tmp_path: Path) -> Iterator[Cluster]:
    local_hub.fill(tmp_path / "hub")
    root = tmp_path / "workspace"
    files = {
        "conf/tasks_runtime.csv": TASKS,
        "conf/task_groups.yaml": "default: ['acme_*']\n",
        ".env": "HF_TOKEN=hf_secret_of_the_test\n",
        "bin/vllm": SERVER.format(python=sys.executable),
        "bin/lighteval": "#!/bin/sh\nexec sleep 300\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if path.parent.name == "bin" else 0o600)
    with local_hub.serve(tmp_path / "hub") as hub:
        cluster = Cluster(testbed, root, hub)
        cluster.service()
        try:
            yield cluster
        finally:
            cluster.command("scancel", "--user=root")
            wait_for(lambda: not cluster.queue(), 60.0)


def test_a_model_is_fetched_by_a_job_without_gpus_and_without_keys(cluster: Cluster) -> None:
    with local_hub.holding():
        told = cluster.predownload("--model", "acme/gated", "--model", "acme/small", "--no-wait")
        number = told["native_id"]
        assert told["state"] == "submitted"
        wait_for(lambda: [one for one in cluster.hub.asked if "/resolve/" in one], 60.0)
        described = cluster.command("scontrol", "show", "job", number)
        environments = environments_of(number)
        again = cluster.predownload("--model", "acme/gated", "--model", "acme/small", "--no-wait")
        assert again["native_id"] == number  # it is not fetched twice
    for word in ("Partition=cpu", "Account=research", "TimeLimit=00:20:00", "Comment=tests"):
        assert word in described
    assert environments
    assert not [one for one in environments if b"hf_" in one]
    fetched = wait_for(lambda: finished(cluster, "acme/gated", "acme/small"), 60.0)
    assert {one["name"] for one in fetched} == {"acme/gated", "acme/small"}
    for path in (cluster.root / "jobs").rglob("*"):
        assert not path.is_file() or b"hf_" not in path.read_bytes(), path


def environments_of(number: str) -> list[bytes]:
    """Of all processes of this job."""
    mark = f"SLURM_JOB_ID={number}".encode()
    everything = [read_environment(path) for path in Path("/proc").glob("[0-9]*")]
    return [one for one in everything if mark in one.split(b"\0")]


def read_environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def finished(cluster: Cluster, *models: str) -> list[dict[str, Any]]:
    """What is there of these, once all is."""
    words = [word for model in models for word in ("--model", model)]
    told = cluster.predownload(*words, "--wait")
    present = told["present"] + told["fetched"]
    return present if len(present) == len(models) else []


def test_waiting_follows_the_log_to_its_end(cluster: Cluster) -> None:
    words = ("--service", "cluster", "--node", "gpu", "--model", "acme/small")
    done = cluster.run("predownload", *words)
    assert "fetched model acme/small: 2 file(s)" in done.stderr
    assert "nothing to fetch" in cluster.run("predownload", *words).stderr


def test_a_download_that_was_cancelled_is_told(cluster: Cluster) -> None:
    with local_hub.holding():
        number = cluster.predownload("--model", "acme/small", "--no-wait")["native_id"]
        waiting = subprocess.Popen(
            [sys.executable, "-m", "hpcjobs", "--workspace", str(cluster.root), "predownload",
             "--service", "cluster", "--node", "gpu", "--model", "acme/small"],
            env=cluster.environment,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert waiting.stderr is not None
        assert any("fetching model" in line for line in waiting.stderr)
        cluster.command("scancel", "--user=root")
        text = waiting.communicate(timeout=90)[1]
        assert not environments_of(number)  # nothing of it goes on
    assert waiting.returncode == 1
    assert "it ended without a word: CANCELLED" in text
    assert "Traceback" not in text
    assert len(cluster.predownload("--model", "acme/small")["fetched"]) == 1


def test_gpu_jobs_wait_for_the_download_and_then_find_it_offline(cluster: Cluster) -> None:
    with local_hub.holding():
        done = cluster.submit("--model", "acme/small")
        jobs = cluster.wait_until("acme/small", "PENDING")
        assert [job["detail"] for job in jobs] == ["Dependency", "Dependency"]
        assert done.stderr.count("fetches: model acme/small") == 1
        cluster.submit("--model", "acme/small")  # all are in the queue: nothing more is submitted
        assert len(cluster.queue()) == 3
    cluster.wait_until("acme/small", "RUNNING")
    assert wait_for(lambda: list(cluster.root.rglob("found")), 60.0)
    for found in cluster.root.rglob("found"):
        assert found.read_text() == "config.json model.safetensors"


def test_a_failed_download_cancels_its_jobs_and_the_same_command_repeats_them(
    cluster: Cluster,
) -> None:
    model = cluster.hub.directory / "models" / "acme" / "late"
    with local_hub.holding():
        (model / "sub").mkdir(parents=True)
        (model / "config.json").write_text("{}")
        cluster.submit("--model", "acme/late")
        cluster.wait_until("acme/late", "PENDING")
        shutil.rmtree(model)
    cancelled = cluster.wait_until("acme/late", "CANCELLED")
    assert [job["attempt"] for job in cancelled] == [1, 1]
    (model / "sub").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    cluster.submit("--model", "acme/late")
    repeated = cluster.wait_until("acme/late", "RUNNING")
    assert [job["attempt"] for job in repeated] == [2, 2]
    assert len(cluster.queue()) == 2


def test_what_is_there_is_not_waited_for(cluster: Cluster) -> None:
    cluster.predownload("--model", "acme/small")
    done = cluster.submit("--model", "acme/small")
    assert "nothing to fetch" in done.stderr
    jobs = cluster.status("acme/small")
    described = cluster.command("scontrol", "show", "job", jobs[0]["native_id"])
    assert "Dependency=(null)" in described


CAMPAIGN = """\
service: cluster
node: gpu
tasks: ["acme_*"]
models: {{{models}}}
"""


def test_a_campaign_has_one_download_and_only_who_lacks_something_waits(cluster: Cluster) -> None:
    campaign = cluster.root / "campaign.yaml"
    submit = ("submit", str(campaign), "--predownload", "--yes")
    cluster.predownload("--model", "acme/small")
    # Three groups, since their numbers of samples differ.
    campaign.write_text(
        CAMPAIGN.format(
            models="acme/small: {max_samples: 1}, acme/gated: {max_samples: 2}, acme/other: "
        )
    )
    other = cluster.hub.directory / "models" / "acme" / "other"
    (other / "sub").mkdir(parents=True)
    (other / "config.json").write_text("{}")
    with local_hub.holding():
        done = cluster.run(*submit)
        assert "in the caches already: model acme/small" in done.stderr
        assert done.stderr.count("fetches: model acme/gated, model acme/other") == 1
        queued = cluster.queue()
        assert (len(queued), len([one for one in queued if "predownload" in one])) == (7, 1)
        for model in ("acme/gated", "acme/other"):
            jobs = cluster.wait_until(model, "PENDING")
            assert [job["detail"] for job in jobs] == ["Dependency", "Dependency"]
        for job in cluster.status("acme/small"):
            described = cluster.command("scontrol", "show", "job", job["native_id"])
            assert "Dependency=(null)" in described
        cluster.run(*submit)  # all are in the queue: no second download, no second job
        assert len(cluster.queue()) == len(queued)
    for model in ("acme/gated", "acme/other"):
        cluster.wait_until(model, "RUNNING")


def test_a_campaign_whose_download_fails_stops_until_a_person_asks(cluster: Cluster) -> None:
    campaign = cluster.root / "campaign.yaml"
    campaign.write_text(CAMPAIGN.format(models="acme/late: "))
    model = cluster.hub.directory / "models" / "acme" / "late"
    with local_hub.holding():
        (model / "sub").mkdir(parents=True)
        (model / "config.json").write_text("{}")
        cluster.run("submit", str(campaign), "--predownload", "--yes")
        cluster.wait_until("acme/late", "PENDING")
        shutil.rmtree(model)
    cluster.wait_until("acme/late", "CANCELLED")
    (model / "sub").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    done = cluster.run("submit", str(campaign), "--predownload", "--yes")
    assert "nothing is to be submitted" in done.stdout
    assert cluster.queue() == []
    cluster.run("submit", str(campaign), "--predownload", "--yes", "--failed")
    repeated = cluster.wait_until("acme/late", "RUNNING")
    assert [job["attempt"] for job in repeated] == [2, 2]


def test_a_refused_download_submits_nothing(cluster: Cluster) -> None:
    cluster.service(node="refused")
    done = cluster.submit("--model", "acme/small", code=1)
    assert "Slurm refused" in done.stderr
    assert "nowhere" in done.stderr or "partition" in done.stderr
    assert cluster.queue() == []
    assert cluster.status("acme/small") == []


def test_slurm_away_submits_nothing(cluster: Cluster, testbed: Path) -> None:
    pid = int((testbed / "run" / "pids" / "slurmctld").read_text().split()[0])
    os.kill(pid, 19)  # SIGSTOP
    try:
        done = cluster.submit("--model", "acme/small", code=4)
    finally:
        os.kill(pid, 18)  # SIGCONT
    assert "did not" in done.stderr
    assert cluster.status("acme/small") == []
