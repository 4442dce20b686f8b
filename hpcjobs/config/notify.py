"""conf/notify.yaml: who is told when jobs end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.config.environment import is_secret
from hpcjobs.config.reading import Fields
from hpcjobs.config.strict_yaml import read_yaml
from hpcjobs.errors import nearest, printable

EVENTS = ("ended", "failed", "all_done")
FORMATS = ("slack", "json")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Notifying:
    """What the file says."""

    on: tuple[str, ...]
    command: tuple[str, ...] = ()
    webhook: str = ""
    """The name of the value of `.env` that holds the address: it is as good as a key."""
    webhook_format: str = "slack"
    mail: str = ""
    timeout: int = 10
    """Seconds that each way of telling may take."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The ways of telling that are set."""
        return tuple(name for name in ("command", "webhook", "mail") if getattr(self, name))


def read_notifying(path: Path) -> Notifying:
    """What one conf/notify.yaml says.

    Raises:
        InputError: it is wrong, or an address stands in it that belongs into `.env`.
    """
    with Fields(read_yaml(path)) as fields:
        on = fields.texts("on", ("failed", "all_done"))
        for name in on:
            if name not in EVENTS:
                raise fields.error(
                    f"{printable(name)} is not known",
                    "on",
                    expected=f"one of: {', '.join(EVENTS)}",
                    nearest=nearest(name, EVENTS),
                )
        found = Notifying(
            on=on,
            command=fields.texts("command", ()),
            webhook=_webhook(fields),
            webhook_format=fields.text("webhook_format", "slack", choices=FORMATS),
            mail=fields.text("mail", "", pattern=r"[^\s@,;<>\-][^\s@,;<>]*@[^\s@,;<>]+"),
            timeout=fields.integer("timeout", 10, minimum=1),
        )
        fields.refuse_others()  # first: a misspelt key is why nobody would be told
        if not found.channels or not on:
            raise fields.error("nobody would be told", expected="command, webhook or mail")
        if found.timeout > 60:
            raise fields.error("too long: commands would wait", "timeout", expected="at most 60")
        if found.command and not found.command[0]:
            raise fields.error("it names no program", "command")
    return found


def _webhook(fields: Fields) -> str:
    text = fields.text("webhook", "")
    match = _REFERENCE.fullmatch(text)
    if text and (match is None or not is_secret(match[1])):
        # What was written may be the address itself: it is not shown.
        raise fields.error(
            "the address may not stand here, nor under a name that does not look like a key's",
            "webhook",
            expected="${SLACK_WEBHOOK}, with SLACK_WEBHOOK=https://... in .env (a name that ends "
            "in _WEBHOOK, _WEBHOOK_URL, _TOKEN, _KEY or _SECRET)",
        )
    return match[1] if match else ""
