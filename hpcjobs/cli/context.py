"""What all commands share: the workspace, and how things are printed."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import click

from hpcjobs.errors import InputError, printable
from hpcjobs.workspace import Workspace, chosen_workspace

_COMMANDING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass
class Context:
    """The options of `hpcjobs` itself."""

    workspace_option: str | None
    emoji: bool = True
    warned: set[str] = field(default_factory=set)
    """Warnings that need not be repeated."""

    @cached_property
    def workspace(self) -> Workspace:
        """The chosen workspace.

        Raises:
            InputError: there is none, or its path cannot be written into the journal.
        """
        workspace = chosen_workspace(self.workspace_option)
        try:
            str(workspace.root).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"the path {printable(str(workspace.root))} is not UTF-8",
                where="--workspace",
                do="rename it, or use another directory",
            ) from error
        return workspace


def print_json(value: Any) -> None:
    """`value` on standard output, for scripts."""
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=ascii_only, default=_plain)
    click.echo(harmless(text))


def harmless(text: str) -> str:
    """The text without what commands a terminal or turns text round: as escapes of JSON."""
    return _COMMANDING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain(value: object) -> str:
    """A decimal as text: a JSON number would become binary in most readers."""
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def warn(text: str) -> None:
    """A line on standard error."""
    click.echo(f"warning: {text}", err=True)


def interactive() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def can_show_emoji() -> bool:
    """Whether standard output knows the signs of the states."""
    try:
        "🟤".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


pass_context = click.make_pass_decorator(Context)
