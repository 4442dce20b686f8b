"""Which variables reach a job."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from hpcjobs.local import environment

PYTHON = str(Path(sys.executable).parent)


def test_only_the_listed_variables_are_kept() -> None:
    kept = {
        "HOME": "/h",
        "LC_ALL": "C",
        "https_proxy": "p",
        "NO_PROXY": "n",
        "LD_LIBRARY_PATH": "/l",
        "TMPDIR": "/t",
    }
    dropped = {
        "HF_TOKEN": "s",
        "OPENAI_API_KEY": "s",
        "PIP_INDEX_URL": "s",
        "UV_INDEX": "s",
        "PYTHONPATH": "s",
        "CUDA_VISIBLE_DEVICES": "7",
        "HPCJOBS_LOCAL_JOB": "/spool/1",
    }
    assert environment.scrubbed({"PATH": "/bin", **kept, **dropped}) == {
        "PATH": f"/bin:{PYTHON}",
        **kept,
    }


def test_there_is_always_a_path() -> None:
    assert environment.scrubbed({})["PATH"] == f"/usr/local/bin:/usr/bin:/bin:{PYTHON}"


def test_values_that_json_cannot_hold_are_dropped() -> None:
    assert "HOME" not in environment.scrubbed({"HOME": "/caf\udce9"})


def test_our_own_processes_carry_no_mark_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCJOBS_LOCAL_JOB", "/spool/1")
    monkeypatch.setenv("HF_TOKEN", "s")
    ours = environment.of_ours(Path("/spool"))
    assert ours["HPCJOBS_LOCAL_DIR"] == "/spool"
    assert not {"HPCJOBS_LOCAL_JOB", "HF_TOKEN"} & set(ours)
    assert os.environ["HF_TOKEN"] == "s"
