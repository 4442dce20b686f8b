"""Caches and disks of a service: where they lie, whether they can be written, what is left."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from hpcjobs.doctor import probe, quotas
from hpcjobs.doctor.ask import ask, there
from hpcjobs.doctor.check import Check, Subject, fail, ok, skipped, warn
from hpcjobs.doctor.general import judge_room

SMALL_HOME = 100.0
"""GiB: below that, no model of any size fits beside its like."""
WANTED = {"HF_HOME": 50.0}
"""GiB that should be free; models are large, other caches are not."""
LOCAL_PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - looked for, not used
SHARED = (
    "lustre", "nfs", "nfs4", "gpfs", "beegfs", "ceph", "panfs", "wekafs", "daos", "glusterfs",
)  # fmt: skip
TSUBAME_DISKS = ("/gs/bs", "/gs/fs")


def look_at_place(subject: Subject) -> Iterator[Check]:
    """Whether compute nodes can see the workspace."""
    if subject.service is None or subject.service.scheduler == "local":
        return
    yield judge_place(subject.workspace.root, probe.mount_kind(subject.workspace.root))


def look_at_paths(subject: Subject) -> Iterator[Check]:
    """Every directory that the service exports."""
    home = Path.home()
    small = home_is_small(_site_quotas(subject), home)
    for name, value in subject.exports.items():
        path = Path(value)
        if not path.is_absolute():
            continue
        yield _directory(name, path)
        yield from judge_home(name, path, home, small)
        if name == "UV_CACHE_DIR":
            yield from judge_uv_cache(path)
        there_is = probe.room(path)
        yield judge_room(f"{name}'s disk", there_is, need_gib=WANTED.get(name, 5.0))


def look_at_quotas(subject: Subject) -> Iterator[Check]:
    """What the site's own commands say; free space of a shared file system is no quota."""
    found = _site_quotas(subject)
    if found == []:
        yield skipped("quota", "the site's command says nothing that is understood")
    for quota in found or ():
        yield judge_quota(quota)


def judge_place(root: Path, kind: str) -> Check:
    """A job must find its script's directory where it runs."""
    local = next((place for place in LOCAL_PLACES if root.is_relative_to(place)), None)
    if local or kind in ("tmpfs", "ramfs", "overlay"):
        return warn(
            "shared disk",
            f"{root} is on {local or kind}, which other nodes do not see",
            "put the workspace on a disk that the compute nodes share",
        )
    if kind.removeprefix("fuse.") in SHARED:
        return ok("shared disk", f"the workspace is on {kind}")
    return skipped(
        "shared disk",
        f"the workspace is on {kind or 'a disk of an unknown kind'}: whether compute nodes see it "
        "cannot be told from here",
    )


def judge_home(name: str, path: Path, home: Path, small: float | None) -> Iterator[Check]:
    """Models do not fit into a small home, and what fills it breaks logins."""
    if small is None or not path.is_relative_to(home):
        return
    what = f"{path} is in your home, which holds {small:,.0f} GiB in all"
    do = "put it on the group disk, in .env"
    if name == "HF_HOME":
        yield fail(name, what, do)
    elif name != "UV_CACHE_DIR":  # which has to be there on TSUBAME
        yield warn(name, what, do)


def judge_uv_cache(path: Path) -> Iterator[Check]:
    """uv's source builds fail with EPERM on TSUBAME's group disks."""
    if any(path.is_relative_to(disk) for disk in TSUBAME_DISKS):
        yield warn(
            "UV_CACHE_DIR",
            f"{path} is on a group disk, where uv cannot build from source (EPERM)",
            "put it in your home: UV_CACHE=$HOME/.cache/uv, written out, in .env",
        )


def judge_quota(quota: quotas.Quota) -> Check:
    """Used against allowed."""
    if quota.fullest >= 1:
        return fail(
            "quota", f"{quota} is full", "remove what is not needed: nothing can be written"
        )
    if quota.fullest >= 0.9:
        return warn("quota", str(quota), "nearly full: make room before you submit")
    return ok("quota", str(quota))


def home_is_small(found: list[quotas.Quota] | None, home: Path) -> float | None:
    """The home's quota in GiB if it is a small one, as far as the site says."""
    names = {str(home), "/home", "home"}
    for quota in found or ():
        if quota.limit_gib and quota.limit_gib < SMALL_HOME and quota.name in names:
            return quota.limit_gib
    return None


def _directory(name: str, path: Path) -> Check:
    if path.is_dir():
        failure = probe.write_failure(path)
        if failure is None:
            return ok(name, str(path))
        return fail(name, f"{path} cannot be written: {failure}", "check its owner and rights")
    if path.exists():
        return fail(name, f"{path} is not a directory", "correct it in .env")
    above = probe.existing(path)
    failure = probe.write_failure(above)
    if failure is None:
        return ok(name, f"{path} (does not exist yet; it can be made in {above})")
    return fail(
        name,
        f"{path} does not exist and cannot be made in {above}: {failure}",
        "correct it in .env, or have that directory made",
    )


def _site_quotas(subject: Subject) -> list[quotas.Quota] | None:
    """All quotas that the site's commands tell; None where it has no such command."""
    if there("t4-user-info"):
        home = quotas.read_pairs(ask(["t4-user-info", "disk", "home"]).stdout)[:1]
        found = [dataclasses.replace(quota, name="home") for quota in home]
        if subject.group:
            asked = ["t4-user-info", "disk", "group", "-g", subject.group]
            found += quotas.read_pairs(ask(asked).stdout)
        return found
    if there("show_quota"):
        return quotas.read_pairs(ask(["show_quota", "-b", "G"]).stdout)
    if there("lfs"):
        return _lustre_quotas({Path.home(), *map(Path, subject.exports.values())})
    return None


def _lustre_quotas(paths: set[Path]) -> list[quotas.Quota] | None:
    """Ours on each Lustre file system among `paths`; None if there is none."""
    places = sorted({probe.existing(path) for path in paths if path.is_absolute()})
    places = [place for place in places if probe.mount_kind(place) == "lustre"]
    found = []
    for place in places:
        answer = ask(["lfs", "quota", "-q", "-u", str(os.geteuid()), str(place)])
        quota = quotas.read_lfs(answer.stdout, str(place)) if answer.good else None
        found += [quota] if quota else []
    return found if places else None
