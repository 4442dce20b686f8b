"""Models: what lies in the cache, and what a hub on this machine says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hpcjobs.config.environment import PersonalValues
from hpcjobs.doctor import models
from hpcjobs.doctor.check import Check, State, Subject
from hpcjobs.doctor.models import HubAnswer
from hpcjobs.workspace import Workspace

TOKEN = "hf_verysecret"
ANSWERS = {
    "open": (200, {}),
    "gated": (403, {"X-Error-Code": "GatedRepo"}),
    "none": (401, {"X-Error-Code": "RepoNotFound"}),
    "moved": (307, {"Location": "/elsewhere"}),
    "broken": (503, {}),
}


class Hub(HTTPServer):
    """Remembers which paths were asked for, and with which token."""

    asked: list[tuple[str, str | None]]


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        status, headers = ANSWERS.get(self.path.split("/")[-2], (404, {}))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    yield server
    server.shutdown()
    server.server_close()


def found(tmp_path: Path, model: str, *, token: str = TOKEN, **exports: str) -> list[Check]:
    path = tmp_path / ".env"
    path.write_text(f"HF_TOKEN={token}\n")
    values = PersonalValues(path, {"HF_TOKEN": token})
    exports = {"HF_HOME": str(tmp_path / "hf"), **exports}
    subject = Subject(Workspace(tmp_path), values, None, [model], exports=exports)
    return list(models.look_at_models(subject))


@pytest.mark.parametrize(
    ("name", "state", "shown"),
    [
        ("open", State.OK, "the hub lets you (with HF_TOKEN)"),
        ("gated", State.FAIL, "has no access"),
        ("none", State.FAIL, "no such model"),
        ("moved", State.WARN, "another name"),
        ("broken", State.SKIPPED, "503"),
    ],
)
def test_what_the_hub_says(hub: Hub, tmp_path: Path, name: str, state: State, shown: str) -> None:
    cached, access = found(tmp_path, f"org/{name}")
    assert cached.state is State.SKIPPED
    assert (access.state, shown in access.what) == (state, True)
    assert hub.asked == [(f"/api/models/org/{name}/auth-check", f"Bearer {TOKEN}")]
    assert TOKEN not in access.what + access.do


def test_without_a_token_none_is_sent(hub: Hub, tmp_path: Path) -> None:
    _, access = found(tmp_path, "org/gated", token="")
    assert hub.asked == [("/api/models/org/gated/auth-check", None)]
    assert "HF_TOKEN is not set" in access.what


def test_offline_is_respected(hub: Hub, tmp_path: Path) -> None:
    _, access = found(tmp_path, "org/open", HF_HUB_OFFLINE="1")
    assert (access.state, hub.asked) == (State.SKIPPED, [])
    assert "HF_HUB_OFFLINE=1" in access.what


def test_a_hub_that_cannot_be_reached_is_no_failure(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    _, access = found(tmp_path, "org/open")
    assert access.state is State.SKIPPED
    assert "cannot be reached" in access.what


def test_what_is_in_the_cache_can_be_served_though_the_hub_refuses() -> None:
    refused = HubAnswer(403, "GatedRepo")
    assert models.judge_access("o/m", refused, True, cached=True).state is State.WARN
    assert models.judge_access("o/m", refused, True, cached=False).state is State.FAIL
    assert models.judge_access("o/m", HubAnswer(401), True, cached=False).state is State.FAIL


def test_only_a_whole_snapshot_counts_as_cached(tmp_path: Path) -> None:
    assert models.judge_cache("org/m", tmp_path).state is State.SKIPPED
    model = tmp_path / "models--org--m"
    snapshot = model / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    blobs = model / "blobs"
    blobs.mkdir()
    assert models.judge_cache("org/m", tmp_path).state is State.SKIPPED
    (snapshot / "config.json").write_text("{}")
    assert models.judge_cache("org/m", tmp_path).state is State.WARN
    (blobs / "1").write_text("weights")
    (snapshot / "model.safetensors").symlink_to("../../blobs/1")
    assert models.judge_cache("org/m", tmp_path).state is State.OK
    (blobs / "2.incomplete").write_text("")
    assert models.judge_cache("org/m", tmp_path).state is State.WARN
    (blobs / "2.incomplete").unlink()
    (blobs / "1").unlink()
    assert models.judge_cache("org/m", tmp_path).state is State.FAIL
