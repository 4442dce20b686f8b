"""What a job asks for: the options of `submit`, and the same in the script's directive lines.

#HPCJOBS --name eval-1 --gpus 2 --devices 0,1,2,3
#HPCJOBS --walltime 04:00:00
"""

from __future__ import annotations

import argparse
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from hpcjobs.durations import parse_duration
from hpcjobs.errors import InputError, nearest, printable

DIRECTIVE = "#HPCJOBS"
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,100}")


@dataclass(frozen=True)
class Options:
    """What a job asks for, checked."""

    name: str | None = None
    """Unique in the spool; `job-ID` if none is given."""
    gpus: int = 0
    devices: tuple[int, ...] = ()
    """The pool from which its `gpus` devices are taken."""
    cpu_slots: int = 1
    walltime: int | None = None
    """In seconds; None is without limit."""
    grace: float = 10.0
    """Seconds between TERM and KILL."""
    priority: int = 0
    output: str | None = None
    """An absolute path, for stdout and stderr."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a job to `parser`; those not given leave no attribute."""

    def add(option: str, kind: Any, metavar: str, text: str) -> None:
        parser.add_argument(
            option, type=kind, metavar=metavar, help=text, default=argparse.SUPPRESS
        )

    add("--name", _name, "NAME", "unique in the spool (default: job-ID)")
    add("--gpus", _number(0), "N", "how many devices the job gets (default: 0, a CPU job)")
    add("--devices", _devices, "0,1,2", "the devices it may get, the preferred first")
    add("--cpu-slots", _number(1), "N", "a CPU job starts while fewer run (default: 1)")
    add("--walltime", _walltime, "HH:MM:SS", "ended after this time (default: no limit)")
    add("--grace", _grace, "SECONDS", "between TERM and KILL (default: 10)")
    add("--priority", int, "N", "higher goes first (default: 0)")
    add("--output", _path, "FILE", "stdout and stderr, appended (default: SCRIPT.out)")


def read_options(script: Path, given: dict[str, Any]) -> Options:
    """The options of `script`: its directive lines, then `given` from the command line.

    Relative paths of `--output` begin at the script's directory in a directive, at the working
    directory on the command line.

    Raises:
        InputError: the script cannot be read, or a directive or the whole makes no sense.
    """
    values: dict[str, Any] = {}
    for number, text in _directives(script):
        found = _parse_directive(f"{script}:{number}", text)
        if "output" in found:
            found["output"] = str(script.parent / found["output"])
        values.update(found)
    chosen = {
        name: given[name] for name in (field.name for field in fields(Options)) if name in given
    }
    if "output" in chosen:
        chosen["output"] = str(Path(chosen["output"]).absolute())
    options = Options(**{**values, **chosen})
    if len(options.devices) < options.gpus:
        raise InputError(
            f"--gpus {options.gpus}, but --devices names {len(options.devices)}",
            where=str(script),
            expected="at least as many devices as GPUs, such as --gpus 2 --devices 0,1,2,3",
        )
    return options


def _directives(script: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each directive in the leading comment block."""
    try:
        with script.open(errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                text = line.strip()
                if text and not text.startswith("#"):
                    return
                if text.startswith(DIRECTIVE):
                    yield number, text[len(DIRECTIVE) :]
    except OSError as error:
        raise InputError(f"cannot read the script: {error.strerror}", where=str(script)) from error


class _DirectiveParser(argparse.ArgumentParser):
    def __init__(self, where: str) -> None:
        super().__init__(prog=DIRECTIVE, add_help=False, allow_abbrev=False)
        self.where = where

    def error(self, message: str) -> NoReturn:
        raise InputError(message, where=self.where)


def _parse_directive(where: str, text: str) -> dict[str, Any]:
    if text and not text[0].isspace():
        raise InputError(f"{DIRECTIVE} must be followed by a space", where=where)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"cannot be split into words: {error}", where=where) from error
    parser = _DirectiveParser(where)
    add_options(parser)
    found, rest = parser.parse_known_args(words)
    if rest:
        known = ["--" + field.name.replace("_", "-") for field in fields(Options)]
        raise InputError(
            f"unknown option {printable(rest[0])}",
            where=where,
            expected=f"one of: {', '.join(known)}",
            nearest=nearest(rest[0], known),
        )
    return vars(found)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{printable(text)} is not a name of 1 to 100 letters, digits and _ . + -"
        )
    return text


def _number(least: int) -> Any:
    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"{printable(text)} is not a whole number of at least {least}"
            )
        return int(text)

    return number


def _devices(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(re.fullmatch(r"[0-9]{1,4}", word) for word in words):
        raise argparse.ArgumentTypeError(f"{printable(text)} is not a list such as 0,1,2")
    devices = tuple(int(word) for word in words)
    if len(set(devices)) < len(devices):
        raise argparse.ArgumentTypeError(f"{printable(text)} names a device twice")
    return devices


def _walltime(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _grace(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{printable(text)} is not a number of seconds")
    return seconds


def _path(text: str) -> str:
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{printable(text)} is not a path")
    return text
