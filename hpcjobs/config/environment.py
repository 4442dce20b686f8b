"""Personal values: the `.env` file beside conf/, and the environment of the command.

Paths and groups are written into scripts. Keys (`*_KEY`, `*_TOKEN`, ...) never are: the job reads
them itself from the `.env` file when it runs.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpcjobs.errors import InputError, printable
from hpcjobs.files import explained
from hpcjobs.workspace import defaults_root

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}")
_SECRET = re.compile(r".*(_KEY|_TOKEN|_SECRET|PASSWORD|_WEBHOOK|_WEBHOOK_URL)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"<.*>|")


@dataclass
class PersonalValues:
    """The values of `.env` and of the command's environment, and what was found missing."""

    path: Path
    values: Mapping[str, str]
    placeholders: Mapping[str, str] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    """Names that `expand` wanted and did not find, in order."""
    broken: Sequence[int] = ()
    """Lines of the file that say nothing."""

    def get(self, name: str) -> str | None:
        """The value of `name`, or None if it is missing or left at its placeholder."""
        value = self.values.get(name)
        if value is None or _PLACEHOLDER.fullmatch(value) or value == self.placeholders.get(name):
            return None
        return value

    def expand(self, text: str, *, where: str) -> str:
        """`text` with each `${NAME}` (or `${NAME:-default}`) replaced by its value.

        A value that is missing and has no default is remembered, and shows as `NAME_NOT_SET`.

        Raises:
            InputError: it names a key, which must not be written into a script.
        """

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if is_secret(name):
                raise InputError(
                    f"{name} is a key, and would be written into the job script",
                    where=where,
                    do="take it out: a job reads its keys from .env by itself",
                )
            value = self.get(name)
            if value is None and match[2] is not None:
                return str(match[3])
            if value is None:
                self.missing[name] = None
                return f"{name}_NOT_SET"
            if value.startswith(("~", "$")) or any(ord(c) < 32 for c in value):
                raise InputError(
                    f"{name}: {printable(value)} is taken as it stands, not expanded",
                    where=str(self.path),
                    expected="the value in full, on one line, without ~ and $",
                )
            return value

        return _REFERENCE.sub(replace, text)

    def require_nothing_missing(self) -> None:
        """Raise InputError naming every value that was wanted and not found."""
        if self.missing:
            raise self.not_set(*self.missing)

    def require_key(self, name: str) -> None:
        """Raise InputError unless the `.env` file itself holds the key `name`, simply written."""
        if self.get(name) is None:
            raise self.not_set(name)
        if simple_value(self.path, name) != self.values[name]:
            raise InputError(
                f"{name} is not written plainly enough for a job's shell to read it",
                where=str(self.path),
                expected=f"a line {name}=value without escapes or a comment after it",
            )

    def not_set(self, *names: str) -> InputError:
        """The error for values that are missing."""
        some = [name for name in names if self.values.get(name)]
        left = f" ({', '.join(some)} still at the placeholder of the template)" if some else ""
        state = "" if self.path.exists() else ", which does not exist"
        return InputError(
            f"not set: {', '.join(names)}{left}",
            where=f"{self.path}{state}",
            expected="NAME=value, one a line; quotes are optional",
            do="copy .env_template to .env, fill it in, and: chmod 600 .env"
            if state
            else "set it there",
        )

    def warnings(self) -> list[str]:
        """What is wrong or unwise about the `.env` file, for people."""
        found = [f"{self.path}:{line}: not NAME=value, so it is left out" for line in self.broken]
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except OSError:
            return found
        if mode & 0o077:
            where = shlex.quote(str(self.path))
            found.append(
                f"{self.path} can be read by others (mode {mode:o}); do: chmod 600 {where}"
            )
        return found


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a key."""
    return _SECRET.fullmatch(name) is not None


def read_personal_values(path: Path) -> PersonalValues:
    """The values of the `.env` file (it may be missing) under those of the environment.

    Raises:
        StorageError: the file cannot be read.
        InputError: it is not UTF-8.
    """
    # A key counts only if it is in the file, since that is where the job will look.
    outside = {name: value for name, value in os.environ.items() if not is_secret(name)}
    placeholders, _ = _dotenv(defaults_root() / ".env_template")
    found, broken = _dotenv(path)
    built_in = {"HPCJOBS_ENVIRONMENT": sys.prefix}
    values = {**built_in, **found, **outside}
    return PersonalValues(path, values, placeholders, broken=broken)


def _dotenv(path: Path) -> tuple[dict[str, str], list[int]]:
    """Its values, and the lines that are none. Not by `dotenv_values`, which logs those itself,
    without the file's name, each time that it reads.
    """
    if not path.is_file():
        return {}, []
    from dotenv.parser import parse_stream  # here, since quick commands need no .env

    with explained("read", path):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError("not UTF-8", where=str(path)) from error
    found: dict[str, str | None] = {}
    broken = []
    for one in parse_stream(io.StringIO(text)):
        if one.error:  # it counts from the blank lines before
            said = one.original.string
            broken.append(one.original.line + said[: -len(said.lstrip())].count("\n"))
        elif one.key is not None:
            found[one.key] = one.value
    return {name: value for name, value in found.items() if value is not None}, broken


def simple_value(path: Path, name: str) -> str | None:
    """The value of `name` as the job's own bash function reads it; the two must agree."""
    value: str | None = None
    form = re.compile(rf"\s*(?:export\s+)?{re.escape(name)}=(.*?)\s*", re.ASCII)
    for line in path.read_bytes().decode("utf-8-sig").split("\n"):
        match = form.fullmatch(line)
        if match:
            value = match[1]
            if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1]
    return value
