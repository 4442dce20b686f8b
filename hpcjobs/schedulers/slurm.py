"""Slurm: `sbatch`."""

from __future__ import annotations

from pathlib import Path


def submit_argv(script: Path, group: str) -> list[str]:
    """`sbatch --parsable SCRIPT`; everything else stands in the script."""
    return ["sbatch", "--parsable", str(script)]
