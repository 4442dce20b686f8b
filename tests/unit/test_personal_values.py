"""`.env`: personal values that go into scripts, and keys that never do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs.config.environment import PersonalValues, is_secret, read_personal_values
from hpcjobs.errors import InputError

Read = Callable[..., PersonalValues]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """The values of a `.env` with this text, the environment being as given and no more."""

    def make(text: str | bytes | None = None, **environment: str) -> PersonalValues:
        path = tmp_path / ".env"
        if text is not None:
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        monkeypatch.setattr("os.environ", environment)
        return read_personal_values(path)

    return make


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=/gs/fs/group", "/gs/fs/group"),
        ("export A=x", "x"),
        ("A='x y'", "x y"),
        ('A="x y"', "x y"),
        ("A = x", "x"),
        ("A=x # a comment", "x"),
        ("A=x=y", "x=y"),
        ("A=$HOME/x", "$HOME/x"),
        ("A=${B}", "${B}"),
        ("A=`id`", "`id`"),
        ("A=日本語", "日本語"),
        ("\ufeffA=x", "x"),
        ("A=x\r", "x"),
        ("A=1\nA=2", "2"),
    ],
)
def test_a_value_is_read_and_never_evaluated(read: Read, line: str, value: str) -> None:
    assert read(line + "\n").get("A") == value


@pytest.mark.parametrize("line", ["", "A=", "A=''", "A", "A=<your group>", "# A=x"])
def test_an_empty_value_or_a_placeholder_counts_as_not_set(read: Read, line: str) -> None:
    assert read(line + "\n").get("A") is None


@pytest.mark.parametrize("name", ["TSUBAME_GROUP", "REPO_PATH", "ABCI_GROUP", "UV_CACHE"])
def test_what_the_template_says_counts_as_not_set(read: Read, project: Path, name: str) -> None:
    values = read((project / ".env_template").read_text(encoding="utf-8"))
    assert values.values[name]
    assert values.get(name) is None


def test_a_file_that_is_missing_has_no_values(read: Read) -> None:
    assert read(None).get("A") is None


def test_the_environment_comes_before_the_file(read: Read) -> None:
    assert read("A=file\n", A="environment").get("A") == "environment"


@pytest.mark.parametrize("name", ["HF_TOKEN", "OPENAI_API_KEY"])
def test_a_key_comes_from_the_file_only(read: Read, name: str) -> None:
    assert read("A=x\n", **{name: "from outside"}).get(name) is None


def test_a_key_of_the_file_is_not_covered_by_the_environment(read: Read) -> None:
    assert read("HF_TOKEN=file\n", HF_TOKEN="environment").get("HF_TOKEN") == "file"


def test_a_file_that_is_not_utf8_is_refused(read: Read) -> None:
    with pytest.raises(InputError, match="not UTF-8"):
        read("A=日本語\n".encode("shift_jis"))


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "CLIENT_SECRET", "PGPASSWORD"),
        *("hf_token", "Openai_Api_Key"),
    ],
)
def test_a_name_of_a_key_is_known_as_one(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["REPO_PATH", "HF_HOME", "TOKENIZERS_PARALLELISM", "KEYBOARD"])
def test_other_names_are_no_keys(name: str) -> None:
    assert not is_secret(name)


# ---- Expanding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("${A}/x", "/a/x"),
        ("${A}${A}", "/a/a"),
        ("${B:-/b}", "/b"),
        ("${B:-}", ""),
        ("${A:-/b}", "/a"),
        ("$A", "$A"),
        ("$(id)", "$(id)"),
        ("${C}", "a${A}"),
        ("${NONE}/x", "NONE_NOT_SET/x"),
    ],
)
def test_references_are_replaced_once(read: Read, text: str, shown: str) -> None:
    assert read("A=/a\nC=a${A}\n").expand(text, where="x.yaml:1") == shown


def test_a_value_that_is_missing_is_remembered_and_refused_by_name(read: Read) -> None:
    values = read("A=/a\nB=<path>\n")
    values.expand("${A} ${B} ${C} ${C} ${D:-}", where="x.yaml:1")
    with pytest.raises(InputError, match=r"not set: B, C \(B still at the placeholder"):
        values.require_nothing_missing()


def test_an_empty_value_is_not_called_a_placeholder(read: Read) -> None:
    assert str(read("A=\n").not_set("A")).splitlines()[0].endswith(": not set: A")


def test_nothing_is_refused_where_nothing_is_missing(read: Read) -> None:
    values = read("A=/a\n")
    values.expand("${A}", where="x.yaml:1")
    values.require_nothing_missing()
    assert not values.missing


def test_a_missing_env_file_is_told(read: Read) -> None:
    values = read(None)
    values.expand("${A}", where="x.yaml:1")
    with pytest.raises(InputError, match="which does not exist") as caught:
        values.require_nothing_missing()
    assert "chmod 600" in str(caught.value.do)


@pytest.mark.parametrize("text", ["${HF_TOKEN}", "a ${OPENAI_API_KEY:-x} b", "${hf_token}"])
def test_a_key_is_never_expanded(read: Read, text: str) -> None:
    values = read("HF_TOKEN=hf_1\nOPENAI_API_KEY=sk-1\nhf_token=hf_2\n")
    with pytest.raises(InputError, match="is a key") as caught:
        values.expand(text, where="conf/services/mine.yaml")
    assert caught.value.where == "conf/services/mine.yaml"
    assert not any(value in str(caught.value) for value in ("hf_1", "sk-1", "hf_2"))


# ---- Who can read it -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_warned_of(read: Read, mode: int) -> None:
    values = read("A=x\n")
    values.path.chmod(mode)
    (warning,) = values.warnings()
    assert f"mode {mode:o}" in warning
    assert f"chmod 600 {values.path}" in warning


def test_a_broken_line_is_told_by_file_and_line_and_not_by_what_it_says(
    read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    values = read("A=x\n\n# said\nB=y\n\n  this is-no value sk-secret\nC=z\n'\n")
    values.path.chmod(0o600)
    first, second = values.warnings()
    assert first.startswith(f"{values.path}:6: ")
    assert second.startswith(f"{values.path}:8: ")
    assert "sk-secret" not in first
    assert [values.get(name) for name in "ABC"] == ["x", "y", "z"]
    assert caplog.records == []


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_ones_own_is_not(read: Read, mode: int) -> None:
    values = read("A=x\n")
    values.path.chmod(mode)
    assert values.warnings() == []


def test_a_missing_file_is_not_warned_of(read: Read) -> None:
    assert read(None).warnings() == []


@pytest.mark.parametrize("value", ["~/x", "$HOME/x", "${HOME}/x", "'a\nb'"])
def test_a_value_that_only_a_shell_would_expand_is_refused(read: Read, value: str) -> None:
    with pytest.raises(InputError, match="taken as it stands, not expanded"):
        read(f"CACHE={value}\n").expand("${CACHE}", where="x.yaml:1")
