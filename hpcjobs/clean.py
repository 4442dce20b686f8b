"""What ended attempts have left that nobody needs: found here, and removed.

Never: the journal, markers and scripts, results that count for an aggregate, anything of an attempt
that may not have ended, anything that hpcjobs did not make. Symbolic links are not followed.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hpcjobs.errors import HpcjobsError, StorageError
from hpcjobs.files import explained
from hpcjobs.lock import workspace_lock
from hpcjobs.model import Job, JobState
from hpcjobs.observe import lock_file
from hpcjobs.results.checking import check_results
from hpcjobs.results.collect import collect
from hpcjobs.results.report import FILE_NAME
from hpcjobs.results.scores import read_scores
from hpcjobs.results.trust import FILE_NAME as TRUST
from hpcjobs.store import AttemptRecord, JobRecord, Store, load
from hpcjobs.workspace import Workspace

WORK, LOG, RESULT, LEFT_OVER = "work", "log", "raw result", "left over"
ASIDE = ".removed-"
"""Moved aside before it is removed: a tree that is half there must not be read as a result."""


@dataclass(frozen=True)
class Removal:
    """One file or directory that may go."""

    path: Path
    kind: str
    label: str
    """Of the attempt, `ID-NN`."""
    size: int
    """Bytes, without what links point to."""


@dataclass
class Plan:
    """What may go, and what was kept although it is old."""

    removals: list[Removal] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """For people: what, and why."""


def find(workspace: Workspace, store: Store, before: float) -> Plan:
    """What the attempts that ended before that moment have left and nobody needs.

    Raises:
        StorageError: a directory cannot be read.
    """
    plan = Plan()
    counting, unsure = _counting(workspace, store)
    if unsure:
        plan.kept.append(f"logs and results of all attempts: {unsure}")
    for record in store.jobs.values():
        if record.active:
            continue
        for attempt in record.attempts:
            label = f"{record.job.id}-{attempt.number:02d}"
            if attempt.ended_at is None or attempt.ended_at >= before:
                continue
            directory = workspace.attempt(record.job.id, attempt.number)
            if not _is_own(workspace, directory):
                if os.path.lexists(directory):
                    plan.kept.append(f"{label}: it is a link, or not below jobs/")
                continue
            if not (directory / "started").is_file():
                continue  # it may never have run, and must not run now
            candidates = list(_left_over(directory, label))
            candidates += _removal(directory / "work", WORK, label)
            if not unsure and label not in counting and _superseded(workspace, record, attempt):
                candidates += _of_superseded(directory, record.job_of(attempt), label)
            if candidates and _newest(directory) >= before:
                plan.kept.append(f"{label}: something was written there since")
                continue
            plan.removals += candidates
    return plan


def remove(
    workspace: Workspace,
    shown: Collection[Removal],
    before: float,
    further: Callable[[], Plan] = Plan,
) -> Plan:
    """Remove what was shown and still may go; `removals` are those that are gone.

    `further` finds, once more, what is not of attempts.

    Raises:
        LockedError: another hpcjobs is writing in this workspace.
        StorageError: the journal cannot be read.
    """
    done = Plan()
    wanted = {one.path for one in shown}
    with workspace_lock(lock_file(workspace)):
        # A job may have been submitted again while a person read the list.
        found = find(workspace, load(workspace.journal), before).removals
        for one in [*found, *further().removals]:
            if one.path not in wanted:
                continue
            try:
                _remove(one.path)
            except OSError as error:
                done.kept.append(f"{one.path}: {error.strerror or error}")
            else:
                done.removals.append(one)
    return done


def _remove(path: Path) -> None:
    if not stat.S_ISDIR(path.lstat().st_mode):
        path.unlink()
        return
    if path.name.startswith(ASIDE):
        shutil.rmtree(path)
        return
    aside = path.with_name(f"{ASIDE}{path.name}")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    path.rename(aside)
    shutil.rmtree(aside)  # it does not follow links


def _of_superseded(directory: Path, job: Job, label: str) -> Iterator[Removal]:
    """Its logs and raw results: of known names only."""
    logs = ("job.log", "server.log", "scheduler.out", *(f"{task.key}.log" for task in job.tasks))
    for name in logs:
        yield from _removal(directory / name, LOG, label)
    places = {directory / "results" / task.result_dir for task in job.tasks}
    for place in sorted(places):
        if not places & set(place.parents):
            yield from _removal(place, RESULT, label)


def _left_over(directory: Path, label: str) -> Iterator[Removal]:
    """What an earlier removal, broken off, has moved aside."""
    with explained("list", directory):
        for place, directories, _ in os.walk(directory):
            for name in directories:
                if name.startswith(ASIDE):
                    yield from _removal(Path(place, name), LEFT_OVER, label)
            directories[:] = [
                name for name in directories if name != "work" and not name.startswith(ASIDE)
            ]


def _removal(path: Path, kind: str, label: str) -> Iterator[Removal]:
    """One if it is there: a directory or plain file, reached through no link."""
    attempt = next(one for one in path.parents if one.name == label.rpartition("-")[2])
    between = [path, *path.parents][: len(path.relative_to(attempt).parts)]
    with explained("read", path):
        try:
            modes = [one.lstat().st_mode for one in between]
        except (FileNotFoundError, NotADirectoryError):
            return
        if any(stat.S_ISLNK(mode) for mode in modes):
            return
        whole = stat.S_ISREG(modes[0]) if kind == LOG else stat.S_ISDIR(modes[0])
        if whole:
            yield Removal(path, kind, label, sum(one.st_size for one in _files(path)))


def _files(path: Path, without: str = "") -> Iterator[os.stat_result]:
    """Every file at or below the path, but those of that name; links as links."""
    if path.is_file():
        yield path.lstat()
    for place, _, names in os.walk(path):
        for name in names:
            if name == without:
                continue
            try:
                yield Path(place, name).lstat()
            except FileNotFoundError:
                continue


def _newest(directory: Path) -> float:
    with explained("read", directory):  # what is found out about results is no work on them
        return max((one.st_mtime for one in _files(directory, without=TRUST)), default=0.0)


def _is_own(workspace: Workspace, directory: Path) -> bool:
    """Whether it is a real directory, two below the workspace's jobs/."""
    try:
        modes = [one.lstat().st_mode for one in (directory, directory.parent)]
    except OSError:
        return False
    return (
        all(stat.S_ISDIR(mode) for mode in modes)
        and directory.parent.parent == workspace.jobs
        and directory.resolve().parent.parent == workspace.jobs.resolve()
    )


def _superseded(workspace: Workspace, record: JobRecord, attempt: AttemptRecord) -> bool:
    """Whether a later attempt of the same job succeeded, its results all whole and trusted."""
    for later in record.attempts:
        if later.number > attempt.number and later.state is JobState.SUCCEEDED:
            directory = workspace.attempt(record.job.id, later.number)
            try:
                checked = check_results(record.job_of(later), directory)
            except StorageError:
                continue
            if not (checked.problems or checked.worthless or checked.suspect):
                return True
    return False


def _counting(workspace: Workspace, store: Store) -> tuple[set[str], str]:
    """The attempts whose results count or are named in an aggregate; or why nobody can know."""
    labels = set()
    for evaluation in collect(workspace, store):
        for standing in evaluation.standings:
            if standing.attempt is not None:
                labels.add(f"{standing.job.id}-{standing.attempt.number:02d}")
    try:
        for place, _, names in os.walk(workspace.root / "results", onerror=_fail):
            if FILE_NAME not in names:
                continue
            for score in read_scores(Path(place, FILE_NAME)).values.values():
                labels |= {job.partition(" ")[0] for job in score.jobs}
                labels |= {"-".join(Path(one).parts[1:3]) for one in score.files}
    except (HpcjobsError, OSError) as error:
        return labels, f"an aggregate cannot be read ({error})"
    return labels, ""


def _fail(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
