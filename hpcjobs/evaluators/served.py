"""The model as an evaluator finds it: its names, where it is served, what it is loaded from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from hpcjobs.model import Provider


@dataclass(frozen=True)
class Served:
    """A model with its provider."""

    provider: Provider
    model: str
    weights: str = ""
    """What it is loaded from: a path, or a name of the hub; empty = the model's name."""
    base_url: str = ""
    """Of a provider that runs elsewhere, with the values of .env."""
    gpus: int = 0
    """Of the node."""
    lora: str = ""
    """The path of its adapter."""

    @property
    def litellm_name(self) -> str:
        """What litellm calls it."""
        prefix = self.provider.litellm
        return f"{prefix}/{self.model}" if prefix else self.model

    @property
    def api_name(self) -> str:
        """What the provider itself calls it: `openai/o3-mini` is `o3-mini` there."""
        elsewhere = self.provider.base_url
        return self.model.removeprefix(f"{self.provider.name}/") if elsewhere else self.model

    @property
    def url(self) -> str:
        """Where it is asked, as a shell word."""
        if self.provider.server:
            return '"http://127.0.0.1:$port/v1"'
        return shlex.quote(self.base_url or self.provider.base_url or "")

    @property
    def loaded_from(self) -> str:
        """The weights, or the model's name."""
        return self.weights or self.model

    @property
    def key(self) -> str:
        """The key that it wants, as a shell word."""
        if self.provider.server:
            return "$server_key"
        if self.provider.key and self.provider.key_required:
            return f"${self.provider.key}"
        return f'"${{{self.provider.key}:-}}"' if self.provider.key else '""'


def parallel(settings: Mapping[str, object], gpus: int) -> tuple[int, int]:
    """Tensor- and data-parallel size of vLLM: all GPUs hold one model, if nothing else is said;
    else as many replicas as there is room for.
    """
    if "tensor_parallel" in settings:
        tensor = int(str(settings["tensor_parallel"]))
        return tensor, int(str(settings.get("data_parallel", max(1, gpus // tensor))))
    data = int(str(settings.get("data_parallel", 1)))
    return max(1, gpus // data), data


def mapping(options: Mapping[str, object], name: str) -> dict[str, object]:
    """The arguments that an option holds."""
    given = options.get(name)
    return dict(given) if isinstance(given, Mapping) else {}


def as_json(value: object) -> str:
    """JSON, which YAML can read as well."""
    return json.dumps(value, ensure_ascii=False)


def as_text(arguments: Mapping[str, object]) -> str:
    """`a=1,b=True`: arguments as evaluators have always read them."""
    return ",".join(f"{name}={value}" for name, value in arguments.items())
