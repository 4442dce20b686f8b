"""Single samples: from what real evaluators wrote, as a stream, filtered."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import InputError
from hpcjobs.results.result_file import ResultError
from hpcjobs.results.sample import Sample
from hpcjobs.results.samples import (
    Longest,
    SampleFile,
    find_sample_files,
    is_wrong,
    read_samples,
    score_of,
)

ROOT = Path(__file__).resolve().parents[3]
RECORDED = ROOT / "tests" / "fixtures" / "samples"
STAMP = "2026-01-02T03-04-05.678901"


def read(directory: Path) -> list[Sample]:
    return list(read_samples(find_sample_files(directory)))


@pytest.mark.parametrize("version", ["0.13.0", "0.8.1", "swallow-0.8.0"])
def test_every_lighteval_is_read(pyarrow: Any, version: str) -> None:
    suite = "" if version == "0.13.0" else "community|"
    found = {sample.prompt: sample for sample in read(RECORDED / f"lighteval-{version}")}
    assert len(found) == 4
    prompt = "Question: 日本の首都はどこですか。\nAnswer:"
    sample = found[prompt]
    assert sample == Sample(
        sample.id, f"{suite}tiny_gen|0", prompt, ("東京",), (" 東京",), {"em": 1}
    )


def test_a_server_that_died_left_empty_answers(pyarrow: Any) -> None:
    found = read(RECORDED / "lighteval-0.13.0-server-died")
    assert [(one.empty, is_wrong(one, ["em"])) for one in found].count((True, True)) == 2
    assert [one.empty for one in found].count(False) == 2


def test_lm_eval_is_read_with_its_filters_and_its_choices() -> None:
    found = {(one.task, one.id): one for one in read(RECORDED / "lm_eval")}
    assert len(found) == 8
    assert found["tiny_gen", "1"] == Sample(
        id="1",
        task="tiny_gen",
        prompt="Question: What is the capital of France?\nAnswer:",
        answers=(" Paris",),
        gold=("Paris",),
        scores={"exact_match,strip": 1.0},
    )
    assert found["tiny_mc", "0"] == Sample(
        id="0",
        task="tiny_mc",
        prompt="Question: What is the capital of France?\nAnswer:",
        answers=(" Paris",),
        gold=(" Paris",),
        scores={"acc,none": 1.0, "acc_norm,none": 1.0},
    )


def test_messages_of_a_chat_are_read_as_text() -> None:
    found = read(ROOT / "tests/fixtures/lm_eval_demo/demo_capitals")
    assert found[0].prompt == "What is the capital of France?"


def test_of_several_files_of_a_task_the_newest_is_read(tmp_path: Path) -> None:
    for day in ("01", "03", "02"):
        (tmp_path / f"samples_a_b_2026-01-{day}T00-00-00.1.jsonl").write_text("")
    (tmp_path / f"samples_a_{STAMP}.jsonl.tmp").write_text("")
    assert [(one.task, one.time) for one in find_sample_files(tmp_path)] == [
        ("a_b", "2026-01-03T00-00-00.1")
    ]


def line(**changes: object) -> str:
    whole = {"doc_id": 1, "resps": [["x"]], "target": "y", "arguments": [["question", {}]]}
    return json.dumps({**whole, "metrics": ["em"], "em": True, **changes})


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (line() + "\n" + line()[:-9], 2, "not JSON (cut off)"),
        ("{]\n" + line(), 1, "not JSON"),
        (line() + "\n[]\n", 2, "no sample of lm_eval"),
        ('{"a": 1}\n', 1, "no sample of lm_eval"),
    ],
)
def test_a_line_that_is_no_sample_is_named(
    tmp_path: Path, text: str, where: int, said: str
) -> None:
    path = tmp_path / f"samples_t_{STAMP}.jsonl"
    path.write_text(text)
    with pytest.raises(ResultError) as caught:
        read(tmp_path)
    assert caught.value.where == f"{path}:{where}"
    assert caught.value.what == said


def test_early_lines_without_names_are_read(tmp_path: Path) -> None:
    (tmp_path / f"samples_t_{STAMP}.jsonl").write_text(line() + "\n")
    assert read(tmp_path) == [Sample("1", "t", "question", ("x",), ("y",), {"em": 1.0})]


def test_what_is_no_parquet_is_refused(pyarrow: Any, tmp_path: Path) -> None:
    (path := tmp_path / f"details_t|0_{STAMP}.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ResultError, match="it cannot be read") as caught:
        read(tmp_path)
    assert caught.value.where == str(path)


def test_parquet_of_another_shape_is_refused(pyarrow: Any, tmp_path: Path) -> None:
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / f"details_t_{STAMP}.parquet")
    with pytest.raises(ResultError, match="no details of lighteval"):
        read(tmp_path)


def test_likelihoods_become_the_choice_that_they_mean(pyarrow: Any, tmp_path: Path) -> None:
    from pyarrow import parquet

    row = {
        "full_prompt": "q", "predictions": [-3.0, -1.0, -2.0], "choices": ["a", "b", "c"],
        "gold": [], "gold_index": [2], "metrics": {"acc": 0, "none": None},
    }  # fmt: skip
    path = tmp_path / f"details_t_{STAMP}.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    assert read(tmp_path) == [Sample("0", "t", "q", ("b",), ("c",), {"acc": 0})]


def test_parquet_is_read_piece_by_piece(pyarrow: Any, tmp_path: Path) -> None:
    """Samples of 64 MB take a small part of it, seen where Arrow itself allocates."""
    from pyarrow import parquet

    path = tmp_path / f"details_t_{STAMP}.parquet"
    schema = pyarrow.schema(
        [
            ("full_prompt", pyarrow.string()),
            ("predictions", pyarrow.list_(pyarrow.string())),
            ("gold", pyarrow.list_(pyarrow.string())),
            ("metrics", pyarrow.struct([("em", pyarrow.int64())])),
        ]
    )
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for number in range(64):
            rows = [
                {"full_prompt": f"{number}" * 4096, "predictions": ["x" * 4096], "gold": ["y"],
                 "metrics": {"em": 1}}
                for _ in range(100)
            ]  # fmt: skip
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    assert path.stat().st_size > 48e6
    before = pyarrow.total_allocated_bytes()
    highest = count = 0
    tracemalloc.start()
    for _ in read_samples([SampleFile(path, "t", STAMP)]):
        count += 1
        highest = max(highest, pyarrow.total_allocated_bytes() - before)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 6400
    assert highest + peak < 12e6


def test_jsonl_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / f"samples_t_{STAMP}.jsonl"
    with path.open("w") as file:
        for _ in range(2000):
            file.write(line(resps=[["x" * 10_000]]) + "\n")
    tracemalloc.start()
    longest = Longest(3)
    for sample in read_samples([SampleFile(path, "t", STAMP)]):
        longest.add(sample)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(list(longest)) == 3
    assert peak < 2e6


def a_sample(key: str, *answers: str, **scores: float) -> Sample:
    return Sample(key, "t", "", answers, (), scores)


def test_the_longest_come_first_and_of_equals_the_first() -> None:
    longest = Longest(2)
    for sample in (a_sample("a", "xx"), a_sample("b", "xxxx"), a_sample("c", "xx", "x")):
        longest.add(sample)
    assert [sample.id for sample in longest] == ["b", "a"]


@pytest.mark.parametrize(
    ("answers", "empty"), [((), True), (("",), True), ((" \n", "x"), True), (("x",), False)]
)
def test_a_blank_answer_is_empty(answers: tuple[str, ...], empty: bool) -> None:
    assert a_sample("a", *answers).empty is empty


def test_right_and_wrong_are_by_the_metric_of_the_table() -> None:
    sample = a_sample("a", f1=0.5, em=1.0)
    assert score_of(sample, ["acc", "em"]) == ("em", 1.0)
    assert not is_wrong(sample, ["em"])
    assert is_wrong(sample, [])
    assert not is_wrong(a_sample("a"), ["em"])


def test_a_grade_is_neither_right_nor_wrong() -> None:
    with pytest.raises(InputError, match="does not tell right from wrong"):
        is_wrong(a_sample("a", judge=7.5), [])
