"""What the fake programs have in common: what they are told to do wrong, and what they record.

They stand in for vllm, lm_eval and lighteval where a fault must be brought about at will; how the
real programs behave is for tests/real to say. Told by FAKE_VLLM and FAKE_EVALUATOR (JSON objects).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def read_faults(name: str) -> dict[str, Any]:
    """The faults that the variable FAKE_`name` asks for."""
    return dict(json.loads(os.environ.get(f"FAKE_{name}", "{}")))


def record(program: str, **more: object) -> None:
    """Leave what this program was given in the directory FAKE_RECORDS."""
    path = Path(os.environ["FAKE_RECORDS"], f"{program}.{os.getpid()}.json")
    seen = {
        "argv": sys.argv,
        "environ": dict(os.environ),
        "command_lines": command_lines(),
        **more,
    }
    path.with_suffix(".tmp").write_text(json.dumps(seen))
    path.with_suffix(".tmp").rename(path)


def records(program: str) -> list[Path]:
    """What runs of a program have left."""
    return list(Path(os.environ["FAKE_RECORDS"]).glob(f"{program}.*.json"))


def command_lines() -> list[str]:
    """What any user sees of all processes in their argument lists."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode(errors="replace").replace("\0", " "))
        except OSError:
            continue
    return found


def apply(faults: dict[str, Any]) -> None:
    """The faults that any program may have."""
    if faults.get("ignore_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "stray" in faults:
        start_stray(faults["stray"])
    if "exit_at_start" in faults:
        print("giving up at once", flush=True)
        sys.exit(faults["exit_at_start"])


def start_stray(kind: str) -> None:
    """Start a child in a session of its own; a `bare` one is without its environment, too."""
    tag = os.environ["FAKE_TAG"]
    ready, told = os.pipe()
    subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, "stray", tag, str(told)],
        env={} if kind == "bare" else None,
        start_new_session=True,
        pass_fds=[told],
    )
    os.close(told)
    os.read(ready, 1)


def wait_for(path: str) -> None:
    """Wait until a file exists."""
    while not os.path.exists(path):
        time.sleep(0.02)


def be_stray(told: int) -> None:
    """Take a name that is hard to parse in /proc/PID/stat, and wait to be ended."""
    set_name = 15  # PR_SET_NAME
    ctypes.CDLL(None).prctl(set_name, b"a) Z\n1 (b")
    os.write(told, b".")
    time.sleep(120)


if __name__ == "__main__":
    be_stray(int(sys.argv[3]))
