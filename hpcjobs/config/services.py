"""conf/services/*.yaml: where jobs run."""

from __future__ import annotations

import re
from pathlib import Path

from hpcjobs.config.prices import check_nodes, node_figures, read_pricing
from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.errors import printable, unknown
from hpcjobs.model import Node, Pricing, Service
from hpcjobs.queueing import check_options
from hpcjobs.workspace import Workspace

LIMITS = ("unfinished", "running", "units")
SCHEDULERS = ("grid_engine", "local", "pbs", "slurm")
DIRECTORY = ("conf", "services")
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def service_names(workspace: Workspace) -> list[str]:
    """All services that are described, by the workspace or by the defaults."""
    found = {path.stem for folder in workspace.layers(*DIRECTORY) for path in folder.glob("*.yaml")}
    return sorted(found)


def read_service(workspace: Workspace, name: str) -> Service:
    """The service of that name.

    Raises:
        InputError: there is none, or its file is wrong.
    """
    if name not in service_names(workspace):
        raise unknown(
            "service",
            name,
            service_names(workspace),
            where="--service",
            do="or describe it in conf/services/NAME.yaml",
        )
    return read_service_file(workspace.find_file(*DIRECTORY, f"{name}.yaml"))


def read_service_file(path: Path) -> Service:
    """The service that one file describes; it has the name of the file."""
    with Fields(read_yaml(path)) as fields:
        scheduler = str(fields.text("scheduler", choices=SCHEDULERS))
        times = fields.section("times")
        priorities = fields.texts("priorities", ())
        pricing = read_pricing(fields, priorities)
        download = fields.section("predownload")
        service = Service(
            name=path.stem,
            title=fields.text("title", path.stem),
            scheduler=scheduler,
            template=fields.text("template", f"schedulers/{scheduler}.sh.j2"),
            group=fields.text("group", ""),
            nodes={name: _node(name, node, pricing) for name, node in fields.sections("nodes")},
            priorities=priorities,
            walltime_max=times.duration("walltime_max"),
            poll_seconds=times.integer("poll_seconds", 60),
            grace_seconds=times.integer("grace_seconds", 600),
            submit_timeout=times.integer("submit_timeout", 60, minimum=1),
            trial_max=times.duration("trial_max") if times.has("trial_max") else 0,
            end_margin=times.integer("end_margin", 0),
            stop_grace=times.integer("stop_grace", 5),
            start_timeout=times.integer("start_timeout", 1800, minimum=1),
            umask=fields.text("umask", "027", pattern="0?[0-7]{3}"),
            modules=fields.texts("modules", ()),
            exports=fields.texts_by_key("exports"),
            environments=_environments(fields),
            stage_weights=fields.boolean("stage_weights", False),
            load_format=fields.text("load_format", "", pattern="[a-z_]+"),
            options=fields.texts_by_key("options"),
            limits=_limits(fields.section("limits")),
            price=pricing,
            download_node=download.text("node", ""),
            download_walltime=download.duration("walltime", 4 * 3600),
            where=str(path),
        )
        times.refuse_others()
        download.refuse_others()
        if service.download_node:
            find_node(service, service.download_node, where=download.where("node"))
        if scheduler == "local":
            _check_local(fields.section("options"))
        for options in (service.options, *(node.options for node in service.nodes.values())):
            check_options(scheduler, options, service.nodes, where=str(path))
        if not service.nodes:
            raise fields.error("no nodes are described", "nodes")
        check_nodes(fields, service.nodes, pricing)
        _check_bigger(fields, dict(service.nodes))
        return service


def find_node(service: Service, name: str, *, where: str = "--node") -> Node:
    """The node of that name.

    Raises:
        InputError: the service has none of that name.
    """
    if name not in service.nodes:
        raise unknown(f"node of {service.name}:", name, service.nodes, where=where)
    return service.nodes[name]


def _node(name: str, outer: Fields, pricing: Pricing | None) -> Node:
    with outer as fields:
        if not _NODE_NAME.fullmatch(name):
            raise fields.error("not a node's name", expected="letters, digits and _ . + -")
        return Node(
            name=name,
            gpus=fields.integer("gpus", 0),
            cores=fields.integer("cores", minimum=1),
            memory_gb=fields.number("memory_gb"),
            local_disk_gb=fields.number("local_disk_gb", 0.0),
            runtime=fields.texts("runtime"),
            price=node_figures(fields, pricing),
            part_of=fields.text("part_of", ""),
            options=fields.texts_by_key("options"),
            description=fields.text("description", ""),
            bigger=fields.text("bigger", ""),
        )


def _environments(outer: Fields) -> dict[str, str]:
    """Directories, or `uv run ...` that changes no environment which other jobs use."""
    given = outer.texts_by_key("environments")
    with outer.section("environments") as fields:
        fields.names()
        for name, text in given.items():
            if not text.startswith("uv "):
                continue
            words = text.split()
            if words[1:2] != ["run"] or not {"--isolated", "--no-sync"} & set(words):
                raise fields.error(
                    f"{printable(text)}: jobs that start at once would build one environment",
                    name,
                    expected="a directory, or: uv run --isolated --locked --project DIR "
                    "(or --no-sync in place of --isolated)",
                )
    return given


def _check_bigger(fields: Fields, nodes: dict[str, Node]) -> None:
    """`bigger` names another node, and does not lead back to where it began."""
    for name, node in nodes.items():
        seen = {name}
        while node.bigger:
            if node.bigger not in nodes:
                raise unknown("node", node.bigger, nodes, where=fields.where("nodes"))
            if node.bigger in seen:
                raise fields.error(f"{name}: bigger leads back to {node.bigger}", "nodes")
            seen.add(node.bigger)
            node = nodes[node.bigger]


def _check_local(outer: Fields) -> None:
    with outer as fields:
        fields.text("devices", "auto", pattern="auto|[0-9]+(,[0-9]+)*")
        fields.text("cpu_slots", "1", pattern="[1-9][0-9]*")


def _limits(outer: Fields) -> dict[str, int]:
    with outer as fields:
        fields.allow(LIMITS)
        return {key: fields.integer(key, minimum=1) for key in LIMITS if fields.has(key)}
