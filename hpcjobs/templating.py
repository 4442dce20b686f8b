"""Jinja for shell scripts: strict, shell-quoting, and errors that name template and line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import jinja2

from hpcjobs.durations import format_duration
from hpcjobs.errors import InputError, printable
from hpcjobs.workspace import Workspace

OPEN, CLOSE = "\ufdd0", "\ufdd1"
"""Around what was filled in, while a template is rendered: noncharacters, which no text holds."""

_DIRECTIVE = re.compile(r"[A-Za-z0-9_./=:,@%+-]+")


def filled_in(
    environment: jinja2.Environment, template: str, values: dict[str, Any], where: str
) -> str:
    """The template's text, with OPEN and CLOSE around what was quoted.

    Raises:
        InputError: it is missing, is no template, or uses an undefined name.
    """
    try:
        return environment.get_template(template).render(values)
    except jinja2.UndefinedError as error:
        raise InputError(
            f"{error.message}",
            where=_template_line(error),
            expected="a name that templates are given (see docs/job-script.md)",
        ) from error
    except jinja2.TemplateSyntaxError as error:
        raise InputError(
            f"not a Jinja template: {error.message}", where=f"{error.filename}:{error.lineno}"
        ) from error
    except jinja2.TemplateNotFound as error:
        raise InputError(f"no template templates/{error.message}", where=where) from error


def script_templates(workspace: Workspace) -> jinja2.Environment:
    """All templates: the workspace's own come before those of the package."""
    loader = jinja2.FileSystemLoader([str(path) for path in workspace.layers("templates")])
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        comment_start_string="{##",  # since bash has ${#array[@]}
        comment_end_string="##}",
        autoescape=False,  # noqa: S701 - shell, not HTML; the `sh` filter quotes
        finalize=_marked,
    )
    environment.filters["sh"] = lambda value: _Filled(shlex.quote(str(value)))
    environment.filters["hms"] = format_duration
    environment.filters["comment"] = _comment
    environment.filters["directive"] = _directive
    environment.filters["option"] = _option
    environment.globals["source"] = lambda name: loader.get_source(environment, name)[0].rstrip()
    return environment


class _Filled(str):
    """A value that cannot change how bash parses what is around it."""


def _marked(value: object) -> object:
    """What a template puts out, between marks if it was quoted or checked by a filter."""
    if isinstance(value, str) and (OPEN in value or CLOSE in value):
        raise InputError(f"{printable(value)} holds a character that is none")
    return f"{OPEN}{value}{CLOSE}" if isinstance(value, _Filled) else value


def _comment(value: object) -> str:
    """`value` on one line, for a comment."""
    return _Filled(printable(str(value))[1:-1])


def _directive(value: object, line: str, without: str = "") -> str:
    """`value` as it is, if it can stand in a directive line, where nothing can be quoted.

    The characters `without` have a meaning of their own in this line.
    """
    text = str(value)
    if not _DIRECTIVE.fullmatch(text) or set(text) & set(without):
        allowed = " ".join(one for one in "_./=:,@%+-" if one not in without)
        raise InputError(
            f"{printable(text)} cannot stand in a line `{line}`",
            expected=f"letters, digits and {allowed} only",
            do="move the workspace to a plain path, or rename what is named so",
        )
    return _Filled(text)


def _option(value: object, line: str, words: int = 1, dash: bool = False) -> str:
    """The value of an option that people give, if it can stand in a directive line.

    It may be of several words, where the scheduler wants them so (`-pe smp 8`). Unless it may begin
    with a `dash`, none of them does: it would be read as the next option.
    """
    text = str(value)
    given = text.split(" ")
    leads = not dash and any(word.startswith("-") for word in given)
    if leads or len(given) > words or not all(map(_DIRECTIVE.fullmatch, given)):
        raise InputError(
            f"{printable(text)} cannot stand in a line `{line}`",
            expected=f"{'one word' if words == 1 else f'at most {words} words'} of letters, digits "
            f"and _ . / = : , @ % + - only{'' if dash else ', not beginning with -'}",
            do="change the option of the service, of its node or of --scheduler-option",
        )
    return _Filled(text)


def _template_line(error: jinja2.UndefinedError) -> str:
    """`FILE:LINE` of the template that failed, from the innermost frame of a template."""
    trace, where = error.__traceback__, "a template"
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.endswith((".j2", ".py")) and "templates" in Path(name).parts:
            where = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return where
