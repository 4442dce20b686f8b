"""What is counted in samples: answers that are empty, never end, or are no likelihoods."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.results.result_file import ResultError
from hpcjobs.results.sample_facts import SampleFacts, is_endless, read_facts

LOOP = "The answer is 42, let me check. "


def facts(*answers: object, thought: bool = False) -> SampleFacts:
    found = SampleFacts("t")
    for number, answer in enumerate(answers):
        found.add_answers([answer], str(number), thought)
    return found


@pytest.mark.parametrize(
    "answer", [None, "", " \n\t", "\u3000", "<think>so</think>", "so</think>\n", 3]
)
def test_nothing_is_an_empty_answer(answer: object) -> None:
    found = facts("yes", answer)
    assert (found.answers, found.empty, found.examples) == (2, 1, ["1"])


@pytest.mark.parametrize("answer", ["x", "None", "<think>a</think>b", "<think>a", "[THINK]a"])
def test_something_is_not(answer: str) -> None:
    assert facts(answer).empty == 0


@pytest.mark.parametrize(
    ("answer", "unclosed"),
    [
        ("<think>a</think>b", 0),
        ("<think>a", 1),
        ("<think>a</think>b<think>c", 1),
        ("a</think>b", 0),
        ("[THINK]a[/THINK]b", 0),
        ("[THINK]a", 1),
        ("1 < 2 and think>", 0),
    ],
)
def test_thinking_that_never_ends_is_counted(answer: str, unclosed: int) -> None:
    assert facts(answer).unfinished == unclosed


def test_where_the_prompt_began_the_thinking_its_end_is_missed() -> None:
    assert facts("a</think>b", "a").unfinished == 1
    assert facts("b", "a").unfinished == 0


def test_who_kept_the_thinking_elsewhere_never_came_to_answer() -> None:
    found = facts("", thought=True)
    assert (found.unclosed, found.empty) == (1, 0)


@pytest.mark.parametrize(
    ("text", "endless"),
    [
        (LOOP * 30, True),
        ("Right. " * 3 + LOOP * 25 + LOOP[:7], True),
        ("a" * 700, True),
        ("東京" * 400, True),
        (LOOP * 10, False),  # short
        (LOOP * 40 + "So it is 42." + "x" * 9, False),  # it came out of it
        (" ".join(str(n) for n in range(500)), False),
        ("x" * 200 + "y" * 200 + "x" * 200, False),
    ],
)
def test_endless_repetition_is_told_from_long_answers(text: str, endless: bool) -> None:
    assert is_endless(text) is endless


@given(st.text(min_size=1, max_size=150), st.integers(0, 149))
def test_every_round_up_to_its_longest_is_found(piece: str, cut: int) -> None:
    assert is_endless((piece * (900 // len(piece) + 1))[: -cut or None])


@given(st.text())
def test_no_text_is_both_empty_and_full(text: str) -> None:
    found = facts(text)
    assert found.empty + found.full == found.answers == 1
    assert found.unclosed <= 1


@given(st.lists(st.sampled_from(["a", "b", "", "<think>"])))
def test_one_text_is_the_same_only_if_all_are(answers: list[str]) -> None:
    full = [one for one in answers if one]
    assert (facts(*answers).same is not None) == (len(set(full)) == 1)


# ---- lm_eval -------------------------------------------------------------------------------------


def line(number: int = 0, **changes: object) -> str:
    whole = {"doc_id": number, "resps": [["x"]], "arguments": [["q", {}]], "filter": "none"}
    return json.dumps({**whole, **changes}) + "\n"


def lm_eval(tmp_path: Path, *lines: str) -> SampleFacts:
    path = tmp_path / "samples_t_2026-01-02T03-04-05.678901.jsonl"
    path.write_text("".join(lines))
    return read_facts(path, "t")


def test_an_answer_that_is_filtered_in_two_ways_is_one(tmp_path: Path) -> None:
    found = lm_eval(tmp_path, line(0), line(0, filter="b"), line(1), line(1, filter="b"))
    assert (found.samples, found.answers) == (2, 2)


def test_several_answers_to_one_question_count_each(tmp_path: Path) -> None:
    found = lm_eval(tmp_path, line(0, resps=[["x", "", None]]))
    assert (found.samples, found.answers, found.empty) == (1, 3, 2)


@pytest.mark.parametrize(
    ("resps", "broken"),
    [
        ([[["-1.5", "True"]], [["-2", "False"]]], 0),
        ([[["-inf", "True"]], [["-2", "False"]]], 0),
        ([[["nan", "True"]], [["-2", "False"]]], 1),
        ([[[None, True]]], 1),
        ([["-123.4"]], 0),
        ([], 1),
    ],
)
def test_likelihoods_are_no_answers_but_numbers(
    tmp_path: Path, resps: list[Any], broken: int
) -> None:
    arguments = {"gen_args_0": {"arg_0": "q", "arg_1": " a"}}
    found = lm_eval(tmp_path, line(resps=resps, arguments=arguments))
    assert (found.answers, found.samples, found.broken) == (0, 1, broken)


@pytest.mark.parametrize("text", ["{", "[]\n", '{"doc_id": 1}\n', "[" * 9999])
def test_what_is_no_sample_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ResultError):
        lm_eval(tmp_path, line(), text)


# ---- lighteval -----------------------------------------------------------------------------------


def parquet(tmp_path: Path, pyarrow: Any, rows: list[dict[str, Any]]) -> Path:
    from pyarrow import parquet as writer

    path = tmp_path / "details_t|0_2026-01-02T03-04-05.678901.parquet"
    writer.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def new(text: list[str | None], **changes: Any) -> dict[str, Any]:
    doc = {"id": "7", "sampling_methods": ["GENERATIVE"], "generation_size": 128}
    response = {"text": text, "output_tokens": [], "logprobs": [], "reasonings": [None]}
    return {"doc": doc, "model_response": {**response, **changes}, "metric": {"em": 1}}


def test_answers_at_the_limit_are_counted_where_their_tokens_are_told(
    tmp_path: Path, pyarrow: Any
) -> None:
    rows = [new(["a", "b"], output_tokens=[[1] * 128, [1] * 127])] * 40
    path = parquet(tmp_path, pyarrow, rows)
    found = read_facts(path, "t")
    assert (found.samples, found.answers, found.limit, found.at_limit) == (40, 80, 128, 40)
    assert read_facts(path, "t", 64).at_limit == 80


def test_where_they_are_not_told_nothing_is_claimed(tmp_path: Path, pyarrow: Any) -> None:
    found = read_facts(parquet(tmp_path, pyarrow, [new(["a"])]), "t")
    assert (found.limit, found.at_limit) == (None, 0)


def test_a_thought_without_an_answer_is_no_empty_answer(tmp_path: Path, pyarrow: Any) -> None:
    rows = [new([""], reasonings=["hm"]), new([None]), new([])]
    found = read_facts(parquet(tmp_path, pyarrow, rows), "t")
    assert (found.answers, found.empty, found.unclosed) == (3, 2, 1)


def test_lighteval_with_likelihoods(tmp_path: Path, pyarrow: Any) -> None:
    row = new([], logprobs=[-1.0, -2.0])
    row["doc"]["sampling_methods"] = ["LOGPROBS"]
    found = read_facts(parquet(tmp_path, pyarrow, [row]), "t")
    assert (found.answers, found.likelihoods, found.broken) == (0, 2, 0)


@pytest.mark.parametrize(
    ("predictions", "answers", "empty", "likelihoods"),
    [
        (["a", ""], 2, 1, 0),
        ([["a", "b"]], 2, 0, 0),
        ([-1.0, -2.0], 0, 0, 2),
        ([[-1.0, 0.0], [-2.0, 1.0]], 0, 0, 2),
        (None, 1, 1, 0),
    ],
)
def test_lighteval_0_8(
    tmp_path: Path, pyarrow: Any, predictions: Any, answers: int, empty: int, likelihoods: int
) -> None:
    rows = [{"predictions": predictions, "metrics": {"em": 1}}]
    found = read_facts(parquet(tmp_path, pyarrow, rows), "t")
    assert (found.answers, found.empty, found.likelihoods) == (answers, empty, likelihoods)


def test_another_table_is_refused(tmp_path: Path, pyarrow: Any) -> None:
    with pytest.raises(ResultError, match="no details of lighteval"):
        read_facts(parquet(tmp_path, pyarrow, [{"a": 1}]), "t")


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "samples_t_2026-01-02T03-04-05.678901.jsonl"
    with path.open("w") as file:
        for number in range(300):
            file.write(line(number, resps=[["word " * 40_000]]))
    assert path.stat().st_size > 50_000_000
    tracemalloc.start()
    assert read_facts(path, "t").samples == 300
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
