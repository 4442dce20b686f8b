"""scripts/setup_tsubame.sh and scripts/setup_abci.sh with stand-ins for uv, git, id and df.

What the stand-ins do is what a login node does to people: no space, no uv, another group, EPERM.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Setup = Callable[..., subprocess.CompletedProcess[str]]

UV = r"""#!/bin/bash
# Makes the files that uv would make, and writes down how it was called.
printf '%s\n' "$*" >>"$FAKE_LOG"
if [ -n "${FAKE_UV_FAILS:-}" ] && [[ "$*" == $FAKE_UV_FAILS ]]; then
  printf '%s\n' "$FAKE_UV_SAYS" >&2
  exit 2
fi
make() { # ENVIRONMENT PROGRAM
  mkdir -p "$1/bin" && : >"$1/pyvenv.cfg"
  printf '#!/bin/bash\nexit 0\n' | tee "$1/bin/python" >"$1/bin/$2"
  chmod 755 "$1/bin/python" "$1/bin/$2"
}
case "$1 $2" in
  --version*) echo "uv 9.9.9 (stand-in)" ;;
  "venv "*) make "${!#}" python ;;
  "pip install") python=$4 && make "${python%/bin/python}" "$(basename "${python%/bin/python}")" ;;
  "sync "*) make "$UV_PROJECT_ENVIRONMENT" lighteval ;;
esac
case "$*" in
  *--editable*)
    printf '#!/bin/bash\necho "doctor: $*"\nexit ${FAKE_DOCTOR:-0}\n' >"${4%python}hpcjobs" ;;
esac
exit 0
"""
GIT = r"""#!/bin/bash
printf 'git %s\n' "$*" >>"$FAKE_LOG"
case " $* " in
  *" clone "*) mkdir -p "${!#}/.git" ;;
  *" checkout "*) echo "${!#}" >"$2/.git/head" ;;
  *" rev-parse "*) cat "$2/.git/head" ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A home, a group disk, a workspace, and programs."""
    for name in ("home", "disk", "ws", "bin"):
        (tmp_path / name).mkdir()
    for name, text in {"uv": UV, "git": GIT}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    stand_in(tmp_path, "id", "case $1 in -Gn) echo staff tga-test;; -un) echo me;; esac")
    stand_in(tmp_path, "df", "printf 'Filesystem\\nx 9 9 99999999999 1%% /\\n'")
    return tmp_path


def stand_in(place: Path, name: str, text: str) -> None:
    (place / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
    (place / "bin" / name).chmod(0o755)


@pytest.fixture
def setup(place: Path) -> Setup:
    """Runs a setup script."""

    def run(
        *words: str, script: str = "setup_tsubame.sh", group: str = "tga-test", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        given = ["--group", group, "--disk", f"{place}/disk", "--workspace", f"{place}/ws"]
        return subprocess.run(
            [ROOT / "scripts" / script, *given, *words],
            env={
                "PATH": f"{place}/bin:/usr/bin:/bin",
                "HOME": f"{place}/home",
                "FAKE_LOG": f"{place}/log",
                "LC_ALL": "C.UTF-8",
                **variables,
            },
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def calls(place: Path) -> str:
    return (place / "log").read_text() if (place / "log").exists() else ""


def tree(place: Path) -> set[str]:
    """All paths but those of the stand-ins and their log."""
    return {
        str(path.relative_to(place))
        for path in place.rglob("*")
        if path.relative_to(place).parts[0] not in ("bin", "log")
    }


@pytest.mark.parametrize("script", ["setup_tsubame.sh", "setup_abci.sh"])
def test_a_fresh_account_is_prepared(setup: Setup, place: Path, script: str) -> None:
    ended = setup(script=script)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    name = script.removesuffix(".sh")
    assert ended.stdout.endswith(f"{name}: succeeded\n")
    base = place / "disk" / "me" / "hpcjobs"
    for program in ("hpcjobs", "vllm", "lighteval", "lm_eval"):
        assert (base / "environments" / program / "bin" / program).exists()
    assert (place / "ws" / ".env").stat().st_mode & 0o777 == 0o600
    env = (place / "ws" / ".env").read_text()
    assert f"REPO_PATH={base}\n" in env
    assert f"{'TSUBAME' if 'tsubame' in script else 'ABCI'}_GROUP=tga-test\n" in env
    assert f"UV_CACHE={place}/home/.cache/uv\n" in env
    assert "HF_TOKEN=<hf_...>\n" in env
    assert f"doctor: --workspace {place}/ws doctor --service {name[6:]}" in ended.stdout
    asked = calls(place)
    assert "checkout --quiet --detach 35202112ae544faba0a956376318eed13e5a726e" in asked
    assert "--frozen --extra lighteval --python 3.10.14" in asked
    assert "requirements/vllm.txt" in asked


def test_run_again_it_makes_nothing_twice(setup: Setup, place: Path) -> None:
    assert setup().returncode == 0
    env = (place / "ws" / ".env").read_text().replace("<hf_...>", "hf_mine")
    (place / "ws" / ".env").write_text(env)
    before = tree(place)
    (place / "log").unlink()
    ended = setup()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("setup_tsubame: succeeded\n")
    assert calls(place) == "--version\n--version\n"
    assert tree(place) == before
    assert (place / "ws" / ".env").read_text() == env


def test_what_was_broken_is_made_again_and_only_that(setup: Setup, place: Path) -> None:
    assert setup().returncode == 0
    (place / "disk/me/hpcjobs/environments/vllm/bin/python").unlink()
    (place / "log").unlink()
    ended = setup()
    assert ended.returncode == 0, ended.stderr
    assert "requirements/vllm.txt" in calls(place)
    assert "lm_eval.txt" not in calls(place)
    assert "sync" not in calls(place)


def test_a_dry_run_does_nothing(setup: Setup, place: Path) -> None:
    before = tree(place)
    ended = setup("--dry-run")
    assert ended.returncode == 0
    assert "would run: mkdir -p" in ended.stdout
    assert "requirements/vllm.txt" in ended.stdout
    assert "doctor --service tsubame" in ended.stdout
    assert "succeeded" not in ended.stdout
    assert tree(place) == before
    assert calls(place).replace("--version\n", "").replace("git -C", "").count("install") == 0


@pytest.mark.parametrize(
    ("fails", "says", "explained"),
    [
        ("pip install*vllm.txt", "error: No space left on device (os error 28)", "a disk is full"),
        ("pip install*lm_eval.txt", "Disk quota exceeded (os error 122)", "a disk is full"),
        ("sync*", "error: Operation not permitted (os error 1)", "put UV_CACHE into the home"),
        ("venv*", "Resource temporarily unavailable (os error 11)", "too many processes"),
        ("pip install*vllm.txt", "cause: dns error", "the network is not reached"),
        ("pip install*vllm.txt", "something else", "failed with exit code 2"),
    ],
)
def test_what_uv_fails_of_is_explained_and_is_no_success(
    setup: Setup, place: Path, fails: str, says: str, explained: str
) -> None:
    ended = setup(FAKE_UV_FAILS=fails, FAKE_UV_SAYS=says)
    assert ended.returncode == 1
    assert explained in ended.stderr
    assert says in ended.stderr
    assert "succeeded" not in ended.stdout
    assert "run the same command again" in ended.stderr
    ended = setup()  # what failed is gone on with
    assert ended.returncode == 0, ended.stderr


def test_a_disk_without_space_stops_before_anything_is_installed(setup: Setup, place: Path) -> None:
    stand_in(place, "df", "printf 'Filesystem\\nx 9 9 1048576 99%% /\\n'")
    ended = setup()
    assert ended.returncode == 1
    assert "only 1 GiB are free" in ended.stderr
    assert "t4-user-info disk group" in ended.stderr
    assert "pip install" not in calls(place)


def test_a_home_without_space_stops_before_anything_is_installed(setup: Setup, place: Path) -> None:
    stand_in(place, "t4-user-info", "echo '2011 me 20 25 100 2000000'")
    ended = setup()
    assert ended.returncode == 1
    assert "only 5 GiB are left in your home" in ended.stderr


def test_somebody_elses_group_is_refused(setup: Setup, place: Path) -> None:
    ended = setup(group="tga-other")
    assert ended.returncode == 1
    assert "me is not a member of the group tga-other (of: staff tga-test)" in ended.stderr
    assert tree(place) == {"home", "disk", "ws"}


def test_abci_does_not_conclude_from_unix_groups(setup: Setup) -> None:
    ended = setup(script="setup_abci.sh", group="gother")
    assert ended.returncode == 0, ended.stderr
    assert "note: gother is not among your UNIX groups" in ended.stdout


def test_a_group_without_a_disk_is_told(setup: Setup, place: Path) -> None:
    ended = setup("--disk", f"{place}/none")
    assert ended.returncode == 1
    assert f"there is no {place}/none" in ended.stderr


def test_without_uv_it_is_installed_by_pip(setup: Setup, place: Path) -> None:
    (place / "bin" / "uv").rename(place / "home" / "uv")
    stand_in(
        place,
        "python3",
        f'mkdir -p "${{!#}}/bin"; cp {place}/home/uv "${{!#}}/bin/uv"\n'
        'printf \'#!/bin/bash\\necho "pip: $*" >>"$FAKE_LOG"\\n\' >"${!#}/bin/python"\n'
        'chmod 755 "${!#}/bin/python"',
    )
    ended = setup()
    assert ended.returncode == 0, ended.stderr
    assert "pip: -m pip install --quiet --disable-pip-version-check uv==" in calls(place)
    assert ended.stdout.endswith("succeeded\n")


def test_uv_that_cannot_be_installed_is_told(setup: Setup, place: Path) -> None:
    (place / "bin" / "uv").unlink()
    stand_in(place, "python3", "exit 1")
    ended = setup()
    assert ended.returncode == 1
    assert "uv cannot be installed" in ended.stderr


def test_a_cache_that_cannot_be_written_is_told(setup: Setup, place: Path) -> None:
    stand_in(place, "mktemp", 'case $1 in */home/*) exit 1;; esac; exec /usr/bin/mktemp "$@"')
    ended = setup()
    assert ended.returncode == 1
    assert f"cannot write in {place}/home/.cache/uv" in ended.stderr


def test_what_the_doctor_finds_is_no_success(setup: Setup) -> None:
    ended = setup(FAKE_DOCTOR="1")
    assert ended.returncode == 1
    assert "succeeded" not in ended.stdout
    assert "hpcjobs doctor found" in ended.stderr


def test_env_that_is_there_is_kept_and_made_private(setup: Setup, place: Path) -> None:
    assert setup().returncode == 0
    (place / "ws" / ".env").chmod(0o644)
    assert setup().returncode == 0
    assert (place / "ws" / ".env").stat().st_mode & 0o777 == 0o600


def test_env_that_lacks_a_value_is_told_which_line_to_put_in(setup: Setup, place: Path) -> None:
    (place / "ws" / ".env").write_text("HF_TOKEN=hf_secret\n")
    ended = setup()
    assert ended.returncode == 1
    assert f"put in this line: REPO_PATH={place}/disk/me/hpcjobs" in ended.stderr
    assert "hf_secret" not in ended.stdout + ended.stderr
    assert (place / "ws" / ".env").read_text() == "HF_TOKEN=hf_secret\n"


def test_env_and_options_that_disagree_are_told(setup: Setup, place: Path) -> None:
    assert setup().returncode == 0
    ended = setup("--directory", f"{place}/disk/elsewhere")
    assert ended.returncode == 1
    assert "change it there, or the option here" in ended.stderr


def test_a_directory_that_is_no_environment_is_not_touched(setup: Setup, place: Path) -> None:
    mine = place / "disk/me/hpcjobs/environments/vllm"
    mine.mkdir(parents=True)
    (mine / "precious").write_text("")
    ended = setup()
    assert ended.returncode == 1
    assert "is no environment of Python" in ended.stderr
    assert [path.name for path in mine.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    "words", [("--nonsense",), ("--group",), ("--only", "all"), ("--workspace", "/none")]
)
def test_wrong_options_are_wrong_input(setup: Setup, words: tuple[str, ...]) -> None:
    assert setup(*words).returncode == 2


def test_help_says_what_it_does(setup: Setup) -> None:
    ended = setup("--help")
    assert ended.returncode == 0
    assert "--dry-run" in ended.stdout


def test_pins_are_whole() -> None:
    for name, first in {"vllm": "vllm==0.22.1", "lm_eval": "lm-eval==0.4.13"}.items():
        lines = (ROOT / "scripts" / "requirements" / f"{name}.txt").read_text().splitlines()
        pinned = [line for line in lines if not line.startswith("#")]
        assert first in pinned
        assert all("==" in line for line in pinned)
