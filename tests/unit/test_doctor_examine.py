"""A check that breaks or hangs is one finding; the others are made all the same."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcjobs.config.environment import PersonalValues
from hpcjobs.doctor import environments, personal, probe
from hpcjobs.doctor.ask import ask
from hpcjobs.doctor.check import Check, State, Subject, examine, ok
from hpcjobs.errors import InputError
from hpcjobs.workspace import Workspace


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return Subject(Workspace(tmp_path), PersonalValues(tmp_path / ".env", {}))


def well(subject: Subject) -> Iterator[Check]:
    yield ok("well", "")


def test_an_unexpected_exception_is_a_finding_that_shows_no_value(subject: Subject) -> None:
    def broken(subject: Subject) -> Iterator[Check]:
        yield ok("first", "")
        raise ValueError("hf_secret")

    first, second, third = examine(subject, [("broken", broken), ("well", well)])
    assert (first.name, third.name) == ("first", "well")
    assert (second.name, second.state) == ("broken", State.FAIL)
    assert "bug of hpcjobs" in second.do
    assert "ValueError in broken" in second.what
    assert "hf_secret" not in second.what + second.do


def test_a_persons_mistake_keeps_its_advice(subject: Subject) -> None:
    def mistaken(subject: Subject) -> Iterator[Check]:
        raise InputError("no such thing", where="here", do="spell it right")
        yield

    [check] = examine(subject, [("mistaken", mistaken)])
    assert (check.state, check.what, check.do) == (
        State.FAIL, "here: no such thing", "spell it right"
    )  # fmt: skip


def test_what_hangs_is_left_behind(subject: Subject) -> None:
    release = threading.Event()

    def hangs(subject: Subject) -> Iterator[Check]:
        yield ok("before", "")
        release.wait()

    found = list(examine(subject, [("hangs", hangs), ("well", well)], one=0.1))
    release.set()
    assert [(one.name, one.state) for one in found] == [
        ("before", State.OK), ("hangs", State.FAIL), ("well", State.OK)
    ]  # fmt: skip


def test_the_whole_ends_in_its_time(subject: Subject) -> None:
    release = threading.Event()

    def hangs(subject: Subject) -> Iterator[Check]:
        yield ok("before", "")
        release.wait()

    found = list(examine(subject, [("hangs", hangs), ("late", well)], one=9, total=0.1))
    release.set()
    assert (found[-1].name, found[-1].state) == ("late", State.SKIPPED)


def test_a_program_that_hangs_or_is_missing_gives_no_answer() -> None:
    assert "did not answer within" in ask(["sleep", "60"], limit=0.2).complaint
    assert ask(["sleep", "60"], limit=0.2).returncode is None
    assert "cannot run no-such-program" in ask(["no-such-program"]).complaint


def test_a_complaint_is_one_line() -> None:
    answer = ask(["bash", "-c", "printf '\\n  first\\nsecond\\n' >&2; exit 3"])
    assert (answer.good, answer.complaint) == (False, "bash: first")


def test_a_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    assert probe.write_failure(tmp_path) is None
    assert probe.clock_skew(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
    assert probe.write_failure(tmp_path / "none") == "No such file or directory"
    assert probe.clock_skew(tmp_path / "none") is None
    assert probe.existing(tmp_path / "a" / "b") == tmp_path


def test_an_environment_that_was_moved_is_told(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    command = tmp_path / "bin" / "lm_eval"
    command.write_text("#!/gone/bin/python\n")
    command.chmod(0o755)
    facts = environments.gather("lm_eval", tmp_path)
    assert facts.interpreter_missing == "/gone/bin/python"
    assert facts.python == sys.version_info[:3]


def test_an_environment_whose_python_does_not_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\necho 'GLIBC_2.99 not found' >&2; exit 1\n")
    python.chmod(0o755)
    assert "GLIBC_2.99 not found" in environments.judge(
        environments.gather("vllm", tmp_path)
    ).what  # fmt: skip


def test_a_key_that_a_jobs_shell_reads_otherwise_is_told_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("HF_TOKEN=hf_secret # mine\n")
    values = PersonalValues(path, {"HF_TOKEN": "hf_secret"})
    found = list(personal.look_at_keys(Subject(Workspace(tmp_path), values)))
    assert found[0].state is State.FAIL
    assert "hf_secret" not in "".join(one.what + one.do for one in found)


def test_an_environment_of_uv_needs_uv_and_its_project(tmp_path: Path) -> None:
    command = f"uv run --isolated --locked --project '{tmp_path}' --extra vllm"
    assert environments.judge_uv("vllm", command, None).state is State.FAIL
    assert environments.judge_uv("vllm", command, "/bin/uv").state is State.FAIL
    (tmp_path / "pyproject.toml").touch()
    assert environments.judge_uv("vllm", command, "/bin/uv").state is State.SKIPPED
