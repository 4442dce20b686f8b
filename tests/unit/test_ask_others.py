"""The user's other jobs, from the same bulk query where it shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hpcjobs import ask
from hpcjobs.commands import CommandResult
from hpcjobs.model import Service
from hpcjobs.schedulers import live
from hpcjobs.workspace import Workspace

QSTAT = """\
<?xml version='1.0'?>
<job_info><queue_info>
<job_list state="running"><JB_job_number>7</JB_job_number><JB_name>ours</JB_name>
<JB_owner>me</JB_owner><state>r</state></job_list>
<job_list state="running"><JB_job_number>8</JB_job_number><JB_name>theirs</JB_name>
<JB_owner>me</JB_owner><state>r</state></job_list>
</queue_info><job_info>
<job_list state="pending"><JB_job_number>9</JB_job_number><JB_name>more</JB_name>
<JB_owner>me</JB_owner><state>qw</state></job_list>
</job_info></job_info>
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    commands: list[str] = []

    def run(argv: Any, timeout: float) -> CommandResult:
        commands.append(argv[0] + " " + " ".join(argv[1:2]))
        said = "[-xml]" if "-help" in argv else QSTAT
        return CommandResult(tuple(argv), 0, said, "", 0.0)

    monkeypatch.setattr(ask, "run", run)
    ask._dialect.cache_clear()
    return commands


def test_grid_engine_tells_of_all_jobs_and_is_asked_once(
    shipped: Workspace, a_service: Callable[..., Service], asked: list[str]
) -> None:
    service = a_service(name="ge", scheduler="grid_engine", poll_seconds=60)
    shipped.jobs.mkdir()
    assert ask._query(shipped, service, live("grid_engine"), ("7",)) is not None
    assert ask.others(shipped, service) == (2, 1)
    assert asked.count("qstat -u") == 1


def test_without_jobs_of_ours_it_is_asked_for_the_others(
    shipped: Workspace, a_service: Callable[..., Service], asked: list[str]
) -> None:
    service = a_service(name="ge", scheduler="grid_engine", poll_seconds=60)
    shipped.jobs.mkdir()
    assert ask.others(shipped, service) == (3, 2)
    assert ask.others(shipped, service) == (3, 2)
    assert asked.count("qstat -u") == 1


def test_where_the_query_shows_ours_only_nobody_can_tell(
    shipped: Workspace, a_service: Callable[..., Service], asked: list[str]
) -> None:
    assert ask.others(shipped, a_service(name="s", scheduler="slurm", poll_seconds=60)) is None
    assert asked == []
