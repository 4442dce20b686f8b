"""Models that were named: in the cache, and open to us on the hub."""

from __future__ import annotations

import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.config.environment import simple_value
from hpcjobs.doctor.check import Check, State, Subject, fail, ok, skipped, warn

HUB = "https://huggingface.co"
LIMIT = 10.0
"""Seconds for one question to the hub."""
_YES = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class HubAnswer:
    """What the hub said."""

    status: int | None
    """The HTTP status; None: it could not be reached."""
    code: str = ""
    """Its own word for the error, such as GatedRepo."""
    why: str = ""
    """Why it could not be reached."""


def look_at_models(subject: Subject) -> Iterator[Check]:
    """Every model that was named, in the cache and on the hub."""
    home = subject.exports.get("HF_HOME") or os.environ.get("HF_HOME")
    cache = Path(home) if home else Path.home() / ".cache" / "huggingface"
    for model in subject.models:
        cached = judge_cache(model, cache / "hub")
        yield cached
        if "/" not in model:
            yield skipped(f"access {model}", "not a name of the hub (ORG/NAME)")
        elif reason := offline(subject.exports):
            yield skipped(f"access {model}", f"not asked: {reason}")
        else:
            token = _token(subject)
            yield judge_access(model, ask_hub(model, token), bool(token), cached.state is State.OK)


def offline(exports: dict[str, str]) -> str:
    """Why the hub must not be asked; empty if it may."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        value = exports.get(name) or os.environ.get(name, "")
        if value.lower() in _YES:
            return f"{name}={value}"
    return ""


def judge_cache(model: str, hub: Path) -> Check:
    """Whether a whole snapshot lies in the cache (as huggingface_hub keeps it)."""
    name = f"cache {model}"
    directory = hub / f"models--{model.replace('/', '--')}"
    snapshots = [path for path in directory.glob("snapshots/*") if any(path.iterdir())]
    if not snapshots:
        return skipped(name, f"not in {hub}: the first job downloads it (or submit --predownload)")
    torn = list(directory.glob("blobs/*.incomplete"))
    if torn:
        return warn(
            name,
            f"a download was broken off ({len(torn)} file(s) in {directory})",
            "go on with it: hpcjobs submit ... --predownload",
        )
    lost = [path for path in snapshots[-1].rglob("*") if not path.exists()]
    if lost:
        return fail(
            name,
            f"{lost[0].name} points to nothing, in {snapshots[-1]}",
            f"remove {directory}, and download the model again",
        )
    weights = [path for path in snapshots[-1].rglob("*") if path.suffix in _WEIGHTS]
    if not weights:
        return warn(
            name, f"no weights in {snapshots[-1]}", "go on: hpcjobs submit ... --predownload"
        )
    return ok(name, f"{len(weights)} file(s) of weights ({snapshots[-1]})")


_WEIGHTS = {".safetensors", ".bin", ".gguf", ".pt"}


def judge_access(model: str, answer: HubAnswer, token: bool, cached: bool) -> Check:
    """Whether a download will be allowed."""
    name, page = f"access {model}", f"{HUB}/{model}"
    bad = warn if cached else fail  # what is in the cache can be served all the same
    if answer.status is None:
        return skipped(name, f"the hub cannot be reached from here: {answer.why}")
    if answer.status == 200:
        return ok(name, "the hub lets you" + (" (with HF_TOKEN)" if token else ""))
    if answer.status in (301, 302, 307, 308):
        return warn(
            name,
            "the hub knows it by another name now",
            f"see {page}; results are kept under the name that you give",
        )
    if answer.code == "GatedRepo":
        if token:
            return bad(
                name,
                "gated, and the account of HF_TOKEN has no access",
                f"ask for it at {page}, with that account",
            )
        return bad(
            name,
            "gated, and HF_TOKEN is not set",
            f"ask for access at {page}; put HF_TOKEN into .env",
        )
    if answer.code == "RepoNotFound" or answer.status == 404:
        return bad(name, "the hub has no such model (for you)", f"check the name: {page}")
    if answer.status in (401, 403):
        what = "the hub refuses HF_TOKEN" if token else "the hub wants a token"
        return bad(name, what, "make a new one at https://huggingface.co/settings/tokens")
    return skipped(name, f"the hub answers with {answer.status}")


def ask_hub(model: str, token: str) -> HubAnswer:
    """`auth-check`: may we read it? Redirects are not followed, so the token goes nowhere else."""
    endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    url = f"{endpoint}/api/models/{urllib.parse.quote(model)}/auth-check"
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        return HubAnswer(None, why=f"HF_ENDPOINT is no address: {endpoint}")
    request = urllib.request.Request(url)  # noqa: S310 - http or https, see above
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=LIMIT) as response:
            return HubAnswer(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return HubAnswer(error.code, error.headers.get("X-Error-Code") or "")
    except (OSError, ValueError) as error:  # (URLError is an OSError)
        why = str(getattr(error, "reason", error))
        return HubAnswer(None, why=why.replace(token, "***") if token else why)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer."""

    def redirect_request(self, *args: object, **more: object) -> None:
        """None: not followed."""
        return


def _token(subject: Subject) -> str:
    """As a job reads it from `.env`; only plain characters can be sent."""
    if subject.personal.get("HF_TOKEN") is None or not subject.personal.path.is_file():
        return ""
    value = simple_value(subject.personal.path, "HF_TOKEN") or ""
    return value if value.isascii() and value.isprintable() and " " not in value else ""
