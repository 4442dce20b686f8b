"""How large a model is: by its name, else by its weights where they lie in the local cache."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
_IN_NAME = re.compile(
    r"(?<![A-Za-z0-9.])(?:(?P<experts>\d{1,3})x|E)?(?P<count>\d{1,4}(?:\.\d+)?)(?P<unit>[BbMm])"
    r"(?![A-Za-z0-9])"
)
_BOUNDS = (2, 5, 10, 20, 40, 80, 160, 400)
"""In billions of parameters: models between two of these take about as long."""
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def size_in_name(model: str) -> float | None:
    """Billions of parameters by the model's name: `8B`, `1.5b`, `135M`, `8x7B`; None: it is silent.

    Of several the first counts: `30B-A3B` has 30 billion, whatever is active of them.
    """
    match = _IN_NAME.search(model.rpartition("/")[2])
    if match is None:
        return None
    count = float(match["count"]) * int(match["experts"] or 1)
    billions = count / 1000 if match["unit"] in "Mm" else count
    return billions or None


def size_in_cache(model: str, hub: Path) -> float | None:
    """Billions of parameters by what the hub's cache holds; None where that does not say it."""
    snapshots = hub / f"models--{model.replace('/', '--')}" / "snapshots"
    try:
        for snapshot in sorted(snapshots.iterdir()):
            if found := _in_snapshot(snapshot):
                return found
    except OSError:
        pass
    return None


def size_class(billions: float | None) -> str:
    """The class that is told apart: `5-10B`, ..., or `unknown`."""
    if billions is None:
        return UNKNOWN
    low = 0
    for high in _BOUNDS:
        if billions < high:
            return f"{low}-{high}B"
        low = high
    return f"{low}B+"


def _in_snapshot(snapshot: Path) -> float | None:
    index = _read(snapshot / "model.safetensors.index.json").get("metadata")
    index = index if isinstance(index, dict) else {}
    if isinstance(count := index.get("total_parameters"), int) and count > 0:
        return count / 1e9
    config = _read(snapshot / "config.json")
    width = _BYTES.get(str(config.get("torch_dtype") or config.get("dtype")))
    if width is None or "quantization_config" in config:
        return None  # how many bytes a parameter takes is not known
    weights = index.get("total_size")
    if not isinstance(weights, int):
        single = snapshot / "model.safetensors"
        weights = single.stat().st_size if single.is_file() else 0
    return weights / width / 1e9 or None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
