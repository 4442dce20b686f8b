"""Which variables reach a job, and which reach our own processes.

A job starts from a short list of the submitter's variables. Keys are never among them: a job reads
its secrets from the files made for that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import hpcjobs
from hpcjobs.local.job import Job

DIRECTORY_VARIABLE = "HPCJOBS_LOCAL_DIR"
MARK_VARIABLE = "HPCJOBS_LOCAL_JOB"

_KEPT = frozenset(
    [
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"),
        *("LD_LIBRARY_PATH", "CUDA_HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    ]
)
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """What of `environ` a job may have, with this Python's directory at the end of PATH."""
    kept = {
        name: value
        for name, value in environ.items()
        if (name in _KEPT or name.startswith("LC_") or name.endswith(("_proxy", "_PROXY")))
        and _is_text(value)
    }
    kept["PATH"] = f"{kept.get('PATH') or _DEFAULT_PATH}:{Path(sys.executable).parent}"
    return kept


def mark(directory: Path) -> str:
    """NAME=VALUE in the environment of every process of the job whose directory this is."""
    return f"{MARK_VARIABLE}={directory}"


def of_job(job: Job, directory: Path, devices: tuple[int, ...]) -> dict[str, str]:
    """The whole environment of a job."""
    return {
        **job.environment,
        "CUDA_VISIBLE_DEVICES": ",".join(str(device) for device in devices),
        "HPCJOBS_LOCAL_ID": str(job.id),
        MARK_VARIABLE: str(directory),
    }


def of_ours(spool: Path) -> dict[str, str]:
    """The environment of the supervisor and of starters; it carries no job's mark."""
    environment = scrubbed(os.environ)
    environment[DIRECTORY_VARIABLE] = str(spool)
    root = Path(hpcjobs.__file__).resolve().parent.parent
    if root.name not in ("site-packages", "dist-packages"):  # a checkout: importable only like this
        environment["PYTHONPATH"] = str(root)
    return environment


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
