"""The commands that Grid Engine is given: none may be read as "all jobs"."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from test_grid_engine_answers import Result, recorded

from hpcjobs.errors import SchedulerUnavailableError
from hpcjobs.schedulers import grid_engine as ge
from hpcjobs.schedulers import live

USER = pwd.getpwuid(os.geteuid()).pw_name


def test_it_can_be_driven() -> None:
    assert live("grid_engine").SINGLE_HOST is False


def test_the_group_stands_on_the_command_line() -> None:
    assert ge.submit_argv(Path("/a/job.sh"), "tga-x") == (
        ["qsub", "-terse", "-g", "tga-x", "/a/job.sh"]
    )
    assert ge.submit_argv(Path("/a/job.sh"), "") == ["qsub", "-terse", "/a/job.sh"]


def test_it_cannot_wait_for_success() -> None:
    with pytest.raises(ValueError, match="success"):
        ge.submit_argv(Path("job.sh"), "", after="7")


def test_the_dialect_is_what_qstat_says_it_knows() -> None:
    assert ge.probe_argv() == ["qstat", "-help"]
    help_text = recorded("qstat-help").stdout
    assert ge.dialect(Result(stdout=help_text)) == "xml"
    assert ge.dialect(Result(1, "", help_text)) == "xml"
    without = "".join(one for one in help_text.splitlines(True) if "-xml" not in one)
    assert ge.dialect(Result(stdout=without)) == "text"
    assert ge.dialect(Result(1)) == "text"


def test_all_jobs_of_the_effective_user_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    asked = ["qstat", "-u", USER, "-s", "prs"]
    assert ge.query_argv(["7", "8"], "xml") == [*asked, "-xml"]
    assert ge.query_argv(["7"], "text") == ge.query_argv(["7"]) == [*asked, "-r"]
    assert ge.find_argv("abcdefg-01_x", "xml") == [*asked, "-xml"]


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4294967000)
    with pytest.raises(SchedulerUnavailableError, match="has no name"):
        ge.query_argv(["7"], "xml")


def test_the_accounting_is_never_asked_for_an_empty_id() -> None:
    assert ge.history_argv(["7"]) == ["qacct", "-j", "7"]
    assert ge.history_argv(["7", "8"]) == ["qacct", "-o", USER, "-j"]
    assert ge.history_argv(["7", "", "*", "-x"]) == ["qacct", "-j", "7"]
    assert ge.history_argv([""]) is None
    assert ge.find_history_argv("abcdefg-01_x.y-z") == ["qacct", "-j", "abcdefg-01_x.y-z"]
    for name in ("", "*", "7", "a b", "-j", "a\n"):
        assert ge.find_history_argv(name) is None


def test_nothing_but_ids_is_cancelled() -> None:
    assert ge.cancel_argv(["7", "", "8"]) == ["qdel", "7", "8"]
    for ids in ([], [""], ["*"], ["-u"], ["7.1"]):
        with pytest.raises(ValueError, match="no job"):
            ge.cancel_argv(ids)


def test_the_cluster_is_named_by_its_cell() -> None:
    files = {"/sge/default/common/cluster_name": "t4\n", "/sge/b/common/cluster_name": "b\n"}

    def read(path: str) -> str:
        return files.get(path, "")

    assert ge.cluster({"SGE_ROOT": "/sge"}, read) == "t4"
    assert ge.cluster({"SGE_ROOT": "/sge", "SGE_CELL": "b"}, read) == "b"
    assert ge.cluster({"SGE_ROOT": "/elsewhere"}, read) == ""
    assert ge.cluster({}, read) == ""
    files["/var/lib/gridengine/default/common/cluster_name"] = "debian"
    assert ge.cluster({}, read) == "debian"
