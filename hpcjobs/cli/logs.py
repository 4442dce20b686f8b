"""`hpcjobs logs`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from hpcjobs.cli.context import Context, pass_context
from hpcjobs.errors import ExitCode, InputError
from hpcjobs.files import explained


@click.command()
@click.argument("job")
@click.option("--server", "what", flag_value="server", help="The model server's log.")
@click.option("--script", "what", flag_value="script", help="The script itself.")
@click.option("--job-log", "what", flag_value="job", help="What the job script told.")
@click.option("--task", metavar="KEY", help="The evaluator's log of this task.")
@click.option("--attempt", type=click.IntRange(min=1), help="Which attempt; default: the latest.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last N lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@pass_context
def logs(
    context: Context,
    job: str,
    what: str | None,
    task: str | None,
    attempt: int | None,
    lines: int | None,
    follow: bool,
) -> int:
    """Show what a job has printed: the evaluator's log, or another.

    Before the evaluator starts, the job's own log is shown.
    """
    from hpcjobs.observe import refresh
    from hpcjobs.store import load

    record = load(context.workspace.journal).find(job)
    numbers = [one.number for one in record.attempts]
    named = job.strip().partition("-")[2]  # find() has checked it
    number = attempt or (int(named) if named else numbers[-1] if numbers else 0)
    if number not in numbers:
        raise InputError(
            f"{record.job.id} has no attempt {number}",
            expected=f"one of: {', '.join(map(str, numbers)) or 'none was submitted'}",
        )
    directory = context.workspace.attempt(record.job.id, number)
    keys = [one.key for one in record.job.tasks]
    if task is not None and task not in keys:
        raise InputError(f"the job has no task '{task}'", expected=f"one of: {', '.join(keys)}")
    names = {"server": "server.log", "script": "job.sh", "job": "job.log"}
    name = names[what] if what else f"{task or keys[-1]}.log"
    fallback = None if what or task else "job.log"
    shown = _Follower(directory, name, fallback, lines)
    shown.more()
    while follow:
        ended = not refresh(context.workspace).store.jobs[record.job.id].active
        shown.more()
        if ended:
            break
        time.sleep(0.5)
    if not shown.found:
        raise InputError(
            f"there is no {name} yet",
            where=str(directory),
            do=f"see how it stands with: hpcjobs status {record.job.id}",
        )
    return ExitCode.OK


class _Follower:
    """Prints what a file has grown by since it was last looked at."""

    def __init__(self, directory: Path, name: str, fallback: str | None, lines: int | None):
        self.directory, self.name, self.fallback, self.lines = directory, name, fallback, lines
        self.offsets: dict[Path, int] = {}

    @property
    def found(self) -> bool:
        """Whether there was anything to print from."""
        return bool(self.offsets)

    def more(self) -> None:
        """Print what is new."""
        path = self.directory / self.name
        if not path.exists() and self.fallback:
            path = self.directory / self.fallback
        if not path.exists():
            return
        with explained("read", path), path.open("rb") as file:
            first = path not in self.offsets
            file.seek(self.offsets.get(path, 0))
            data = file.read()
            self.offsets[path] = file.tell()
        if first and self.lines is not None:
            data = b"".join(data.splitlines(keepends=True)[-self.lines :]) if self.lines else b""
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
