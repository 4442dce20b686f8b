"""From rows (a model and a task each) to jobs; rows that are alike share the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hpcjobs.assemble import Assembly
from hpcjobs.config.submissions import Submission
from hpcjobs.errors import InputError
from hpcjobs.model import Job

MakeAssembly = Callable[[Submission, Sequence[str], Sequence[str]], Assembly]
"""Of a row that says where and how, these models and tasks."""


def assembled_rows(
    rows: Iterable[Submission], make: MakeAssembly
) -> Iterable[tuple[Submission, Job, Assembly]]:
    """Each row with its job. Rows that differ only in model and task share the work.

    Raises:
        InputError: with the line of the row that is wrong.
    """
    tasks: dict[tuple[object, ...], dict[str, Submission]] = {}
    for row in rows:
        tasks.setdefault(row.alike, {})[row.task] = row
    groups: dict[tuple[object, ...], list[dict[str, Submission]]] = {}
    for members in tasks.values():
        row = next(iter(members.values()))
        where = (row.service, row.node, row.provider, row.settings, row.max_samples)
        groups.setdefault((*where, *members), []).append(members)
    ids: dict[str, str] = {}
    for models in groups.values():
        first = next(iter(models[0].values()))
        by_model = {next(iter(one.values())).model: one for one in models}
        assembly = _made(make, first, by_model)
        for job in assembly.jobs:
            row = by_model[job.model][job.tasks[0].key]
            if ids.setdefault(job.id, job.digest) != job.digest:
                raise InputError(
                    f"two of its jobs would have the id {job.id}",
                    where=row.where,
                    do="submit this model from a file of its own",
                )
            yield row, job, assembly


def _made(
    make: MakeAssembly, first: Submission, by_model: dict[str, dict[str, Submission]]
) -> Assembly:
    keys = list(next(iter(by_model.values())))
    try:
        return make(first, list(by_model), keys)
    except InputError as error:
        for model, members in by_model.items():  # which of them is it?
            try:
                make(first, [model], keys)
            except InputError as one:
                raise _at(next(iter(members.values())).where, one) from error
        raise


def _at(where: str, error: InputError) -> InputError:
    return InputError(
        f"{error.where}: {error.what}" if error.where else error.what,
        where=where or None,
        expected=error.expected,
        nearest=error.nearest,
        do=error.do,
    )
