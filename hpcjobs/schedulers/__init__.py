"""One small module a scheduler: pure functions, argument lists out, text in.

`SchedulerModule` says what a module must have. `written` gives the part that every scheduler has
(what is needed to render and to submit by hand); `live` the whole of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol, cast

from hpcjobs.errors import InputError
from hpcjobs.model import Observation


class Result(Protocol):
    """How a command ended (see hpcjobs.commands.CommandResult)."""

    @property
    def returncode(self) -> int:
        """The exit status; negative for a signal."""

    @property
    def stdout(self) -> str:
        """What it printed."""

    @property
    def stderr(self) -> str:
        """What it complained of."""


class WrittenScheduler(Protocol):
    """What is needed to write a script and the command that submits it."""

    def submit_argv(self, script: Path, group: str, after: str = "") -> list[str]:
        """The command that submits `script`; `group` pays.

        It is to start when the job with the native id `after` has succeeded; if that is given to
        a scheduler that cannot wait for success, that is an error of the caller (ValueError).
        """


class SchedulerModule(WrittenScheduler, Protocol):
    """A scheduler that hpcjobs can drive."""

    SINGLE_HOST: bool
    """Whether each machine has a queue of its own (see hpcjobs.place)."""

    def cluster(self, environ: Mapping[str, str], read: Callable[[str], str]) -> str:
        """The name of the cluster that its commands speak to from here; empty if unknown.

        Nothing is asked of the scheduler, which may be away: `environ` and files tell it. `read`
        gives the text of a file, empty where there is none.
        """

    def parse_submit(self, result: Result) -> str:
        """The native id.

        Raises:
            SubmitRefusedError: the scheduler refused.
            SchedulerUnavailableError: it did not answer, or not in a way that says anything.
        """

    def probe_argv(self) -> list[str] | None:
        """A command, run once, by which the dialect of its clients here is chosen; None = one."""

    def dialect(self, result: Result) -> str:
        """The name of the dialect, from the probe's answer."""

    def query_argv(self, native_ids: Collection[str], dialect: str = "") -> list[str]:
        """The one command that asks for all these jobs."""

    def parse_query(self, result: Result) -> Mapping[str, Observation]:
        """What was said, by native id; an id that is not in it is absent.

        Raises:
            SchedulerUnavailableError: no conclusion can be drawn from this answer.
        """

    def find_argv(self, name: str, dialect: str = "") -> list[str]:
        """The command that looks for a job by its unique name, ended ones too."""

    def parse_find(self, result: Result, name: str) -> Observation | None:
        """The job of that name, or None if there certainly is none.

        Raises:
            SchedulerUnavailableError: no conclusion can be drawn from this answer.
        """

    def history_argv(self, native_ids: Collection[str]) -> list[str] | None:
        """The one command that asks the accounting for these jobs, which the queue does not know or
        says have ended; None = there is no other place to ask.
        """

    def parse_history(self, result: Result) -> Mapping[str, Observation]:
        """What the accounting said, by native id. It may lag, so what is not in it is no fact.

        Raises:
            SchedulerUnavailableError: it said nothing.
        """

    def find_history_argv(self, name: str) -> list[str] | None:
        """Like `history_argv`, for a job whose id is not known; read by `parse_history`."""

    def explain_argv(self, seen: Collection[Observation]) -> list[str] | None:
        """One more command, where some of these jobs are stuck and the queue does not say why."""

    def parse_explanation(self, result: Result) -> Mapping[str, str]:
        """Better details, by native id; empty where it says nothing."""

    def cancel_argv(self, native_ids: Collection[str]) -> list[str]:
        """The command that cancels these jobs."""

    def parse_cancel(self, result: Result) -> str:
        """What could not be cancelled, for people; empty if all was accepted."""


LIVE = ("local", "slurm", "grid_engine", "pbs")
"""Schedulers that can be driven. The others are rendered only, so far."""


def written(name: str) -> WrittenScheduler:
    """The module of that name, for rendering."""
    return cast(WrittenScheduler, importlib.import_module(f"hpcjobs.schedulers.{name}"))


def live(name: str) -> SchedulerModule:
    """The module of that name, for submitting and watching.

    Raises:
        InputError: this version cannot drive that scheduler yet.
    """
    if name not in LIVE:
        raise InputError(
            f"this version renders scripts for {name}, but does not submit them",
            do="add --dry-run, or: hpcjobs render ... --output-dir DIR, and submit them by hand",
        )
    return cast(SchedulerModule, importlib.import_module(f"hpcjobs.schedulers.{name}"))
