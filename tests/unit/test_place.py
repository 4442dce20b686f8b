"""Where a job can be asked for: a queue of this machine, or a cluster by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hpcjobs.place import _read, place, reachable
from hpcjobs.schedulers import live, slurm


def cluster(environ: Mapping[str, str], files: Mapping[str, str]) -> str:
    return slurm.cluster(environ, lambda path: files.get(path, ""))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ClusterName=alpha\n", "alpha"),
        ("# ClusterName=old\nSlurmctldHost=a\n  clustername = Beta # ours\n", "beta"),
        ("SlurmctldHost=a\n", ""),
        ("", ""),
    ],
)
def test_slurms_cluster_is_named_in_its_configuration(text: str, name: str) -> None:
    assert cluster({}, {"/etc/slurm/slurm.conf": text}) == name


def test_the_configuration_that_the_commands_read_comes_first() -> None:
    files = {"/mine/slurm.conf": "ClusterName=mine\n", "/etc/slurm/slurm.conf": "ClusterName=a\n"}
    assert cluster({"SLURM_CONF": "/mine/slurm.conf"}, files) == "mine"
    assert cluster({"SLURM_CONF": "/gone"}, files) == "a"


def test_the_place_of_a_slurm_job_is_its_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "slurm.conf").write_text("ClusterName=alpha\n")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    _read.cache_clear()
    assert place(live("slurm")) == "cluster alpha"


def test_a_cluster_without_a_known_name_has_no_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(slurm, "CONFIGURATIONS", ())
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "none"))
    _read.cache_clear()
    assert place(live("slurm")) == ""


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ("cluster a", "cluster a", True),
        ("cluster a", "cluster b", False),
        ("cluster a", "", False),  # nobody knows whom the commands would ask
        ("", "cluster a", True),  # submitted where the name was not known
        ("", "", True),
    ],
)
def test_what_can_be_asked_for_from_here(there: str, here: str, expected: bool) -> None:
    assert reachable(there, here) is expected
