"""A real browser: Debian's chromium, driven by its chromedriver in the W3C's WebDriver protocol.

`scripts/testbeds/chromium.sh` installs both. No library stands between: it is a few JSON requests.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

INSTALL = Path(__file__).resolve().parents[2] / "scripts" / "testbeds" / "chromium.sh"

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def need_browser() -> None:
    """Skip where there is none; in CI it is installed, and what fails is a failure."""
    if not (missing := _missing()):
        return
    text = f"NOT TESTED in a browser: {', '.join(missing)} missing ({INSTALL.name} up)"
    if os.environ.get("CI") != "true":
        pytest.skip(text)
    done = subprocess.run([INSTALL, "up"], capture_output=True, text=True, timeout=600)
    if _missing():
        pytest.fail(text + "\n" + done.stdout + done.stderr)


def _missing() -> list[str]:
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


class Browser:
    """One window."""

    def __init__(self, address: str, profile: Path) -> None:
        self.address = address
        options = {
            "binary": shutil.which("chromium"),
            "args": [*FLAGS, f"--user-data-dir={profile}"],
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{session['sessionId']}"

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file's page."""
        self._ask("POST", f"{self.session}/url", {"url": f"{path.as_uri()}{fragment}"})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body gives in the page; not bound by the page's own policy."""
        body = {"script": script, "args": list(arguments)}
        return self._ask("POST", f"{self.session}/execute/sync", body)

    def click(self, selector: str) -> None:
        """A click as a person does it, at the element's place on the screen."""
        found = self._ask(
            "POST", f"{self.session}/element", {"using": "css selector", "value": selector}
        )
        (element,) = found.values()
        self._ask("POST", f"{self.session}/element/{element}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        found = self._ask(
            "POST", f"{self.session}/element", {"using": "css selector", "value": selector}
        )
        (element,) = found.values()
        self._ask("POST", f"{self.session}/element/{element}/value", {"text": text})

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the browser's own tools."""
        body = {"cmd": command, "params": parameters}
        return self._ask("POST", f"{self.session}/goog/cdp/execute", body)

    def size(self, width: int, height: int) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def scheme(self, name: str) -> None:
        """`light` or `dark`, as the system would ask for it."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """A PNG of the window, or of the whole page."""
        found = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def complaints(self) -> list[str]:
        """What the console got since the last time."""
        return [one["message"] for one in self._log("browser")]

    def requests(self) -> list[str]:
        """All addresses that were asked for since the last time."""
        events = [json.loads(one["message"])["message"] for one in self._log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def quit(self) -> None:
        self._ask("DELETE", self.session)

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("POST", f"{self.session}/se/log", {"type": kind})
        return found

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:2000]}") from None


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """A browser with a fresh profile below `directory`; nothing of it is left running."""
    port = _free_port()
    with (directory / "chromedriver.log").open("wb") as log:
        driver = subprocess.Popen(
            ["chromedriver", f"--port={port}", "--allowed-ips="],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "HOME": str(directory)},
        )  # fmt: skip
    try:
        _wait_for(port, driver)
        window = Browser(f"http://127.0.0.1:{port}", directory / "profile")
        try:
            yield window
        finally:
            window.quit()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait(10)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int, driver: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert driver.poll() is None, "chromedriver has ended"
        assert time.monotonic() < end, "chromedriver does not listen"
        time.sleep(0.05)
