"""Tables in the formats that people paste: all digits, the right order, and nothing that acts."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import InputError
from hpcjobs.results import tables
from hpcjobs.results.scores import Score, Scores

METRICS = ["b", "pass@1", "a_x"]
FORMULAS = ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "＝1", "\r\n=1"]


@pytest.fixture(autouse=True)
def pandas() -> Any:
    try:
        import pandas
        import pyarrow  # noqa: F401
    except ImportError as error:
        text = f"NOT TESTED: {error} (pip install 'hpcjobs[tables]')"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return pandas


def of(model: str, *values: float | None, **more: Any) -> Scores:
    scores = {name: Score(value) for name, value in zip(METRICS, values, strict=False)}
    return Scores(Path(f"/{model}"), model, values=scores, **more)


def export(form: str, *evaluations: Scores, missing: str = "", by_metric: bool = False) -> bytes:
    metrics: Sequence[str] = METRICS
    return tables.FORMATS[form](tables.frame(evaluations, metrics), missing, by_metric)


def rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_csv_has_a_row_a_model_and_all_digits() -> None:
    data = export("csv", of("p/m", 0.1 + 0.2, 1, None), of("東京/つばめ", 1 / 3, 0, 0.5))
    assert data.decode().splitlines() == [
        "model,b,pass@1,a_x",
        "p/m,0.30000000000000004,1.0,",
        "東京/つばめ,0.3333333333333333,0.0,0.5",
    ]


def test_a_missing_value_is_empty_or_minus_one() -> None:
    assert rows(export("csv", of("m", 0.5)))[1] == ["m", "0.5", "", ""]
    assert rows(export("csv", of("m", 0.5), missing="-1"))[1] == ["m", "0.5", "-1", "-1"]


def test_settings_and_samples_have_columns_where_there_are_any() -> None:
    plain, other = of("m", 1), of("m", 1, settings="s", settings_version="2", max_samples=2)
    assert rows(export("csv", plain, other))[:2] == [
        ["model", "settings", "settings_version", "max_samples", *METRICS],
        ["m", "", "", "", "1.0", "", ""],
    ]


def test_equal_models_are_told_apart() -> None:
    one = of("m", 1)
    other = Scores(Path("/elsewhere"), "m", values=one.values)
    assert [row[0] for row in rows(export("csv", one, other))[1:]] == ["m (/m)", "m (/elsewhere)"]


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_holds_no_formula(text: str) -> None:
    evaluation = Scores(Path("x"), text, text, text, values={text: Score(-0.5)})
    data = tables.as_csv(tables.frame([evaluation], [text]), "", False)
    header, row = rows(data)
    assert [header[3], *row[:3]] == [f"'{text}"] * 4
    assert row[3] == "-0.5"  # a number is none
    turned = rows(tables.as_csv(tables.frame([evaluation], [text]), "", True))
    assert all(cell[:1] not in ("=", "+", "@", "\t", "\r", " ") for line in turned for cell in line)


def test_a_metric_may_be_called_model() -> None:
    evaluation = Scores(Path("x"), "m", values={"model": Score(0.5)})
    assert rows(tables.as_csv(tables.frame([evaluation], ["model"]), "", False)) == [
        ["model", "metric model"],
        ["m", "0.5"],
    ]


def test_rows_may_be_metrics() -> None:
    found = rows(export("csv", of("m", 0.5, None), of("n", 1), by_metric=True))
    assert found == [["metric", "m", "n"], ["b", "0.5", "1.0"], ["pass@1", "", ""], ["a_x", "", ""]]


def test_markdown_is_one_table_whatever_the_names_are() -> None:
    name = "a|b\n`c` <b> *d* _e_ f_g \\ [x](y) & ~z~"
    data = export("md", of(name, 0.12345, None), by_metric=True).decode()
    header, rule, first, second, _ = data.splitlines()
    assert header == (
        "| metric | a\\|b \\`c\\` &lt;b> \\*d\\* \\_e\\_ f_g \\\\ \\[x\\](y) &amp; \\~z\\~ |"
    )
    assert (rule, first, second) == ("| :--- | ---: |", "| b | 0.1235 |", "| pass@1 | – |")


def test_latex_is_escaped_and_has_the_rules_of_booktabs() -> None:
    name = "a_b & 50% #1 $x$ {y} ~z^2 \\input{/etc/passwd} <w>"
    data = export("latex", of(name, 0.5, None), by_metric=True).decode()
    assert (
        r"metric & a\_b \& 50\% \#1 \$x\$ \{y\} \textasciitilde{}z\textasciicircum{}2 "
        r"\textbackslash{}input\{/etc/passwd\} \textless{}w\textgreater{} \\"
    ) in data
    for part in (r"\begin{tabular}{lr}", r"\toprule", r"\midrule", r"\bottomrule", r"a\_x & --"):
        assert part in data


@pytest.mark.parametrize("name", ["[x]", "*x"])
def test_a_name_is_no_argument_of_the_row_before(name: str) -> None:
    data = export("latex", of(name, 0.5), of(name, 0.5)).decode()
    assert f"\n{{{name[0]}}}{name[1:]}" in data


def test_json_has_all_digits_and_null() -> None:
    found = json.loads(export("json", of("モデル", 0.1 + 0.2, 1)))
    assert found == [{"model": "モデル", "b": 0.30000000000000004, "pass@1": 1.0, "a_x": None}]
    assert json.loads(export("json", of("m"), missing="-1"))[0]["b"] == -1


def test_parquet_keeps_types_and_missing_values(pandas: Any) -> None:
    data = export("parquet", of("モデル", 0.1 + 0.2, None))
    found = pandas.read_parquet(io.BytesIO(data))
    assert list(found.columns) == ["model", *METRICS]
    assert found["model"].tolist() == ["モデル"]
    assert found["b"].tolist() == [0.30000000000000004]
    assert str(found["pass@1"].dtype) == "float64"
    assert found["pass@1"].isna().all()
    filled = pandas.read_parquet(io.BytesIO(export("parquet", of("m"), missing="-1")))
    assert filled["b"].tolist() == [-1.0]


@pytest.mark.parametrize("form", tables.FORMATS)
@pytest.mark.parametrize("by_metric", [False, True])
def test_no_metric_at_all_is_a_table_of_models(form: str, by_metric: bool) -> None:
    table = tables.frame([Scores(Path("x"), "m")], [])
    data = tables.FORMATS[form](table, "", by_metric)
    assert json.loads(data) == [] if (form, by_metric) == ("json", True) else b"m" in data


@pytest.mark.parametrize("module", ["pandas", "pyarrow"])
def test_what_is_not_installed_is_named_with_the_remedy(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tables.frame([of("m", 1)], METRICS)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=module) as refused:
        tables.frame([of("m", 1)], METRICS) if module == "pandas" else table
        tables.as_parquet(table, "", False)
    assert "pip install 'hpcjobs[tables]'" in str(refused.value)


def test_the_formats_of_the_command_are_those_that_there_are() -> None:
    from hpcjobs.cli import export

    assert tuple(tables.FORMATS) == export.FORMATS
    assert set(export.ENDINGS.values()) == set(tables.FORMATS)
