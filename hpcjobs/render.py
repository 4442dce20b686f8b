"""Jobs turned into scripts: Jinja templates, strict and shell-quoting, checked by `bash -n`.

Templates read like the script that they become; what is decided arrives as plain values. A
workspace's own `templates/` come before those of the package.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from hpcjobs import evaluators
from hpcjobs.config.environment import PersonalValues
from hpcjobs.durations import format_duration
from hpcjobs.errors import InputError, printable
from hpcjobs.files import write_atomic
from hpcjobs.model import Attempt, Node, Provider, Service, TaskRun
from hpcjobs.plan import end_margin, job_name
from hpcjobs.schedulers import written
from hpcjobs.workspace import Workspace

KEYS = ("HF_TOKEN", "OPENAI_API_KEY", "DEEPINFRA_API_KEY")
"""The keys that a job reads from `.env`, where they are set there."""

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Around what was filled in, while a template is rendered: noncharacters, which no text holds."""

_DIRECTIVE = re.compile(r"[A-Za-z0-9_./=:,@%+-]+")


@dataclass(frozen=True)
class Script:
    """A rendered job script, and how it is submitted."""

    attempt: Attempt
    name: str
    path: Path
    """Where `submit` writes it."""
    text: str
    argv: tuple[str, ...]
    shape: str = ""
    """The text without what was quoted and filled in: bash parses equal shapes alike."""

    @property
    def command(self) -> str:
        """The submit command as one types it."""
        return shlex.join(self.argv)


class Renderer:
    """Renders jobs of one service for one workspace."""

    def __init__(
        self,
        workspace: Workspace,
        personal: PersonalValues,
        service: Service,
        provider: Provider,
        devices: tuple[str, ...] = (),
        after: str = "",
    ) -> None:
        self.workspace = workspace
        self.personal = personal
        self.service = service
        self.provider = provider
        self.devices = devices
        self.after = after
        """Native id of a job that must have succeeded before these start."""
        self.environment = _environment(workspace)
        self._rendered: dict[str, tuple[object, Script]] = {}

    def render(self, attempt: Attempt) -> Script:
        """The script of one attempt; the same again if it was rendered before: as it was shown.

        Raises:
            InputError: a template is missing or uses an undefined name, or a value cannot stand in
                a directive line.
        """
        choices = (attempt, self.devices, self.after)
        before, script = self._rendered.get(attempt.label, (None, None))
        if script is None or before != choices:
            script = self._render(attempt)
            self._rendered[attempt.label] = (choices, script)
        return script

    def _render(self, attempt: Attempt) -> Script:
        job, service = attempt.job, self.service
        node = service.nodes[job.node]
        directory = self.workspace.attempt(job.id, attempt.number)
        name = job_name(attempt)
        group = "" if job.trial else self._expand(service.group)
        submit_argv = written(service.scheduler).submit_argv
        argv = tuple(submit_argv(directory / "job.sh", group, self.after))
        values: dict[str, Any] = {
            "attempt": attempt,
            "attempt_dir": str(directory),
            "env_file": str(self.workspace.env_file),
            "name": name,
            "group": group,
            "submit_command": shlex.join(argv),
            "job": job,
            "service": service,
            "node": node,
            "provider": self.provider,
            "devices": job.devices or self.devices,
            "scheduler_options": {**self._options(node), **job.scheduler_options},
            "end_margin": end_margin(service, job.trial),
            "exports": self._exports(),
            "keys": KEYS,
            "server": self._server_values(job.model, job.tasks[0], node),
            "tasks": [self._task_values(job.model, task) for task in job.tasks],
        }
        text = self._text(values)
        return Script(
            attempt,
            name,
            directory / "job.sh",
            text.replace(_OPEN, "").replace(_CLOSE, ""),
            argv,
            re.sub(f"{_OPEN}[^{_CLOSE}]*{_CLOSE}", "x", text),
        )

    def _text(self, values: dict[str, Any]) -> str:
        try:
            return self.environment.get_template(self.service.template).render(values)
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
            raise InputError(
                f"no template templates/{error.message}", where=self.service.where
            ) from error

    def _expand(self, text: str) -> str:
        return self.personal.expand(text, where=self.service.where)

    def _exports(self) -> dict[str, str]:
        expanded = {name: self._expand(value) for name, value in self.service.exports.items()}
        return {name: value for name, value in expanded.items() if value}

    def _options(self, node: Node) -> dict[str, str]:
        """The scheduler's words; one whose variable is not set is left out, `""` is a bare flag."""
        given = {**self.service.options, **node.options}
        expanded = {name: self._expand(value) for name, value in given.items()}
        return {name: value for name, value in expanded.items() if value or not given[name]}

    def _environment_of(self, name: str) -> str:
        return self._expand(self.service.environments.get(name, ""))

    def _server_values(self, model: str, task: TaskRun, node: Node) -> dict[str, object]:
        parser = task.settings.get("reasoning_parser")
        ours = parser in (None, "ignore") or parser in evaluators.EVALUATOR_PARSERS
        return {
            "environment": self._environment_of(self.provider.name),
            "weights": str(self.weights(model, task)),
            "max_model_length": task.settings.get("max_model_length"),
            "reasoning_parser": None if ours else parser,
            "tensor_parallel": max(1, node.gpus),
            "gpu_layers": 999 if node.gpus else 0,
            "use_v1": task.settings.get("vllm_use_v1"),
        }

    def weights(self, model: str, task: TaskRun) -> Path | str:
        """The weights to serve: a file of the workspace or the defaults, or a name for the hub."""
        given = str(task.settings.get("weights", model))
        if "weights" not in task.settings:
            return given
        path = self.workspace.find_file(given)
        return path if path.exists() or self.provider.needs_weights else given

    def _task_values(self, model: str, task: TaskRun) -> dict[str, object]:
        return {
            "key": task.key,
            "script": task.script,
            "framework": task.framework,
            "result_dir": task.result_dir,
            "environment": self._environment_of(task.framework),
            "include_path": str(self.workspace.find_file("conf", "lm_eval_tasks")),
            **evaluators.evaluator_values(
                task.framework, task.script, task.settings, self.provider, model
            ),
        }


def write_script(script: Script, path: Path, known: set[str] | None = None) -> None:
    """Check the script (see `check_script`) and write it, whole, executable.

    Raises:
        InputError: bash cannot parse it (a template is wrong).
        StorageError: it cannot be written.
    """
    check_script(script, known)
    write_atomic(path, script.text, mode=0o755)


def check_script(script: Script, known: set[str] | None = None) -> None:
    """Let bash parse the script, without running it.

    Args:
        script: what is checked.
        known: shapes that bash has parsed already; such a script is taken as checked.

    Raises:
        InputError: bash cannot parse it (a template is wrong).
    """
    if known is not None and script.shape in known:
        return
    for _ in range(3):
        checked = subprocess.run(
            ["bash", "-n"], input=script.text, capture_output=True, text=True, check=False
        )
        if checked.returncode >= 0:  # else a signal ended it, such as Ctrl-C: no verdict
            break
    if checked.returncode != 0:
        raise InputError(f"bash cannot parse the rendered script:\n{checked.stderr.strip()}")
    if known is not None:
        known.add(script.shape)


def _environment(workspace: Workspace) -> jinja2.Environment:
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
    environment.globals["source"] = lambda name: loader.get_source(environment, name)[0].rstrip()
    return environment


class _Filled(str):
    """A value that cannot change how bash parses what is around it."""


def _marked(value: object) -> object:
    """What a template puts out, between marks if it was quoted or checked by a filter."""
    if isinstance(value, str) and (_OPEN in value or _CLOSE in value):
        raise InputError(f"{printable(value)} holds a character that is none")
    return f"{_OPEN}{value}{_CLOSE}" if isinstance(value, _Filled) else value


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


def _template_line(error: jinja2.UndefinedError) -> str:
    """`FILE:LINE` of the template that failed, from the innermost frame of a template."""
    trace, where = error.__traceback__, "a template"
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.endswith((".j2", ".py")) and "templates" in Path(name).parts:
            where = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return where
