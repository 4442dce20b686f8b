"""What the doctor concludes from what it found. No command is run here, no file is looked at."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from hpcjobs.config.services import read_service
from hpcjobs.doctor import account, environments, general, modules, scheduler, storage
from hpcjobs.doctor.ask import Answer
from hpcjobs.doctor.check import Check, State
from hpcjobs.doctor.environments import Facts
from hpcjobs.doctor.probe import Room, mount_kind
from hpcjobs.doctor.quotas import Quota
from hpcjobs.workspace import Workspace

FILE = stat.S_IFREG
HOME = Path("/home/0/user")


def short(check: Check) -> tuple[str, State]:
    """What to compare: the rest is for people."""
    return check.name, check.state


@pytest.mark.parametrize(
    ("mode", "owner", "state"),
    [
        (FILE | 0o600, 1, State.OK),
        (FILE | 0o400, 1, State.OK),
        (FILE | 0o640, 1, State.FAIL),
        (FILE | 0o604, 1, State.FAIL),
        (FILE | 0o620, 1, State.FAIL),
        (FILE | 0o200, 1, State.FAIL),
        (FILE | 0o600, 2, State.FAIL),
        (stat.S_IFDIR | 0o700, 1, State.FAIL),
    ],
)
def test_keys_are_for_their_owner_alone(mode: int, owner: int, state: State) -> None:
    check = general.judge_env_file(Path("/w s/.env"), mode, owner, 1)
    assert check.state is state
    assert bool(check.do) is (state is not State.OK)


def test_what_to_type_is_quoted() -> None:
    assert (
        "chmod 600 '/w s/.env'" in general.judge_env_file(Path("/w s/.env"), FILE | 0o644, 1, 1).do
    )


@pytest.mark.parametrize(
    ("mask", "state"),
    [(0o022, State.OK), (0o027, State.OK), (0o007, State.OK), (0o000, State.WARN),
     (0o020, State.WARN), (0o777, State.FAIL)],
)  # fmt: skip
def test_umask(mask: int, state: State) -> None:
    assert general.judge_umask(mask).state is state


@pytest.mark.parametrize(
    ("encoding", "state"), [("utf-8", State.OK), ("UTF8", State.OK), ("euc_jp", State.WARN)]
)
def test_locale(encoding: str, state: State) -> None:
    assert general.judge_encoding(encoding).state is state


@pytest.mark.parametrize(
    ("free", "inodes", "state"),
    [
        (50.0, 10**6, State.OK),
        (50.0, None, State.OK),
        (4.9, 10**6, State.WARN),
        (50.0, 19_999, State.WARN),
        (0.05, 10**6, State.FAIL),
        (50.0, 0, State.FAIL),
    ],
)
def test_a_disk_without_room_or_without_inodes_is_full(
    free: float, inodes: int | None, state: State
) -> None:
    room = Room(Path("/gs/bs/g"), free, inodes)
    assert general.judge_room("disk", room, need_gib=5.0).state is state


@pytest.mark.parametrize(
    ("skew", "state", "shown"),
    [(0.0, State.OK, ""), (-4.0, State.OK, ""), (90.0, State.WARN, "90 s ahead of"),
     (-90.0, State.WARN, "90 s behind")],
)  # fmt: skip
def test_clock(skew: float, state: State, shown: str) -> None:
    check = general.judge_skew(skew)
    assert check.state is state
    assert shown in check.what


@pytest.mark.parametrize(
    ("since", "host", "state", "do"),
    [
        (950.0, "here", State.OK, ""),
        (0.0, "here", State.WARN, "takes it over"),
        (0.0, "there", State.WARN, "rm /w/lock"),
    ],
)
def test_an_old_lock_is_told(since: float, host: str, state: State, do: str) -> None:
    text = json.dumps({"pid": 7, "host": host, "since": since})
    check = general.judge_lock(text, "/w/lock", "here", 1000.0)
    assert check.state is state
    assert do in check.do


def test_a_lock_that_cannot_be_read_is_no_failure() -> None:
    assert general.judge_lock("torn", "/w/lock", "here", 1.0).state is State.WARN


# What real Slurm 22.05 prints.
UP = Answer(0, "Slurmctld(primary) at vm is UP\n")
DOWN = Answer(1, "Slurmctld(primary) at vm is DOWN\n", "scontrol: exit 1")
BACKUP = Answer(0, "Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP\n")
SILENT = Answer(None, "", "scontrol did not answer within 15 s")


@pytest.mark.parametrize(
    ("answer", "state"),
    [(UP, State.OK), (BACKUP, State.OK), (DOWN, State.FAIL), (SILENT, State.FAIL)],
)
def test_a_controller_that_is_down_or_hung_is_told(answer: Answer, state: State) -> None:
    check = scheduler.judge_ping(answer)
    assert check.state is state
    if state is State.FAIL:
        assert "DOWN" in check.what or "did not answer" in check.what
        assert "concludes nothing" in check.do


@pytest.mark.parametrize(
    ("known", "state"), [("gpu\ncpu\nother\n", State.OK), ("gpux\ncpu\n", State.FAIL)]
)
def test_partitions_that_a_cluster_lacks_are_named(
    known: str, state: State, tmp_path: Path
) -> None:
    wanted = scheduler.partitions(read_service(Workspace(tmp_path), "slurm"))
    assert wanted == {"gpu_1": "gpu", "gpu_4": "gpu", "cpu": "cpu"}
    check = scheduler.judge_partitions(Answer(0, known), wanted)
    assert check.state is state
    assert ("gpu (node gpu_1)" in check.what) is (state is State.FAIL)


def test_no_answer_says_nothing_about_partitions() -> None:
    assert scheduler.judge_partitions(SILENT, {"n": "p"}).state is State.SKIPPED
    assert scheduler.judge_association(SILENT, "a").state is State.SKIPPED


@pytest.mark.parametrize(
    ("told", "account_", "state"),
    [
        ("lab|gpu\nlab|\n", "lab", State.OK),
        ("lab|gpu\n", "", State.OK),
        ("lab|gpu\n", "other", State.FAIL),
        ("\n", "lab", State.WARN),
    ],
)
def test_the_account_must_be_one_of_ours(told: str, account_: str, state: State) -> None:
    assert scheduler.judge_association(Answer(0, told), account_).state is state


def test_only_a_site_where_it_is_certain_fails_for_a_missing_group() -> None:
    assert account.judge_group("g", ["a", "g"], certain=True).state is State.OK
    assert account.judge_group("g", ["a"], certain=True).state is State.FAIL
    assert account.judge_group("g", ["a"], certain=False).state is State.WARN


@pytest.mark.parametrize(
    ("left", "state"),
    [(12.5, State.OK), (0.5, State.WARN), (0.0, State.FAIL), (-1.0, State.FAIL),
     (None, State.SKIPPED)],
)  # fmt: skip
def test_points(left: float | None, state: State) -> None:
    assert account.judge_points(Answer(0, "text"), left).state is state


def test_points_of_a_command_that_failed_are_not_known() -> None:
    assert account.judge_points(Answer(1, "", "show_point: no"), 5.0).state is State.SKIPPED


@pytest.mark.parametrize(
    ("name", "path", "small", "expected"),
    [
        ("HF_HOME", HOME / "hf", 25.0, [("HF_HOME", State.FAIL)]),
        ("VLLM_CACHE_ROOT", HOME / "v", 25.0, [("VLLM_CACHE_ROOT", State.WARN)]),
        ("UV_CACHE_DIR", HOME / ".cache/uv", 25.0, []),
        ("HF_HOME", HOME / "hf", None, []),
        ("HF_HOME", Path("/gs/bs/g/hf"), 25.0, []),
        ("HF_HOME", Path("/home/0/user2/hf"), 25.0, []),
    ],
)
def test_models_do_not_go_into_a_small_home(
    name: str, path: Path, small: float | None, expected: list[tuple[str, State]]
) -> None:
    assert [short(check) for check in storage.judge_home(name, path, HOME, small)] == expected


def test_the_home_is_small_where_the_site_says_so() -> None:
    assert storage.home_is_small([Quota("home", 7, 25)], HOME) == 25
    assert storage.home_is_small([Quota("/home/0/user", 7, 2048)], HOME) is None
    assert storage.home_is_small([Quota("/groups/g", 7, 25)], HOME) is None
    assert storage.home_is_small(None, HOME) is None


def test_uv_cannot_build_on_a_group_disk_of_tsubame() -> None:
    assert [c.state for c in storage.judge_uv_cache(Path("/gs/bs/g/uv"))] == [State.WARN]
    assert not list(storage.judge_uv_cache(HOME / ".cache" / "uv"))
    assert not list(storage.judge_uv_cache(Path("/gs/bsx/uv")))


@pytest.mark.parametrize(
    ("root", "kind", "state"),
    [
        ("/gs/bs/g/ws", "lustre", State.OK),
        ("/home/u/ws", "nfs4", State.OK),
        ("/mnt/ws", "fuse.beegfs", State.OK),
        ("/home/u/ws", "ext4", State.SKIPPED),
        ("/tmp/ws", "ext4", State.WARN),
        ("/data/ws", "tmpfs", State.WARN),
    ],
)
def test_compute_nodes_must_see_the_workspace(root: str, kind: str, state: State) -> None:
    assert storage.judge_place(Path(root), kind).state is state


def test_the_innermost_mount_holds_a_path() -> None:
    mounts = (
        "/dev/sda / ext4 rw 0 0\nlfs /gs/bs lustre rw 0 0\nx /gs/bs/my\\040own nfs4 rw 0 0\n"
        "y /gs/b tmpfs rw 0 0\nbroken\n"
    )
    assert mount_kind(Path("/gs/bs/g/ws"), mounts) == "lustre"
    assert mount_kind(Path("/gs/bs/my own/ws"), mounts) == "nfs4"
    assert mount_kind(Path("/home"), mounts) == "ext4"


@pytest.mark.parametrize(
    ("used", "limit", "files", "most", "state"),
    [
        (7, 25, 1, 10, State.OK),
        (23, 25, 1, 10, State.WARN),
        (25, 25, 1, 10, State.FAIL),
        (7, 25, 10, 10, State.FAIL),
        (7, None, 3, None, State.OK),
    ],
)
def test_quota(
    used: float, limit: float | None, files: int, most: int | None, state: State
) -> None:
    assert storage.judge_quota(Quota("home", used, limit, files, most)).state is state


@pytest.mark.parametrize(
    ("code", "state"),
    [(0, State.OK), (69, State.SKIPPED), (70, State.WARN), (None, State.SKIPPED),
     (1, State.SKIPPED)],
)  # fmt: skip
def test_modules(code: int | None, state: State) -> None:
    assert modules.judge_module("cuda/12.8.0", Answer(code, "", "why")).state is state


def facts(**changes: object) -> Facts:
    """A whole environment of vllm, changed where a test needs something else."""
    place = Path("/e/vllm")
    values = {
        "name": "vllm", "directory": place, "ours": False, "exists": True, "python": (3, 11, 7),
        "version": "0.22.1", "command": "/e/vllm/bin/vllm",
    }  # fmt: skip
    return Facts(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "state", "shown"),
    [
        ({}, State.OK, "0.22.1, Python 3.11.7"),
        ({"exists": False}, State.FAIL, "does not exist"),
        ({"exists": False, "ours": True}, State.WARN, "does not exist"),
        ({"complaint": "has no bin/python"}, State.FAIL, "no bin/python"),
        ({"python": (3, 9, 18)}, State.FAIL, "3.10 is the least"),
        ({"version": ""}, State.FAIL, "vllm is not in"),
        ({"command": ""}, State.FAIL, "vllm is not in"),
        ({"version": "", "command": "/usr/bin/vllm"}, State.OK, "from PATH"),
        ({"interpreter_missing": "/old/bin/python"}, State.FAIL, "/old/bin/python"),
        ({"name": "llamacpp", "command": ""}, State.OK, "0.22.1"),
        ({"name": "lighteval", "version": "0.13.0"}, State.WARN, "not the Swallow fork"),
        ({"name": "lighteval", "version": "0.8.0"}, State.WARN, "not the Swallow fork"),
        ({"name": "lighteval", "version": "0.8.0", "swallow": True}, State.OK, "0.8.0"),
    ],
)
def test_environments(changes: dict[str, object], state: State, shown: str) -> None:
    check = environments.judge(facts(**changes))
    assert check.state is state
    assert shown in check.what
