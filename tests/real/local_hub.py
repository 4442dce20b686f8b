"""A small hub on loopback: a local directory, `models/ORG/NAME/` and `datasets/ORG/NAME/` in it.

It answers what the real huggingface-hub and datasets clients ask. A repository with a file
`.gated` is given only to who shows the token in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

API = re.compile(
    r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)/?(.*))?"
)
FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


OPEN = threading.Event()
"""No file is given before this is set; see `holding`."""
OPEN.set()


@contextlib.contextmanager
def holding() -> Iterator[None]:
    """Give no files until the end of the block."""
    OPEN.clear()
    try:
        yield
    finally:
        OPEN.set()


def digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


class Hub(ThreadingHTTPServer):
    """Serves the directory; remembers what it was asked."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.directory = directory
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    """One request."""

    server: Hub

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if match := API.fullmatch(path):
            kind, name, what, _, below = match.groups()
            files = self.files(kind, name)
            if files is not None:
                self.api(name, files, what, below, body)
        elif match := FILE.fullmatch(path):
            kind, name, _, file = match.groups()
            files = self.files("datasets" if kind else "models", name)
            if files is not None:
                self.file(files, file)
        else:
            self.refuse(404, "RepoNotFound")

    do_HEAD = do_POST = do_GET  # noqa: N815

    def files(self, kind: str, name: str) -> dict[str, bytes] | None:
        """The files of a repository; None = it was refused."""
        root = self.server.directory / kind / name
        if not root.is_dir():
            return self.refuse(404, "RepoNotFound")
        gate = root / ".gated"
        if gate.exists() and self.headers.get("Authorization") != f"Bearer {gate.read_text()}":
            return self.refuse(401, "GatedRepo")
        paths = [path for path in sorted(root.rglob("*")) if path.is_file() and path != gate]
        return {str(path.relative_to(root)): path.read_bytes() for path in paths}

    def api(
        self, name: str, files: dict[str, bytes], what: str | None, below: str, body: bytes
    ) -> None:
        if what in (None, "revision"):
            siblings = [{"rfilename": file} for file in files]
            self.answer_json(
                {"id": name, "sha": commit(files), "siblings": siblings, "private": False,
                 "gated": False, "downloads": 0, "likes": 0, "tags": []}
            )  # fmt: skip
            return
        listed = [
            {"type": "file", "path": file, "size": len(data), "oid": digest(data)}
            for file, data in files.items()
        ]
        if what == "paths-info":
            form = body.decode()
            given = json.loads(form) if form.startswith("{") else parse_qs(form)
            wanted = given.get("paths", [])
            listed = [one for one in listed if one["path"] in wanted]
        elif below:
            listed = [one for one in listed if str(one["path"]).startswith(f"{below}/")]
            if not listed:
                self.refuse(404, "EntryNotFound")
                return
        self.answer_json(listed)

    def file(self, files: dict[str, bytes], name: str) -> None:
        OPEN.wait(120)
        if name not in files:
            self.refuse(404, "EntryNotFound", commit(files))
            return
        headers = {"ETag": f'"{digest(files[name])}"', "X-Repo-Commit": commit(files)}
        self.answer(200, files[name], headers)

    def refuse(self, code: int, word: str, sha: str = "") -> None:
        self.answer(code, b"{}", {"X-Error-Code": word, **({"X-Repo-Commit": sha} if sha else {})})

    def answer_json(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def commit(files: dict[str, bytes]) -> str:
    """A repository's commit: another one for other files."""
    return digest(b"".join(name.encode() + data for name, data in files.items()))


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[Hub]:
    """The hub, until the end of the block."""
    hub = Hub(directory)
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


def fill(directory: Path) -> None:
    """Two models, one of them gated, and a data set of questions."""
    files = {
        "models/acme/small/config.json": '{"model_type": "llama"}',
        "models/acme/small/sub/model.safetensors": "weights" * 100,
        "models/acme/gated/config.json": '{"model_type": "gated"}',
        "models/acme/gated/.gated": "hf_secret_of_the_test",
        "datasets/acme/questions/README.md": "---\nconfigs:\n- config_name: default\n"
        "  data_files:\n  - split: test\n    path: data/test.jsonl\n---\n",
        "datasets/acme/questions/data/test.jsonl": '{"question": "1+1?", "answer": "2"}\n',
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
