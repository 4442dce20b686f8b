"""One job that runs: is it still there, has it run too long, is all of it gone."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.local import environment
from hpcjobs.local.ending import Ending
from hpcjobs.local.job import CANCEL, START_FAILED, Job
from hpcjobs.processes import ProcessIdentity, boot_id, marked, session_members

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class End:
    """How a job ended."""

    time: float
    """Epoch seconds at which its main process was seen to be gone."""
    exit_status: int | None
    """As subprocess gives it; None if nobody could wait for it."""
    because: str | None


class RunningJob:
    """A claimed start, watched by its parent (`process`) or adopted by a later supervisor."""

    def __init__(
        self,
        directory: Path,
        job: Job,
        devices: tuple[int, ...],
        identity: ProcessIdentity,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.directory = directory
        self.job = job
        self.devices = devices
        self.identity = identity
        self._process = process
        self._mark = environment.mark(directory)
        self._session_is_ours = process is not None or identity.is_alive()
        self._ending: Ending | None = None
        self._because: str | None = None
        self._exit_status: int | None = None
        self._gone_at: float | None = None

    def step(self) -> End | None:
        """Do what is due now; its end once no process of it is left."""
        if self._gone_at is None and self._main_process_is_gone():
            self._note_end_of_main_process()
        elif self._ending is None:
            self._because = self._reason_to_end()
            if self._because:
                self._end_everything()
        if self._ending is None or not self._ending.step() or self._gone_at is None:
            return None
        return End(self._gone_at, self._exit_status, self._because)

    def _main_process_is_gone(self) -> bool:
        if self._process is None:
            return not self.identity.is_alive()
        self._exit_status = self._process.poll()
        return self._exit_status is not None

    def _note_end_of_main_process(self) -> None:
        self._gone_at = time.time()
        if self._because is None:
            if (self.directory / START_FAILED).exists():
                self._because, self._exit_status = "start_failed", None
            elif self.identity.boot_id != boot_id():
                self._because = "reboot"
            elif self._process is None:
                self._because = "lost"
        if self._ending is None:
            self._end_everything()

    def _reason_to_end(self) -> str | None:
        if (self.directory / CANCEL).exists():
            return "cancelled"
        if self.job.walltime is not None and age(self.identity) >= self.job.walltime:
            return "walltime"
        return None

    def _end_everything(self) -> None:
        self._ending = Ending(self._processes, self.job.grace)

    def _processes(self) -> set[int]:
        """All living processes of this job.

        A session's number is trusted only while we have seen it without a break: once it is empty
        and its leader gone, the number may come back as somebody else's.
        """
        found = marked(self._mark)
        if self._session_is_ours:
            members = session_members(self.identity.pid)
            self._session_is_ours = bool(members) or self._gone_at is None
            found |= members
        return found


def age(identity: ProcessIdentity) -> float:
    """Seconds since this process of the present boot was started, whatever the clock did."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - identity.start_time / _TICKS
