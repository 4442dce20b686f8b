"""conf/providers.yaml: who can serve a model, and how it is reached."""

from __future__ import annotations

from pathlib import Path

from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.errors import InputError, unknown
from hpcjobs.model import Node, Provider


def read_providers(path: Path) -> dict[str, Provider]:
    """All providers, by name.

    Raises:
        InputError: a key is wrong, or a provider has both a server and a base URL, or neither.
    """
    providers: dict[str, Provider] = {}
    with Fields(read_yaml(path)) as fields:
        for name in fields.names():
            with fields.section(name) as entry:
                provider = Provider(
                    name=name,
                    server=entry.text("server", None),
                    base_url=entry.text("base_url", None, pattern=r"https?://[A-Za-z0-9_.:/-]+"),
                    litellm=entry.text("litellm", ""),
                    result_prefix=entry.text("result_prefix", ""),
                    needs_gpu=entry.boolean("needs_gpu", False),
                    needs_weights=entry.boolean("needs_weights", False),
                    key=entry.text("key", None, pattern="[A-Z][A-Z0-9_]*"),
                )
                if (provider.server is None) == (provider.base_url is None):
                    raise entry.error("needs either 'server' or 'base_url'")
                providers[name] = provider
    return providers


def choose_provider(providers: dict[str, Provider], name: str, node: Node) -> Provider:
    """The provider of that name, if it can work on this node.

    Raises:
        InputError: there is none of that name; it needs a GPU and the node has none; or it runs
            elsewhere, and the node's GPUs would be paid for nothing.
    """
    if name not in providers:
        raise unknown("provider", name, providers, where="--provider")
    provider = providers[name]
    if provider.needs_gpu and not node.gpus:
        raise InputError(
            f"{name} serves on GPUs, and the node {node.name} has none",
            where="--node",
            do="choose a node with GPUs, or another --provider",
        )
    if provider.base_url and node.gpus:
        raise InputError(
            f"{name} serves elsewhere: the {node.gpus} GPU(s) of {node.name} would be wasted",
            where="--node",
            do="choose a CPU node",
        )
    return provider
