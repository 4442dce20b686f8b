"""Who can serve a model, and on which node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs.config.providers import choose_provider, read_providers
from hpcjobs.errors import InputError
from hpcjobs.model import Node, Provider


@pytest.fixture(scope="session")
def providers(project: Path) -> dict[str, Provider]:
    return read_providers(project / "conf" / "providers.yaml")


@pytest.fixture
def node() -> Callable[[int], Node]:
    return lambda gpus: Node("n", gpus=gpus, cores=1, memory_gb=1, runtime=("hrt_q",))


def test_every_server_has_its_template(project: Path, providers: dict[str, Provider]) -> None:
    for provider in providers.values():
        if provider.server:
            assert (project / "templates" / "servers" / f"{provider.server}.sh.j2").is_file()


def test_results_of_vllm_lie_where_the_group_has_them(providers: dict[str, Provider]) -> None:
    assert providers["vllm"].result_prefix == "hosted_vllm"


@pytest.mark.parametrize(("name", "gpus"), [("vllm", 1), ("llamacpp", 0), ("openai", 0)])
def test_a_provider_that_can_work_on_the_node_is_given(
    providers: dict[str, Provider], node: Callable[[int], Node], name: str, gpus: int
) -> None:
    assert choose_provider(providers, name, node(gpus)).name == name


@pytest.mark.parametrize(
    ("name", "gpus", "what"),
    [
        ("vllm", 0, "serves on GPUs"),
        ("openai", 1, "serves elsewhere: the 1 GPU"),
        ("vlm", 1, "unknown provider 'vlm'"),
    ],
)
def test_a_provider_that_cannot_is_refused(
    providers: dict[str, Provider], node: Callable[[int], Node], name: str, gpus: int, what: str
) -> None:
    with pytest.raises(InputError, match=what):
        choose_provider(providers, name, node(gpus))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{server: vllm, base_url: 'https://a'}",
        "{base_url: 'ftp://a'}",
        "{base_url: 'https://a b'}",
        "{server: vllm, key: lower}",
        "{server: vllm, needs_gpu: yes}",
        "{server: vllm, resultprefix: a}",
    ],
)
def test_a_wrong_provider_is_refused_by_its_line(write: Callable[..., Path], text: str) -> None:
    path = write(f"# mine\nx: {text}\n")
    with pytest.raises(InputError) as caught:
        read_providers(path)
    assert caught.value.where == f"{path}:2"
