"""Grid Engine (Altair, Son of Grid Engine): `qsub`."""

from __future__ import annotations

from pathlib import Path


def submit_argv(script: Path, group: str, after: str = "") -> list[str]:
    """`qsub -terse -g GROUP SCRIPT`; TSUBAME takes the group on the command line only."""
    if after:
        raise ValueError("it cannot wait for the success of another job")
    return ["qsub", "-terse", *(["-g", group] if group else []), str(script)]
