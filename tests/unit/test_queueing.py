"""What is asked of a scheduler is checked before it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from hpcjobs.errors import InputError
from hpcjobs.model import Node, Service
from hpcjobs.queueing import Queueing, check_options, checked

NODE = Node("node_q", gpus=1, cores=48, memory_gb=192, runtime=("hrt_q",))
SERVICE = Service(
    "tsubame",
    "grid_engine",
    "TSUBAME",
    {"node_q": NODE},
    86400,
    "schedulers/grid_engine.sh.j2",
    priorities=("-5", "-4", "-3"),
    trial_max=180,
)
LOCAL = replace(SERVICE, name="local", scheduler="local", priorities=(), trial_max=0)


def refused(asked: Queueing, service: Service = SERVICE, samples: int | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        checked(asked, service, NODE, samples)
    return caught.value


def test_the_first_priority_is_the_default() -> None:
    assert checked(Queueing(), SERVICE, NODE, None).priority == "-5"
    assert checked(Queueing(priority="-3"), SERVICE, NODE, None).priority == "-3"


def test_all_that_is_asked_for_is_kept() -> None:
    asked = Queueing("-4", "123", "me@example.org", options={"q": "prior"})
    assert checked(asked, SERVICE, NODE, None) == asked


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        (Queueing(reservation="1 2"), "--reservation"),
        (Queueing(reservation="-q"), "--reservation"),
        (Queueing(mail="me"), "--mail"),
        (Queueing(mail="me@host -q x"), "--mail"),
        (Queueing(options={"": "x"}), "--scheduler-option"),
        (Queueing(options={"-q": "x"}), "--scheduler-option"),
        (Queueing(options={"q x": ""}), "--scheduler-option"),
        (Queueing(options={"g": "tga-other"}), "--scheduler-option"),
        (Queueing(options={"N": "another"}), "--scheduler-option"),
        (Queueing(options={"V": ""}), "--scheduler-option"),
        (Queueing(options={"l": "h_rt=1:00:00"}), "--scheduler-option"),
        (Queueing(options={"l": "mem=1G,node_q=2"}), "--scheduler-option"),
    ],
)
def test_what_would_be_refused_or_would_break_the_bookkeeping_is_refused_here(
    asked: Queueing, word: str
) -> None:
    assert refused(asked).where == word


def test_further_resources_are_allowed() -> None:
    asked = Queueing(options={"l": "mem_free=1G", "q": "prior", "notify": ""})
    assert checked(asked, SERVICE, NODE, None).options == asked.options


@pytest.mark.parametrize(
    "asked", [Queueing(reservation="1"), Queueing(mail="a@b"), Queueing(options={"q": "x"})]
)
def test_the_local_queue_has_none_of_that(asked: Queueing) -> None:
    assert "local has no reservations" in refused(asked, LOCAL).what


def test_a_trial_is_for_few_samples_where_there_are_trials() -> None:
    assert checked(Queueing(trial=True), SERVICE, NODE, 4).trial
    assert "too short for a whole evaluation" in refused(Queueing(trial=True)).what
    assert "no trial runs" in refused(Queueing(trial=True), LOCAL, 4).what
    for asked in (Queueing("-3", trial=True), Queueing(reservation="1", trial=True)):
        assert "neither a priority nor a reservation" in refused(asked, samples=4).what


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        ("slurm", {"clusters": "other"}),
        ("slurm", {"array": "1-3"}),
        ("slurm", {"export": "ALL"}),
        ("slurm", {"job-nam": "evil"}),
        ("slurm", {"arr": "1-3"}),
        ("slurm", {"outpu": "x"}),
        ("slurm", {"chdi": "x"}),
        ("slurm", {"parsab": ""}),
        ("slurm", {"test-only": ""}),
        ("slurm", {"uid": "other"}),
        ("slurm", {"gid": "other"}),
        ("slurm", {"nodes": "2"}),
        ("slurm", {"tim": "1:00"}),
        ("slurm", {"export-file": "x"}),
        ("pbs", {"J": "1-3"}),
        ("pbs", {"v": "HF_TOKEN=x"}),
        ("pbs", {"l": "ngpus=1,walltime=1:00"}),
        ("pbs", {"W": "group_list=g,depend=afterany:1"}),
        ("pbs", {"W": "Job_Name=evil"}),
        ("pbs", {"l": "WALLTIME=1:00"}),
        ("pbs", {"W": "Resource_List.walltime=1:00"}),
        ("pbs", {"hN": "evil"}),
        ("pbs", {"u": "other"}),
        ("grid_engine", {"t": "1-3"}),
        ("grid_engine", {"clear": ""}),
        ("grid_engine", {"verify": ""}),
        ("grid_engine", {"help": ""}),
        ("grid_engine", {"now": "y"}),
        ("grid_engine", {"inherit": ""}),
        ("grid_engine", {"w": "v"}),
    ],
)
def test_a_service_file_may_not_set_them_either(scheduler: str, options: Mapping[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        check_options(scheduler, options, (), where="FILE")
    assert caught.value.where == "FILE"


SBATCH = (
    "account acctg-freq batch bb bbf begin cluster-constraint comment constraint container "
    "contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline "
    "delay-boot dependency distribution exclude exclusive extra-node-info get-user-env gpu-bind "
    "gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint hold "
    "ignore-pbs input kill-on-invalid-dep licenses mcs-label mem mem-bind mem-per-cpu mem-per-gpu "
    "mincpus network nice no-kill nodefile nodelist ntasks ntasks-per-core ntasks-per-gpu "
    "ntasks-per-node ntasks-per-socket overcommit oversubscribe partition power prefer priority "
    "profile propagate qos quiet reboot signal sockets-per-node spread-job switches thread-spec "
    "threads-per-core time-min tmp use-min-nodes verbose wait-all-nodes wckey"
)
"""All long options of sbatch 22.05 that hpcjobs does not write itself."""


def test_every_other_option_of_the_schedulers_is_allowed() -> None:
    check_options("slurm", dict.fromkeys(SBATCH.split(), "x"), (), where="FILE")
    grid_engine = dict.fromkeys(["h", "hold_jid", "q", "pe", "P", "R", "binding", "notify"], "x")
    check_options("grid_engine", {**grid_engine, "w": "e"}, (), where="FILE")
    pbs = {**dict.fromkeys(["h", "a", "A", "c"], "x"), "W": "group_list=g", "l": "ncpus=4"}
    check_options("pbs", pbs, (), where="FILE")


def test_a_refused_abbreviation_is_explained() -> None:
    with pytest.raises(InputError, match="job-name, which job-nam may be short for"):
        check_options("slurm", {"job-nam": "x"}, (), where="FILE")
