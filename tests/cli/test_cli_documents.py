"""What README and docs tell people to type, really typed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hpcjobs.cli import _COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]


def typed_lines(document: Path) -> list[str]:
    """The lines of a document's ```sh blocks, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def hpcjobs(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = re.sub(r"^hpcjobs\b", f"{shlex.quote(sys.executable)} -m hpcjobs", line)
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_what_the_readme_says_of_a_workspace_can_be_typed(tmp_path: Path) -> None:
    lines = typed_lines(ROOT / "README.md")
    init = next(line for line in lines if line.startswith("hpcjobs init"))
    first = hpcjobs(init.partition(" '&&'")[0], tmp_path)
    assert first.returncode == 0, first.stderr
    workspace = tmp_path / "eval"
    harmless = [line for line in lines if "--dry-run" in line or line.startswith("hpcjobs tasks")]
    assert len(harmless) >= 2
    for line in harmless:
        done = hpcjobs(line, workspace)
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    named = set(re.findall(r"(?:`|^\s*|&& )hpcjobs ([a-z]+)\b", text, re.MULTILINE))
    assert named <= set(_COMMANDS), named - set(_COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_exit_codes_of_the_command_are_documented() -> None:
    from hpcjobs.errors import ExitCode

    codes = {value for name, value in vars(ExitCode).items() if name.isupper()}
    text = (ROOT / "docs" / "exit-codes.md").read_text().partition("## Of a job script")[0]
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}


def test_the_exit_codes_of_the_job_script_are_documented() -> None:
    template = (ROOT / "templates" / "job.sh.j2").read_text()
    words = set(re.findall(r"fail \d+ (\w+)", template))
    documented = (ROOT / "docs" / "exit-codes.md").read_text()
    assert words
    assert {word for word in words if f"`{word}`" not in documented} == set()
