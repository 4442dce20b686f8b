"""Evaluations as one table, in the formats that people paste: the only module that uses pandas."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import InputError
from hpcjobs.results.aggregate import NO_VALUE
from hpcjobs.results.scores import Scores, labels

if TYPE_CHECKING:
    import pandas


DIGITS = 4
"""How many a document shows; data formats keep all."""

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def frame(evaluations: Sequence[Scores], metrics: Sequence[str]) -> pandas.DataFrame:
    """One row an evaluation: what it is, then its values in the order of `metrics`.

    Missing values are NaN. A metric named as one of the first columns would make two of one name:
    its column is then called `metric NAME`.

    Raises:
        InputError: pandas is not installed.
    """
    pandas = _need("pandas")
    about = {
        "model": labels(evaluations) if _ambiguous(evaluations) else [e.model for e in evaluations],
        "settings": [one.settings for one in evaluations],
        "settings_version": [one.settings_version for one in evaluations],
        "max_samples": [str(one.max_samples or "") for one in evaluations],
    }
    columns: dict[str, Any] = {
        name: pandas.Series(texts, dtype="object")
        for name, texts in about.items()
        if name == "model" or any(texts)
    }
    for metric in metrics:
        values = [one.value(metric) for one in evaluations]
        name = f"metric {metric}" if metric in about else metric
        columns[name] = pandas.Series(values, dtype="float64")
    return pandas.DataFrame(columns)


def as_csv(table: pandas.DataFrame, missing: str, by_metric: bool) -> bytes:
    """CSV with all digits; texts that a spreadsheet would take for formulas begin with `'`."""
    shown = _turned(table) if by_metric else table
    shown = shown.rename(columns=_harmless)
    for name in _text_columns(shown):
        shown[name] = shown[name].map(_harmless)
    return str(shown.to_csv(index=False, na_rep=missing, lineterminator="\n")).encode()


def as_markdown(table: pandas.DataFrame, missing: str, by_metric: bool) -> bytes:
    """A table of GitHub's Markdown, numbers to the right."""
    shown = _as_texts(table, missing or "–", by_metric)
    header = [_markdown(name) for name in shown.columns]
    rule = [":---" if name in _names_first(table, by_metric) else "---:" for name in shown.columns]
    rows = [[_markdown(cell) for cell in row] for row in shown.itertuples(index=False)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *rows)).encode()


def as_latex(table: pandas.DataFrame, missing: str, by_metric: bool) -> bytes:
    r"""A `tabular` with the rules of booktabs, everything escaped."""
    shown = _as_texts(table, missing or "--", by_metric)
    first = _names_first(table, by_metric)
    shown = shown.map(_latex).rename(columns=_latex)
    first = [_latex(name) for name in first]
    text = shown.to_latex(
        index=False,
        escape=False,
        column_format="".join("l" if name in first else "r" for name in shown.columns),
    )
    return b"% needs \\usepackage{booktabs}\n" + str(text).encode()


def as_json(table: pandas.DataFrame, missing: str, by_metric: bool) -> bytes:
    """A list of objects with all digits; a missing value is null, or what was asked for."""
    shown = _turned(table) if by_metric else table
    texts = set(_text_columns(shown))
    absent = float(missing) if missing else None
    rows = [
        {
            str(name): value if name in texts or value == value else absent  # NaN is not itself
            for name, value in row.items()
        }
        for row in shown.to_dict(orient="records")
    ]
    return (json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def as_parquet(table: pandas.DataFrame, missing: str, by_metric: bool) -> bytes:
    """A Parquet file; texts and doubles, missing values null."""
    _need("pyarrow")
    shown = _turned(table) if by_metric else table
    if missing:
        shown = shown.fillna(float(missing))
    shown = shown.astype(dict.fromkeys(_text_columns(shown), "string"))
    file = io.BytesIO()
    shown.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


FORMATS: dict[str, Callable[[Any, str, bool], bytes]] = {
    "csv": as_csv,
    "md": as_markdown,
    "latex": as_latex,
    "json": as_json,
    "parquet": as_parquet,
}

MISSING = {"empty": "", str(NO_VALUE): str(NO_VALUE)}
"""What may stand for a missing value, by the word that asks for it."""


def _need(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"tables need {name}: {error}", do="pip install 'hpcjobs[tables]'"
        ) from error


def _ambiguous(evaluations: Sequence[Scores]) -> bool:
    """Whether model and settings do not tell them apart."""
    keys = [(one.model, one.settings, one.max_samples) for one in evaluations]
    return len(set(keys)) < len(keys)


def _turned(table: pandas.DataFrame) -> pandas.DataFrame:
    """One row a metric, one column an evaluation."""
    pandas = _need("pandas")
    texts = _text_columns(table)
    names = [" ".join(filter(None, row)) for row in table[texts].itertuples(index=False)]
    values = [name for name in table.columns if name not in texts]
    columns: dict[str, Any] = {"metric": pandas.Series(values, dtype="object")}
    for position, name in enumerate(names):
        unique = name
        while unique in columns:
            unique += "'"
        columns[unique] = pandas.Series(
            [float(table[metric].iloc[position]) for metric in values], dtype="float64"
        )
    return pandas.DataFrame(columns)


def _text_columns(table: pandas.DataFrame) -> list[str]:
    return [name for name in table.columns if table[name].dtype.kind != "f"]


def _names_first(table: pandas.DataFrame, by_metric: bool) -> list[str]:
    return ["metric"] if by_metric else _text_columns(table)


def _as_texts(table: pandas.DataFrame, missing: str, by_metric: bool) -> pandas.DataFrame:
    """All cells as texts, numbers rounded for people."""
    shown = _turned(table) if by_metric else table.copy()
    for name in shown.columns:
        if shown[name].dtype.kind == "f":
            shown[name] = [
                missing if value != value else f"{value:.{DIGITS}f}" for value in shown[name]
            ]
    return shown


def _harmless(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _markdown(text: str) -> str:
    """The text as Markdown shows it as it is."""
    text = re.sub(r"([\\`*\[\]|~])", r"\\\1", _one_line(text))
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _latex(text: str) -> str:
    r"""The text as LaTeX sets it as it is; after `\\`, a bare `[` or `*` would be an argument."""
    text = "".join(_LATEX.get(character, character) for character in _one_line(text))
    return f"{{{text[0]}}}{text[1:]}" if text[:1] in ("[", "*") else text
