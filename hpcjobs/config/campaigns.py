"""campaign.yaml: models x tasks x settings on a service, as the rows that would be submitted.

docs/campaign.md shows a whole one. What a model does not say itself, the first pattern that fits
it says, else the top of the file.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from hpcjobs.config.groups import read_task_table, select
from hpcjobs.config.node_names import Alike, node_names, node_on, read_node_names
from hpcjobs.config.reading import Fields
from hpcjobs.config.services import read_service
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.config.submissions import Submission
from hpcjobs.errors import HpcjobsError, InputError, printable
from hpcjobs.files import explained
from hpcjobs.model import Service
from hpcjobs.queueing import Packing
from hpcjobs.workspace import Workspace

LIMITS = ("unfinished", "running", "per_minute")
FILE = "campaign.yaml"


@dataclass(frozen=True)
class Campaign:
    """What the file says."""

    rows: list[Submission]
    attempts: int = 3
    longer: float = 2.0
    in_a_row: int = 3
    ask_jobs: int = 0
    """More jobs than this are asked for."""
    ask_price: Decimal | None = None
    """More than this, in the service's unit, is asked for; None = the price never matters."""
    limits: Mapping[str, int] = field(default_factory=dict)
    priority: str | None = None
    mail: str = ""
    packing: Packing | None = None
    """How tasks of a model share jobs; None = each has a job of its own."""


def read_campaign(workspace: Workspace, path: Path) -> Campaign:
    """The campaign of a file.

    Raises:
        InputError: a key, a name or a value is wrong; it names the file and the line.
        StorageError: it, or a list of models, cannot be read.
    """
    with Fields(read_yaml(path)) as fields:
        retry, ask = fields.section("retry"), fields.section("ask_above")
        limits = fields.section("limits")
        with retry, ask, limits:
            limits.allow(LIMITS)
            return Campaign(
                rows=_Rows(workspace, fields).read(),
                attempts=retry.integer("attempts", 3, minimum=1),
                longer=retry.number("longer", 2.0, minimum=1.1, maximum=100.0),
                in_a_row=retry.integer("in_a_row", 3, minimum=2),
                ask_jobs=ask.integer("jobs", 0),
                ask_price=ask.decimal("points", None),
                limits={
                    name: limits.integer(name, minimum=1) for name in LIMITS if limits.has(name)
                },
                priority=fields.text("priority", None, pattern=r"-?[0-9]+"),
                mail=fields.text("mail", ""),
                packing=_packing(fields),
            )


def _packing(fields: Fields) -> Packing | None:
    """`pack: true`, or how."""
    given = fields.document.value
    if not isinstance(given, dict) or not isinstance(given.get("pack"), dict):
        return Packing() if fields.boolean("pack", False) else None
    with fields.section("pack") as section:
        walltime = section.duration("walltime", None)
        return Packing(walltime, section.integer("at_once", 1, minimum=1))


@dataclass
class _Model:
    name: str
    where: str
    fields: Fields | None
    """What the file says of this very model."""


class _Rows:
    """Reads the models, and what is evaluated of each."""

    def __init__(self, workspace: Workspace, fields: Fields) -> None:
        self.workspace = workspace
        self.fields = fields
        self.path = fields.document.path
        self.tasks, self.groups = read_task_table(workspace)
        self.services: dict[str, Service] = {}
        self.alike: list[Alike] = [
            *node_names(fields.section("nodes")),
            *read_node_names(workspace.find_file("conf", "node_names.yaml")),
        ]
        self.patterns = list(fields.sections("patterns"))

    def read(self) -> list[Submission]:
        models = list(self._models())
        if not models:
            raise self.fields.error("no models are named", "models")
        rows: dict[tuple[object, ...], Submission] = {}
        for model in models:
            for row in self._rows_of(model):
                what = (row.model, row.task, row.provider, row.settings, row.max_samples)
                if what in rows:
                    raise InputError(
                        f"{printable(row.task)} of {printable(row.model)} a second time",
                        where=row.where,
                        expected=f"each once (it stands also at {rows[what].where})",
                    )
                rows[what] = row
        for _, one in self.patterns:  # also of one that nothing fitted
            self._values([one])
            one.refuse_others()
        self._values([self.fields])
        return list(rows.values())

    def _models(self) -> Iterator[_Model]:
        given = self.fields.document.value
        listed = given.get("models") if isinstance(given, dict) else None
        if isinstance(listed, dict):
            outer = self.fields.section("models")
            for name in outer.names():
                one = outer.section(name)
                yield from self._named(name, one.where(), one)
        else:
            for index, name in enumerate(self.fields.texts("models")):
                where = self.fields.document.where(("models", index))
                yield from self._named(name, where, None)

    def _named(self, name: str, where: str, fields: Fields | None) -> Iterator[_Model]:
        if not name.startswith("@"):
            yield _Model(name, where, fields)
            return
        path = self.path.parent / name[1:]
        with explained("read", path):
            try:
                text = path.read_bytes().decode("utf-8-sig")
            except FileNotFoundError:
                raise InputError(f"no such file: {path}", where=where) from None
            except UnicodeDecodeError as error:
                raise InputError("not UTF-8", where=str(path)) from error
        for number, line in enumerate(text.splitlines(), start=1):
            word = line.partition("#")[0].strip()
            if word:
                yield _Model(word, f"{path}:{number}", fields)

    def _rows_of(self, model: _Model) -> Iterator[Submission]:
        layers = [model.fields] if model.fields is not None else []
        layers += [one for glob, one in self.patterns if fnmatch.fnmatchcase(model.name, glob)][:1]
        values = self._values([*layers, self.fields])
        for one in layers:
            one.refuse_others()
        service = self._service(self._needed(values, "service", model))
        name, at = self._needed(values, "node", model)
        node = node_on(service, name, self.alike, where=at)
        words, at = values.get("tasks", (("default",), model.where))
        try:
            keys = select(words, self.tasks, self.groups)
        except InputError as error:
            error.where = at
            raise
        for settings in values.get("settings", (("",), ""))[0]:
            for key in keys:
                yield Submission(
                    model=model.name,
                    task=key,
                    service=service.name,
                    node=node,
                    provider=values.get("provider", ("vllm", ""))[0],
                    settings=settings,
                    max_samples=values.get("max_samples", (None, ""))[0],
                    where=model.where,
                )

    def _values(self, layers: Sequence[Fields]) -> dict[str, tuple[Any, str]]:
        """By key: the value of the first that has it, and where that stands."""
        found: dict[str, tuple[Any, str]] = {}
        for one in layers:
            read: dict[str, Any] = {
                "service": one.text("service", None),
                "node": one.text("node", None),
                "provider": one.text("provider", None),
                "tasks": one.texts("tasks", None),
                "settings": one.texts("settings", None),
                "max_samples": one.integer("max_samples", None, minimum=1),
            }
            for key, value in read.items():
                if value is not None:
                    found.setdefault(key, (value, one.where(key)))
        return found

    def _needed(
        self, values: Mapping[str, tuple[Any, str]], key: str, model: _Model
    ) -> tuple[str, str]:
        if key not in values:
            raise InputError(
                f"{printable(model.name)} has no {key}",
                where=model.where,
                do=f"say `{key}: NAME` at the top of {self.path}, in a pattern, or at the model",
            )
        value, where = values[key]
        return str(value), where

    def _service(self, named: tuple[str, str]) -> Service:
        name, where = named
        if name not in self.services:
            try:
                self.services[name] = read_service(self.workspace, name)
            except HpcjobsError as error:
                if error.where == "--service":
                    error.where = where
                raise
        return self.services[name]
