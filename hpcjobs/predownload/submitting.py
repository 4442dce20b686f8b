"""A process of its own that submits a download by submitit, and says its native id.

Apart, so that it has the environment of hpcjobs.commands: without keys, since submitit hands its
environment on to the job, without an enclosing job's variables, and with a limit of time.

usage: python -m hpcjobs.predownload.submitting DIRECTORY
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hpcjobs.files import write_json
from hpcjobs.predownload.fetching import run_job
from hpcjobs.predownload.records import JOB, SUBMISSION, read_values
from hpcjobs.processes import ProcessIdentity


def main(directory: Path) -> int:
    """Submit; print the native id, or what sbatch complained of."""
    # What submitit starts here outlives us: it must not hold the pipes that our caller reads.
    answer, complaint = os.dup(1), os.dup(2)
    with (directory / "submitit.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    for name in [name for name in os.environ if name.startswith("SUBMITIT_")]:
        del os.environ[name]  # of an enclosing job
    os.chdir(directory)
    submission = read_values(directory / SUBMISSION) or {}
    try:
        native_id = _submit(submission, directory)
    except Exception as error:  # submitit raises what it likes; sbatch's own words are in it
        os.write(complaint, f"{error}\n".encode())
        return 1
    identity = ProcessIdentity.of(int(native_id)) if submission["scheduler"] == "local" else None
    process = identity.to_json() if identity else None
    write_json(directory / JOB, {"native_id": native_id, "process": process})
    os.write(answer, f"{native_id}\n".encode())
    return 0


def _submit(submission: dict[str, Any], directory: Path) -> str:
    import submitit

    minutes = -(-int(submission["walltime"]) // 60)
    if submission["scheduler"] == "local":
        executor: Any = submitit.LocalExecutor(directory)
        executor.update_parameters(timeout_min=minutes, stderr_to_stdout=True)
    else:
        # Spelt as submitit's own, which they are to replace: of two lines the latter would win.
        options = {key.replace("-", "_"): value for key, value in submission["options"].items()}
        executor = submitit.SlurmExecutor(directory)
        executor.update_parameters(
            time=minutes,
            stderr_to_stdout=True,
            use_srun=False,  # one process; a step would need memory and an environment of its own
            wckey=None,  # submitit's own would be refused where such keys are enforced
            additional_parameters=options,
        )
    return str(executor.submit(run_job, str(directory)).job_id)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
