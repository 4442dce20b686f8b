"""`hpcjobs tasks`."""

from __future__ import annotations

import json

import click

from hpcjobs.cli.context import Context, pass_context, print_json, warn
from hpcjobs.cli.table import table
from hpcjobs.durations import format_duration
from hpcjobs.errors import ExitCode, InputError


@click.command()
@click.argument("wanted", nargs=-1, metavar="[KEYS]...")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def tasks(context: Context, wanted: tuple[str, ...], as_json: bool) -> int:
    """List the tasks that keys, globs or groups mean (default: all), with walltimes and options."""
    from hpcjobs.config.frameworks import read_frameworks
    from hpcjobs.config.groups import members, read_task_table, select

    table_of_tasks, groups = read_task_table(context.workspace)
    meant: dict[str, list[str]] = {}
    for name, group in groups.items():
        try:
            meant[name] = list(members(name, group, table_of_tasks))
        except InputError as error:
            warn(f"{error.where}: {error.what}")
    frameworks = read_frameworks(context.workspace.find_file("conf", "frameworks.yaml"))
    keys = select(wanted, table_of_tasks, groups) if wanted else tuple(table_of_tasks)
    chosen = [table_of_tasks[key] for key in keys]
    options = {one.key: frameworks.options(one) for one in chosen}
    if as_json:
        print_json(
            {
                "tasks": [
                    {"key": one.key, "framework": one.framework, "script": one.script,
                     "result_dir": one.result_dir, "walltimes": dict(one.walltimes),
                     "options": options[one.key]}
                    for one in chosen
                ],
                "groups": meant,
            }
        )  # fmt: skip
        return ExitCode.OK
    columns = list(dict.fromkeys(column for one in chosen for column in one.walltimes))
    rows = [
        (
            one.key,
            one.framework,
            one.script,
            *(
                format_duration(one.walltimes[column]) if column in one.walltimes else "-"
                for column in columns
            ),
        )
        for one in chosen
    ]
    click.echo(table(rows, ("key", "framework", "script", *columns)))
    for one in chosen:
        if options[one.key]:
            click.echo(f"{one.key}: {json.dumps(options[one.key], ensure_ascii=False)}")
    click.echo("groups: " + ", ".join(f"{name} ({len(keys)})" for name, keys in meant.items()))
    return ExitCode.OK
