"""The ways of telling: a command, a webhook, a mail. Each has a time limit; none shows an address.

A failure is told by `NotSent`, in words that hold no key and no part of a webhook's address.
"""

from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from hpcjobs import __version__
from hpcjobs.commands import run
from hpcjobs.config.environment import PersonalValues
from hpcjobs.config.notify import Notifying
from hpcjobs.errors import HpcjobsError, SchedulerUnavailableError


class NotSent(Exception):  # noqa: N818 - it is an answer
    """It was not sent, or nobody knows whether it was."""


def send(
    channel: str,
    root: Path,
    notifying: Notifying,
    personal: PersonalValues,
    what: Mapping[str, Any],
) -> None:
    """Send `what` by one of the ways that are set.

    Raises:
        NotSent: with the reason.
    """
    if channel == "command":
        program, *arguments = notifying.command
        if "/" in program:
            program = str(root / program)
        _run([program, *arguments], json.dumps(what) + "\n", notifying.timeout)
    elif channel == "mail":
        _mail(notifying, what)
    else:
        url = personal.get(notifying.webhook)
        if url is None:
            raise NotSent(f"{notifying.webhook} is not set in {personal.path}")
        form = {"text": what["text"]} if notifying.webhook_format == "slack" else what
        post(url, form, notifying.timeout)


def post(url: str, what: Mapping[str, Any], timeout: float) -> None:
    """Send JSON to an address; redirects are not followed, since the address is a key.

    Raises:
        NotSent: it was refused, or there was no answer in time.
    """
    problems: list[str] = ["no answer in time"]

    def ask() -> None:
        problems[0] = _post(url, what, timeout)

    # The time limit of a socket is not one of the whole: a name may take minutes to be looked up.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if problems[0]:
        raise NotSent(problems[0])


def _post(url: str, what: Mapping[str, Any], timeout: float) -> str:
    """Why it was not sent; empty if it was."""
    try:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            return "the address does not begin with https://"
        request = urllib.request.Request(  # noqa: S310 - http or https, see above
            url,
            data=json.dumps(what).encode(),
            headers={"Content-Type": "application/json", "User-Agent": f"hpcjobs/{__version__}"},
            method="POST",
        )
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answers with {error.code}"
    except Exception as error:  # its text may hold the address
        return f"it cannot be reached ({type(getattr(error, 'reason', error)).__name__})"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer."""

    def redirect_request(self, *args: object, **more: object) -> None:
        """None: not followed."""
        return


def _mail(notifying: Notifying, what: Mapping[str, Any]) -> None:
    subject, _, body = str(what["text"]).partition("\n")
    subject = "".join(c if c.isprintable() else " " for c in subject)[:200]
    places = "/usr/sbin:/usr/lib"
    if program := shutil.which("sendmail") or shutil.which("sendmail", path=places):
        mail = EmailMessage()
        mail["To"], mail["Subject"] = notifying.mail, subject
        mail.set_content(f"{subject}\n{body}\n")
        _run([program, "-i", notifying.mail], mail.as_string(), notifying.timeout)
    elif program := shutil.which("mail") or shutil.which("mailx"):
        text = f"{subject}\n{body}\n"
        _run([program, "-s", subject, notifying.mail], text, notifying.timeout)
    else:
        raise NotSent("neither sendmail nor mail is there")


def _run(argv: list[str], given: str, timeout: float) -> None:
    try:
        done = run(argv, timeout=timeout, given=given)
    except SchedulerUnavailableError as error:
        raise NotSent(error.what) from None
    except (HpcjobsError, ValueError, OSError) as error:
        raise NotSent(f"cannot run {argv[0]}: {type(error).__name__}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise NotSent(
            f"{argv[0]} ended with {done.returncode}{': ' if said else ''}{''.join(said)}"
        )
