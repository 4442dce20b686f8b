"""What all commands share: the workspace, and how things are printed."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click

from hpcjobs.workspace import Workspace, chosen_workspace


@dataclass
class Context:
    """The options of `hpcjobs` itself."""

    workspace_option: str | None
    emoji: bool = True

    @cached_property
    def workspace(self) -> Workspace:
        """The chosen workspace."""
        return chosen_workspace(self.workspace_option)


def print_json(value: Any) -> None:
    """`value` on standard output, for scripts."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def warn(text: str) -> None:
    """A line on standard error."""
    click.echo(f"warning: {text}", err=True)


def interactive() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


pass_context = click.make_pass_decorator(Context)
