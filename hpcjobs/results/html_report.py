"""`hpcjobs report`: one HTML page that needs nothing beside it.

All texts of results are escaped; scripts of others could not run in it anyway, since its policy
allows only the one whose digest it names, and no connection to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from hpcjobs import __version__
from hpcjobs.config.metrics import MetricTable
from hpcjobs.durations import format_duration
from hpcjobs.errors import InputError, printable
from hpcjobs.results.drawing import MOST_IN_A_RADAR, Radar, radar, short_names
from hpcjobs.results.scores import Score, Scores, columns, labels
from hpcjobs.results.standard_errors import StandardError
from hpcjobs.results.standings import (
    Mean,
    Spent,
    categories,
    cost,
    mean,
    overall,
    state,
    task_groups,
)

COLOURS = 12
"""So many models have colours of their own; the names stand beside them in any case."""


@dataclass(frozen=True)
class Page:
    """What the report is made from."""

    evaluations: Sequence[Scores]
    table: MetricTable
    errors: Sequence[Mapping[str, StandardError]]
    spent: Spent
    made_at: str
    title: str
    late: Mapping[str, str] = field(default_factory=dict)
    """By path of an evaluation: why it is outdated."""
    shown: Callable[[Path], str] = str
    """A path as a person wants to see it."""


def render_page(page: Page, templates: Sequence[Path]) -> str:
    """The page, by the first `report/report.html.j2` of these directories.

    Raises:
        InputError: the template is wrong, or is not there.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(path) for path in templates]),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": _number, "hms": format_duration}
    try:
        loader: Any = environment.loader
        script = loader.get_source(environment, "report/report.js")[0]
        style = loader.get_source(environment, "report/report.css")[0]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        return environment.get_template("report/report.html.j2").render(
            **_context(page), script=script, style=style, digest=digest
        )
    except jinja2.TemplateError as error:
        raise InputError(f"{type(error).__name__}: {error}", where="templates/report") from error


def _context(page: Page) -> dict[str, Any]:
    metrics = columns(page.evaluations, page.table)
    groups = categories(page.table, metrics)
    names = labels(page.evaluations)
    rows: list[dict[str, Any]] = []
    for index, (one, short) in enumerate(zip(page.evaluations, short_names(names), strict=True)):
        means = [mean(one, members) for members in groups.values()]
        word, why = state(one, page.late)
        rows.append(
            {
                "id": f"m{index + 1}",
                "label": names[index],
                "short": short,
                "scores": one,
                "path": page.shown(one.path),
                "errors": page.errors[index],
                "means": means,
                "overall": overall(means),
                "state": word,
                "why": why,
                "cost": cost(one, page.spent),
                "count": sum(score.value is not None for score in one.values.values()),
                "suspects": sum(bool(score.doubt) for score in one.values.values()),
                "groups": [
                    {"about": group, "cost": _cost_of(group.job, page.spent)}
                    for group in task_groups(one)
                ],
                "missing": [(n, s) for n, s in one.values.items() if s.value is None],
            }
        )
    ranked = sorted(rows, key=_rank)
    for index, row in enumerate(ranked):
        row["colour"] = index % COLOURS + 1
    category_of = {metric: name for name, members in groups.items() for metric in members}
    return {
        "title": page.title,
        "made_at": page.made_at,
        "version": __version__,
        "models": ranked,
        "categories": groups,
        "bars": [
            {"name": name, "members": members, "bars": _bars(ranked, place)}
            for place, (name, members) in enumerate(groups.items())
        ],
        "radar": _radar(ranked, groups),
        "best_means": [_best([row["means"][i].value for row in rows]) for i in range(len(groups))],
        "best_overall": _best([row["overall"].value for row in rows]),
        "metrics": [
            {
                "name": metric,
                "category": category_of.get(metric, ""),
                "scores": [row["scores"].values.get(metric, Score(None)) for row in ranked],
                "best": _best([row["scores"].value(metric) for row in rows]),
            }
            for metric in metrics
            if any(row["scores"].value(metric) is not None for row in rows)
        ],
        "costs": any(row["cost"] for row in rows),
        "total": len(metrics),
    }


def _rank(row: dict[str, Any]) -> tuple[bool, float]:
    value = row["overall"].value
    return value is None, -(value or 0.0)


def _best(values: Sequence[float | None]) -> float | None:
    """The highest of several; of one alone nobody says that it is the best."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) > 1 else None


def _bars(rows: Sequence[dict[str, Any]], place: int) -> list[dict[str, Any]]:
    """The models by their values in a category, the highest first, those without one last.

    Values that are no shares are drawn relative to the highest.
    """
    means: list[Mean] = [row["means"][place] for row in rows]
    top = max([1.0, *(one.value for one in means if one.value is not None)])
    pairs = sorted(
        zip(means, rows, strict=True),
        key=lambda pair: (pair[0].value is None, -(pair[0].value or 0)),
    )
    return [
        {"model": row, "mean": one, "share": max(0.0, (one.value or 0.0) / top)}
        for one, row in pairs
    ]


def _radar(rows: Sequence[dict[str, Any]], groups: Mapping[str, Any]) -> dict[str, Any] | None:
    """The best models that have a value in every category."""
    whole = [row for row in rows if row["overall"].value is not None][:MOST_IN_A_RADAR]
    drawn: Radar | None = radar(
        list(groups), [[one.value for one in row["means"]] for row in whole]
    )
    return None if drawn is None else {"shape": drawn, "models": whole}


def _cost_of(job: str, spent: Spent) -> str:
    found = [spent(label) for label in job.split(", ")] if job else []
    known = [f"{one[0]} {one[1]}" for one in found if one is not None]
    return " + ".join(known) if len(known) == len(found) else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _visible(value: Any) -> Any:
    """Texts without characters that cannot be seen, such as those that turn the direction."""
    return printable(value)[1:-1] if type(value) is str else value
