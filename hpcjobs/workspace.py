"""Where things lie: the workspace's own files, the defaults that travel with the package, jobs.

A workspace is a directory with `conf/tasks_runtime.csv`, or one in which jobs were submitted. It is
found from the current directory upwards. Every file of `conf/`, `generation_settings/` and
`templates/` is taken from the workspace if it is there, else from the defaults.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.errors import InputError
from hpcjobs.files import explained

JOURNAL = Path("jobs", "journal.jsonl")
_MARKS = (Path("conf", "tasks_runtime.csv"), JOURNAL)


def defaults_root() -> Path:
    """The directory with the default conf/, templates/, generation_settings/ and demo/."""
    package = Path(__file__).resolve().parent
    inside = package / "defaults"
    return inside if inside.is_dir() else package.parent


@dataclass(frozen=True)
class Workspace:
    """One workspace, by its root directory (absolute)."""

    root: Path

    @classmethod
    def find(cls, given: Path | None = None) -> Workspace:
        """The workspace `given`, or the one around the current directory, or that directory.

        Raises:
            InputError: `given` is not a directory.
        """
        if given is not None:
            if not given.is_dir():
                raise InputError(
                    f"no such directory: {given}",
                    where="--workspace",
                    do=f"create it with: hpcjobs init {given}",
                )
            return cls(given.resolve())
        here = Path.cwd()
        for directory in (here, *here.parents):
            if any((directory / mark).is_file() for mark in _MARKS):
                return cls(directory)
        return cls(here)

    def find_file(self, *parts: str) -> Path:
        """The workspace's own file, else the default one (which may be missing too)."""
        own = self.root.joinpath(*parts)
        return own if own.exists() else defaults_root().joinpath(*parts)

    def layers(self, *parts: str) -> list[Path]:
        """The directory of that name here and among the defaults, those that exist, ours first."""
        both = dict.fromkeys((self.root.joinpath(*parts), defaults_root().joinpath(*parts)))
        return [path for path in both if path.is_dir()]

    def shown(self, path: Path) -> str:
        """`path` as a person wants to see it: relative to the workspace or the defaults."""
        for base in (self.root, defaults_root()):
            if path.is_relative_to(base):
                return str(path.relative_to(base))
        return str(path)

    @property
    def env_file(self) -> Path:
        """The personal values and keys."""
        return self.root / ".env"

    @property
    def journal(self) -> Path:
        """The append-only record of every job."""
        return self.root / JOURNAL

    @property
    def identity_file(self) -> Path:
        """A random word, made by the first submission; see `identity`."""
        return self.jobs / ".workspace"

    @property
    def identity(self) -> str:
        """What the ids of its jobs are derived from.

        The same job in another workspace is another job, and so it is after `jobs/` was deleted: a
        scheduler may still know the old one by its name.

        Raises:
            StorageError: it is there but cannot be read; the jobs would then have other ids.
        """
        with explained("read", self.identity_file):
            try:
                return f"{self.root}:{self.identity_file.read_text().strip()}"
            except FileNotFoundError:
                return str(self.root)

    @property
    def jobs(self) -> Path:
        """One directory a job below it."""
        return self.root / "jobs"

    def attempt(self, job_id: str, number: int) -> Path:
        """The directory of one attempt: its script, logs, markers and raw results."""
        return self.jobs / job_id / f"{number:02d}"

    def results(self, prefix: str, model: str, settings: str) -> Path:
        """`results/{prefix}/{publisher}/{model}/{settings}`; empty parts are left out."""
        parts = [*prefix.split("/"), *model.split("/"), settings]
        return self.root.joinpath("results", *(part for part in parts if part))


def chosen_workspace(option: str | None) -> Workspace:
    """The workspace of `--workspace`, of HPCJOBS_WORKSPACE, or around the current directory."""
    given = option or os.environ.get("HPCJOBS_WORKSPACE")
    return Workspace.find(Path(given) if given else None)
