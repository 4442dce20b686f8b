"""What one evaluation is published as: its aggregate, raw results, samples, and where from.

All of it is read once, and looked through for keys.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from hpcjobs import __version__
from hpcjobs.errors import InputError
from hpcjobs.files import explained
from hpcjobs.markers import read_markers
from hpcjobs.publishing.sample_copies import SampleCopy, found_key, look_through, samples_of
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
    files: Mapping[str, bytes | SampleCopy]
    """By path below that, in the order in which they are written."""
    lacking: tuple[str, ...] = ()
    """The raw results that have no samples beside them, though these were asked for."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(_size, self.files.values()))


def bundle(
    workspace: Workspace,
    store: Store,
    one: Scores,
    secrets: Iterable[str],
    *,
    samples: bool = False,
) -> Bundle:
    """Everything that belongs to one evaluation, read once.

    Args:
        workspace: whose results these are.
        store: its journal.
        one: one of its evaluations.
        secrets: the keys that must not leave.
        samples: with the single samples that were written together with the raw results.

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
    holds_key = _key_finder(secrets)
    files: dict[str, bytes | SampleCopy] = {}
    origin = {FILE_NAME: str(path.relative_to(workspace.root))}
    for source in sources:
        target = _target(source)
        files[target] = _raw(workspace, source, written)
        origin[target] = source
    files[FILE_NAME] = content
    _require_no_keys(files, origin, holds_key)
    lacking = []
    for source in sources if samples else ():
        found = samples_of(workspace, store, source)
        lacking += [] if found else [source]
        for sample in found:
            name = str(sample.relative_to(workspace.root))
            files[_target(name)] = _sample(workspace, name, written, holds_key)
            origin[_target(name)] = name
    provenance = {
        "v": 1,
        "hpcjobs": __version__,
        "model": one.model,
        "settings": {"name": one.settings, "version": one.settings_version},
        "max_samples": one.max_samples,
        "complete": one.complete,
        "attempts": _attempts(workspace, store, sources),
        "files": {
            name: {"from": origin[name], "bytes": _size(data), "sha256": digest(data)}
            for name, data in files.items()
        },
    }
    files[PROVENANCE] = (json.dumps(provenance, indent=2, ensure_ascii=False) + "\n").encode()
    _require_no_keys({PROVENANCE: files[PROVENANCE]}, origin, holds_key)
    place = PurePosixPath(path.parent.relative_to(workspace.root / "results"))
    return Bundle(place, files, tuple(lacking))


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
    _require_counted(source, inside, changed, aggregated)
    return data


def _sample(
    workspace: Workspace, source: str, aggregated: float, holds_key: Callable[[bytes], bool]
) -> SampleCopy:
    path = workspace.root / source
    with explained("read", path):
        inside = path.resolve(strict=True).is_relative_to(workspace.jobs.resolve())
        changed = path.stat().st_mtime
    _require_counted(source, inside, changed, aggregated)
    return look_through(path, holds_key)


def _require_counted(source: str, inside: bool, changed: float, aggregated: float) -> None:
    if not inside:
        raise InputError("it lies outside jobs/", where=source)
    if changed > aggregated:
        raise InputError(
            "it is later than the aggregate", where=source, do="run: hpcjobs aggregate"
        )


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


def _key_finder(secrets: Iterable[str]) -> Callable[[bytes], bool]:
    """Says of some bytes whether a key, or what looks like one, stands in them."""
    forms = {form for one in secrets if len(one) >= 6 for form in (one, json.dumps(one)[1:-1])}
    wanted = [form.encode(errors="surrogateescape") for form in forms]
    return lambda data: any(form in data for form in wanted) or _KEYS.search(data) is not None


def _require_no_keys(
    files: Mapping[str, bytes | SampleCopy],
    origin: Mapping[str, str],
    holds_key: Callable[[bytes], bool],
) -> None:
    for name, data in files.items():
        if isinstance(data, bytes) and holds_key(data):
            raise found_key(origin.get(name, name))


def _size(data: bytes | SampleCopy) -> int:
    return data.size if isinstance(data, SampleCopy) else len(data)


def digest(data: bytes | SampleCopy) -> str:
    """The SHA-256 of one of the files."""
    return data.digest if isinstance(data, SampleCopy) else hashlib.sha256(data).hexdigest()
