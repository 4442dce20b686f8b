"""Grid Engine (Altair, Son of Grid Engine): `qsub`."""

from __future__ import annotations

from pathlib import Path


def submit_argv(script: Path, group: str) -> list[str]:
    """`qsub -terse -g GROUP SCRIPT`; TSUBAME takes the group on the command line only."""
    return ["qsub", "-terse", *(["-g", group] if group else []), str(script)]
