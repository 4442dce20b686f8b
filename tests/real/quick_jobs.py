"""Jobs that evaluate nothing: the workspace's own template is a script that only says it ran.

Where a test is about the life of jobs, the evaluator does not matter; the queue is the real one.
"""

from __future__ import annotations

from collections import Counter

from command_line import CommandLine

TEMPLATE = r"""#!/bin/bash
#HPCJOBS --name {{ name | directive("--name") }}
#HPCJOBS --cpu-slots {{ scheduler_options["cpu_slots"] }}
#HPCJOBS --walltime {{ job.walltime | hms }}
#HPCJOBS --grace 1
cd {{ attempt_dir | sh }} && mkdir work || exit 93
mark() { printf '%s %s\n' "$2" "$(date -u +%FT%TZ)" >".$1" && mv ".$1" "$1"; }
mark started -
echo {{ attempt.label | sh }} {{ tasks[0].key | sh }} >>../../ran
trap 'mark signal TERM; mark exit_code 143; exit 143' TERM
while [ -e ../../hold ]; do sleep 0.05; done
mkdir -p results/{{ tasks[0].result_dir | sh }} && cd results/{{ tasks[0].result_dir | sh }}
cat >results_2026-01-01T00-00-00.000000.json <<'END'
{"config": {}, "model_name": "{{ job.model }}", "n-samples": {},
 "results": {"{{ tasks[0].script }}": {"exact_match,strip": 0.5}}}
END
cat >{{ ("samples_" ~ tasks[0].script ~ "_2026-01-01T00-00-00.000000.jsonl") | sh }} <<'END'
{"doc_id": 0, "arguments": [["question", {}]], "resps": [["answer"]]}
END
cd {{ attempt_dir | sh }} && mark exit_code 0
"""


def use_quick_jobs(line: CommandLine) -> None:
    """Give the workspace the template, and a queue that runs eight such jobs at once."""
    path = line.root / "templates" / "schedulers" / "local.sh.j2"
    path.parent.mkdir(parents=True)
    path.write_text(TEMPLATE)
    line.service(options={"cpu_slots": "8"}, times={"submit_timeout": 30})


def hold(line: CommandLine) -> None:
    """Let jobs run on until `let_go`."""
    (line.root / "jobs").mkdir(exist_ok=True)
    (line.root / "jobs" / "hold").touch()


def let_go(line: CommandLine) -> None:
    """Let all jobs end."""
    (line.root / "jobs" / "hold").unlink()


def runs(line: CommandLine) -> Counter[str]:
    """How often each task was really run."""
    path = line.root / "jobs" / "ran"
    words = path.read_text().split() if path.exists() else []
    return Counter(words[1::2])
