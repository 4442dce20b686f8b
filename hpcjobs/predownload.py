"""Fetching a model into the cache before its jobs start, on the machine where one types."""

from __future__ import annotations

from pathlib import Path

from hpcjobs.assemble import Assembly
from hpcjobs.errors import HpcjobsError, InputError, printable


def predownload(assembly: Assembly) -> list[str]:
    """Download the models of these jobs into the cache that the jobs will use.

    Returns:
        The directories of the snapshots.

    Raises:
        InputError: the provider does not load from the hub, or huggingface-hub is not installed.
        HpcjobsError: the hub could not be reached, or has no such model for us.
    """
    if assembly.provider.name != "vllm":
        raise InputError(
            f"{assembly.provider.name} does not load its model from the hub",
            where="--predownload",
            do="leave it out",
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise InputError(
            "huggingface-hub is not installed",
            where="--predownload",
            do="pip install 'hpcjobs[predownload]'",
        ) from None
    home = assembly.service.exports.get("HF_HOME")
    cache = assembly.personal.expand(home, where=assembly.service.where) if home else ""
    assembly.personal.require_nothing_missing()
    fetched = []
    names = {
        str(assembly.renderer.weights(job.model, job.tasks[0])): job.model for job in assembly.jobs
    }
    for name in names:
        if Path(name).exists():
            continue
        try:
            fetched.append(
                snapshot_download(
                    name,
                    cache_dir=Path(cache, "hub") if cache else None,
                    token=assembly.personal.get("HF_TOKEN") or False,
                )
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            raise HpcjobsError(
                f"cannot download {printable(name)}: {str(error).splitlines()[0]}",
                where="--predownload",
                do="check the name, the network, and HF_TOKEN in .env if the model is gated",
            ) from error
    return fetched
