"""The modules that a job loads, asked of the login node's `module`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from hpcjobs.doctor.ask import Answer, ask
from hpcjobs.doctor.check import Check, Subject, ok, skipped, warn

NO_MODULE = 69
NOT_THERE = 70


def look_at_modules(subject: Subject) -> Iterator[Check]:
    """Whether each exists. (`is-avail`: Environment Modules 4.1 and Lmod.)"""
    names = subject.service.modules if subject.service else ()
    for name in names:
        yield judge_module(name, ask(["bash", "-c", script(name)]))


def script(name: str) -> str:
    """What bash is given."""
    return (
        "[ ! -r /etc/profile.d/modules.sh ] || . /etc/profile.d/modules.sh\n"
        f"type module >/dev/null 2>&1 || exit {NO_MODULE}\n"
        f"module is-avail {shlex.quote(name)} || exit {NOT_THERE}\n"
    )


def judge_module(name: str, answer: Answer) -> Check:
    """Compute nodes may have other modules, so a missing one is no certain failure."""
    label = f"module {name}"
    if answer.good:
        return ok(label, "there")
    if answer.returncode == NO_MODULE:
        return skipped(label, "this host has no `module` command")
    if answer.returncode == NOT_THERE:
        return warn(
            label,
            "not among the modules of this host",
            "see `module avail`, and put one that exists into the service's `modules`",
        )
    return skipped(label, answer.complaint)
