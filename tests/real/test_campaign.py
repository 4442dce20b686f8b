"""A whole campaign on the real local queue: it is fed, killed, fed again, and comes to its end."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, command_line, wait_for

from hpcjobs import journal
from hpcjobs.assemble import Choices, assemble
from hpcjobs.submit import submit
from hpcjobs.workspace import Workspace

pytestmark = pytest.mark.real

MISBEHAVING = Path(__file__).with_name("misbehaving.py")

TEMPLATE = r"""#!/bin/bash
#HPCJOBS --name {{ name | directive("--name") }}
#HPCJOBS --cpu-slots {{ scheduler_options["cpu_slots"] }}
#HPCJOBS --walltime {{ job.walltime | hms }}
#HPCJOBS --grace 1
cd {{ attempt_dir | sh }} && mkdir work || exit 93
mark() { printf '%s %s\n' "$2" "$(date -u +%FT%TZ)" >".$1" && mv ".$1" "$1"; }
mark started -
echo {{ attempt.label | sh }} {{ tasks[0].key | sh }} {{ job.walltime | hms }} >>../../ran
trap 'mark signal TERM; mark exit_code 143; exit 143' TERM
work() { local end=$((SECONDS + $1)); while ((SECONDS < end)); do sleep 0.05; done; }
case {{ tasks[0].key | sh }} in
  ja_slow) work {{ 0 if job.walltime >= 4 else 100 }} ;;
  ja_long) work {{ 0 if job.node == "cpu_2" else 100 }} ;;
  ja_endless) work 100 ;;
  ja_dies) mark exit_code 1; exit 1 ;;
  ja_server) mark failure server_died; mark exit_code 99; exit 99 ;;
  ja_flaky) [ -e ../flaky ] || { touch ../flaky; mark failure server_died; mark exit_code 99
                                 exit 99; } ;;
  ja_held) while [ -e ../../hold ]; do sleep 0.05; done ;;
esac
mkdir -p results/{{ tasks[0].result_dir | sh }} && cd results/{{ tasks[0].result_dir | sh }}
cat >results_2026-01-01T00-00-00.000000.json <<'END'
{"config": {}, "model_name": "{{ job.model }}", "n-samples": {},
 "results": {"{{ tasks[0].script }}": {"exact_match,strip": 0.5}}}
END
[ {{ (attempt.label[-2:] ~ tasks[0].key) | sh }} = 01ja_doubtful ] ||
cat >{{ ("samples_" ~ tasks[0].script ~ "_2026-01-01T00-00-00.000000.jsonl") | sh }} <<'END'
{"doc_id": 0, "arguments": [["question", {}]], "resps": [["answer"]]}
END
cd {{ attempt_dir | sh }} && mark exit_code 0
"""

TASKS = ("ja_good", "ja_slow", "ja_long", "ja_endless", "ja_dies", "ja_server", "ja_flaky",
         "ja_held", "ja_doubtful")  # fmt: skip

CAMPAIGN = """\
service: local
node: no_gpu
provider: llamacpp
settings: demo
models: ["@models.txt"]
tasks: [{tasks}]
retry: {{attempts: 4, longer: 2}}
ask_above: {{jobs: {jobs}}}
{more}
"""


class Campaign:
    """A workspace with the tasks above, and one campaign of them."""

    def __init__(self, line: CommandLine) -> None:
        self.line = line
        self.path = line.elsewhere / "campaign.yaml"
        template = line.root / "templates" / "schedulers" / "local.sh.j2"
        template.parent.mkdir(parents=True)
        template.write_text(TEMPLATE)
        line.service(
            options={"cpu_slots": "8"},
            times={"submit_timeout": 30, "walltime_max": "00:00:04"},
            nodes={
                "cpu": {"cores": 1, "memory_gb": 1, "runtime": "hrt_q", "bigger": "cpu_2"},
                "cpu_2": {"cores": 2, "memory_gb": 1, "runtime": "hrt_q"},
            },
        )
        table = line.root / "conf" / "tasks_runtime.csv"
        rows = [
            f"{key},{key},{key.replace('_', '/')},lm_eval,"
            + ("00:00:01" if key in ("ja_slow", "ja_long", "ja_endless") else "00:00:04")
            for key in TASKS
        ]
        table.write_text("\n".join(["key,script,result_dir,framework,hrt_q", *rows]) + "\n")
        (line.root / "conf" / "task_groups.yaml").write_text("default: ['ja_*']\n")
        (line.elsewhere / "models.txt").write_text("# mine\n\nhpcjobs/tiny-demo  # the demo\n")

    def write(self, *tasks: str, jobs: int = 50, more: str = "") -> None:
        self.path.write_text(CAMPAIGN.format(tasks=", ".join(tasks), jobs=jobs, more=more))

    def items(self, *words: str) -> dict[str, dict[str, Any]]:
        shown = self.line.json("plan", self.path, *words)["items"]
        return {one["tasks"][0]: one for one in shown}

    def ran(self) -> list[list[str]]:
        path = self.line.root / "jobs" / "ran"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def tries(self) -> Counter[str]:
        return Counter(key for _, key, _ in self.ran())

    def walltimes(self, key: str) -> list[str]:
        return [walltime for _, one, walltime in self.ran() if one == key]

    def assert_nothing_doubled(self) -> None:
        labels = [label for label, *_ in self.ran()]
        assert len(labels) == len(set(labels))
        names = [snapshot.job.name for snapshot in self.line.spool.read_all()[0]]
        assert len(names) == len(set(names))
        events = journal.read(Workspace(self.line.root).journal).events
        submitting = [one["name"] for one in events if one["event"] == journal.SUBMITTING]
        assert len(submitting) == len(set(submitting))
        assert set(names) <= set(submitting)


@pytest.fixture
def campaign(line: CommandLine) -> Campaign:
    return Campaign(line)


EVERYTHING = {
    "ja_good": "done",
    "ja_slow": "done",
    "ja_long": "done",
    "ja_endless": "stopped",
    "ja_dies": "stopped",
    "ja_server": "stopped",
    "ja_flaky": "done",
}


def test_a_campaign_is_killed_again_and_again_and_comes_to_its_end(campaign: Campaign) -> None:
    line = campaign.line
    campaign.write(*EVERYTHING)
    killed = 0
    for attempts in (1, 3, 7, 9):
        watching = line.start("watch", campaign.path, "--interval", "0.2")
        wait_for(lambda least=attempts: len(campaign.ran()) >= least)  # type: ignore[misc]
        os.kill(watching.pid, signal.SIGKILL)
        _, complaint = watching.communicate(timeout=30)
        assert watching.returncode == -signal.SIGKILL, complaint
        killed += 1
    done = line.run("watch", campaign.path, "--interval", "0.2", code=1)
    items = campaign.items()
    assert {key: one["stands"] for key, one in items.items()} == EVERYTHING
    campaign.assert_nothing_doubled()
    assert campaign.tries() == Counter(
        ja_good=1, ja_slow=3, ja_long=4, ja_endless=4, ja_dies=1, ja_server=2, ja_flaky=2
    )
    assert campaign.walltimes("ja_slow") == ["00:00:01", "00:00:02", "00:00:04"]
    assert campaign.walltimes("ja_long") == ["00:00:01", "00:00:02", "00:00:04", "00:00:04"]
    assert items["ja_long"]["why"].startswith("done as ")
    assert items["ja_long"]["why"].endswith(" on local/cpu_2")
    assert "4 attempts" in items["ja_endless"]["why"]
    assert "EXIT_CODE" in items["ja_dies"]["why"]
    assert "repeated once, which did not help" in items["ja_server"]["why"]
    assert "4 done, 3 stopped" in done.stdout
    assert sum(campaign.tries().values()) == 17
    # and run once more, nothing happens
    assert line.run("sync", campaign.path, code=1).stdout == ""
    assert "nothing is to be submitted" in line.run("submit", campaign.path).stdout
    assert sum(campaign.tries().values()) == 17
    print(f"killed {killed} times: {len(campaign.ran())} attempts, none lost, none doubled")


def test_sync_keeps_below_the_limits_of_the_campaign(campaign: Campaign) -> None:
    line = campaign.line
    (line.root / "jobs").mkdir()
    (line.root / "jobs" / "hold").touch()
    campaign.write("ja_held", "ja_good", more="limits: {unfinished: 1}")
    first = line.json("sync", campaign.path, code=3)
    assert [job["tasks"] for one in first["groups"] for job in one["submitted"]] == [["ja_held"]]
    assert first["waiting_for_room"] == 1
    second = line.json("sync", campaign.path, code=3)
    assert (second["groups"], second["waiting_for_room"]) == ([], 1)
    (line.root / "jobs" / "hold").unlink()
    line.run("wait")
    third = line.json("sync", campaign.path, code=3)
    assert [job["tasks"] for one in third["groups"] for job in one["submitted"]] == [["ja_good"]]
    line.run("wait")
    assert line.run("sync", campaign.path).stdout == ""
    campaign.assert_nothing_doubled()


def test_no_more_than_so_many_are_submitted_a_minute(campaign: Campaign) -> None:
    campaign.write("ja_good", "ja_held", "ja_flaky", more="limits: {per_minute: 2}")
    first = campaign.line.json("sync", campaign.path, code=3)
    assert sum(len(one["submitted"]) for one in first["groups"]) == 2
    campaign.line.run("wait")
    assert campaign.line.json("sync", campaign.path, code=3)["waiting_for_room"] == 1


def test_two_syncs_at_once_submit_once(campaign: Campaign) -> None:
    campaign.write("ja_good", "ja_dies")
    started = [campaign.line.start("sync", campaign.path) for _ in range(3)]
    codes = []
    for process in started:
        _, complaint = process.communicate(timeout=60)
        assert complaint == ""
        codes.append(process.returncode)
    assert set(codes) <= {1, 3, 6}
    assert 3 in codes
    campaign.line.run("wait", code=1)
    assert campaign.tries() == Counter(ja_good=1, ja_dies=1)


def test_what_was_decided_before_another_attempt_was_made_is_not_submitted(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = campaign.line
    campaign.write("ja_good")
    line.run("submit", campaign.path, "--wait")
    for name, value in line.environment.items():
        monkeypatch.setenv(name, value)
    choices = Choices(
        "local", "cpu", ["hpcjobs/tiny-demo"], ["ja_good"], settings="demo", provider="llamacpp"
    )
    one = assemble(Workspace(line.root), choices)
    (job,) = one.jobs
    for known, submitted in (({}, 0), ({job.id: 1}, 1)):
        outcome = submit(
            one.workspace, one.service, one.renderer, one.jobs, again=True, known=known
        )
        assert (len(outcome.submitted), len(outcome.kept)) == (submitted, 1 - submitted)
    line.run("wait")
    assert campaign.tries() == Counter(ja_good=2)


def test_above_the_threshold_nothing_is_submitted_unasked(campaign: Campaign) -> None:
    campaign.write("ja_good", "ja_held", jobs=1)
    for command in ("sync", "submit", "watch"):
        done = campaign.line.run(command, campaign.path, code=2)
        assert "2 job(s), more than 1 would be submitted" in done.stderr
    assert campaign.line.queue() == []
    campaign.line.run("submit", campaign.path, "--yes", "--wait")
    assert campaign.tries() == Counter(ja_good=1, ja_held=1)


def test_what_has_stopped_is_told_once_and_repeated_when_a_person_asks(
    campaign: Campaign,
) -> None:
    line = campaign.line
    campaign.write("ja_dies")
    line.run("submit", campaign.path, "--wait", code=1)
    told = line.run("sync", campaign.path, code=1).stdout
    assert "stopped: ja_dies of hpcjobs/tiny-demo: EXIT_CODE" in told
    assert line.run("sync", campaign.path, code=1).stdout == ""
    line.run("submit", campaign.path, "--failed", "--wait", code=1)
    assert campaign.tries() == Counter(ja_dies=2)


def test_a_suspect_result_is_not_repeated_by_itself(campaign: Campaign) -> None:
    line = campaign.line
    campaign.write("ja_doubtful")
    line.run("watch", campaign.path, "--interval", "0.2", code=1)
    item = campaign.items()["ja_doubtful"]
    assert (item["stands"], item["attempts"]) == ("stopped", 1)
    assert item["why"].startswith("done, but suspect: ja_doubtful: ")
    line.run("submit", campaign.path, "--failed", "--wait")
    assert line.run("sync", campaign.path).stdout == ""
    assert campaign.tries() == Counter(ja_doubtful=2)


def test_the_end_of_a_campaign_is_told_once_and_not_before_the_last_attempt(
    campaign: Campaign,
) -> None:
    line = campaign.line
    told = line.elsewhere / "told"
    script = line.elsewhere / "tell.sh"
    script.write_text(f"#!/bin/sh\ncat >>{told}\necho >>{told}\n")
    script.chmod(0o755)
    (line.root / "conf" / "notify.yaml").write_text(f"on: [all_done]\ncommand: [{script}]\n")
    campaign.write("ja_flaky")
    line.run("watch", campaign.path, "--interval", "0.2")
    (facts,) = [json.loads(one) for one in told.read_text().splitlines() if one]
    assert facts["unfinished"] == 0
    assert campaign.tries() == Counter(ja_flaky=2)


def test_what_was_made_under_other_settings_is_made_again(campaign: Campaign) -> None:
    line = campaign.line
    campaign.write("ja_good")
    line.run("submit", campaign.path, "--wait")
    (line.root / "generation_settings").mkdir(exist_ok=True)
    (line.root / "generation_settings" / "task_settings.csv").write_text(
        "key,generation_settings\nja_good,seed=7\n"
    )
    (item,) = campaign.items().values()
    assert item["decision"] == "submit"
    assert "made under other settings before" in item["why"]
    line.run("submit", campaign.path, "--wait")
    assert campaign.tries() == Counter(ja_good=2)
    assert campaign.items()["ja_good"]["why"] == "done"


def test_the_list_of_what_will_be_submitted_may_be_edited(campaign: Campaign) -> None:
    line = campaign.line
    campaign.write("ja_good", "ja_dies")
    path = line.elsewhere / "list.csv"
    line.run("plan", campaign.path, "--output", path)
    text = path.read_text()
    path.write_text("".join(row for row in text.splitlines(True) if "ja_dies" not in row))
    line.run("submit", "--from", path, "--yes", "--wait")
    assert campaign.tries() == Counter(ja_good=1)
    assert "is there already" in line.run("plan", campaign.path, "--output", path, code=2).stderr


def test_the_list_says_the_longer_walltime_and_it_is_kept(campaign: Campaign) -> None:
    line = campaign.line
    campaign.write("ja_slow")
    line.run("submit", campaign.path, "--wait", code=1)
    path = line.elsewhere / "list.csv"
    line.run("plan", campaign.path, "--output", path)
    text = path.read_text()
    assert ",00:00:02," in text
    path.write_text(text.replace("00:00:02", "00:00:05"))
    assert "at most 00:00:04" in line.run("submit", "--from", path, "--yes", code=2).stderr
    path.write_text(text.replace("00:00:02", "00:00:04"))
    line.run("submit", "--from", path, "--yes", "--wait")
    assert campaign.walltimes("ja_slow") == ["00:00:01", "00:00:04"]


def test_sync_may_be_killed_at_any_step(tmp_path: Path) -> None:
    def crashed(step: int) -> bool:
        (tmp_path / str(step)).mkdir()
        with command_line(tmp_path / str(step)) as line:
            campaign = Campaign(line)
            campaign.write("ja_good", "ja_dies")
            argv = [sys.executable, str(MISBEHAVING), f"die:{step}", "-w", str(line.root)]
            done = line.run(argv=[*argv, "sync", str(campaign.path)], code=None)
            if done.returncode == 3:
                return False
            assert done.returncode == -signal.SIGKILL, (step, done.stderr)
            line.run("sync", campaign.path, code=None)
            line.service(times={"submit_timeout": 1, "grace_seconds": 0})
            line.run("watch", campaign.path, "--interval", "0.2", code=1)
            stands = {key: one["stands"] for key, one in campaign.items().items()}
            assert stands == {"ja_good": "done", "ja_dies": "stopped"}, step
            campaign.assert_nothing_doubled()
            assert campaign.tries() == Counter(ja_good=1, ja_dies=1), step
        return True

    tried = 0
    with ThreadPoolExecutor(4) as pool:
        for first in itertools.count(1, 4):
            reached = list(pool.map(crashed, range(first, first + 4)))
            tried += sum(reached)
            if not all(reached):
                break
    print(f"killed at {tried} steps of sync: nothing lost, nothing doubled")
    assert tried > 20, "the steps are no longer found: see misbehaving.py"


@pytest.mark.parametrize("how", ["hang", "lost", "garbage", "empty", "fail"])
def test_a_scheduler_that_does_not_answer_sync_doubles_nothing(
    campaign: Campaign, how: str
) -> None:
    line = campaign.line
    campaign.write("ja_good", "ja_dies")
    argv = [sys.executable, str(MISBEHAVING), how, "-w", str(line.root)]
    for _ in range(2):
        done = line.run(argv=[*argv, "sync", str(campaign.path)], code=None)
        assert done.returncode in (3, 4), done.stderr
    line.service(times={"submit_timeout": 1, "grace_seconds": 0})
    line.run("watch", campaign.path, "--interval", "0.2", code=1)
    campaign.assert_nothing_doubled()
    assert campaign.tries() == Counter(ja_good=1, ja_dies=1)


def test_ctrl_c_ends_watch_and_the_jobs_go_on(campaign: Campaign) -> None:
    line = campaign.line
    (line.root / "jobs").mkdir()
    (line.root / "jobs" / "hold").touch()
    campaign.write("ja_held")
    watching = line.start("watch", campaign.path, "--interval", "0.2")
    wait_for(lambda: campaign.ran())
    os.killpg(watching.pid, signal.SIGINT)
    _, complaint = watching.communicate(timeout=30)
    assert (watching.returncode, complaint.strip()) == (130, "interrupted")
    (line.root / "jobs" / "hold").unlink()
    line.run("wait")
    assert campaign.tries() == Counter(ja_held=1)


def test_a_dry_run_of_a_campaign_submits_nothing(campaign: Campaign) -> None:
    campaign.write("ja_good")
    shown = campaign.line.run("submit", campaign.path, "--dry-run", "--json").stdout
    assert [job["tasks"] for one in json.loads(shown)["groups"] for job in one["jobs"]] == [
        ["ja_good"]
    ]
    assert not (campaign.line.root / "jobs").exists()


def test_plan_of_options_says_what_the_policy_thinks(campaign: Campaign) -> None:
    words = ("--service", "local", "--node", "cpu", "--provider", "llamacpp", "--tasks", "ja_dies",
             "--model", "hpcjobs/tiny-demo", "--settings", "demo")  # fmt: skip
    assert campaign.line.json("plan", *words)["items"][0]["decision"] == "submit"
    campaign.line.run("submit", *words, "--yes", "--wait", code=1)
    assert campaign.line.json("plan", *words)["items"][0]["decision"] == "stop"


def test_watch_shows_a_table_on_a_terminal(campaign: Campaign, tmp_path: Path) -> None:
    campaign.write("ja_good", "ja_dies")
    output = tmp_path / "typescript"
    command = " ".join(map(str, campaign.line.argv("watch", campaign.path, "--interval", "0.2")))
    done = subprocess.run(
        ["script", "-qec", command, str(output)],
        env={**campaign.line.environment, "TERM": "xterm"},
        cwd=campaign.line.elsewhere,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    text = output.read_text()
    assert done.returncode == 1, text
    assert "done" in text
    assert "stopped: ja_dies of hpcjobs/tiny-demo: EXIT_CODE" in text
    assert "of 00:00:04" in text
