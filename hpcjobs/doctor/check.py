"""What a check says, and how checks are run: each apart, each within its time."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hpcjobs.config.environment import PersonalValues
from hpcjobs.errors import HpcjobsError
from hpcjobs.model import Service
from hpcjobs.workspace import Workspace

ONE_CHECK = 90.0
"""Seconds for one look: a file system that hangs must not hang the doctor. Longer than all the
programs that one look asks may take together."""
ALL_CHECKS = 300.0
"""Seconds for all of them: login nodes end what runs for ten minutes."""


class State(str, enum.Enum):
    """How one check ended."""

    OK = "ok"
    WARN = "warn"
    """It may be meant so; jobs can run."""
    FAIL = "fail"
    """Jobs would fail, or could not be submitted."""
    SKIPPED = "skipped"
    """It could not be checked here; nothing is concluded."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    what: str
    do: str = ""
    """What to do about it."""


@dataclass
class Subject:
    """What is examined."""

    workspace: Workspace
    personal: PersonalValues
    service: Service | None = None
    models: Sequence[str] = ()
    group: str = ""
    """Who pays, with the values of `.env`; empty if there is none or it is not set."""
    exports: dict[str, str] = field(default_factory=dict)
    """The service's exports with the values of `.env`; without those that are not set."""
    environments: dict[str, str] = field(default_factory=dict)
    """Likewise."""


Look = Callable[[Subject], Iterator[Check]]
"""A function that looks at one thing and yields what it finds."""


def ok(name: str, what: str) -> Check:
    """All is well."""
    return Check(name, State.OK, what)


def warn(name: str, what: str, do: str) -> Check:
    """It may be meant so."""
    return Check(name, State.WARN, what, do)


def fail(name: str, what: str, do: str) -> Check:
    """Jobs would fail."""
    return Check(name, State.FAIL, what, do)


def skipped(name: str, what: str) -> Check:
    """It could not be checked."""
    return Check(name, State.SKIPPED, what)


def examine(
    subject: Subject,
    looks: Sequence[tuple[str, Look]],
    *,
    one: float = ONE_CHECK,
    total: float = ALL_CHECKS,
) -> Iterator[Check]:
    """What all `looks` find, as they find it. One that breaks or hangs does not stop the others."""
    end = time.monotonic() + total
    for name, look in looks:
        left = end - time.monotonic()
        if left <= 0:
            yield skipped(name, f"not looked at: the others took {total:g} s already")
            continue
        yield from _apart(subject, name, look, min(one, left))


def _apart(subject: Subject, name: str, look: Look, limit: float) -> list[Check]:
    """Run one look in a thread of its own, which is left behind if it hangs."""
    found: list[Check] = []
    broken: list[Exception] = []

    def work() -> None:
        try:
            found.extend(look(subject))
        except Exception as error:  # whatever it is: the other checks are still wanted
            broken.append(error)

    thread = threading.Thread(target=work, name=f"doctor {name}", daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        return [
            *found,
            fail(
                name,
                f"did not end within {limit:.0f} s",
                "a file system or a program hangs: try it by hand, and ask the site's operators",
            ),
        ]
    return [*found, *(_told(name, error) for error in broken)]


def _told(name: str, error: Exception) -> Check:
    if isinstance(error, HpcjobsError):
        where = f"{error.where}: " if error.where else ""
        return fail(name, f"{where}{error.what}", error.do or error.expected or "mend it")
    if isinstance(error, OSError):
        shown = error.strerror or str(error)
        where = f"{error.filename}: " if error.filename else ""
        return fail(name, f"{where}{shown}", "check the path, its owner and its rights")
    return fail(
        name,
        f"the check itself broke: {type(error).__name__} in {_place(error)}",
        "this is a bug of hpcjobs: please report it with this line; the other checks are valid",
    )


def _place(error: Exception) -> str:
    """Where an exception came from. Not its text, which may hold a value of `.env`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"
