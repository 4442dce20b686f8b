"""The programs that jobs run: servers and evaluators, where the service says they are."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hpcjobs.doctor.ask import ask, first_line
from hpcjobs.doctor.check import Check, Subject, fail, ok, skipped, warn

PROGRAMS: Mapping[str, tuple[str, str]] = {
    "vllm": ("vllm", "vllm"),
    "lighteval": ("lighteval", "lighteval"),
    "lm_eval": ("lm_eval", "lm_eval"),
    "llamacpp": ("", "xllamacpp"),  # a module, run by the environment's python3
}
"""The command and the distribution of each provider and framework that has any."""

SWALLOW = "0.8."
"""lighteval's version of which the Swallow fork is made; others have another command line."""

ASKED = """
import importlib.metadata as m, importlib.util as u, json, os, sys
name, module = sys.argv[1], sys.argv[2]
try:
    version = m.version(name)
except m.PackageNotFoundError:
    version = ""
found = u.find_spec(module)
place = os.path.dirname(found.origin) if found and found.origin else ""
swallow = bool(place) and os.path.isdir(os.path.join(place, "tasks", "swallow"))
print(json.dumps([list(sys.version_info[:3]), version, swallow]))
"""
"""Asks for versions without importing anything: importing vllm takes a cold disk a minute."""


@dataclass(frozen=True)
class Facts:
    """What was found in one environment."""

    name: str
    directory: Path
    ours: bool
    """It is the one that hpcjobs itself runs in, where not everything has to be."""
    exists: bool
    complaint: str = ""
    """Why its Python says nothing."""
    python: tuple[int, ...] = ()
    version: str = ""
    command: str = ""
    """The path of the program; empty if it is missing or there is none to find."""
    interpreter_missing: str = ""
    """What the program's first line names, if that does not exist."""
    swallow: bool = False


def look_at_environments(subject: Subject) -> Iterator[Check]:
    """Every environment that the service names."""
    for name in subject.service.environments if subject.service else ():
        if subject.environments.get(name, "").startswith("uv "):
            yield judge_uv(name, subject.environments[name], shutil.which("uv"))
        elif name in subject.environments:
            yield judge(gather(name, Path(subject.environments[name])))
        else:
            yield skipped(f"environment {name}", "its place is not set (see .env values)")


def judge_uv(name: str, command: str, uv: str | None) -> Check:
    """An environment that uv makes when a job starts: whether there is a uv, and the project."""
    words = shlex.split(command)
    project = next((Path(then) for word, then in pairwise(words) if word == "--project"), None)
    if uv is None:
        return fail(f"environment {name}", "uv is not on PATH", "install it, or name a directory")
    if project is not None and not (project / "pyproject.toml").is_file():
        return fail(
            f"environment {name}", f"{project} has no pyproject.toml", "check out the project there"
        )
    return skipped(f"environment {name}", f"made when a job starts: {command}")


def _known(name: str) -> tuple[str, str]:
    """Command and distribution; `lm_eval-hf` is a lm_eval for one provider."""
    return PROGRAMS.get(name) or PROGRAMS.get(name.partition("-")[0]) or (name, name)


def gather(name: str, directory: Path) -> Facts:
    """Ask the environment's own Python; fall back on PATH as a job does."""
    program, distribution = _known(name)
    ours = directory == Path(sys.prefix)
    python = directory / "bin" / "python"
    command = _command(program, directory) if program else ""
    if not python.exists():
        exists = directory.is_dir()
        return Facts(name, directory, ours, exists, "has no bin/python", command=command)
    answer = ask([str(python), "-I", "-c", ASKED, distribution, distribution], limit=20)
    complaint, version, numbers, swallow = answer.complaint, "", (), False
    if answer.good:
        try:
            told = json.loads(answer.stdout)
            numbers, version, swallow = tuple(told[0]), str(told[1]), bool(told[2])
        except (ValueError, IndexError, TypeError):
            complaint = f"its Python says: {first_line(answer.stdout)}"
    return Facts(
        name,
        directory,
        ours,
        True,
        complaint,
        numbers,
        version,
        command,
        _missing_interpreter(Path(command)) if command else "",
        swallow,
    )


def judge(facts: Facts) -> Check:
    """Whether jobs can run it."""
    program = _known(facts.name)[0]
    label = f"environment {facts.name}"
    bad = warn if facts.ours else fail
    do = (
        f"give it a directory of its own, in the service's `environments` (jobs that need "
        f"{facts.name} end with 91)"
        if facts.ours
        else "make it with scripts/setup_tsubame.sh, scripts/setup_abci.sh, or by hand: "
        f"uv venv {facts.directory} && uv pip install --python {facts.directory}/bin/python ..."
    )
    if not facts.exists:
        return bad(label, f"{facts.directory} does not exist", do)
    if facts.complaint:
        return bad(label, f"{facts.directory}: {facts.complaint}", do)
    python = ".".join(map(str, facts.python))
    if facts.python < (3, 10):
        return bad(label, f"{facts.directory} has Python {python}; 3.10 is the least", do)
    if facts.interpreter_missing:
        return bad(
            label,
            f"{facts.command} wants {facts.interpreter_missing}, which does not exist",
            "the environment was moved or its Python removed: make it again where it is",
        )
    elsewhere = bool(facts.command) and not Path(facts.command).is_relative_to(facts.directory)
    if (program and not facts.command) or (not facts.version and not elsewhere):
        return bad(label, f"{facts.name} is not in {facts.directory}", do)
    if elsewhere:
        return ok(label, f"{facts.command}, from PATH (not in {facts.directory})")
    shown = f"{facts.version}, Python {python} ({facts.directory})"
    if facts.name == "lighteval" and not (facts.version.startswith(SWALLOW) and facts.swallow):
        return warn(
            label,
            f"{shown}: not the Swallow fork of 0.8.0, whose tasks and command line jobs use",
            "install the fork (see docs/tsubame.md), or name the option dialect in "
            "conf/frameworks.yaml (0.8, 0.13, auto)",
        )
    return ok(label, shown)


def _command(program: str, directory: Path) -> str:
    """What a job would run: the environment's own, else the first on PATH; empty if none."""
    own = directory / "bin" / program
    if own.is_file() and os.access(own, os.X_OK):
        return str(own)
    return shutil.which(program) or ""


def _missing_interpreter(command: Path) -> str:
    """What the `#!` line names, if it is a path to nothing."""
    with command.open("rb") as file:
        first = file.readline(1000)
    if not first.startswith(b"#!/"):
        return ""
    words = first[2:].decode(errors="replace").split()
    return words[0] if words and not Path(words[0]).exists() else ""
