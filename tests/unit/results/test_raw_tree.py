"""Trees that hpcjobs did not make: what counts in them, what does not, and that both are said."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.cli import main
from hpcjobs.config.metrics import read_metrics
from hpcjobs.errors import InputError
from hpcjobs.results.functions import FUNCTIONS
from hpcjobs.results.raw_tree import aggregate_tree, find_tree, lost, not_counted, tree_document

MODEL = "hosted_vllm/acme/v1.5-8B"
MATH = "swallow|math_500|0"
Document = dict[str, Any]
Tree = Callable[..., Path]


def content(model: str = MODEL, samples: int = 10, **results: Any) -> Document:
    """A result of lighteval 0.8; keys are tasks of the suite `swallow`, `__` is the colon."""
    by_task = {f"swallow|{name.replace('__', ':')}|0": one for name, one in results.items()}
    return {
        "config_general": {"model_name": model, "max_samples": None},
        "results": {
            key: one if isinstance(one, dict) else {"extractive_match": one}
            for key, one in by_task.items()
        }
        | {"all": {"extractive_match": 0.0}},
        "config_tasks": {
            key.removesuffix("|0"): {"effective_num_docs": samples, "original_num_docs": samples}
            for key in by_task
        },
    }


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Write a file of the tree, by the day of its name."""

    def write(what: Document | bytes, day: int | str = 1, directory: str = MODEL) -> Path:
        name = f"results_2026-01-{day:02d}T00-00-00.000001.json" if isinstance(day, int) else day
        path = tmp_path / "raw" / directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(what if isinstance(what, bytes) else json.dumps(what).encode())
        return tmp_path / "raw"

    return write


def document(root: Path, metrics_yaml: Path, model: str = MODEL, strict: bool = False) -> Document:
    found = find_tree(root, model)
    table = read_metrics(metrics_yaml)
    return tree_document(found, aggregate_tree(table, found, FUNCTIONS, strict=strict))


def test_the_newest_by_the_time_of_its_name_wins_whatever_the_file_system_says(
    tree: Tree, metrics_yaml: Path
) -> None:
    tree(content(math_500=0.75), 2)
    root = tree(content(math_500=0.25), 1)  # written later
    assert document(root, metrics_yaml)["results"]["math_500"] == 0.75


def test_a_bad_number_takes_away_only_itself_and_never_brings_an_older_one_back(
    tree: Tree, metrics_yaml: Path
) -> None:
    tree(content(humaneval={"humaneval_pass@1:10": 0.25, "humaneval_pass@10:10": 0.5}), 1)
    root = tree(
        content(
            humaneval={"humaneval_pass@1:10": float("nan"), "humaneval_pass@10:10": 0.75},
            math_500=0.5,
        ),
        2,
    )
    made = document(root, metrics_yaml)
    assert made["results"]["humaneval_pass@1"] == -1
    assert made["results"]["humaneval_pass@10"] == 0.75
    assert made["results"]["math_500"] == 0.5
    why = made["hpcjobs"]["missing"]["humaneval_pass@1"]
    assert why == "the metric 'humaneval_pass@1:10' of 'swallow|humaneval|0' is NaN"


@pytest.mark.parametrize("bad", [None, "0.5", [0.5], {"mean": 0.5}, True, float("inf")])
def test_what_is_no_number_is_no_value(tree: Tree, metrics_yaml: Path, bad: Any) -> None:
    root = tree(content(math_500={"extractive_match": bad}))
    assert document(root, metrics_yaml)["results"]["math_500"] == -1


def test_a_result_without_any_metric_is_the_newest_nevertheless(
    tree: Tree, metrics_yaml: Path
) -> None:
    tree(content(math_500=0.5), 1)
    root = tree(content(math_500={}), 2)
    assert document(root, metrics_yaml)["results"]["math_500"] == -1


def test_an_integer_stays_one(tree: Tree, metrics_yaml: Path) -> None:
    root = tree(content(math_500=1))
    assert document(root, metrics_yaml)["overall"].split(",").count("1") == 1


def test_of_an_average_that_lacks_subsets_it_is_said(tree: Tree, metrics_yaml: Path) -> None:
    tree(content(aime__24=0.5, samples=30), 1)
    root = tree(content(swallow_jmmlu__anatomy=0.25, swallow_jmmlu__virology=0.75), 2)
    made = document(root, metrics_yaml)
    # what the group's own aggregator makes of it: the average of those that are there
    assert made["results"]["aime_2024_2025"] == 0.5
    assert made["results"]["jmmlu"] == 0.5
    assert made["results"]["jmmlu_stem"] == 0.25
    assert made["results"]["jmmlu_humanities"] == -1
    doubts = made["hpcjobs"]["suspect"]
    assert doubts["aime_2024_2025"] == "no result for the subsets 25"
    assert "econometrics" in doubts["jmmlu"]  # known from the parts: jmmlu itself has no list
    assert made["hpcjobs"]["complete"] is False
    strict = document(root, metrics_yaml, strict=True)
    assert {strict["results"][name] for name in ("aime_2024_2025", "jmmlu", "jmmlu_stem")} == {-1}
    assert strict["hpcjobs"]["suspect"] == {}
    assert strict["hpcjobs"]["missing"]["aime_2024_2025"] == "no result for the subsets 25"


def test_a_result_on_a_few_samples_is_marked(tree: Tree, metrics_yaml: Path) -> None:
    limited = content(math_500=0.5)
    limited["config_general"]["max_samples"] = 8
    made = document(tree(limited), metrics_yaml)
    assert made["results"]["math_500"] == 0.5
    assert made["hpcjobs"]["suspect"] == {"math_500": "made on a few samples only (limit 8)"}


@pytest.mark.parametrize(
    ("what", "name", "ours"),
    [
        (b'{"config_general": {"model_na', 3, True),
        (b"", 3, True),
        (b"<html>", 3, True),
        (b"[1]", 3, True),
        (b"{}", 3, False),
        (b'{"results": {"a": 1}}', 3, False),
        (b"{}", "results_latest.json", False),
        (b"{}", "results_2026-01-03T00-00-00.000001 (copy).json", False),
        (json.dumps(content("acme/v1.5-8B", math_500=1.0)).encode(), 3, False),
        (json.dumps(content(MODEL + "-awq", math_500=1.0)).encode(), 3, False),
        (json.dumps({**content(math_500=1.0), "config_tasks": None}).encode(), 3, True),
        (json.dumps({**content(math_500=1.0), "results": {}}).encode(), 3, True),
    ],
)
def test_what_does_not_count_is_named_and_does_no_harm(
    tree: Tree, metrics_yaml: Path, what: bytes, name: int | str, ours: bool
) -> None:
    tree(content(math_500=0.5))
    root = tree(what, name)
    assert document(root, metrics_yaml)["results"]["math_500"] == 0.5
    found = find_tree(root, MODEL)
    assert len(not_counted(found)) == 1
    assert len(lost(found)) == int(ours)


def test_what_lies_below_or_beside_the_directory_does_not_count(
    tree: Tree, metrics_yaml: Path
) -> None:
    tree(content(math_500=0.25), 9, f"{MODEL}/reasoning")
    tree(content(math_500=0.25), 9, "details/" + MODEL)
    tree(b"not Parquet", "details_x.parquet", f"{MODEL}/details")
    tree(b"{}", "aggregated_results.json")
    tree(content(math_500=0.25), 9, f"{MODEL}/.hidden")
    root = tree(content(math_500=0.5))
    assert document(root, metrics_yaml)["results"]["math_500"] == 0.5
    (note,) = not_counted(find_tree(root, MODEL))
    assert note.startswith(str(root / MODEL / "reasoning"))


def test_other_suites_and_shots_are_other_tasks(tree: Tree, metrics_yaml: Path) -> None:
    other = content(math_500=1.0)
    other["results"] = {"swallow|math_500|5": {"extractive_match": 1.0}}
    tree(other, 2)
    root = tree(content(math_500=0.5), 1)
    made = document(root, metrics_yaml)
    assert made["results"]["math_500"] == 0.5
    assert made["hpcjobs"]["not_in_any_metric"] == ["swallow|math_500|5"]


def test_alternatives_at_once_are_an_error_that_names_them(tree: Tree, metrics_yaml: Path) -> None:
    score = {"judge_score_overall_avg": 0.5}
    root = tree(content(japanese_mt_bench=score, japanese_mt_bench_truncate_6144=score))
    made = document(root, metrics_yaml)
    assert made["results"]["japanese_mtbench_average"] == -1
    assert made["hpcjobs"]["missing"]["japanese_mtbench_average"] == (
        "several of its tasks have results: "
        "swallow|japanese_mt_bench|0, swallow|japanese_mt_bench_truncate_6144|0"
    )


def test_an_empty_directory_has_only_missing_values(tmp_path: Path, metrics_yaml: Path) -> None:
    (tmp_path / MODEL).mkdir(parents=True)
    made = document(tmp_path, metrics_yaml)
    assert set(made["results"].values()) == {-1}
    assert len(made["results"]) == 107


@pytest.mark.parametrize("version", ["swallow-0.8.0", "0.8.1", "0.13.0"])
def test_the_output_directory_of_every_lighteval_is_read(
    fixtures: Path, metrics_yaml: Path, version: str
) -> None:
    root = fixtures / f"lighteval-{version}"
    found = find_tree(root, "hosted_vllm/acme/tiny-1B")
    assert found.directory == root / "results/hosted_vllm/acme/tiny-1B"
    made = document(root, metrics_yaml, "hosted_vllm/acme/tiny-1B")
    suite = "" if version == "0.13.0" else "community|"
    assert made["hpcjobs"]["not_in_any_metric"] == [
        f"{suite}tiny_gen|0", f"{suite}tiny_gen:sub|0"
    ]  # fmt: skip


def test_the_output_directory_of_lm_eval_is_read_by_its_shape(
    fixtures: Path, metrics_yaml: Path
) -> None:
    made = document(fixtures / "lm_eval-local-completions", metrics_yaml, "acme/tiny-1B")
    assert made["hpcjobs"]["not_in_any_metric"] == ["tiny_mc", "tiny_gen", "tiny_suite"]


@pytest.mark.parametrize(
    ("model", "near"),
    [("acme/v1.5-8B", MODEL), ("hosted_vllm/acme/v1.5-8b", MODEL), ("v1.5-8B", MODEL)],
)
def test_the_nearest_model_is_named(tree: Tree, model: str, near: str) -> None:
    root = tree(content(math_500=0.5))
    with pytest.raises(InputError) as caught:
        find_tree(root, model)
    assert caught.value.nearest == near


@pytest.mark.parametrize("model", ["", "..", "a/../b", "/etc", "a//b", "a/"])
def test_a_name_that_leads_out_of_the_tree_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(InputError, match="is not allowed"):
        find_tree(tmp_path, model)


# ---- As the group's own aggregator, on trees made at random --------------------------------------


def group_values(root: Path, metrics_yaml: Path) -> dict[str, float]:
    """The rules of the golden trees, said once more and in the plainest way."""
    table = read_metrics(metrics_yaml)
    newest: dict[str, tuple[dict[str, float], int]] = {}
    for path in sorted((root / MODEL).glob("results_2*.json")):
        read = json.loads(path.read_text())
        if read["config_general"]["model_name"] != MODEL:
            continue
        for key, metrics in read["results"].items():
            if key != "all" and "_average" not in key:
                docs = read["config_tasks"][key.rpartition("|")[0]]["effective_num_docs"]
                newest[key] = (metrics, docs)
    values = {}
    for metric in table.metrics:
        if metric.set != "default":
            continue
        given = []
        for task in metric.tasks:
            name = task.split("|")[1]
            if metric.aggregate == "micro_average":
                chosen = [
                    (metrics[metric.metrics[0]], docs)
                    for key, (metrics, docs) in newest.items()
                    if key.split("|")[1].split(":")[0] == name
                    and (not metric.subsets or key.split("|")[1].split(":")[1] in metric.subsets)
                ]
                if docs := sum(weight for _, weight in chosen):
                    given.append(sum(value * weight for value, weight in chosen) / docs)
            elif task in newest:
                numbers = [newest[task][0][one] for one in metric.metrics]
                given.append(sum(numbers) / len(numbers))
        values[metric.name] = given[0] if len(given) == 1 else -1
    return values


@pytest.mark.parametrize("seed", range(8))
def test_trees_at_random_have_the_values_of_the_groups_rules(
    golden: Path, metrics_yaml: Path, tmp_path: Path, seed: int
) -> None:
    """Files of the golden tree, in part, cut into subsets, doubled under other times, shuffled."""
    chance = random.Random(seed)
    source = golden / "complete/raw/hosted_vllm/acme/full-8B"
    target = tmp_path / MODEL
    target.mkdir(parents=True)
    for path in sorted(source.glob("results_2*.json")):
        for _ in range(chance.choice([0, 1, 1, 2, 3])):
            read = json.loads(path.read_text())
            if read["config_general"]["model_name"] != "someone/else":
                read["config_general"]["model_name"] = MODEL
            for key in list(read["results"]):
                if ":" in key and chance.random() < 0.2:
                    del read["results"][key]
                else:
                    values = read["results"][key]
                    read["results"][key] = {name: chance.random() for name in values}
            for task in read["config_tasks"].values():
                task["effective_num_docs"] = chance.choice([0, 1, 7, 500])
            stamp = f"2026-{chance.randint(1, 12):02d}-01T{chance.randint(0, 23):02d}-00-00"
            name = f"results_{stamp}.{chance.randint(0, 999999):06d}.json"
            (target / name).write_text(json.dumps(read))
    made = document(tmp_path, metrics_yaml)
    expected = group_values(tmp_path, metrics_yaml)
    assert made["results"] == pytest.approx(expected, rel=1e-12, abs=1e-12)


# ---- The command ---------------------------------------------------------------------------------


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`hpcjobs aggregate`, in no workspace."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["aggregate", *map(str, words)])
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, shown.out, shown.err

    return run


@pytest.mark.parametrize("name", ["complete", "partial", "no-mtbench-full"])
def test_the_command_writes_the_golden_aggregates(
    command: Callable[..., tuple[int, str, str]], golden: Path, tmp_path: Path, name: str
) -> None:
    expected = json.loads((golden / name / "expected/aggregated_results.json").read_text())
    raw = shutil.copytree(golden / name / "raw", tmp_path / "raw")
    before = sorted(raw.rglob("*"))
    words = ("--raw-results", raw, "--model", expected["model"], "--output", tmp_path / "out/new")
    code, _, err = command(*words)
    made = json.loads((tmp_path / "out/new/aggregated_results.json").read_text())
    assert code == 0
    assert {key: made[key] for key in ("model", "tasks", "custom_settings")} == {
        key: expected[key] for key in ("model", "tasks", "custom_settings")
    }
    assert made["results"] == pytest.approx(expected["results"], rel=1e-12, abs=1e-12)
    assert [float(one) for one in made["overall"].split(",")] == pytest.approx(
        [float(one) for one in expected["overall"].split(",")], rel=1e-12, abs=1e-12
    )
    assert "someone/else" in err
    assert sorted(raw.rglob("*")) == before


def test_a_file_that_is_cut_off_makes_the_command_fail_after_it_has_written(
    command: Callable[..., tuple[int, str, str]], tree: Tree, tmp_path: Path
) -> None:
    tree(content(math_500=0.5))
    root = tree(b'{"config_gen', 2)
    code, _, err = command("--raw-results", root, "--model", MODEL, "--output", tmp_path)
    assert code == 1
    assert "it is cut off after 12 bytes: it does not count" in err
    made = json.loads((tmp_path / "aggregated_results.json").read_text())
    assert made["results"]["math_500"] == 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--raw-results", "."], "needs one --model NAME"),
        (["--raw-results", ".", "--model", "a", "--model", "b", "--output", "."], "one --model"),
        (["--raw-results", ".", "--model", "a"], "needs --output DIR"),
        (["--output", "."], "--output goes with --raw-results or --check"),
        (["--tasks", "ja_mmlu"], "--tasks goes with --check"),
        (["--check", "--raw-results", "."], "--check is about the workspace's jobs"),
        (["--strict"], "--strict goes with --raw-results"),
        (["--raw-results", "none", "--model", "a", "--output", "."], "no such directory: none"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    command: Callable[..., tuple[int, str, str]], words: list[str], said: str
) -> None:
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert said in err
