"""Data sets, loaded by the Python of the evaluator that will want them, and then again offline."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from hpcjobs.commands import attend
from hpcjobs.errors import InputError
from hpcjobs.predownload.request import EVALUATORS, Request, Thing

LOADER = Path(__file__).with_name("load_data.py")
_SHEBANG = re.compile(r"#!(/\S*python[0-9.]*)\s*")


def load(
    request: Request, things: Sequence[Thing], token: str | None, answer: Path
) -> dict[Thing, list[Path] | str]:
    """Let the evaluator load these, then prove that it does so offline.

    Args:
        request: says where the evaluators are.
        things: all of one kind.
        token: for gated data sets.
        answer: a file to be written, that is not there yet.

    Returns:
        By thing: the files that are read, or what went wrong.

    Raises:
        InputError: no evaluator is found, or it broke off.
    """
    path, python = _python(request, things[0].kind)
    environment = {**os.environ, "PATH": path, **({"HF_TOKEN": token} if token else {})}
    told: dict[Thing, list[Path] | str] = {}
    for offline in ("0", "1"):
        left = [thing for thing in things if not isinstance(told.get(thing), str)]
        if not left:
            break
        words = [word for thing in left for word in (thing.kind, thing.name)]
        code = attend(
            [python, str(LOADER), request.include_path, str(answer), *words],
            {**environment, "HF_HUB_OFFLINE": offline, "HF_DATASETS_OFFLINE": offline},
        )
        if code != 0:
            raise InputError(f"{python} ended with exit code {code} while it loaded them")
        answers = json.loads(answer.read_text())
        for thing in left:
            one = answers[str(thing)]
            if "error" in one:
                why = "not found again without the network: " if offline == "1" else ""
                told[thing] = why + one["error"]
            else:
                told[thing] = [Path(file) for file in one["files"]]
    return told


def _python(request: Request, kind: str) -> tuple[str, str]:
    """PATH, and the Python that runs the first evaluator found there that wants such things."""
    for name in EVALUATORS[kind]:
        path = os.environ.get("PATH", "")
        if request.environments.get(name):
            path = f"{request.environments[name]}/bin:{path}"
        program = shutil.which(name, path=path)
        if program is None:
            continue
        beside = Path(program).parent / "python"
        if beside.exists():
            return path, str(beside)
        with Path(program).open("rb") as file:
            match = _SHEBANG.fullmatch(file.readline(4096).decode(errors="replace"))
        if match:
            return path, match[1]
    raise InputError(f"{' and '.join(EVALUATORS[kind])} not found: set `environments:`")
