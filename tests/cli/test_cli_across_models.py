"""`compare`, `export` and `report`: what a person types, and what they get."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_up_results import HOSTILE, MODELS, shipped_table, write_results

from hpcjobs.cli import main
from hpcjobs.workspace import defaults_root

Run = Callable[..., tuple[str, str]]
COMMANDS = ("compare", "export", "report")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> Run:
    """Gives a command in an empty workspace; what it printed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ws").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def run(*words: object, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["-w", str(tmp_path / "ws"), *map(str, words)])
        printed = capsys.readouterr()
        assert int(str(ended.value.code or 0)) == code, printed
        return printed.out, printed.err

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "ws"


def change(path: Path, **about: Any) -> None:
    document = json.loads(path.read_text())
    document["hpcjobs"].update(about)
    path.write_text(json.dumps(document))


# ---- Which evaluations ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["export", "report"])
def test_without_results_one_is_told_how_to_make_them(run: Run, command: str) -> None:
    _, told = run(command, code=2)
    assert "there are no aggregated results" in told
    assert "do: make them with: hpcjobs aggregate" in told
    assert not Path("report.html").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_model_is_refused_with_the_nearest(run: Run, root: Path, command: str) -> None:
    write_results(root, MODELS[3:5], 5)
    _, told = run(command, "Qwen/Qwen3-8", "Qwen3-8B", code=2)
    assert "unknown model 'Qwen/Qwen3-8'" in told
    assert "did you mean: hosted_vllm/Qwen/Qwen3-8B" in told


@pytest.mark.parametrize("name", ["Qwen3-8B", "Qwen/Qwen3-8B", "hosted_vllm/Qwen/Qwen3-8B"])
def test_a_model_may_be_named_by_its_end(run: Run, root: Path, name: str) -> None:
    write_results(root, MODELS, 5)
    shown, _ = run("export", name)
    assert [row[0] for row in csv.reader(io.StringIO(shown))][1:] == ["hosted_vllm/Qwen/Qwen3-8B"]


def test_an_end_of_two_models_is_refused(run: Run, root: Path) -> None:
    write_results(root, ["a/same", "b/same"], 5)
    _, told = run("export", "same", code=2)
    assert "'same' means 2 models" in told
    assert "hosted_vllm/a/same, hosted_vllm/b/same" in told


def test_files_and_directories_are_taken_from_anywhere(run: Run, tmp_path: Path) -> None:
    one, two = write_results(tmp_path / "other", MODELS[:2], 5)
    shown, _ = run("export", one, two.parent, one)
    assert len(shown.splitlines()) == 3
    assert "no such file" in run("export", "./gone.json", code=2)[1]
    assert "no aggregated_results.json below it" in run("export", tmp_path / "ws", code=2)[1]


def test_a_broken_file_is_named(run: Run, root: Path) -> None:
    (path,) = write_results(root, MODELS[:1], 5)
    path.write_text(path.read_text()[:100])
    _, told = run("export", code=2)
    assert f"error: {path}: it is not JSON" in told


def test_trial_runs_are_no_results_unless_asked_for(run: Run, root: Path) -> None:
    _, trial = write_results(root, MODELS[3:5], 5)
    change(trial, max_samples=2)
    assert len(run("export")[0].splitlines()) == 2
    shown, _ = run("export", "--trials")
    header, *rows = csv.reader(io.StringIO(shown))
    assert header[1] == "max_samples"
    assert {row[0]: row[1] for row in rows} == {
        f"hosted_vllm/{MODELS[3]}": "",
        f"hosted_vllm/{MODELS[4]}": "2",
    }
    assert "only trial runs" in run("export", MODELS[4], code=2)[1]
    assert len(run("export", trial)[0].splitlines()) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_suspect_or_older_than_its_jobs_is_said(run: Run, root: Path, command: str) -> None:
    one, two = write_results(root, MODELS[:2], 5)
    change(one, suspect={"jmmlu": "empty answers"})
    os.utime(two, (1, 1))
    _, told = run(command, MODELS[0], MODELS[1])
    assert f"warning: {two}: jobs have ended since it was written: run hpcjobs aggregate" in told
    assert f"warning: hosted_vllm/{MODELS[0]}: suspect or stale: jmmlu" in told


def test_values_of_settings_that_have_changed_are_stale(run: Run, root: Path) -> None:
    write_results(root, MODELS[:2], 7, missing=0)
    assert run("export")[1] == ""
    own = root / "generation_settings" / "task_settings.csv"
    own.parent.mkdir()
    shipped = (defaults_root() / "generation_settings" / "task_settings.csv").read_text()
    assert "swallow_jmmlu," in shipped
    own.write_text(
        re.sub(r"^swallow_jmmlu,.*$", 'swallow_jmmlu,"temperature=0.7"', shipped, flags=re.M)
    )
    _, told = run("export")
    assert told.count("suspect or stale: ja_0\n") == 2
    page = page_of(run)
    why = "stale: its settings have changed since (temperature)"
    assert page.count(f'title="{why}"') >= 5
    assert "suspect: stale" not in page
    assert '<span class="chip stale"' in page
    own.write_text("key\n")
    assert "its settings cannot be read any more" in page_of(run)


def test_values_of_options_that_have_changed_are_stale(run: Run, root: Path) -> None:
    write_results(root, MODELS[:2], 7, missing=0)
    (root / "conf").mkdir(exist_ok=True)
    table = "key,script,result_dir,framework,hrt_q\nja_0,swallow_jmmlu,ja/0,lighteval,00:20:00\n"
    (root / "conf/tasks_runtime.csv").write_text(table)
    options = root / "conf/frameworks.yaml"
    options.write_text("lighteval:\n  tasks: {ja_0: {concurrent: 3}}\n")
    assert run("export")[1] == "", "it changes no number"
    options.write_text("lighteval:\n  tasks: {ja_0: {num_fewshot: 3}}\n")
    _, told = run("export")
    assert told.count("suspect or stale: ja_0\n") == 2
    assert "stale: its options have changed since (num_fewshot)" in page_of(run)
    options.write_text("lighteval:\n  tasks: {ja_0: {num_fewshots: 3}}\n")
    assert "its settings cannot be read any more" in page_of(run)


# ---- compare -------------------------------------------------------------------------------------


def test_two_models_are_compared_with_errors_and_verdicts(run: Run, root: Path) -> None:
    write_results(root, MODELS[:2], 7, missing=0)
    shown, told = run("compare", MODELS[0], MODELS[1])
    assert told == ""
    assert f"[1]  hosted_vllm/{MODELS[0]}\n[2]  hosted_vllm/{MODELS[1]}\n" in shown
    assert re.search(r"^metric +\[1\] +\[2\] +\[2\]-\[1\] +std error$", shown, re.MULTILINE)
    found = run_json(run, "compare", MODELS[0], MODELS[1])
    for row in found["metrics"]:
        first, second = (one["value"] for one in row["values"])
        errors = [one["standard_error"] for one in row["values"]]
        none, difference = row["differences"]
        assert none is None
        assert difference["value"] == second - first
        assert difference["standard_error"] ** 2 == pytest.approx(sum(e * e for e in errors))
        noise = abs(second - first) < 1.96 * difference["standard_error"]
        assert difference["verdict"] == ("within noise" if noise else "beyond noise")
        line = next(line for line in shown.splitlines() if line.startswith(row["metric"] + " "))
        assert re.split(r"  +", line)[1:] == [
            f"{first:.4f}", f"{second:.4f}", f"{second - first:+.4f}",
            f"{difference['standard_error']:.4f}", difference["verdict"],
        ]  # fmt: skip
    sources = {one["error_from"] for row in found["metrics"] for one in row["values"]}
    assert sources == {"binomial", "reported"}


def run_json(run: Run, *words: object) -> Any:
    return json.loads(run(*words, "--json")[0])


def test_raw_results_that_are_gone_leave_only_what_samples_tell(run: Run, root: Path) -> None:
    write_results(root, MODELS[:2], missing=0)
    for path in (root / "jobs").rglob("results_*.json"):
        path.unlink()
    found = run_json(run, "compare", MODELS[0], MODELS[1])
    by_name = {row["metric"]: row for row in found["metrics"]}
    assert by_name["jmmlu"]["values"][0]["error_from"] == "binomial"
    assert by_name["wmt20_en_ja_bleu"]["values"][0]["standard_error"] is None
    assert by_name["wmt20_en_ja_bleu"]["differences"][1]["verdict"] == "unknown"


def test_many_models_have_marks(run: Run, root: Path) -> None:
    write_results(root, MODELS, 60)
    shown, _ = run("compare", *MODELS)
    header = next(line for line in shown.splitlines() if line.startswith("metric"))
    assert header.split() == ["metric", *(f"[{n}]" for n in range(1, 13))]
    assert re.search(r"0\.\d{4} [~*] ", shown)
    assert "~ within noise of [1]   * beyond noise   ? unknown" in shown
    assert "1 in 20 is beyond" in shown


def test_metrics_that_nobody_has_are_counted_only(run: Run, root: Path) -> None:
    paths = write_results(root, MODELS[:2], 5, missing=1.0)
    assert "none of them has a value" in run("compare", *paths)[0]
    assert run("compare", "--all", *paths)[0].count("jmmlu") == 5


def test_one_evaluation_is_no_comparison(run: Run, root: Path) -> None:
    write_results(root, MODELS[:1], 5)
    assert "only one evaluation" in run("compare", MODELS[0], code=2)[1]


@pytest.mark.parametrize("form", ["csv", "md", "json"])
def test_a_name_cannot_command_the_terminal(root: Path, run: Run, form: str) -> None:
    write_results(root, ["org/a\x1b]0;pwned\x07\x9b\u202eb"], 3, missing=0)
    shown, _ = run("export", "--format", form)
    assert not set("\x1b\x07\x9b\u202e") & set(shown)
    assert "pwned" in shown
    if form == "json":
        assert json.loads(shown)[0]["model"] == "hosted_vllm/org/a\x1b]0;pwned\x07\x9b\u202eb"


# ---- export --------------------------------------------------------------------------------------


def test_csv_is_a_row_a_model_in_the_order_of_the_table(run: Run, root: Path) -> None:
    write_results(root, MODELS, 60)
    shown, told = run("export", "--missing", "-1")
    header, *rows = csv.reader(io.StringIO(shown))
    assert header == ["model", *(metric.name for metric in shipped_table().metrics[:60])]
    by_model = {row[0]: row[1:] for row in rows}
    assert len(by_model) == 12
    assert told == ""
    for path in (root / "results").rglob("aggregated_results.json"):
        document = json.loads(path.read_text())
        found = [float(cell) for cell in by_model[document["model"]]]
        assert found == list(document["results"].values())


@pytest.mark.parametrize("ending", ["csv", "md", "tex", "json", "parquet"])
def test_the_ending_says_the_format_and_no_file_is_replaced_in_silence(
    run: Run, root: Path, ending: str
) -> None:
    write_results(root, MODELS, 60)
    path = Path(f"out/table.{ending}")
    assert run("export", "--output", path)[0] == f"{path}: 12 evaluations\n"
    before = path.read_bytes()
    assert before
    _, told = run("export", MODELS[0], "--output", path, code=2)
    assert f"{path}: it is there already" in told
    assert path.read_bytes() == before
    run("export", MODELS[0], "--output", path, "--overwrite")
    assert path.read_bytes() != before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_wrong_files_and_formats_are_refused(run: Run, root: Path, tmp_path: Path) -> None:
    write_results(root, MODELS[:1], 5)
    assert "no format is known" in run("export", "--output", "x.xlsx", code=2)[1]
    assert "name a file: --output" in run("export", "--format", "parquet", code=2)[1]
    (tmp_path / "d.csv").mkdir()
    assert "it is a directory" in run("export", "--output", tmp_path / "d.csv", code=2)[1]


def test_hostile_names_are_only_text_in_csv(run: Run, root: Path) -> None:
    write_results(root, HOSTILE, 5)
    paths = sorted((root / "results").rglob("aggregated_results.json"))
    for path in paths:
        document = json.loads(path.read_text())
        document["model"] = document["model"].removeprefix("hosted_vllm/")
        path.write_text(json.dumps(document))
    models = [row[0] for row in csv.reader(io.StringIO(run("export")[0]))]
    assert '\'=HYPERLINK("http://example.com")' in models
    assert not [name for name in models if name.startswith(("=", "+", "-", "@"))]


# ---- report --------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """The elements of a page, and its text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._within = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within not in ("style", "script"):
            self.texts.append(data)


def page_of(run: Run, *words: object) -> str:
    run("report", *words, "--overwrite")
    return Path("report.html").read_text()


def test_a_report_shows_every_value_that_there_is(run: Run, root: Path) -> None:
    write_results(root, MODELS, 60)
    page = page_of(run)
    for path in (root / "results").rglob("aggregated_results.json"):
        document = json.loads(path.read_text())
        assert document["model"] in page
        for value in document["results"].values():
            if value != -1:
                assert f'data-v="{value}"' in page
    assert "-1" not in re.findall(r'data-v="([^"]*)"', page)


def test_a_report_needs_nothing_from_elsewhere(run: Run, root: Path) -> None:
    write_results(root, HOSTILE, 30)
    outline = Outline(page_of(run, "--title", HOSTILE[0]))
    names = {tag for tag, _ in outline.elements}
    assert not names & {
        "img",
        "iframe",
        "link",
        "object",
        "embed",
        "base",
        "form",
        "audio",
        "video",
    }
    attributes = [one for _, found in outline.elements for one in found.items()]
    assert {name for name, _ in attributes if name.startswith("on")} == set()
    addresses = [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
    assert addresses
    assert all(value and re.fullmatch(r"#[a-z0-9]+", value) for value in addresses)
    page = Path("report.html").read_text()
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_hostile_names_are_only_text_in_a_report(run: Run, root: Path) -> None:
    paths = write_results(root, HOSTILE, 10, missing=0)
    document = json.loads(paths[0].read_text())
    evil = "</script></style><svg onload=alert(1)>"
    document["results"][evil] = 0.5
    document["custom_settings"] = {"name": evil, "version": evil}
    document["hpcjobs"]["values"][evil] = {
        "tasks": [evil], "jobs": [evil], "versions": [evil], "at": evil,
        "settings": {evil: {evil: [evil]}},
    }  # fmt: skip
    document["hpcjobs"] |= {
        key: {evil: evil} for key in ("suspect", "failed", "unfinished", "missing")
    }
    del document["hpcjobs"]["missing"][evil]
    paths[0].write_text(json.dumps(document))
    page = page_of(run, "--title", evil)
    assert evil not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert page.count("<script>") == 1
    text = "".join(Outline(page).texts)
    assert evil in text
    for name in HOSTILE[:4]:
        assert name in text


def test_a_report_says_what_is_missing_failed_suspect_and_outdated(run: Run, root: Path) -> None:
    one, two, three, *_ = write_results(root, MODELS[:4], 10, missing=0)
    change(one, suspect={"jmmlu": "12 of 50 answers were empty"})
    change(two, complete=False, failed={"ja_mmlu": "FAILED TIMEOUT"})
    os.utime(three, (1, 1))
    page = page_of(run)
    text = " ".join("".join(Outline(page).texts).split())
    assert "suspect: 12 of 50 answers were empty" in text
    assert "ja_mmlu: FAILED TIMEOUT" in text
    assert "jobs have ended since it was written" in text
    for word in ("suspect", "failed", "outdated", "complete"):
        assert f'<span class="chip {word}"' in page


def test_a_report_counts_what_nobody_has(run: Run, root: Path) -> None:
    paths = write_results(root, MODELS[:2], 7, missing=0)
    for path in paths:
        document = json.loads(path.read_text())
        document["results"]["jmmlu_stem"] = -1
        document["hpcjobs"]["missing"] = {"jmmlu_stem": "no result for the subsets anatomy"}
        path.write_text(json.dumps(document))
    text = " ".join("".join(Outline(page_of(run)).texts).split())
    assert "2 evaluations · 6 metrics with values" in text
    assert text.count("6 of 7") == 4
    assert "Metrics of which nobody has a value are left out: 1." in text
    assert text.count("missing: no result for the subsets anatomy") == 2


def test_raw_results_may_be_named_from_the_current_directory(run: Run, tmp_path: Path) -> None:
    (path,) = write_results(Path("there"), MODELS[3:4], 7, missing=0)
    document = json.loads(path.read_text())
    for value in document["hpcjobs"]["values"].values():
        value["files"] = [f"there/{name}" for name in value["files"]]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(document))
    first, *_ = run_json(run, "compare", other, path)["metrics"][5]["values"]
    assert first["error_from"] == "reported"


def test_a_report_tells_samples_time_node_cost_and_versions(run: Run, root: Path) -> None:
    (path,) = write_results(root, MODELS[:1], 5, missing=0)
    (value, *_) = json.loads(path.read_text())["hpcjobs"]["values"].values()
    text = " ".join("".join(Outline(page_of(run)).texts).split())
    hours, rest = divmod(value["seconds"], 3600)
    shown = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    used = max(value["seconds"], 300)
    cost = int((0.7 * used + 0.1 * 7200) * 0.25 / 3600 * 10000 + 1e-9) / 10000
    job = value["jobs"][0].partition(" ")[0]
    versions = "lighteval 0.8.0, vllm 0.10.1"
    assert f"{shown} tsubame/node_q {job} {cost:.4f} points {versions} " in text
    assert f"about {cost:.4f} points, of the jobs whose results count" in text


@pytest.mark.parametrize("models", [MODELS[:1], MODELS[10:11], MODELS])
def test_every_table_of_a_report_is_rectangular(
    run: Run, root: Path, models: tuple[str, ...]
) -> None:
    write_results(root, models, 60, missing=0.3)
    tables = re.findall(r"<table.*?</table>", page_of(run), re.DOTALL)
    assert len(tables) == 2 + len(models)
    for table in tables:
        widths = set()
        for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL):
            cells = re.findall(r"<t[dh]\b[^>]*>", row)
            spans = [re.search(r'colspan="(\d+)"', cell) for cell in cells]
            widths.add(sum(int(span[1]) if span else 1 for span in spans))
        assert len(widths) == 1, widths


def test_results_of_another_program_make_a_report_too(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"model": "m", "results": {"mine": 31.5, "other": -1}}')
    page = page_of(run, path)
    assert "31.5000" in page
    assert 'class="chip not-told"' in page


def test_a_report_is_not_replaced_in_silence(run: Run, root: Path) -> None:
    write_results(root, MODELS[:1], 5)
    Path("report.html").write_text("mine")
    assert "it is there already" in run("report", code=2)[1]
    assert Path("report.html").read_text() == "mine"


def test_a_workspace_may_have_a_template_of_its_own(run: Run, root: Path) -> None:
    write_results(root, MODELS[:1], 5)
    own = root / "templates" / "report" / "report.html.j2"
    own.parent.mkdir(parents=True)
    own.write_text("{{ models[0].label }}")
    assert page_of(run) == f"hosted_vllm/{MODELS[0]}"
    own.write_text("{{ wrong }}")
    assert (
        "templates/report: UndefinedError: 'wrong' is undefined"
        in run("report", "--overwrite", code=2)[1]
    )
