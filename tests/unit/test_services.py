"""The services that are shipped, and what a service's file may say."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from hpcjobs.config.services import find_node, read_service, read_service_file, service_names
from hpcjobs.config.tables import read_tasks
from hpcjobs.errors import InputError
from hpcjobs.workspace import Workspace

PROJECT = Path(__file__).parents[2]
FILES = sorted((PROJECT / "conf" / "services").glob("*.yaml"))

Write = Callable[..., Path]

# The operators' own tables: cores, memory in GB, devices, local disk in GB, coefficient.
TSUBAME4 = {
    "node_f": (192, 768, 4, 1660, Decimal("1.0")),
    "node_h": (96, 384, 2, 830, Decimal("0.5")),
    "node_q": (48, 192, 1, 415, Decimal("0.25")),
    "node_o": (24, 96, 1, 200, Decimal("0.125")),
    "gpu_1": (8, 96, 1, 200, Decimal("0.2")),
    "gpu_h": (4, 48, 1, 100, Decimal("0.1")),
    "cpu_160": (160, 368, 0, 830, Decimal("0.6")),
    "cpu_80": (80, 184, 0, 415, Decimal("0.3")),
    "cpu_40": (40, 92, 0, 200, Decimal("0.15")),
    "cpu_16": (16, 36.8, 0, 83, Decimal("0.06")),
    "cpu_8": (8, 18.4, 0, 40, Decimal("0.03")),
    "cpu_4": (4, 9.2, 0, 20, Decimal("0.015")),
}
# Logical CPUs, memory in GB, devices, local disk in GB, points an hour (standard, accelerated).
ABCI = {
    "rt_HF": (192, 1920, 8, 14000, 16, 7.5),
    "rt_HG": (16, 160, 1, 1400, 3, 1.5),
    "rt_HC": (32, 320, 0, 1400, 1, 0.5),
}

SMALL = """\
scheduler: slurm
times: {walltime_max: "1:00:00"}
nodes:
  one: {cores: 1, memory_gb: 1, runtime: hrt_q}
"""


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_service_file(path)
    return caught.value


def test_the_nodes_of_tsubame_are_as_the_operator_says(shipped: Workspace) -> None:
    nodes = read_service(shipped, "tsubame").nodes
    assert {
        name: (node.cores, node.memory_gb, node.gpus, node.local_disk_gb, node.price["coefficient"])
        for name, node in nodes.items()
    } == TSUBAME4


def test_the_nodes_of_abci_are_as_the_operator_says(shipped: Workspace) -> None:
    nodes = read_service(shipped, "abci").nodes
    assert {
        name: (
            node.cores,
            node.memory_gb,
            node.gpus,
            node.local_disk_gb,
            node.price["standard"],
            node.price["accelerated"],
        )
        for name, node in nodes.items()
    } == ABCI


@pytest.mark.parametrize(("name", "hours"), [("tsubame", 24), ("abci", 168)])
def test_the_longest_walltime_is_the_operators(shipped: Workspace, name: str, hours: int) -> None:
    assert read_service(shipped, name).walltime_max == hours * 3600


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("tsubame", {"unfinished": 2000, "running": 30, "units": 64}),
        ("abci", {"unfinished": 1000, "running": 200}),
    ],
)
def test_the_limits_of_a_user_are_the_operators(
    shipped: Workspace, name: str, limits: dict[str, int]
) -> None:
    assert read_service(shipped, name).limits == limits


def test_the_cheapest_priority_of_tsubame_is_the_default(shipped: Workspace) -> None:
    assert read_service(shipped, "tsubame").priorities == ("-5", "-4", "-3")


@pytest.mark.parametrize("name", ["tsubame", "abci"])
def test_a_site_is_not_asked_more_than_once_a_minute(shipped: Workspace, name: str) -> None:
    assert read_service(shipped, name).poll_seconds >= 60


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [("tsubame", "grid_engine"), ("abci", "pbs"), ("slurm", "slurm"), ("local", "local")],
)
def test_every_shipped_service_is_found_by_name(
    shipped: Workspace, name: str, scheduler: str
) -> None:
    assert read_service(shipped, name).scheduler == scheduler


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_node_has_a_time_for_every_task(path: Path) -> None:
    tasks = read_tasks(PROJECT / "conf" / "tasks_runtime.csv").values()
    for node in read_service_file(path).nodes.values():
        for task in tasks:
            assert set(node.runtime) & set(task.walltimes), (node.name, task.key)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_service_has_its_template(path: Path) -> None:
    assert (PROJECT / "templates" / read_service_file(path).template).is_file()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_service_lets_the_server_start_within_its_walltime(path: Path) -> None:
    service = read_service_file(path)
    assert service.end_margin + service.start_timeout < service.walltime_max


@pytest.mark.parametrize("name", ["tsubame", "abci", "slurm"])
def test_a_job_has_time_to_end_itself_before_it_is_killed(shipped: Workspace, name: str) -> None:
    service = read_service(shipped, name)
    assert service.end_margin > 2 * service.stop_grace


# ---- What a file may say -------------------------------------------------------------------------


def test_little_needs_to_be_said(write: Write) -> None:
    service = read_service_file(write(SMALL, "mine.yaml"))
    assert (service.name, service.title, service.template, service.poll_seconds) == (
        ("mine", "mine", "schedulers/slurm.sh.j2", 60)
    )


def test_a_file_of_the_workspace_is_a_service(write: Write, shipped: Workspace) -> None:
    write(SMALL, "conf/services/mine.yaml")
    assert "mine" in service_names(shipped)
    assert read_service(shipped, "mine").walltime_max == 3600


def test_a_file_of_the_workspace_comes_before_the_shipped_one(
    write: Write, shipped: Workspace
) -> None:
    write(SMALL, "conf/services/tsubame.yaml")
    assert list(read_service(shipped, "tsubame").nodes) == ["one"]


def test_an_unknown_service_is_refused_with_the_nearest(shipped: Workspace) -> None:
    with pytest.raises(InputError) as caught:
        read_service(shipped, "tsubam")
    assert caught.value.nearest == "tsubame"
    assert caught.value.expected == "one of: abci, local, slurm, tsubame"


@pytest.mark.parametrize("name", ["../services/tsubame", "", "tsubame.yaml"])
def test_a_service_is_named_not_pointed_to(shipped: Workspace, name: str) -> None:
    with pytest.raises(InputError, match="unknown service"):
        read_service(shipped, name)


def test_an_unknown_node_is_refused_with_the_nearest(shipped: Workspace) -> None:
    with pytest.raises(InputError) as caught:
        find_node(read_service(shipped, "tsubame"), "nodeq")
    assert caught.value.nearest == "node_q"
    assert "node_f" in str(caught.value.expected)


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("scheduler: slurm", "scheduler: slrum", 1, "'slrum' is not known"),
        ("scheduler: slurm", "schedular: slurm", 1, "the key 'scheduler' is missing"),
        ("times: ", "limit: {a: 1}\ntimes: ", 2, "unknown key 'limit'"),
        ("times: ", "umask: 999\ntimes: ", 2, "umask: '999' is not allowed"),
        ("times: ", "limits: {running: 0}\ntimes: ", 2, "limits.running: 0 is not allowed"),
        ("times: ", "exports: {A: 1}\ntimes: ", 2, "exports.A: 1 is not a text"),
        ("times: ", "modules: [1.5]\ntimes: ", 2, "modules: 1.5 is not a text"),
        ('"1:00:00"}', '"1:00:00", gracce: 1}', 2, "unknown key 'gracce'"),
        ('"1:00:00"', "60", 2, "times.walltime_max: '60' is not a time"),
        ("{walltime_max", "{walltime", 2, "times: the key 'walltime_max' is missing"),
        ("cores: 1", "cores: 0", 4, "nodes.one.cores: 0 is not allowed"),
        ("cores: 1", "cpus: 1", 4, "nodes.one: the key 'cores' is missing"),
        ("memory_gb: 1", "memory_gb: 1GB", 4, "nodes.one.memory_gb: '1GB' is not allowed"),
        ("memory_gb: 1", "memory_gb: 1, gpu: 1", 4, "unknown key 'gpu'"),
        (", runtime: hrt_q", "", 4, "nodes.one: the key 'runtime' is missing"),
        ("one:", "'o\\n e':", 4, "not a node's name"),
        ("runtime: hrt_q", "runtime: x, price: {c: a}", 4, "price.c: 'a' is not allowed"),
        ("runtime: hrt_q", "runtime: x, price: {c: 1}", 4, "price: there is no formula for it"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_its_line(
    write: Write, old: str, new: str, line: int, what: str
) -> None:
    assert old in SMALL
    path = write(SMALL.replace(old, new), "mine.yaml")
    error = refused(path)
    assert what in error.what
    assert error.where == f"{path}:{line}"


@pytest.mark.parametrize("nodes", ["nodes: {}", "nodes:", ""])
def test_a_service_without_nodes_is_refused(write: Write, nodes: str) -> None:
    assert "no nodes" in refused(write(SMALL.partition("nodes:")[0] + nodes)).what


@pytest.mark.parametrize(
    ("key", "near"), [("gpu", "gpus"), ("runtimes", "runtime"), ("local_disk", "local_disk_gb")]
)
def test_a_misspelt_key_of_a_node_is_told_the_nearest(write: Write, key: str, near: str) -> None:
    path = write(SMALL.replace("cores: 1", f"cores: 1, {key}: 1"))
    assert refused(path).nearest == near
