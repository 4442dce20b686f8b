"""What the service wants from `.env`: values that are named, and keys that jobs read."""

from __future__ import annotations

from collections.abc import Iterator

from hpcjobs.doctor.check import Check, Subject, fail, ok, skipped, warn
from hpcjobs.errors import InputError
from hpcjobs.model import Service
from hpcjobs.render import KEYS

WHAT_FOR = {
    "HF_TOKEN": "gated models",
    "OPENAI_API_KEY": "OpenAI's models, and tasks that one of them judges (MT-Bench)",
    "DEEPINFRA_API_KEY": "DeepInfra's models",
}


def expand_service(subject: Subject) -> None:
    """Fill in the subject's group, exports and environments, as far as `.env` has them."""
    service = subject.service
    if service is None:
        return
    subject.group = _expanded(subject, service.group) or ""
    for into, given in (
        (subject.exports, service.exports),
        (subject.environments, service.environments),
    ):
        for name, text in given.items():
            value = _expanded(subject, text)
            if value:
                into[name] = value


def look_at_values(subject: Subject) -> Iterator[Check]:
    """Every `${NAME}` of the service is set, and is not the template's placeholder."""
    service = subject.service
    if service is None:
        return
    for line in subject.personal.broken:
        yield fail(
            ".env values",
            f"{subject.personal.path}:{line}: not NAME=value",
            "write it as: NAME=value",
        )
    wanted: dict[str, None] = {}
    for where, text in _texts(service):
        subject.personal.missing.clear()
        try:
            subject.personal.expand(text, where=service.where)
        except InputError as error:
            yield fail(".env values", f"{where}: {error.what}", error.do or error.expected or "")
        wanted |= subject.personal.missing
    subject.personal.missing.clear()
    if wanted:
        yield fail(
            ".env values",
            f"{subject.personal.not_set(*wanted).what} (wanted by {service.name})",
            f"set them in {subject.personal.path}; in full, without ~ and $",
        )
    else:
        yield ok(".env values", f"all that {service.name} wants are set")


def look_at_keys(subject: Subject) -> Iterator[Check]:
    """Which keys there are, and whether a job's shell can read them. No key is shown."""
    there, missing = [], []
    for name in KEYS:
        if subject.personal.get(name) is None:
            missing.append(name)
            continue
        try:
            subject.personal.require_key(name)
        except InputError as error:
            yield fail("keys", error.what, f"write it as: {error.expected}")
        else:
            there.append(name)
    if there:
        yield ok("keys", f"set: {', '.join(there)}")
    if "HF_TOKEN" in missing:
        yield warn(
            "keys",
            "HF_TOKEN is not set: gated models and data sets cannot be loaded",
            f"make one at https://huggingface.co/settings/tokens, put it into "
            f"{subject.personal.path}",
        )
    others = [name for name in missing if name != "HF_TOKEN"]
    if others:
        wanted_for = "; ".join(
            f"{name} for {WHAT_FOR.get(name, 'its provider')}" for name in others
        )
        yield skipped("keys", f"not set: {wanted_for}")


def _expanded(subject: Subject, text: str) -> str | None:
    """The text with its values, or None if one of them is missing or wrong."""
    subject.personal.missing.clear()
    try:
        value = subject.personal.expand(text, where="")
    except InputError:
        return None
    finally:
        missing = bool(subject.personal.missing)
        subject.personal.missing.clear()
    return None if missing else value


def _texts(service: Service) -> Iterator[tuple[str, str]]:
    """Every text of the service that may name a value."""
    yield "group", service.group
    for section in ("exports", "environments", "options"):
        for name, text in getattr(service, section).items():
            yield f"{section}.{name}", text
    for node in service.nodes.values():
        for name, text in node.options.items():
            yield f"nodes.{node.name}.{name}", text
