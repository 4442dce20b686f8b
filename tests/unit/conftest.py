"""Values to test with: small, plain, and changed where a test needs something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from hpcjobs.model import Job, Node, Provider, Service, Task, TaskRun
from hpcjobs.plan import Request
from hpcjobs.workspace import Workspace

# A busy machine is no failure.
hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session")
def project() -> Path:
    """The top level of the project, with the tables, services and settings that it ships."""
    return Path(__file__).parents[2]


@pytest.fixture
def shipped(tmp_path: Path) -> Workspace:
    """A workspace without files of its own: everything comes from the defaults."""
    return Workspace(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a text (or bytes) under a name, and return its path."""

    def write(content: str | bytes, name: str = "file") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def a_task() -> Callable[..., Task]:
    """A task of lighteval that takes half an hour on `hrt_q`."""

    def make(key: str = "ja_gpqa", **changes: Any) -> Task:
        values: dict[str, Any] = {
            "key": key,
            "script": f"script_of_{key}",
            "result_dir": key.replace("_", "/", 1),
            "framework": "lighteval",
            "walltimes": {"hrt_q": 1800},
            "where": "conf/tasks_runtime.csv:7",
        }
        return Task(**{**values, **changes})

    return make


@pytest.fixture
def a_node() -> Callable[..., Node]:
    """A node with one GPU."""

    def make(**changes: Any) -> Node:
        values: dict[str, Any] = {
            "name": "gpu_1",
            "gpus": 1,
            "cores": 8,
            "memory_gb": 64.0,
            "runtime": ("hrt_q",),
        }
        return Node(**{**values, **changes})

    return make


@pytest.fixture
def a_service(a_node: Callable[..., Node]) -> Callable[..., Service]:
    """A service of the local queue with one kind of node."""

    def make(**changes: Any) -> Service:
        values: dict[str, Any] = {
            "name": "local",
            "scheduler": "local",
            "title": "this machine",
            "nodes": {"gpu_1": a_node()},
            "walltime_max": 86400,
            "template": "schedulers/local.sh.j2",
        }
        return Service(**{**values, **changes})

    return make


@pytest.fixture
def a_provider() -> Callable[..., Provider]:
    """vLLM, started in the job."""

    def make(**changes: Any) -> Provider:
        values: dict[str, Any] = {
            "name": "vllm",
            "server": "vllm",
            "result_prefix": "hosted_vllm",
            "litellm": "hosted_vllm",
        }
        return Provider(**{**values, **changes})

    return make


@pytest.fixture
def a_request(
    a_task: Callable[..., Task],
    a_service: Callable[..., Service],
    a_provider: Callable[..., Provider],
) -> Callable[..., Request]:
    """One task, evaluated on one GPU with vLLM."""

    def make(**changes: Any) -> Request:
        service = changes.pop("service", None) or a_service()
        values: dict[str, Any] = {
            "workspace": "/home/me/evaluations:1234",
            "service": service,
            "node": next(iter(service.nodes.values())),
            "provider": a_provider(),
            "tasks": [a_task()],
            "task_settings": {},
        }
        return Request(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def a_job() -> Callable[..., Job]:
    """A job of one task."""

    def make(job_id: str = "abcdef0", **changes: Any) -> Job:
        values: dict[str, Any] = {
            "id": job_id,
            "digest": f"digest of {job_id}",
            "service": "local",
            "node": "gpu_1",
            "provider": "vllm",
            "model": "org/モデル",
            "settings_name": "mine",
            "settings_version": "1",
            "settings_path": "generation_settings/x.yaml",
            "tasks": (TaskRun("ja_gpqa", "gpqa", "ja/gpqa", "lighteval", {"temperature": 0.5}),),
            "walltime": 1800,
            "max_samples": 10,
            "priority": "-5",
            "devices": ("0", "1"),
            "result_prefix": "hosted_vllm",
            "model_names": ("org/モデル",),
        }
        return Job(**{**values, **changes})

    return make
