"""PBS Professional and OpenPBS: `qsub`."""

from __future__ import annotations

from pathlib import Path


def submit_argv(script: Path, group: str) -> list[str]:
    """`qsub SCRIPT`; everything else, the group too, stands in the script."""
    return ["qsub", str(script)]
