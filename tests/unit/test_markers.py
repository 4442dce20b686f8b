"""The facts that a job writes beside its script, and files that only look like them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs.markers import Marker, Markers, TaskMarkers, read_markers

AT = "2026-01-02T03:04:05Z"
EPOCH = 1767323045.0

Write = Callable[..., Path]


def test_a_marker_is_a_value_and_a_time(write: Write, tmp_path: Path) -> None:
    write(f"0 {AT}\n", "exit_code")
    assert read_markers(tmp_path) == Markers(exit_code=Marker("0", EPOCH))


@pytest.mark.parametrize(
    "name", ["started", "restarted", "ready", "server_version", "signal", "failure", "exit_code"]
)
def test_each_marker_is_read_by_its_name(write: Write, tmp_path: Path, name: str) -> None:
    write(f"x {AT}\n", name)
    assert getattr(read_markers(tmp_path), name) == Marker("x", EPOCH)


def test_a_value_may_have_spaces(write: Write, tmp_path: Path) -> None:
    write(f"vLLM 0.22.1 (cuda) {AT}\n", "server_version")
    assert read_markers(tmp_path).server_version == Marker("vLLM 0.22.1 (cuda)", EPOCH)


def test_tasks_are_told_apart(write: Write, tmp_path: Path) -> None:
    write(f"- {AT}\n", "task.ja_gpqa.started")
    write(f"0 {AT}\n", "task.ja_gpqa.exit_code")
    write(f"- {AT}\n", "task.a.b+c.started")
    assert read_markers(tmp_path).tasks == {
        "a.b+c": TaskMarkers(Marker("-", EPOCH)),
        "ja_gpqa": TaskMarkers(Marker("-", EPOCH), Marker("0", EPOCH)),
    }


def test_what_was_begun_again_began_then_and_until_then_it_does_not_run(
    write: Write, tmp_path: Path
) -> None:
    write(f"- {AT}\n", "task.a.started")
    write(f"- {AT}\n", "task.a.interrupted")
    assert read_markers(tmp_path).running == []
    write("- 2026-01-02T03:04:06Z\n", "task.a.again")
    found = read_markers(tmp_path)
    assert found.running == ["a"]
    assert found.tasks["a"] == TaskMarkers(Marker("-", EPOCH + 1))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("0", id="torn after the value"),
        pytest.param("0 ", id="torn after the space"),
        pytest.param(f"0 {AT[:10]}", id="torn in the time"),
        pytest.param(f"0 {AT}", id="no newline"),
        pytest.param(f"{AT}\n", id="no value"),
        pytest.param("0 2026-13-45T99:99:99Z\n", id="no time that there is"),
        pytest.param("0 2026-01-02 03:04:05\n", id="another form"),
        pytest.param(f"0 {AT}\n0", id="more after it"),
        pytest.param("\0" * 24, id="zeros, as after a crash"),
        pytest.param(b"\xff\xfe\n", id="no text"),
    ],
)
def test_a_marker_that_is_not_whole_does_not_count(
    write: Write, tmp_path: Path, content: str | bytes
) -> None:
    write(content, "exit_code")
    assert read_markers(tmp_path) == Markers()


@pytest.mark.parametrize(
    "name", [".exit_code.tmp", "exit_code.tmp", "exit_code~", "job.log", "EXIT_CODE", "task..x"]
)
def test_other_files_are_passed_over(write: Write, tmp_path: Path, name: str) -> None:
    write(f"0 {AT}\n", name)
    assert read_markers(tmp_path) == Markers()


def test_a_directory_of_that_name_is_no_marker(tmp_path: Path) -> None:
    (tmp_path / "exit_code").mkdir()
    assert read_markers(tmp_path).exit_code is None


def test_a_link_to_nothing_is_no_marker(tmp_path: Path) -> None:
    (tmp_path / "exit_code").symlink_to("nothing")
    assert read_markers(tmp_path).exit_code is None


def test_a_directory_that_is_not_there_has_no_markers(tmp_path: Path) -> None:
    assert read_markers(tmp_path / "none") == Markers()


def test_a_file_instead_of_the_directory_has_no_markers(write: Write) -> None:
    assert read_markers(write("x", "file")) == Markers()


SOME = Marker("x", EPOCH)


@pytest.mark.parametrize(
    ("markers", "phase"),
    [
        (Markers(), ""),
        (Markers(ready=SOME), ""),
        (Markers(started=SOME), "starting the server"),
        (Markers(started=SOME, ready=SOME), "ready"),
        (Markers(started=SOME, ready=SOME, tasks={"a": TaskMarkers(SOME)}), "evaluating a"),
        (Markers(started=SOME, ready=SOME, tasks={"a": TaskMarkers(SOME, SOME)}), "ready"),
        (Markers(started=SOME, exit_code=SOME), "ended"),
    ],
)
def test_the_phase_is_how_far_it_came(markers: Markers, phase: str) -> None:
    assert markers.phase == phase
