"""A key is read three times: by dotenv, by `simple_value`, and by bash in the job. They must agree.

Bash is really run, with the function as it stands in the template.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs.config.environment import PersonalValues, read_personal_values, simple_value
from hpcjobs.errors import InputError

TEMPLATE = Path(__file__).parents[2] / "templates" / "job.sh.j2"

# Each form holds a value of HF_TOKEN (None = none) that all three read alike.
PLAIN = {
    "plain": ("HF_TOKEN=hf_abc\n", "hf_abc"),
    "no newline at the end": ("A=1\nHF_TOKEN=hf_abc", "hf_abc"),
    "double quotes": ('HF_TOKEN="hf_abc"\n', "hf_abc"),
    "single quotes": ("HF_TOKEN='hf_abc'\n", "hf_abc"),
    "quotes with spaces": ("HF_TOKEN=' hf abc '\n", " hf abc "),
    "one quote inside": ("HF_TOKEN=hf'abc\n", "hf'abc"),
    "export": ("export HF_TOKEN=hf_abc\n", "hf_abc"),
    "export with spaces": ("  export   HF_TOKEN=hf_abc\n", "hf_abc"),
    "indented": ("  HF_TOKEN=hf_abc\n", "hf_abc"),
    "spaces at the end": ("HF_TOKEN=hf_abc  \t\n", "hf_abc"),
    "CRLF": ("A=1\r\nHF_TOKEN=hf_abc\r\nB=2\r\n", "hf_abc"),
    "CRLF and quotes": ('HF_TOKEN="hf_abc"\r\n', "hf_abc"),
    "byte order mark": ("\ufeffHF_TOKEN=hf_abc\n", "hf_abc"),
    "equals sign": ("HF_TOKEN=hf=abc==\n", "hf=abc=="),
    "number sign": ("HF_TOKEN=hf#abc\n", "hf#abc"),
    "number sign in quotes": ("HF_TOKEN='hf #abc'\n", "hf #abc"),
    "dollar": ("HF_TOKEN=hf$HOME\n", "hf$HOME"),
    "dollar and braces": ("HF_TOKEN=hf${HOME}\n", "hf${HOME}"),
    "command": ("HF_TOKEN=hf$(id)`id`\n", "hf$(id)`id`"),
    "glob": ("HF_TOKEN=hf*?[a]\n", "hf*?[a]"),
    "semicolon": ("HF_TOKEN=hf;id\n", "hf;id"),
    "spaces inside": ("HF_TOKEN=hf abc\n", "hf abc"),
    "twice": ("HF_TOKEN=old\nHF_TOKEN=hf_abc\n", "hf_abc"),
    "commented out": ("# HF_TOKEN=old\n", None),
    "another name": ("MY_HF_TOKEN=x\nHF_TOKEN_2=y\n", None),
    "not there": ("A=1\n", None),
    "no file": (None, None),
}

# Nothing is exported; dotenv and we agree that it is not set.
EMPTY = {
    "empty": "HF_TOKEN=\n",
    "empty quotes": 'HF_TOKEN=""\n',
    "emptied later": "HF_TOKEN=old\nHF_TOKEN=\n",
    "nothing but spaces": "HF_TOKEN=   \n",
}

# dotenv reads something that bash does not: it must be refused before a job is submitted.
OTHERWISE = {
    "spaces around the sign": "HF_TOKEN = hf_abc\n",
    "space after the sign": "HF_TOKEN= hf_abc\n",
    "comment at the end": "HF_TOKEN=hf_abc # mine\n",
    "comment after quotes": "HF_TOKEN='hf_abc' # mine\n",
    "escaped newline": 'HF_TOKEN="hf\\nabc"\n',
    "escaped quote": "HF_TOKEN='hf\\'abc'\n",
    "escaped backslash": 'HF_TOKEN="hf\\\\abc"\n',
    "several lines": 'HF_TOKEN="hf\nabc"\n',
    "quoted name": "'HF_TOKEN'=hf_abc\n",
    "within another value": "HF_TOKEN=hf_abc\nA='\nHF_TOKEN=other\n'\n",
    "old Macintosh lines": "A=1\rHF_TOKEN=hf_abc\r",
    "wide space at the end": "HF_TOKEN=hf_abc\u3000\n",
}


def written(path: Path, text: str | None) -> Path:
    if text is not None:
        path.write_bytes(text.encode())
    return path


@pytest.fixture(scope="session")
def read_key() -> str:
    """The function as the template has it."""
    found = re.search(r"^read_key\(\) \{.*?^\}$", TEMPLATE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    assert "{%" not in found[0]
    return found[0]


@pytest.fixture
def in_bash(read_key: str, tmp_path: Path) -> Callable[[Path], str | None]:
    """What a program started by the job finds in HF_TOKEN; None if that is not exported."""

    def read(path: Path) -> str | None:
        script = f"set -u -o pipefail\nenv_file=$1\n{read_key}\nread_key HF_TOKEN\nexec env -0"
        ended = subprocess.run(
            ["bash", "-c", script, "bash", str(path)],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
        assert ended.stderr == b""
        variables = dict(one.split(b"=", 1) for one in ended.stdout.split(b"\0") if one)
        value = variables.get(b"HF_TOKEN")
        return None if value is None else value.decode()

    return read


@pytest.fixture
def required(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], PersonalValues]:
    """The values after HF_TOKEN was required."""

    def read(path: Path) -> PersonalValues:
        monkeypatch.setattr("os.environ", {})
        values = read_personal_values(path)
        values.require_key("HF_TOKEN")
        return values

    return read


@pytest.mark.parametrize("form", PLAIN)
def test_the_job_reads_the_key_that_was_written(
    in_bash: Callable[[Path], str | None], tmp_path: Path, form: str
) -> None:
    text, value = PLAIN[form]
    assert in_bash(written(tmp_path / ".env", text)) == value


@pytest.mark.parametrize("form", [form for form, (text, _) in PLAIN.items() if text is not None])
def test_simple_value_reads_what_bash_reads(tmp_path: Path, form: str) -> None:
    text, value = PLAIN[form]
    assert simple_value(written(tmp_path / ".env", text), "HF_TOKEN") == value


@pytest.mark.parametrize("form", [form for form, (_, value) in PLAIN.items() if value is not None])
def test_a_plain_key_is_accepted(
    required: Callable[[Path], PersonalValues], tmp_path: Path, form: str
) -> None:
    text, value = PLAIN[form]
    assert required(written(tmp_path / ".env", text)).get("HF_TOKEN") == value


@pytest.mark.parametrize(
    "text", [*(text for text, value in PLAIN.values() if value is None), *EMPTY.values()]
)
def test_a_key_that_is_not_set_is_refused(
    required: Callable[[Path], PersonalValues], tmp_path: Path, text: str | None
) -> None:
    with pytest.raises(InputError, match="not set: HF_TOKEN"):
        required(written(tmp_path / ".env", text))


@pytest.mark.parametrize("form", EMPTY)
def test_an_empty_key_is_not_exported(
    in_bash: Callable[[Path], str | None], tmp_path: Path, form: str
) -> None:
    assert in_bash(written(tmp_path / ".env", EMPTY[form])) is None


@pytest.mark.parametrize("form", OTHERWISE)
def test_a_key_that_bash_would_read_otherwise_is_refused(
    required: Callable[[Path], PersonalValues], tmp_path: Path, form: str
) -> None:
    path = written(tmp_path / ".env", OTHERWISE[form])
    with pytest.raises(InputError, match="HF_TOKEN is not written plainly enough") as caught:
        required(path)
    assert "hf" not in str(caught.value).replace(str(path), "")


@pytest.mark.parametrize("form", OTHERWISE)
def test_simple_value_reads_what_bash_reads_in_odd_forms(
    in_bash: Callable[[Path], str | None], tmp_path: Path, form: str
) -> None:
    path = written(tmp_path / ".env", OTHERWISE[form])
    assert simple_value(path, "HF_TOKEN") == in_bash(path)


def test_a_key_that_is_there_already_is_kept_where_the_file_has_none(
    read_key: str, tmp_path: Path
) -> None:
    script = f"env_file=$1; HF_TOKEN=site; {read_key}\nread_key HF_TOKEN; echo $HF_TOKEN"
    ended = subprocess.run(
        ["bash", "-c", script, "bash", str(written(tmp_path / ".env", "HF_TOKEN=\n"))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "site\n"
