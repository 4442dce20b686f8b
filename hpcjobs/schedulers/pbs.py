"""PBS Professional and OpenPBS: `qsub`."""

from __future__ import annotations

from pathlib import Path


def submit_argv(script: Path, group: str, after: str = "") -> list[str]:
    """`qsub SCRIPT`; everything else, the group too, stands in the script."""
    if after:
        raise ValueError("it cannot wait for the success of another job")
    return ["qsub", str(script)]
