"""`--predownload` with the real huggingface-hub client, against a small hub on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"weights" * 100}


def digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


COMMIT = digest(b"commit")

DRIVER = """
import sys
from hpcjobs.assemble import Choices, assemble
from hpcjobs.predownload import predownload
from hpcjobs.workspace import Workspace
choices = Choices("tsubame", "node_q", ["acme/small"], tasks=("ja_gpqa",))
print(*predownload(assemble(Workspace.find(), choices)), sep="\\n")
"""


class Hub(BaseHTTPRequestHandler):
    """Two endpoints of the hub: the list of files of a model, and the files."""

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/acme/small/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": digest(data)}
                for name, data in FILES.items()
            ]
            self.answer(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
            return
        if self.path.startswith("/api/models/acme/small"):
            names = [{"rfilename": name} for name in FILES]
            body = json.dumps({"id": "acme/small", "sha": COMMIT, "siblings": names}).encode()
            self.answer(200, body, {"Content-Type": "application/json"})
            return
        name = self.path.rpartition("/")[2]
        if "/acme/small/resolve/" in self.path and name in FILES:
            headers = {"ETag": f'"{digest(FILES[name])}"', "X-Repo-Commit": COMMIT}
            self.answer(200, FILES[name], headers)
            return
        self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815

    def answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def download(
    tmp_path: Path, endpoint: str, driver: str = DRIVER
) -> subprocess.CompletedProcess[str]:
    personal = {name: str(tmp_path / name) for name in ("REPO_PATH", "UV_CACHE", "VLLM_CACHE")}
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
        **personal,
        "HUGGINGFACE_CACHE": str(tmp_path / "cache"),
        "TSUBAME_GROUP": "group",
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", driver],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_model_is_fetched_into_the_cache_that_its_jobs_will_use(tmp_path: Path, hub: str) -> None:
    done = download(tmp_path, hub)
    assert done.returncode == 0, done.stderr
    snapshot = Path(done.stdout.strip())
    assert snapshot.is_relative_to(tmp_path / "cache" / "hub")
    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == FILES


def test_a_model_that_the_hub_does_not_have_is_an_error_for_people(
    tmp_path: Path, hub: str
) -> None:
    done = download(tmp_path, hub, DRIVER.replace("acme/small", "acme/none"))
    assert done.returncode != 0
    assert "cannot download 'acme/none'" in done.stderr


def test_no_network_is_an_error_for_people(tmp_path: Path) -> None:
    done = download(tmp_path, "http://127.0.0.1:9")
    assert done.returncode != 0
    assert "cannot download 'acme/small'" in done.stderr
