"""`hpcjobs predownload` on this host, by submitit, against a small hub on loopback."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import local_hub
import pytest
from command_line import CommandLine, need, wait_for

pytestmark = pytest.mark.real

KEY = "hf_secret_of_the_test"
TASK = "task: acme_questions\ndataset_path: acme/questions\noutput_type: generate_until\n" \
    'test_split: test\ndoc_to_text: "{{question}}"\ndoc_to_target: "{{answer}}"\n'  # fmt: skip
TASKS = """key,script,result_dir,framework,hrt_q
acme_questions,acme_questions,acme/questions,lm_eval,00:10:00
acme_two,acme_two,acme/two,lighteval,00:10:00
"""
FIND = """
import sys
from huggingface_hub import snapshot_download
from pathlib import Path
directory = Path(snapshot_download(sys.argv[1]))
print(*sorted(str(path.relative_to(directory)) for path in directory.rglob("*.*")))
"""
LOAD = """
from datasets import load_dataset
print(load_dataset("acme/questions", split="test")[0]["answer"])
"""


class Place:
    """A workspace, its hub, and its caches."""

    def __init__(self, line: CommandLine, hub: local_hub.Hub, cache: Path) -> None:
        self.line, self.hub, self.cache = line, hub, cache

    def words(self, *words: str, command: str = "predownload", service: str = "local") -> list[str]:
        return [command, "--service", service, "--node", "gpu_1", *words]

    def run(
        self, *words: str, code: int = 0, service: str = "local", command: str = "predownload"
    ) -> subprocess.CompletedProcess[str]:
        return self.line.run(*self.words(*words, command=command, service=service), code=code)

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        value = json.loads(self.run(*words, "--json", code=code).stdout)
        assert isinstance(value, dict)
        return value

    def offline(self, script: str, *words: str) -> str:
        """What a job prints that has the same caches, and no hub."""
        environment = {
            **self.line.environment,
            "HF_HOME": str(self.cache),
            "HF_HUB_OFFLINE": "1",
            "HF_ENDPOINT": "http://x.invalid",
        }
        done = subprocess.run(
            [sys.executable, "-c", script, *words], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def folders(self) -> list[Path]:
        return sorted((self.line.root / "jobs" / "predownload").glob("*"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[local_hub.Hub]:
    local_hub.fill(tmp_path / "hub")
    with local_hub.serve(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def place(line: CommandLine, hub: local_hub.Hub, tmp_path: Path) -> Place:
    need("submitit", "huggingface_hub")
    cache = tmp_path / "cache"
    files = {
        ".env": f"HUGGINGFACE_CACHE={cache}\nHF_TOKEN={KEY}\nTSUBAME_GROUP=group\n"
        f"REPO_PATH={tmp_path}\nUV_CACHE={tmp_path}\nVLLM_CACHE={tmp_path}\n",
        "conf/lm_eval_tasks/acme.yaml": TASK,
        "conf/tasks_runtime.csv": TASKS,
        "conf/task_groups.yaml": "default: [acme_two]\n",
    }
    for name, text in files.items():
        path = line.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (line.root / ".env").chmod(0o600)
    # The jobs of this queue do not see the shell's variables; the service's reach them.
    line.service(exports={"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"})
    # Both must count for nothing: what the caches lack is asked of the hub, with the key of .env.
    line.environment |= {"HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_another_key_of_the_shell",
                         "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
    return Place(line, hub, cache)


def test_a_model_is_found_offline_by_its_jobs(place: Place) -> None:
    told = place.json("--model", "acme/small")
    assert told["state"] == "done"
    assert told["fetched"] == [{"kind": "model", "name": "acme/small", "files": 2}]
    place.hub.shutdown()
    assert place.offline(FIND, "acme/small") == "config.json sub/model.safetensors"


def test_the_log_is_told_and_followed(place: Place) -> None:
    done = place.run("--model", "acme/small")
    log = next(
        line.partition(": ")[2] for line in done.stderr.splitlines() if line.startswith("its log")
    )
    text = Path(log).read_text()
    assert "fetched model acme/small: 2 file(s)" in text
    assert "100%" in text  # progress, though nobody looks
    assert "fetched model acme/small: 2 file(s)" in done.stderr


def test_what_is_there_is_not_fetched_again(place: Place) -> None:
    place.run("--model", "acme/small")
    asked = len(place.hub.asked)
    told = place.json("--model", "acme/small")
    assert told["present"] == [{"kind": "model", "name": "acme/small"}]
    assert told["native_id"] is None
    assert len(place.hub.asked) == asked
    assert len(place.folders()) == 1


def test_a_file_that_is_gone_is_fetched_again(place: Place) -> None:
    place.run("--model", "acme/small")
    next(place.cache.rglob("config.json")).resolve().unlink()
    assert place.json("--model", "acme/small")["fetched"]
    assert place.offline(FIND, "acme/small") == "config.json sub/model.safetensors"


def test_a_gated_model_is_fetched_with_the_key_of_env_which_is_written_nowhere(
    place: Place,
) -> None:
    told = place.json("--model", "acme/gated")
    assert [one["name"] for one in told["fetched"]] == ["acme/gated"]
    (folder,) = place.folders()
    pickles = []
    for path in folder.rglob("*"):
        content = path.read_bytes()
        assert KEY.encode() not in content, path
        assert b"hf_another_key" not in content, path
        if path.name.endswith("_submitted.pkl"):
            pickles.append(pickle.loads(content))
    assert [one.args for one in pickles] == [(str(folder),)]


def test_no_key_is_in_the_environment_of_the_job(place: Place) -> None:
    with local_hub.holding():
        told = place.json("--model", "acme/small", "--no-wait")
        pid = int(told["native_id"])
        environments = [Path(f"/proc/{one}/environ").read_bytes() for one in (pid, *children(pid))]
    assert len(environments) == 2  # submitit's controller, and what it runs
    assert not [one for one in environments if b"hf_" in one or b"HF_TOKEN" in one]
    assert place.json("--model", "acme/small")["state"] == "done"


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read what it complains of up to the line with this text."""
    assert process.stderr is not None
    assert any(text in line for line in process.stderr)


def children(pid: int) -> list[int]:
    def there() -> list[int]:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    return wait_for(there)


def test_a_data_set_of_a_task_of_lm_eval_is_found_offline(place: Place) -> None:
    need("lm_eval", "datasets")
    words = ("--model", "acme/small", "--tasks", "acme_questions")
    told = place.json(*words)
    assert {one["kind"]: one["name"] for one in told["fetched"]} == {
        "model": "acme/small",
        "lm_eval task": "acme_questions",
    }
    assert not told["not_fetched"]
    place.hub.shutdown()
    assert place.offline(LOAD) == "2"
    assert len(place.json(*words)["present"]) == 2


def test_a_data_set_by_its_name_is_found_offline(place: Place) -> None:
    need("lm_eval", "datasets")
    told = place.json("--model", "acme/small", "--dataset", "acme/questions")
    assert {"kind": "dataset", "name": "acme/questions", "files": 1} in told["fetched"]
    place.hub.shutdown()
    assert place.offline(LOAD) == "2"


def test_which_tasks_have_no_data_set_fetched_is_told(place: Place) -> None:
    done = place.run("--model", "acme/small", "--tasks", "acme_two")
    assert "data sets of lighteval's tasks are not fetched (acme_two)" in done.stderr


def test_what_fails_is_told_and_the_rest_is_kept(place: Place) -> None:
    done = place.run("--model", "acme/none", "--model", "acme/small", code=1)
    assert "cannot fetch model 'acme/none': 404 Client Error. Repository Not Found" in done.stderr
    assert "_0_log.out" in done.stderr
    told = place.json("--model", "acme/small")
    assert [one["name"] for one in told["present"]] == ["acme/small"]


def test_without_a_hub_half_a_model_is_not_taken_for_whole(place: Place) -> None:
    place.run("--model", "acme/small")
    next(place.cache.rglob("config.json")).unlink()
    place.hub.shutdown()
    place.hub.server_close()
    assert "cannot fetch model" in place.run("--model", "acme/small", code=1).stderr


def test_an_interrupted_wait_leaves_the_job_which_the_same_command_then_follows(
    place: Place,
) -> None:
    with local_hub.holding():
        waiting = place.line.start(*place.words("--model", "acme/small"))
        read_until(waiting, "fetching model")
        os.killpg(waiting.pid, signal.SIGINT)
        text = waiting.communicate(timeout=30)[1]
        assert waiting.returncode == 130
        assert "the download goes on" in text
        assert "Traceback" not in text
        again = place.line.start(*place.words("--model", "acme/small"))
        read_until(again, "is fetching that already")
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert len(place.folders()) == 1


def test_a_job_that_was_killed_is_told_and_may_be_repeated(place: Place) -> None:
    with local_hub.holding():
        pid = int(place.json("--model", "acme/small", "--no-wait")["native_id"])
        (child,) = children(pid)
        waiting = place.line.start(*place.words("--model", "acme/small"))
        read_until(waiting, "is fetching that already")
        os.kill(pid, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        assert "ended without a word" in waiting.communicate(timeout=60)[1]
        assert waiting.returncode == 1
    assert place.json("--model", "acme/small")["fetched"]


def test_where_there_is_no_slurm_it_runs_in_the_foreground(place: Place) -> None:
    words = ("--service", "tsubame", "--node", "node_q", "--model", "acme/small")
    done = place.line.run("predownload", *words, "--json")
    assert json.loads(done.stdout)["native_id"] is None
    assert place.offline(FIND, "acme/small") == "config.json sub/model.safetensors"
    place.line.run("predownload", *words, "--no-wait")  # nothing is left to be fetched
    refused = place.line.run("predownload", *words, "--again", "--no-wait", code=2)
    assert "in the foreground" in refused.stderr


def test_submit_fetches_first_and_a_failure_submits_nothing(
    quick: CommandLine, place: Place
) -> None:
    line = place.line
    submit = ("submit", "--service", "local", "--node", "cpu", "--provider", "llamacpp", "--yes",
              "--tasks", "acme_questions", "--predownload", "--model", "hpcjobs/tiny-demo",
              "--settings", "demo")  # fmt: skip
    gate = place.hub.directory / "datasets/acme/questions/.gated"
    gate.write_text("another key than ours")
    refused = line.run(*submit, code=1)
    assert "cannot fetch lm_eval task 'acme_questions'" in refused.stderr
    assert line.status() == {}
    gate.unlink()
    done = line.run(*submit)
    assert "fetched lm_eval task acme_questions" in done.stderr
    assert len(line.status()) == 1


def test_a_campaign_fetches_first_and_a_failure_submits_nothing(
    quick: CommandLine, place: Place
) -> None:
    line = place.line
    campaign = line.elsewhere / "campaign.yaml"
    campaign.write_text(
        "service: local\nnode: cpu\nprovider: llamacpp\nsettings: demo\n"
        "models: [hpcjobs/tiny-demo]\ntasks: [acme_questions]\n"
    )
    submit = ("submit", campaign, "--predownload", "--yes", "--json")
    gate = place.hub.directory / "datasets/acme/questions/.gated"
    gate.write_text("another key than ours")
    refused = line.run(*submit, code=1)
    assert "cannot fetch lm_eval task 'acme_questions'" in refused.stderr
    assert line.status() == {}
    gate.unlink()
    line.run(*submit, "--dry-run")
    assert len(place.folders()) == 1  # a dry run fetches nothing
    done = line.run(*submit)
    (group,) = json.loads(done.stdout)["groups"]
    assert [job["tasks"] for job in group["submitted"]] == [["acme_questions"]]
    assert len(place.folders()) == 2
    line.run(*submit)  # it is in the queue, or done: nothing more is fetched for it
    assert len(place.folders()) == 2
