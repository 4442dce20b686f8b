"""Tells once what has ended: `jobs/.notified.json` remembers, a lock lets one tell at a time.

A message is remembered once it was sent. Who dies in between sends it again: at least once, and
twice only then. What fails is tried again, after a while, by whoever looks next.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcjobs.config.environment import PersonalValues, is_secret, read_personal_values
from hpcjobs.config.notify import Notifying, read_notifying
from hpcjobs.diagnosis.text import redacted
from hpcjobs.errors import HpcjobsError, LockedError
from hpcjobs.files import write_json
from hpcjobs.lock import workspace_lock
from hpcjobs.notify.channels import NotSent, send
from hpcjobs.notify.due import Due, Told, due, message, told_before, trial_message
from hpcjobs.store import Store
from hpcjobs.workspace import Workspace

PAUSE = 300.0
"""Seconds until what failed is tried again."""


def notify_file(workspace: Workspace) -> Path:
    """Where the workspace says who is told; there is no default."""
    return workspace.root / "conf" / "notify.yaml"


def tell(workspace: Workspace, store: Store) -> tuple[list[str], list[str]]:
    """Tell what is due, by every way that is set.

    Returns:
        The ways by which something was sent, and warnings for people.

    Raises:
        InputError: conf/notify.yaml is wrong.
    """
    path = notify_file(workspace)
    notifying = read_notifying(path)
    since = path.stat().st_mtime
    if not _waiting(workspace, store, notifying, since):
        return [], []
    personal = read_personal_values(workspace.env_file)
    sent: list[str] = []
    warnings: list[str] = []
    try:
        with workspace_lock(workspace.jobs / "notify.lock", wait=2.0):
            # Another may have told it while we waited.
            for channel, what, told in _waiting(workspace, store, notifying, since):
                if what.events:
                    content = message(str(workspace.root), store, what, _hiding(personal))
                    try:
                        send(channel, workspace.root, notifying, personal, content)
                        sent.append(channel)
                    except NotSent as error:
                        warnings.append(f"not told by {channel}: {_hiding(personal)(str(error))}")
                        _remember(workspace, channel, replace(told, not_before=time.time() + PAUSE))
                        continue
                _remember(workspace, channel, what.told)
    except LockedError:
        return sent, warnings  # another one is telling it
    except HpcjobsError as error:
        warnings.append(f"not told that jobs have ended: {error.what}")
    return sent, warnings


def tell_test(workspace: Workspace) -> dict[str, str]:
    """Send a test by every way that is set; why it was not sent, by way (empty: it was).

    Raises:
        InputError: conf/notify.yaml is missing or wrong.
    """
    notifying = read_notifying(notify_file(workspace))
    personal = read_personal_values(workspace.env_file)
    found = {}
    for channel in notifying.channels:
        try:
            send(channel, workspace.root, notifying, personal, trial_message(str(workspace.root)))
            found[channel] = ""
        except NotSent as error:
            found[channel] = _hiding(personal)(str(error))
    return found


def _waiting(
    workspace: Workspace, store: Store, notifying: Notifying, since: float
) -> list[tuple[str, Due, Told]]:
    """The ways that have something to tell, or to remember."""
    known = _read(workspace)
    found = []
    for channel in notifying.channels:
        try:
            told = Told.from_json(known[channel])
        except (KeyError, TypeError, ValueError):
            told = told_before(store, since)  # it is new: what is long past is not told
        what = due(store, notifying.on, told)
        new = what.told.ends != told.ends or what.told.summed != told.summed
        if new and (not what.events or time.time() >= told.not_before):
            found.append((channel, what, told))
    return found


def _state(workspace: Workspace) -> Path:
    return workspace.jobs / ".notified.json"


def _read(workspace: Workspace) -> dict[str, Any]:
    try:
        value = json.loads(_state(workspace).read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _remember(workspace: Workspace, channel: str, told: Told) -> None:
    write_json(_state(workspace), {**_read(workspace), channel: told.to_json()})


def _hiding(personal: PersonalValues) -> Callable[[str], str]:
    keys = [value for name, value in personal.values.items() if is_secret(name)]
    return lambda text: redacted(text, keys)
