"""Who is told when jobs end: once, whatever fails, and without showing a key."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.notify import read_notifying
from hpcjobs.errors import InputError
from hpcjobs.notify.due import Told, due, message, told_before
from hpcjobs.store import load

Command = Callable[..., tuple[str, str]]
SECRET_PATH = "/services/T000/B000/verysecretword"


# The file


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("on: [failed]", "nobody would be told"),
        ("on: []\nmail: a@b", "nobody would be told"),
        ("on: [faild]\nmail: a@b", "did you mean: failed"),
        ("mial: a@b", "mial"),
        ("mail: -oQ/tmp@b", "not allowed"),
        ("mail: 'a@b,c@d'", "not allowed"),
        ("mail: a@b\ntimeout: 600", "at most 60"),
        ("webhook: ${SLACK}", "does not look like a key's"),
        ("webhook: ${SLACK_WEBHOOK}\nwebhook_format: xml", "xml"),
        ("command: ['']", "names no program"),
    ],
)
def test_a_wrong_file_is_refused(write: Callable[..., Path], text: str, complaint: str) -> None:
    with pytest.raises(InputError) as error:
        read_notifying(write(text, "notify.yaml"))
    assert complaint in str(error.value)


def test_an_address_in_the_file_is_refused_and_not_shown(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError) as error:
        read_notifying(write("webhook: https://hooks.example.org/verysecretword"))
    assert "verysecretword" not in str(error.value)
    assert "in .env" in str(error.value)


# What is due


def test_one_message_for_all_that_ended_and_nothing_twice(ended: Any) -> None:
    for _ in range(2):
        ended.attempt(ended.job())
    bad = ended.job()
    ended.attempt(bad, state="FAILED", reason="TIMEOUT")
    ended.attempt(ended.job(), end=None)
    store = load(ended.workspace.journal)
    first = due(store, ("ended", "failed", "all_done"), Told())
    assert first.events == ("ended", "failed")
    assert len(first.ends) == 3
    assert due(store, ("ended", "failed", "all_done"), first.told).events == ()
    only = due(store, ("failed",), Told())
    assert [record.job.id for record, _ in only.ends] == [bad.id]
    assert due(store, ("all_done",), Told()).events == ()


def test_all_done_sums_up_by_the_last_attempts(ended: Any) -> None:
    job, other = ended.job(), ended.job()
    ended.attempt(job, 1, state="FAILED", reason="TIMEOUT")
    ended.attempt(other, end=None)
    before = due(load(ended.workspace.journal), ("failed", "all_done"), Told())
    assert before.events == ("failed",)
    ended.attempt(job, 2)
    ended.add({"event": "ended", "at": "2026-01-01T00:00:00+00:00", "job": other.id, "attempt": 1,
               "state": "CANCELLED", "reason": None})  # fmt: skip
    store = load(ended.workspace.journal)
    last = due(store, ("failed", "all_done"), before.told)
    assert last.events == ("all_done",)
    assert sorted((r.job.id, a.number) for r, a in last.ends) == [(job.id, 2), (other.id, 1)]
    text = message("/w", store, last)["text"]
    assert text.startswith("hpcjobs: 1 cancelled, 1 done (all jobs have ended) in /w\n")
    assert due(store, ("failed", "all_done"), last.told).events == ()


def test_what_is_suspect_is_told_as_a_failure_is(ended: Any) -> None:
    ended.attempt(ended.job(), suspect={"ja_a": "answers lost"})
    ended.attempt(ended.job())
    store = load(ended.workspace.journal)
    found = due(store, ("failed",), Told())
    text = message("/w", store, found)["text"]
    assert text.startswith("hpcjobs: 1 suspect (")
    assert "suspect: answers lost" in text


def test_what_ended_before_anybody_wanted_to_know_is_not_told(ended: Any) -> None:
    ended.attempt(ended.job(), end=1000.0)
    ended.attempt(ended.job(), end=3000.0)
    store = load(ended.workspace.journal)
    found = due(store, ("ended",), told_before(store, 2000.0))
    assert [attempt.ended_at for _, attempt in found.ends] == [3000.0]


def test_a_text_is_short_and_hides_keys(ended: Any) -> None:
    for _ in range(25):
        ended.attempt(ended.job(), state="FAILED", reason="EXIT_CODE")
    store = load(ended.workspace.journal)
    found = message("/w", store, due(store, ("failed",), Told()), lambda text: "hidden")
    assert found["text"].endswith("and 5 more")
    assert len(found["jobs"]) == 25
    assert {one["detail"] for one in found["jobs"]} == {"hidden"}


# Sending, really


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    received: list[tuple[str, Any]]
    answer: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).received.append((self.path, json.loads(body)))
        self.send_response(type(self).answer)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[type[Hook]]:
    """A webhook on this machine, its address in .env."""
    kind = type("OneHook", (Hook,), {"received": [], "answer": 200})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}{SECRET_PATH}"
    env = tmp_path / ".env"
    env.write_text(f"SLACK_WEBHOOK={url}\nOPENAI_API_KEY=abcdefgh\n")
    env.chmod(0o600)
    yield kind
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def wants(tmp_path: Path) -> Callable[[str], None]:
    """Writes conf/notify.yaml, long before anything ended."""

    def write(text: str) -> None:
        path = tmp_path / "conf" / "notify.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, (1, 1))

    return write


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A command that keeps what it is given."""
    path = tmp_path / "tell.sh"
    path.write_text(f"#!/bin/sh\ncat >>{tmp_path}/got\nenv >{tmp_path}/env\n")
    path.chmod(0o755)
    return path


def test_status_tells_once(
    ended: Any, command: Command, hook: type[Hook], wants: Callable[[str], None], tmp_path: Path
) -> None:
    wants("on: ended\nwebhook: ${SLACK_WEBHOOK}")
    ended.attempt(ended.job())
    shown = [*command("status"), *command("wait"), *command("status", "--json")]
    ((path, body),) = hook.received
    assert path == SECRET_PATH
    assert list(body) == ["text"]
    assert body["text"].startswith("hpcjobs: 1 done (all jobs have ended)")
    kept = "".join(one.read_text() for one in (tmp_path / "jobs").rglob("*") if one.is_file())
    assert "verysecretword" not in kept + "".join(shown)


def test_a_way_that_fails_is_a_warning_and_does_not_repeat_the_others(
    ended: Any, command: Command, hook: type[Hook], wants: Callable[[str], None], script: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    wants("on: ended\ncommand: [./tell.sh]\nwebhook: ${SLACK_WEBHOOK}\nwebhook_format: json")
    ended.attempt(ended.job(), state="FAILED", reason="TIMEOUT")
    hook.answer = 403
    _, told = command("status")
    assert "not told by webhook: it answers with 403" in told
    assert "verysecretword" not in told
    assert len((tmp_path / "got").read_text().splitlines()) == 1
    assert "not told" not in command("status")[1]  # it rests for a while
    assert len(hook.received) == 1
    hook.answer = 200
    monkeypatch.setattr("hpcjobs.notify.telling.time.time", lambda: 4e9)
    assert "told by webhook\n" in command("notify")[0]
    assert len(hook.received) == 2
    assert hook.received[1][1]["jobs"][0]["reason"] == "TIMEOUT"
    assert len((tmp_path / "got").read_text().splitlines()) == 1
    assert "nothing was to be told" in command("notify")[0]


def test_a_redirect_is_not_followed(
    ended: Any, command: Command, hook: type[Hook], wants: Callable[[str], None]
) -> None:
    wants("webhook: ${SLACK_WEBHOOK}")
    hook.answer = 307
    assert command("notify", "--test", code=1)[0] == "webhook: it answers with 307\n"
    assert len(hook.received) == 1


def test_the_command_gets_the_facts_and_no_keys(
    ended: Any, command: Command, wants: Callable[[str], None], script: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SLACK_WEBHOOK", "https://verysecretword")
    monkeypatch.setenv("OPENAI_API_KEY", "alsosecret")
    wants(f"on: ended\ncommand: {script}")
    job = ended.job()
    ended.attempt(job)
    command("wait")
    got = json.loads((tmp_path / "got").read_text())
    assert got["events"] == ["ended"]
    assert (got["jobs"][0]["job"], got["jobs"][0]["state"]) == (job.id, "SUCCEEDED")
    assert "secret" not in (tmp_path / "env").read_text()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("command: [./no-such-program]", "cannot run"),
        ("command: [sh, -c, 'echo broken >&2; exit 3']", "sh ended with 3: broken"),
        ("command: [sleep, '100']\ntimeout: 1", "did not answer within 1 s"),
        ("command: ['true']\nonn: failed", "unknown key 'onn'"),
        ("webhook: ${NO_WEBHOOK}", "NO_WEBHOOK is not set"),
    ],
)
def test_what_is_wrong_never_breaks_status(
    ended: Any, command: Command, wants: Callable[[str], None], text: str, warning: str
) -> None:
    wants(text)
    ended.attempt(ended.job())
    shown, told = command("status")
    assert "done 1" in shown
    assert warning in told


def test_an_address_that_does_not_answer_is_not_shown(
    ended: Any, command: Command, wants: Callable[[str], None], tmp_path: Path
) -> None:
    for url in ("http://127.0.0.1:1/verysecretword", "ftp://x/verysecretword",
                "https://[verysecretword", "http://a b/verysecretword"):  # fmt: skip
        (tmp_path / ".env").write_text(f"X_WEBHOOK='{url}'\n")
        wants("webhook: ${X_WEBHOOK}")
        shown = "".join(command("notify", "--test", code=1))
        assert "webhook: " in shown
        assert "verysecretword" not in shown


def test_a_mail_goes_through_sendmail(
    ended: Any, command: Command, wants: Callable[[str], None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # A machine's real sendmail would really send: this one keeps what it is given.
    program = tmp_path / "bin" / "sendmail"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/words\ncat >{tmp_path}/mail\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    wants("mail: me@example.org")
    ended.attempt(ended.job())
    command("status")
    assert (tmp_path / "words").read_text() == "-i me@example.org\n"
    mail = (tmp_path / "mail").read_text()
    assert "To: me@example.org\n" in mail
    assert "Subject: hpcjobs: 1 done" in mail


def test_while_another_one_tells_nothing_is_told_twice(
    ended: Any, command: Command, wants: Callable[[str], None], script: Path, tmp_path: Path
) -> None:
    from hpcjobs.lock import workspace_lock

    wants(f"on: ended\ncommand: {script}")
    ended.attempt(ended.job())
    with workspace_lock(tmp_path / "jobs" / "notify.lock"):
        command("status")
    assert not (tmp_path / "got").exists()
    command("status")
    assert (tmp_path / "got").exists()


def test_notify_without_a_file_says_what_to_write(command: Command) -> None:
    assert "docs/upkeep.md" in command("notify", code=2)[1]
