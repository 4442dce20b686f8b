"""Jobs turned into scripts: Jinja templates, strict and shell-quoting, checked by `bash -n`.

Templates read like the script that they become; what is decided arrives as plain values. A
workspace's own `templates/` come before those of the package.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcjobs import evaluators
from hpcjobs.config.environment import PersonalValues
from hpcjobs.config.providers import check_url
from hpcjobs.errors import InputError
from hpcjobs.evaluators import Served
from hpcjobs.files import write_atomic
from hpcjobs.model import Attempt, Job, Node, Provider, Service, TaskRun
from hpcjobs.plan import end_margin, job_name
from hpcjobs.schedulers import written
from hpcjobs.servers import server_values
from hpcjobs.templating import CLOSE, OPEN, filled_in, script_templates
from hpcjobs.workspace import Workspace

KEYS = ("HF_TOKEN", "OPENAI_API_KEY", "DEEPINFRA_API_KEY")
"""The keys that a job reads from `.env`, where they are set there; and its provider's."""

_LM_EVAL_TASKS = ("conf", "lm_eval_tasks")


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
        self.environment = script_templates(workspace)
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
            "keys": self.keys,
            "server": self.server_values(job),
            "tasks": [self._task_values(job.model, task, node) for task in job.tasks],
        }
        text = filled_in(self.environment, service.template, values, service.where)
        return Script(
            attempt,
            name,
            directory / "job.sh",
            text.replace(OPEN, "").replace(CLOSE, ""),
            argv,
            re.sub(f"{OPEN}[^{CLOSE}]*{CLOSE}", "x", text),
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that the job reads from `.env`."""
        key = self.provider.key
        return (*KEYS, key) if key and key not in KEYS else KEYS

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

    def _environment_of(self, *names: str) -> dict[str, object]:
        """Where a program is: a directory before PATH, or the words that start it (`uv run`)."""
        found = filter(None, (self.service.environments.get(name) for name in names))
        given = self._expand(next(found, ""))
        if not given.startswith("uv "):
            return {"environment": given, "launcher": ""}
        return {"environment": "", "launcher": f"{shlex.join(shlex.split(given))} -- "}

    def server_values(self, job: Job) -> dict[str, object]:
        """What the templates of the job's server are told."""
        node = self.service.nodes[job.node]
        weights, settings = str(self.weights(job.model, job.tasks[0])), job.tasks[0].settings
        values = server_values(self.provider, self.service, node, job.tasks, weights)
        if "lora" in settings:
            adapter = {"name": job.model, "path": self._path_of(str(settings["lora"]))}
            values["lora"] = json.dumps(adapter, ensure_ascii=False)
        if "chat_template" in settings:
            values |= self._chat_template(str(settings["chat_template"]))
        names = (self.provider.name, self.provider.server or "")
        return values | self._environment_of(*names)

    def _chat_template(self, given: str) -> dict[str, object]:
        """One of templates/chat/ by its name, which the script holds itself; or a file."""
        name = f"chat/{given}.jinja"
        if name in self.environment.list_templates():
            return {"template_name": name}
        path = self._path_of(given)
        if not Path(path).is_absolute():
            raise InputError(
                f"no chat template {given}",
                where="the setting chat_template",
                expected="the name of a file of templates/chat/, or the path of a file",
            )
        return {"chat_template": path}

    def weights(self, model: str, task: TaskRun) -> Path | str:
        """The weights to serve: a file of the workspace or the defaults, or a name for the hub."""
        given = str(task.settings.get("weights", model))
        if "weights" not in task.settings:
            return given
        path = self.workspace.find_file(given)
        return path if path.exists() or self.provider.needs_weights else given

    def _path_of(self, given: str) -> str:
        path = self.workspace.find_file(given)
        return str(path) if path.exists() else given

    def _task_values(self, model: str, task: TaskRun, node: Node) -> dict[str, object]:
        served = Served(
            self.provider,
            model,
            str(self.weights(model, task)),
            self._base_url(),
            node.gpus,
            self._path_of(str(task.settings["lora"])) if "lora" in task.settings else "",
        )
        values = evaluators.evaluator_values(
            task.framework, task.script, task.settings, served, task.options
        )
        own = values.pop("own_include_path", None)
        include = self._option_path(own) if own else self.workspace.find_file(*_LM_EVAL_TASKS)
        variables = dict(task.options.get("environment") or {})  # type: ignore[call-overload]
        return {
            "key": task.key,
            "script": task.script,
            "framework": task.framework,
            "result_dir": task.result_dir,
            "include_path": str(include),
            **self._environment_of(f"{task.framework}-{self.provider.name}", task.framework),
            **values,
            "variables": {name: self._option(value) for name, value in variables.items()},
        }

    def _option(self, text: object) -> str:
        """The text of an option, with the values of .env."""
        return self.personal.expand(str(text), where="conf/frameworks.yaml")

    def _option_path(self, text: object) -> str:
        return self._path_of(self._option(text))

    def _base_url(self) -> str:
        where = "base_url in conf/providers.yaml"
        url = self.personal.expand(self.provider.base_url or "", where=where)
        if not url or self.personal.missing:
            return url
        return check_url(url, where)


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
