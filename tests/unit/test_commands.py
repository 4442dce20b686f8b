"""Running the schedulers' programs: an end in time, and nothing of ours that they must not see."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs import commands
from hpcjobs.commands import clean_environment, run
from hpcjobs.errors import SchedulerUnavailableError
from hpcjobs.processes import ProcessIdentity


def ended(pid: int, within: float = 10.0) -> bool:
    """Whether the process is gone, or goes soon."""
    end = time.monotonic() + within
    while ProcessIdentity.of(pid) is not None:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_the_answer_is_kept_as_it_was() -> None:
    result = run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10)
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_arguments_are_not_read_by_a_shell() -> None:
    assert run(["echo", "$(id); *", "a  b"], timeout=10).stdout == "$(id); * a  b\n"


def test_a_program_killed_by_a_signal_has_a_negative_status() -> None:
    assert run(["sh", "-c", "kill -9 $$"], timeout=10).returncode == -9


def test_an_answer_that_is_not_utf8_is_an_answer() -> None:
    assert run(["printf", r"a\377b"], timeout=10).stdout == r"a\xffb"


def test_a_long_answer_on_both_channels_is_read_whole() -> None:
    script = "head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2"
    result = run(["sh", "-c", script], timeout=20)
    assert (len(result.stdout), len(result.stderr)) == (300000, 300000)


def test_a_person_is_told_that_an_answer_is_awaited_and_it_is_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo, told = tmp_path / "fifo", []
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)

    def tell(program: str, seconds: float) -> None:
        told.append((program, seconds))
        os.write(end, b"late\n")  # only now can the program end

    monkeypatch.setattr(commands, "PATIENCE", 0.2)
    monkeypatch.setattr(commands, "on_waiting", tell)
    script = f"cat; echo early; read x < '{fifo}'; echo $x"
    result = run(["sh", "-c", script], timeout=30, given="given\n")
    os.close(end)
    assert told == [("sh", 30)]
    assert result.stdout == "given\nearly\nlate\n"


def test_nobody_is_asked_for_input() -> None:
    assert run(["cat"], timeout=10).stdout == ""


@pytest.mark.parametrize("program", ["no-such-program-here", "/etc/hostname", "/", ""])
def test_a_program_that_cannot_be_run_is_no_answer(program: str) -> None:
    with pytest.raises(SchedulerUnavailableError, match="cannot run") as caught:
        run([program], timeout=10)
    assert "login node" in str(caught.value.do)


def test_a_program_that_does_not_answer_is_given_up() -> None:
    start = time.monotonic()
    with pytest.raises(SchedulerUnavailableError, match=r"sleep did not answer within 0\.2 s"):
        run(["sleep", "60"], timeout=0.2)
    assert time.monotonic() - start < 10


def test_a_program_that_is_given_up_takes_its_children_along(tmp_path: Path) -> None:
    script = f"cd {tmp_path}; trap '' TERM; sleep 60 & echo $! >child; echo $$ >own; wait"
    with pytest.raises(SchedulerUnavailableError):
        run(["sh", "-c", script], timeout=1.0)
    for name in ("child", "own"):
        assert ended(int((tmp_path / name).read_text()))


def test_a_child_that_left_the_group_does_not_hold_us_up(tmp_path: Path) -> None:
    script = f"setsid sleep 8 & echo $! >{tmp_path}/child; sleep 8"
    start = time.monotonic()
    try:
        with pytest.raises(SchedulerUnavailableError):
            run(["sh", "-c", script], timeout=0.5)
        assert time.monotonic() - start < 5
    finally:
        pid = int((tmp_path / "child").read_text())
        if ProcessIdentity.of(pid):
            os.kill(pid, 9)


def test_it_runs_in_a_session_of_its_own() -> None:
    """So that Ctrl-C in the terminal does not reach it."""
    assert int(run(["cut", "-d ", "-f6", "/proc/self/stat"], timeout=10).stdout) != os.getsid(0)


# ---- The environment -----------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """What is left of this environment."""

    def clean(**variables: str) -> dict[str, str]:
        monkeypatch.setattr("os.environ", variables)
        return clean_environment()

    return clean


@pytest.mark.parametrize(
    "name",
    [
        *("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SBATCH_PARTITION", "PBS_JOBID", "PBS_O_WORKDIR"),
        *("SGE_TASK_ID", "SGE_O_WORKDIR", "HPCJOBS_PART", "HPCJOBS_LOCAL_ID"),
        *("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"),
    ],
)
def test_variables_of_an_enclosing_job_and_keys_are_left_out(
    environment: Callable[..., dict[str, str]], name: str
) -> None:
    assert name not in environment(**{name: "x"})


@pytest.mark.parametrize(
    "name",
    [
        *("SLURM_CONF", "PBS_CONF_FILE", "PBS_EXEC", "PBS_SERVER", "SGE_ROOT", "SGE_CELL"),
        *("SGE_CLUSTER_NAME", "SGE_QMASTER_PORT", "SGE_EXECD_PORT", "HPCJOBS_LOCAL_DIR"),
        *("PATH", "HOME", "LD_LIBRARY_PATH", "KRB5CCNAME"),
    ],
)
def test_what_the_commands_need_to_find_their_scheduler_is_kept(
    environment: Callable[..., dict[str, str]], name: str
) -> None:
    assert environment(**{name: "x"})[name] == "x"


def test_answers_are_in_english(environment: Callable[..., dict[str, str]]) -> None:
    assert environment(LC_ALL="ja_JP.UTF-8", LANG="ja_JP.UTF-8")["LC_ALL"] == "C.UTF-8"


def test_the_program_really_sees_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("SLURM_JOB_ID", "1717")
    shown = run(["env"], timeout=10).stdout
    assert "sk-very-secret" not in shown
    assert "1717" not in shown
