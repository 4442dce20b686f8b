"""conf/providers.yaml: who can serve a model, how it is reached, and what it can do."""

from __future__ import annotations

import re
from pathlib import Path

from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.errors import InputError, printable, unknown
from hpcjobs.model import Node, Provider

FRAMEWORKS = ("lighteval", "lm_eval")
URL = r"https?://[A-Za-z0-9_.:/\[\]-]+"
_URL_OR_NAME = r"(https?://)?([A-Za-z0-9_.:/\[\]-]|\$\{[A-Za-z_][A-Za-z0-9_]*\})+"
_PROGRAM = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


def read_providers(path: Path) -> dict[str, Provider]:
    """All providers, by name.

    Raises:
        InputError: a key is wrong, or a provider is reached in no way, or in more than one.
    """
    with Fields(read_yaml(path)) as fields:
        return {name: _provider(name, fields.section(name)) for name in fields.names()}


def _provider(name: str, outer: Fields) -> Provider:
    with outer as entry:
        provider = Provider(
            name=name,
            server=entry.text("server", None),
            base_url=_base_url(entry),
            in_process=_programs(entry.section("in_process"), FRAMEWORKS),
            litellm=entry.text("litellm", ""),
            lm_eval=_programs(entry.section("lm_eval"), ("chat", "completions")),
            result_prefix=entry.text("result_prefix", ""),
            chat=entry.boolean("chat", True),
            completions=entry.boolean("completions", True),
            loglikelihood=entry.boolean("loglikelihood", False),
            needs_gpu=entry.boolean("needs_gpu", False),
            needs_weights=entry.boolean("needs_weights", False),
            gpu_memory_utilization=entry.number("gpu_memory_utilization", 0.9, maximum=1.0),
            key=entry.text("key", None, pattern="[A-Z][A-Z0-9_]*"),
            key_required=entry.boolean("key_required", True),
        )
        ways = (provider.server, provider.base_url, provider.in_process)
        if sum(map(bool, ways)) != 1:
            raise entry.error(
                "needs one way to reach the model", expected="'server', 'base_url' or 'in_process'"
            )
        if provider.loglikelihood and not provider.completions:
            raise entry.error("'loglikelihood' comes of completions, which it has not")
        return provider


def _base_url(entry: Fields) -> str | None:
    url = entry.text("base_url", None, pattern=_URL_OR_NAME)
    if url is not None and not url.startswith(("http", "${")):
        raise entry.error(f"{printable(url)} is not a URL", "base_url", expected="https://...")
    return url


def _programs(outer: Fields, names: tuple[str, ...]) -> dict[str, str]:
    with outer as fields:
        fields.allow(names)
        return {name: fields.text(name, pattern=_PROGRAM) for name in names if fields.has(name)}


def check_url(url: str, where: str) -> str:
    """`url` if it is one, now that the names of .env in it have their values.

    Raises:
        InputError: it is not.
    """
    if not re.fullmatch(URL, url):
        raise InputError(f"{printable(url)} is not a URL", where=where, expected="https://HOST/v1")
    return url.rstrip("/")


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
