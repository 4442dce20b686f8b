"""`hpcjobs compare`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.chosen import chosen_scores, with_trials
from hpcjobs.cli.context import Context, pass_context, print_json
from hpcjobs.cli.table import table
from hpcjobs.errors import ExitCode, InputError

if TYPE_CHECKING:
    from hpcjobs.results.comparing import Difference, Row
    from hpcjobs.results.scores import Scores

MARKS = {"within noise": "~", "beyond noise": "*", "unknown": "?"}


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@with_trials
@click.option("--all", "every", is_flag=True, help="Also metrics of which nobody has a value.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@pass_context
def compare(
    context: Context, models: tuple[str, ...], trials: bool, every: bool, as_json: bool
) -> int:
    """Set the values of evaluations side by side: differences to the first, and which are noise.

    A MODEL is a name, with its settings where it has several (org/name/settings), or the path of an
    aggregated_results.json. A difference of less than 1.96 of its standard errors is within noise.
    """
    from hpcjobs.results.comparing import LIMIT
    from hpcjobs.results.comparing import compare as compared
    from hpcjobs.results.scores import columns, labels
    from hpcjobs.results.standard_errors import standard_errors

    chosen = chosen_scores(context, models, trials)
    evaluations = chosen.evaluations
    if len(evaluations) < 2:
        raise InputError(
            f"only one evaluation: {evaluations[0].label}",
            where="MODEL",
            expected="two models, or one that was evaluated under several settings",
        )
    errors = [
        standard_errors(one, chosen.table, [context.workspace.root, Path()]) for one in evaluations
    ]
    rows = compared(evaluations, columns(evaluations, chosen.table), errors)
    names = labels(evaluations)
    if as_json:
        print_json(
            {
                "limit": LIMIT,
                "evaluations": [_about(*pair) for pair in zip(names, evaluations, strict=True)],
                "metrics": [_row_json(row) for row in rows],
                "warnings": list(chosen.warnings),
            }
        )
        return ExitCode.OK
    click.echo(table([(f"[{number}]", name) for number, name in enumerate(names, 1)]))
    shown = [row for row in rows if every or not row.empty]
    if not shown:
        click.echo("\nnone of them has a value")
        return ExitCode.OK
    click.echo()
    click.echo(_pair(shown) if len(evaluations) == 2 else _many(shown, len(evaluations)))
    click.echo()
    for line in _legend(rows, len(rows) - len(shown), len(evaluations)):
        click.echo(line)
    return ExitCode.OK


def _pair(rows: Sequence[Row]) -> str:
    """Two evaluations: the difference in full."""
    lines = []
    for row in rows:
        first, second = (_number(score.value) for score in row.scores)
        found = row.differences[1]
        if found is None:
            lines.append((row.metric, first, second, "", "", ""))
            continue
        error = "" if found.error is None else f"{found.error:.4f}"
        remark = "; ".join((found.verdict, *found.notes))
        lines.append((row.metric, first, second, f"{found.value:+.4f}", error, remark))
    return table(lines, ("metric", "[1]", "[2]", "[2]-[1]", "std error", ""))


def _many(rows: Sequence[Row], count: int) -> str:
    """More: the values, each with the mark of its difference to the first."""
    lines = []
    for row in rows:
        pairs = zip(row.scores, row.differences, strict=True)
        lines.append((row.metric, *(_cell(score.value, found) for score, found in pairs)))
    return table(lines, ("metric", *(f"[{number}]" for number in range(1, count + 1))))


def _cell(value: float | None, found: Difference | None) -> str:
    mark = f" {MARKS[found.verdict]}" if found else ""
    return _number(value) + mark + (" !" if found and found.notes else "")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _legend(rows: Sequence[Row], hidden: int, count: int) -> list[str]:
    found = [one for row in rows for one in row.differences if one]
    counts = Counter(one.verdict for one in found)
    lines = []
    if count > 2:
        lines.append("~ within noise of [1]   * beyond noise   ? unknown")
        if any(one.notes for one in found):
            lines.append("! more differs than the model, or a value is suspect: see --json")
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in MARKS if counts[verdict])
    lines.append(f"{len(found)} differences{': ' if told else ''}{told}")
    if counts["beyond noise"] or counts["within noise"]:
        lines.append(
            "within noise: less than 1.96 standard errors; where nothing differs, 1 in 20 is beyond"
        )
    if hidden:
        lines.append(f"{hidden} metrics without any value are not shown (--all)")
    return lines


def _about(label: str, one: Scores) -> dict[str, Any]:
    return {
        "label": label,
        "model": one.model,
        "settings": one.settings,
        "settings_version": one.settings_version,
        "max_samples": one.max_samples,
        "complete": one.complete,
        "path": str(one.path),
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "metric": row.metric,
        "values": [
            {
                "value": score.value,
                "why_missing": score.why or None if score.value is None else None,
                "suspect": score.doubt or None,
                "samples": score.samples,
                "standard_error": error.value if error else None,
                "error_from": error.source if error else None,
            }
            for score, error in zip(row.scores, row.errors, strict=True)
        ],
        "differences": [
            found
            and {
                "value": found.value,
                "standard_error": found.error,
                "verdict": found.verdict,
                "notes": list(found.notes),
            }
            for found in row.differences
        ],
    }
