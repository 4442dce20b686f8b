"""Fetching itself: runs within the job on a compute node, or in the foreground.

It never takes a cache's word for the hub's: without an answer of the hub, huggingface-hub gives
whatever part of a model it has.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hpcjobs.config.environment import read_personal_values
from hpcjobs.errors import ExitCode, HpcjobsError, printable
from hpcjobs.predownload.evaluator import load
from hpcjobs.predownload.records import Fetched, files_below, read_request, sizes, write_end
from hpcjobs.predownload.request import DATASET, MODEL, TASK, Request, Thing, hub_cache


class DownloadFailedError(HpcjobsError):
    """Something could not be fetched."""

    exit_code = ExitCode.SOME_FAILED


def run_job(directory: str) -> None:
    """What a submitit job calls: fetch what the request in `directory` says.

    Raises:
        SystemExit: something could not be fetched; the rest was. The scheduler sees that, and
            submitit, which would print where an exception came from, does not.
    """
    # submitit lets TERM pass by. The batch shell does not, and without cgroups we would outlive it.
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    # Bars also where nobody looks, every few seconds, since the log is what people look at.
    os.environ.update({"TQDM_POSITION": "-1", "TQDM_MININTERVAL": "5"})
    if fetch(Path(directory)):
        raise SystemExit(1)


def fetch(directory: Path) -> list[str]:
    """Fetch one thing after the other, and write down what came of it.

    Returns:
        What could not be fetched, and why; empty = all is there.
    """
    request = read_request(directory)
    fetched: list[Fetched] = []
    errors: list[str] = []

    def tell(thing: Thing, outcome: Fetched | str) -> None:
        if isinstance(outcome, Fetched):
            fetched.append(outcome)
            print(f"fetched {thing}: {len(outcome.files)} file(s)", file=sys.stderr, flush=True)
        else:
            lines = [line.strip() for line in outcome.splitlines() if line.strip()]
            why = " ".join(lines[:2])  # the hub's first line is but a number
            errors.append(f"cannot fetch {thing.kind} {printable(thing.name)}: {why}")
            print(f"error: {thing}: {outcome}", file=sys.stderr, flush=True)

    token = read_personal_values(Path(request.env_file)).get("HF_TOKEN")
    previous = os.umask(int(request.umask, 8))
    try:
        with _environment(request):
            for kind in (MODEL, TASK, DATASET):
                things = [thing for thing in request.things if thing.kind == kind]
                if things:
                    print(f"fetching {', '.join(map(str, things))}", file=sys.stderr, flush=True)
                way = _models if kind == MODEL else _data
                for thing, outcome in way(request, things, token):
                    tell(thing, outcome)
    finally:
        os.umask(previous)
    write_end(directory, fetched, errors)
    return errors


Outcomes = Iterable[tuple[Thing, Fetched | str]]


def _models(request: Request, things: Sequence[Thing], token: str | None) -> Outcomes:
    for thing in things:
        try:
            yield thing, Fetched(thing, snapshot(thing.name, hub_cache(os.environ), token))
        except Exception as error:  # whatever a library may raise: the rest is fetched all the same
            yield thing, str(error) or type(error).__name__


def _data(request: Request, things: Sequence[Thing], token: str | None) -> Outcomes:
    if not things:
        return
    try:
        with tempfile.TemporaryDirectory(prefix="hpcjobs-") as scratch:
            told = load(request, things, token, Path(scratch) / "answer.json")
        for thing, one in told.items():
            yield thing, one if isinstance(one, str) else Fetched(thing, sizes(one))
    except (HpcjobsError, OSError) as error:
        for thing in things:
            yield thing, str(error)


def snapshot(name: str, cache: Path, token: str | None) -> dict[str, int]:
    """Fetch a whole model; its files, by path, and their sizes.

    Raises:
        DownloadFailedError: the cache does not hold all that the hub has.
    """
    from huggingface_hub import HfApi, snapshot_download

    key: Any = token or False  # False: not the one of a login either
    there: Any = HfApi().model_info(name, token=key)
    names = [sibling.rfilename for sibling in there.siblings or ()]
    directory = Path(snapshot_download(name, cache_dir=cache, token=key))
    lacking = [one for one in names if not (directory / one).is_file()]
    if directory.name != there.sha or lacking:
        what = f"lacks {lacking[0]}" if lacking else f"is {directory.name}, not {there.sha}"
        raise DownloadFailedError(f"{directory} {what}", do="run the same command again")
    return files_below(directory)


@contextlib.contextmanager
def _environment(request: Request) -> Iterator[None]:
    """Let this process have the environment to fetch with, for as long as it takes."""
    before = dict(os.environ)
    wanted = request.environment(before)
    try:
        os.environ.clear()
        os.environ.update(wanted)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
