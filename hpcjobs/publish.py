"""A copy of results for others: aggregate, the raw results that it was made from, and where from.

`DIR/{prefix}/{publisher}/{model}/{settings}/` gets aggregated_results.json, raw/ID-NN/... and
provenance.json. Each file is written whole, and the aggregate after the raw results that it names.
What others have put there, or have changed, is never written over.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hpcjobs import __version__
from hpcjobs.errors import InputError, StorageError
from hpcjobs.files import explained, make_directory, write_atomic
from hpcjobs.markers import read_markers
from hpcjobs.results.report import FILE_NAME
from hpcjobs.results.scores import Scores
from hpcjobs.store import Store
from hpcjobs.workspace import Workspace

PROVENANCE = "provenance.json"
_KEYS = re.compile(
    rb"\b(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{32,}|gh[pousr]_[A-Za-z0-9]{30,}"
    rb"|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{20,}|AKIA[0-9A-Z]{16}\b"
    rb"|hooks\.slack\.com/services/\w)"
)
"""Narrow: answers of models are full of what looks like a key to a wider one."""


@dataclass(frozen=True)
class Bundle:
    """What one evaluation is published as."""

    place: PurePosixPath
    """Below the shared directory."""
    files: Mapping[str, bytes]
    """By path below that, in the order in which they are written."""


@dataclass(frozen=True)
class Published:
    """What came of one bundle."""

    directory: Path
    written: tuple[str, ...]
    """Files that were not there yet."""
    replaced: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.replaced or self.removed:
            return "replaced"
        return "written" if self.written else "up to date"


def bundle(workspace: Workspace, store: Store, one: Scores, secrets: Iterable[str]) -> Bundle:
    """Everything that belongs to one evaluation, read once.

    Args:
        workspace: whose results these are.
        store: its journal.
        one: one of its evaluations.
        secrets: the keys that must not leave.

    Raises:
        InputError: a raw result is gone, is no file of a job, or is later than the aggregate; or a
            key stands in what would be copied.
        StorageError: a file cannot be read.
    """
    path = one.path.absolute()
    if not path.is_relative_to(workspace.root / "results"):
        raise InputError("it is not a result of this workspace", where=str(path))
    with explained("read", path):
        content = path.read_bytes()
        written = path.stat().st_mtime
    about = json.loads(content).get("hpcjobs", {})
    sources = sorted(
        {name for value in about.get("values", {}).values() for name in value.get("files", ())}
    )
    if not sources:
        raise InputError("it names no raw results", where=str(path), do="run: hpcjobs aggregate")
    files: dict[str, bytes] = {}
    origin = {FILE_NAME: str(path.relative_to(workspace.root))}
    for source in sources:
        target = _target(source)
        files[target] = _raw(workspace, source, written)
        origin[target] = source
    files[FILE_NAME] = content
    provenance = {
        "v": 1,
        "hpcjobs": __version__,
        "model": one.model,
        "settings": {"name": one.settings, "version": one.settings_version},
        "max_samples": one.max_samples,
        "complete": one.complete,
        "attempts": _attempts(workspace, store, sources),
        "files": {
            name: {"from": origin[name], "bytes": len(data), "sha256": _digest(data)}
            for name, data in files.items()
        },
    }
    files[PROVENANCE] = (json.dumps(provenance, indent=2, ensure_ascii=False) + "\n").encode()
    _require_no_keys(files, origin, secrets)
    return Bundle(PurePosixPath(path.parent.relative_to(workspace.root / "results")), files)


def publish(root: Path, what: Bundle, *, replace: bool = False) -> Published:
    """Write a bundle below `root`; what is there already, and the same, is left as it is.

    Args:
        root: the shared directory.
        what: the bundle.
        replace: an earlier bundle of ours may be replaced by this one.

    Raises:
        InputError: there is something else, and it would be written over.
        StorageError: it cannot be written.
    """
    directory = root / what.place
    _refuse_links(root, directory)
    before = _read(directory / PROVENANCE, root)
    ours = _recorded(before)
    written, changed = [], []
    for name, data in what.files.items():
        there = _read(directory / name, root)
        if there is None:
            written.append(name)
        elif there != data:
            is_ours = bool(ours) if name == PROVENANCE else _digest(there) == ours.get(name)
            if not is_ours:
                raise InputError(
                    "something else is there, or it was changed since it was published",
                    where=str(directory / name),
                    do="look at it, and move it away",
                )
            changed.append(name)
    gone = [name for name in ours if name not in what.files]
    removed = [name for name in gone if _digest(_read(directory / name, root) or b"") == ours[name]]
    same = ours == {name: _digest(data) for name, data in what.files.items() if name != PROVENANCE}
    if changed == [PROVENANCE] and same and not written:
        return Published(directory, (), (), ())  # the same results, told by another hpcjobs
    if changed and not replace:
        raise InputError(
            f"another result of ours is there: {', '.join(changed)}",
            where=str(directory),
            do="replace it with --replace",
        )
    for name, data in what.files.items():
        if name in written or name in changed:
            make_directory((directory / name).parent)
            write_atomic(directory / name, data, mode=0o666)
    for name in removed:
        with explained("remove", directory / name):
            (directory / name).unlink()
    return Published(directory, tuple(written), tuple(changed), tuple(removed))


def _target(source: str) -> str:
    """`jobs/ID/NN/results/REST` becomes `raw/ID-NN/REST`."""
    parts = PurePosixPath(source).parts
    known = len(parts) > 4 and parts[0] == "jobs" and parts[3] == "results" and ".." not in parts
    if not known:
        raise InputError("it is no result of a job", where=source)
    return str(PurePosixPath("raw", f"{parts[1]}-{parts[2]}", *parts[4:]))


def _raw(workspace: Workspace, source: str, aggregated: float) -> bytes:
    path = workspace.root / source
    with explained("read", path):
        try:
            inside = path.resolve(strict=True).is_relative_to(workspace.jobs.resolve())
            data, changed = path.read_bytes(), path.stat().st_mtime
        except FileNotFoundError:
            raise InputError(
                "it is gone, and the aggregate was made from it",
                where=source,
                do="run: hpcjobs aggregate",
            ) from None
    if not inside:
        raise InputError("it lies outside jobs/", where=source)
    if changed > aggregated:
        raise InputError(
            "it is later than the aggregate", where=source, do="run: hpcjobs aggregate"
        )
    return data


def _attempts(workspace: Workspace, store: Store, sources: Iterable[str]) -> list[dict[str, Any]]:
    """Where, when and by what the raw results were made."""
    found = []
    for key, number in sorted({tuple(PurePosixPath(one).parts[1:3]) for one in sources}):
        record = store.jobs.get(key)
        attempts = record.attempts if record else []
        attempt = next((one for one in attempts if f"{one.number:02d}" == number), None)
        about: dict[str, Any] = {"attempt": f"{key}-{number}"}
        if record is not None and attempt is not None:
            job = record.job_of(attempt)
            markers = read_markers(workspace.attempt(key, attempt.number))
            about |= {
                "service": job.service,
                "node": job.node,
                "provider": job.provider,
                "native_id": attempt.native_id,
                "server_version": markers.server_version.value if markers.server_version else None,
                "started": markers.started.at if markers.started else None,
                "ended": markers.exit_code.at if markers.exit_code else None,
                "settings_path": job.settings_path,
                "settings_digest": job.settings_digest,
                "tasks": {
                    run.key: {
                        "script": run.script,
                        "framework": run.framework,
                        "settings": dict(run.settings),
                    }
                    for run in job.tasks
                },
            }
        found.append(about)
    return found


def _require_no_keys(
    files: Mapping[str, bytes], origin: Mapping[str, str], secrets: Iterable[str]
) -> None:
    forms = {form for one in secrets if len(one) >= 6 for form in (one, json.dumps(one)[1:-1])}
    wanted = [form.encode(errors="surrogateescape") for form in forms]
    for name, data in files.items():
        if any(form in data for form in wanted) or _KEYS.search(data):
            raise InputError(
                "a key, or what looks like one, stands in it: nothing of it is copied",
                where=origin.get(name, name),
                do="find out how it came there; if it is a key, have it replaced",
            )


def _refuse_links(root: Path, directory: Path) -> None:
    """Below the shared directory, no link may lead elsewhere."""
    for one in (directory, *directory.parents):
        if one == root:
            return
        if one.is_symlink():
            raise InputError("it is a link", where=str(one), do="look where it leads, and why")


def _read(path: Path, root: Path) -> bytes | None:
    _refuse_links(root, path)
    with explained("read", path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except IsADirectoryError as error:
            raise StorageError(f"{path} is a directory") from error


def _recorded(provenance: bytes | None) -> dict[str, str]:
    """Digest by file, of what we published there before; empty if that was not us."""
    try:
        value = json.loads(provenance or b"")
        found = {str(name): str(one["sha256"]) for name, one in value["files"].items()}
        return found if value["v"] == 1 and all(_is_below(name) for name in found) else {}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return {}


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and bool(path.parts)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
