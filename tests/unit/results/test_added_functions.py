"""Aggregate functions of other packages: really installed ones, found by their entry points."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.config.metrics import read_metrics
from hpcjobs.errors import InputError
from hpcjobs.results.added_functions import read_table
from hpcjobs.results.aggregate import aggregate
from hpcjobs.results.reading import read_tree

ROOT = Path(__file__).resolve().parents[3]
TABLE = "metrics:\n- {name: m, aggregate: %s, task: 't|0', metric: em}\n"
CONSTANT = "from hpcjobs.results.functions import Computed\n"

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with an entry point where pip would, on a path of its own."""

    def install(code: str, name: str = "half", package: str = "acme_metrics") -> None:
        site = tmp_path / package
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{package}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[hpcjobs.metrics]\n{name} = {package}:function\n")
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, package, raising=False)

    return install


def value_of(tmp_path: Path, document: dict[str, Any], name: str = "half") -> Any:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "results_2026-01-02T03-04-05.678901.json").write_text(json.dumps(document))
    (tmp_path / "metrics.yaml").write_text(TABLE % name)
    table, functions = read_table(tmp_path / "metrics.yaml")
    return aggregate(table, read_tree(tree, "org/model").files, None, functions).values["m"]


@pytest.fixture
def one_task(lighteval_document: dict[str, Any]) -> dict[str, Any]:
    lighteval_document["results"] = {"t|0": {"em": 0.5}}
    return lighteval_document


def test_the_example_of_the_documentation_works(
    install: Install, tmp_path: Path, lighteval_document: dict[str, Any]
) -> None:
    example = re.search(r"```python\n(.*?)```", (ROOT / "docs/results.md").read_text(), re.DOTALL)
    assert example is not None
    install(example[1].replace("def worst_subset", "def function"), "worst_subset")
    lighteval_document["results"] = {"t:a|0": {"em": 0.5}, "t:b|0": {"em": 0.25}}
    value = value_of(tmp_path, lighteval_document, "worst_subset")
    assert (value.value, value.why, value.tasks) == (0.25, None, ("t:b|0",))


def test_a_package_that_no_metric_names_is_not_even_imported(
    install: Install, tmp_path: Path, one_task: dict[str, Any]
) -> None:
    install("raise SystemError('never')")
    assert value_of(tmp_path, one_task, "pick").value == 0.5


def test_what_is_not_installed_is_unknown_and_the_others_are_listed(
    install: Install, tmp_path: Path
) -> None:
    install("", "halves")
    (tmp_path / "metrics.yaml").write_text(TABLE % "half")
    with pytest.raises(InputError) as caught:
        read_metrics(tmp_path / "metrics.yaml")
    assert caught.value.nearest == "halves"
    assert caught.value.where == f"{tmp_path / 'metrics.yaml'}:2"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_that_name", "cannot be imported: 'ModuleNotFoundError: No module"),
        ("", "cannot be imported: 'AttributeError: "),
        ("function = 3", "'half' is no function"),
    ],
)
def test_a_function_that_cannot_be_had_is_an_error_that_names_the_package(
    install: Install, tmp_path: Path, one_task: dict[str, Any], code: str, said: str
) -> None:
    install(code)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        value_of(tmp_path, one_task)
    assert caught.value.where == "acme_metrics (acme_metrics:function)"


def test_two_packages_of_one_name_are_refused(
    install: Install, tmp_path: Path, one_task: dict[str, Any]
) -> None:
    install("function = print")
    install("function = print", package="other_metrics")
    with pytest.raises(InputError, match="several packages bring the aggregate function 'half'"):
        value_of(tmp_path, one_task)


def test_our_own_functions_cannot_be_replaced(
    install: Install, tmp_path: Path, one_task: dict[str, Any]
) -> None:
    install(CONSTANT + "def function(*_): return Computed(9.0)", "pick")
    assert value_of(tmp_path, one_task, "pick").value == 0.5


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("1 / 0", "failed: 'ZeroDivisionError: division by zero'"),
        ("Computed(float('nan'))", "gave no finite number: nan"),
        ("Computed('0.5')", "gave no finite number: '0.5'"),
        ("0.5", "gave no Computed but float"),
    ],
)
def test_a_function_that_breaks_gives_no_value_and_says_why(
    install: Install, tmp_path: Path, one_task: dict[str, Any], body: str, why: str
) -> None:
    install(CONSTANT + f"def function(metric, task, measured): return {body}")
    value = value_of(tmp_path, one_task)
    assert (value.value, value.why) == (None, f"acme_metrics (acme_metrics:function) {why}")


def test_the_command_uses_it(tmp_path: Path, install: Install, one_task: dict[str, Any]) -> None:
    install(CONSTANT + "def function(metric, task, measured): return Computed(0.125)")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/metrics.yaml").write_text(TABLE % "half")
    (tmp_path / "raw/org/model").mkdir(parents=True)
    name = "results_2026-01-02T03-04-05.678901.json"
    (tmp_path / "raw/org/model" / name).write_text(json.dumps(one_task))
    words = ("aggregate", "--raw-results", "raw", "--model", "org/model", "--output", "out")
    done = subprocess.run(
        [sys.executable, "-m", "hpcjobs", "-w", ".", *words],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path / 'acme_metrics'}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "out/aggregated_results.json").read_text())
    assert made["results"] == {"m": 0.125}
