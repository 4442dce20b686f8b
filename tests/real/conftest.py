"""Workspaces with a real local queue, for tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandLine, command_line, need
from evaluation_testbed import Testbed, testbed
from quick_jobs import use_quick_jobs
from small_disk import SmallDisk, small_disk


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    """An empty workspace."""
    with command_line(tmp_path) as line:
        yield line


@pytest.fixture
def quick(line: CommandLine) -> CommandLine:
    """A workspace whose jobs evaluate nothing, but tell that they ran (see quick_jobs)."""
    use_quick_jobs(line)
    return line


@pytest.fixture(scope="session")
def bed() -> Testbed:
    """The real evaluators, installed."""
    need("xllamacpp")
    return testbed()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of its own, that can be filled."""
    with small_disk(tmp_path / "disk") as disk:
        yield disk
