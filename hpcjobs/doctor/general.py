"""This installation and this workspace: what holds for every service."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from hpcjobs import __version__, journal
from hpcjobs.doctor import probe
from hpcjobs.doctor.check import Check, Subject, fail, ok, skipped, warn
from hpcjobs.observe import lock_file
from hpcjobs.processes import hostname
from hpcjobs.render import KEYS

PROGRAMS = ("bash", "setsid", "timeout", "grep", "sed", "od")
"""What every job script needs (here they stand for the compute nodes)."""

SKEW = 5.0
"""Seconds by which the clock of the file server may differ."""


def look_at_hpcjobs(subject: Subject) -> Iterator[Check]:
    """Which hpcjobs, which Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield ok("hpcjobs", f"{__version__} with Python {version} ({sys.executable})")


def look_at_surroundings(subject: Subject) -> Iterator[Check]:
    """Encoding, umask, and the programs of a job script."""
    yield judge_encoding(sys.getfilesystemencoding())
    mask = os.umask(0o077)
    os.umask(mask)
    yield judge_umask(mask)
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        yield fail(
            "programs",
            f"not on PATH: {' '.join(missing)}",
            "install them, or mend PATH (Debian: apt-get install util-linux coreutils grep sed)",
        )
    else:
        yield ok("programs", " ".join(PROGRAMS))


def look_at_workspace(subject: Subject) -> Iterator[Check]:
    """Whether it is one, can be written, and is the user's own."""
    root = subject.workspace.root
    own = subject.workspace.root.joinpath("conf").is_dir() or subject.workspace.journal.is_file()
    failure = probe.write_failure(root)
    if failure:
        yield fail(
            "workspace", f"{root} cannot be written: {failure}", "choose another: --workspace DIR"
        )
    elif root.stat().st_mode & stat.S_IWOTH and not root.stat().st_mode & stat.S_ISVTX:
        yield warn(
            "workspace", f"everybody can write in {root}", f"do: chmod o-w {probe.quoted(root)}"
        )
    elif own:
        yield ok("workspace", str(root))
    else:
        yield ok("workspace", f"{root}, without files of its own: the defaults are used")


def look_at_records(subject: Subject) -> Iterator[Check]:
    """The journal and the lock."""
    path = subject.workspace.journal
    content = journal.read(path)
    if content.broken_lines:
        some = ", ".join(map(str, content.broken_lines[:5]))
        yield warn(
            "journal",
            f"{path}: {len(content.broken_lines)} line(s) cannot be read (line {some})",
            "a crash or a full disk tore them; each cost one event, the others count. "
            "See: hpcjobs status",
        )
    else:
        yield ok("journal", f"{len(content.events)} event(s)" if path.exists() else "none yet")
    lock = lock_file(subject.workspace)
    try:
        text = lock.read_text()
    except FileNotFoundError:
        yield ok("lock", "free")
    else:
        yield judge_lock(text, str(lock), hostname(), time.time())


def look_at_env_file(subject: Subject) -> Iterator[Check]:
    """Rights and owner of `.env`; what stands in it is another check."""
    path = subject.workspace.env_file
    try:
        status = path.stat()
    except FileNotFoundError:
        if subject.workspace.env_file.is_symlink():
            yield fail(".env", f"{path} is a link to nothing", "make the file that it names")
        else:
            yield warn(
                ".env",
                f"{path} does not exist: no personal values, no keys",
                "do: cp .env_template .env && chmod 600 .env, and fill it in",
            )
        return
    yield judge_env_file(path, status.st_mode, status.st_uid, os.geteuid())
    outside = [name for name in KEYS if os.environ.get(name) and subject.personal.get(name) is None]
    if outside:
        yield warn(
            ".env keys",
            f"{', '.join(outside)}: set in the environment, but not in {path}",
            "jobs read their keys from that file only: put them there",
        )


def look_at_disk(subject: Subject) -> Iterator[Check]:
    """Room and files left where the workspace lies, and whose clock its files show."""
    root = subject.workspace.root
    yield judge_room("workspace's disk", probe.room(root), need_gib=1.0)
    skew = probe.clock_skew(root)
    if skew is None:
        yield skipped("clock", "nothing can be written here, so no file's time can be compared")
    else:
        yield judge_skew(skew)


def judge_encoding(encoding: str) -> Check:
    """Names of tasks and models may be Japanese."""
    if encoding.lower().replace("-", "") == "utf8":
        return ok("locale", "UTF-8")
    return warn("locale", f"file names are {encoding}", "do: export LC_ALL=C.UTF-8")


def judge_umask(mask: int) -> Check:
    """Files that everybody may change are no record; files that we may not are none either."""
    if mask & 0o700:
        return fail("umask", f"{mask:03o}: new files are not even yours", "do: umask 027")
    if not mask & 0o002:
        return warn("umask", f"{mask:03o}: everybody may change new files", "do: umask 027")
    return ok("umask", f"{mask:03o}")


def judge_lock(text: str, path: str, host: str, now: float) -> Check:
    """Whether somebody writes, and whether they may be gone."""
    try:
        owner = json.loads(text)
        who, since = f"process {owner['pid']} on {owner['host']}", float(owner["since"])
    except (ValueError, KeyError, TypeError):
        return warn("lock", f"{path} is held by an unknown process", "if nobody is at work: rm it")
    minutes = (now - since) / 60
    if minutes < 10:
        return ok("lock", f"held by {who}, which is at work")
    if owner["host"] == host:
        return warn(
            "lock",
            f"held by {who} for {minutes:.0f} min",
            "the next command takes it over if that process is gone; look at it with ps",
        )
    return warn(
        "lock",
        f"held by {who} for {minutes:.0f} min",
        f"look there with ps; if that process or its host is gone for good: rm {path}",
    )


def judge_env_file(path: Path, mode: int, owner: int, us: int) -> Check:
    """A key in it must be ours alone."""
    do = f"do: chmod 600 {probe.quoted(path)}"
    bits = stat.S_IMODE(mode)
    if not stat.S_ISREG(mode):
        return fail(".env", f"{path} is not a file", "make it one: NAME=value lines")
    if owner != us:
        return fail(
            ".env", f"{path} belongs to uid {owner}, not to you", "copy it, and fill in your own"
        )
    if bits & 0o077:
        return fail(".env", f"{path} can be read or written by others (mode {bits:03o})", do)
    if not bits & 0o400:
        return fail(".env", f"{path} cannot be read by you (mode {bits:03o})", do)
    return ok(".env", f"mode {bits:03o}")


def judge_room(name: str, room: probe.Room, *, need_gib: float) -> Check:
    """Space and inodes that are left for us."""
    shown = f"{room.free_gib:,.1f} GiB free"
    if room.inodes_left is not None:
        shown += f", room for {room.inodes_left:,} files"
    full = room.inodes_left is not None and room.inodes_left < 1000
    if room.free_gib < 0.1 or full:
        return fail(name, f"{room.path} is full: {shown}", "remove what is not needed")
    few = room.inodes_left is not None and room.inodes_left < 20_000
    if room.free_gib < need_gib or few:
        return warn(name, f"{room.path}: only {shown}", f"make room: {need_gib:g} GiB are wanted")
    return ok(name, f"{shown} ({room.path})")


def judge_skew(skew: float) -> Check:
    """How far the clock of the file server is from ours."""
    if abs(skew) <= SKEW:
        return ok("clock", "the file server's and this host's agree")
    ahead = "ahead of" if skew > 0 else "behind"
    return warn(
        "clock",
        f"the file server's clock is {abs(skew):.0f} s {ahead} this host's",
        "times of jobs will be off by that; tell the site's operators",
    )
