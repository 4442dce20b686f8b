"""Who pays: is the account in the group, and are there points left."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Collection, Iterator

from hpcjobs.doctor import quotas
from hpcjobs.doctor.ask import Answer, ask, first_line, there
from hpcjobs.doctor.check import Check, Subject, fail, ok, skipped, warn
from hpcjobs.processes import user_name


def look_at_group(subject: Subject) -> Iterator[Check]:
    """Whether the account belongs to the group (TSUBAME's and ABCI's are UNIX groups)."""
    service = subject.service
    if service is None or not service.group:
        return
    if service.scheduler == "slurm":  # an account of Slurm's own: see the scheduler's checks
        return
    if not subject.group:
        yield skipped("group", "not set (see the check of .env's values)")
        return
    yield judge_group(subject.group, _our_groups(), certain=service.scheduler == "grid_engine")


def look_at_points(subject: Subject) -> Iterator[Check]:
    """The balance, where the site has a command that says it."""
    group = subject.group
    if not group:
        return
    if there("t4-user-info"):
        answer = ask(["t4-user-info", "group", "point", "-g", group])
        yield judge_points(answer, quotas.read_tsubame_points(answer.stdout, group))
    elif there("show_point"):
        answer = ask(["show_point"])
        yield judge_points(answer, quotas.read_abci_points(answer.stdout, group))


def judge_group(group: str, ours: Collection[str], *, certain: bool) -> Check:
    """Where the group is one of UNIX, only its members can be charged to it."""
    if group in ours:
        return ok("group", group)
    shown = ", ".join(sorted(ours)[:12])
    what = f"{user_name()} is not a member of {group} (of: {shown})"
    do = "correct the group in .env, or ask its manager to add you (it takes some minutes)"
    return fail("group", what, do) if certain else warn("group", what, do)


def judge_points(answer: Answer, left: float | None) -> Check:
    """Without points nothing starts."""
    if not answer.good:
        return skipped("points", answer.complaint)
    if left is None:
        return skipped("points", f"the answer is not understood: {first_line(answer.stdout)}")
    if left <= 0:
        return fail("points", f"{left:,.4g} left", "jobs will not start: have points added")
    if left < 1:
        return warn("points", f"only {left:,.4g} left", "have points added before you submit")
    return ok("points", f"{left:,.2f} left")


def _our_groups() -> set[str]:
    found = set()
    for number in os.getgrouplist(pwd.getpwuid(os.geteuid()).pw_name, os.getegid()):
        try:
            found.add(grp.getgrgid(number).gr_name)
        except KeyError:
            found.add(str(number))
    return found
