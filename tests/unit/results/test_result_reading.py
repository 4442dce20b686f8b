"""Which files of a directory count, and what is said of those that do not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import InputError, StorageError
from hpcjobs.results.reading import (
    find_result_files,
    read_result_file,
    read_task_results,
    read_tree,
)
from hpcjobs.results.result_file import ResultError, split_subset, time_in_name

Document = dict[str, Any]
Written = Callable[..., Path]
NAME = "results_2026-01-02T03-04-05.678901.json"


def test_result_files_are_found_at_any_depth_and_nothing_else(
    tmp_path: Path, written: Written
) -> None:
    wanted = [
        written({}, "b/org|x:y/results_2026-01-02T03-04-05.000001.json"),
        written({}, "a/results_latest.json"),
    ]
    for name in (
        "a/aggregated_results.json",
        "a/results.json",
        f"a/.{NAME}.k3j2",
        f"a/{NAME}.tmp",
        f"a/.{NAME}",
        f".snapshot/{NAME}",
        "a/samples_t_2026-01-02T03-04-05.000001.jsonl",
    ):
        written({}, name)
    assert find_result_files(tmp_path) == sorted(wanted)


def test_a_directory_that_is_not_there_has_no_results(tmp_path: Path) -> None:
    results = read_task_results(tmp_path / "none", "lighteval", {"org/model"})
    assert (results.files, results.problems) == ((), ())


def test_a_directory_that_cannot_be_listed_is_no_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        find_result_files(tmp_path / "file")


def test_a_name_without_a_fraction_of_a_second_is_dated_too() -> None:
    assert time_in_name("results_2026-01-02T03-04-05.json") == datetime(2026, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    "name",
    [
        "results_latest.json",
        "results_2026-13-02T03-04-05.678901.json",
        "results_2026-01-02T03-04-05.678901 (copy).json",
        "results_2026-01-02T03-04-05.6789012.json",
    ],
)
def test_a_name_without_a_time_does_not_count(
    written: Written, lighteval_document: Document, name: str
) -> None:
    path = written(lighteval_document, name)
    results = read_task_results(path.parent, "lighteval", {"org/model"})
    assert results.files == ()
    assert results.problems[0].path == path
    assert "its name tells no time" in results.problems[0].why


@pytest.mark.parametrize("framework", ["lighteval", "lm_eval"])
def test_no_beginning_of_a_file_reads_as_the_whole(
    tmp_path: Path, lighteval_document: Document, lm_eval_document: Document, framework: str
) -> None:
    document = lighteval_document if framework == "lighteval" else lm_eval_document
    whole = json.dumps(document, indent=1, ensure_ascii=False).encode()
    path = tmp_path / NAME
    path.write_bytes(whole + b"\n")
    assert read_result_file(path, framework).entries
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ResultError) as caught:
            read_result_file(path, framework)
        assert caught.value.what in (f"it is cut off after {length} bytes", "it is empty")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"[]", "its JSON is not an object"),
        (b"null", "its JSON is missing"),
        (b"<html>503</html>", "it is not JSON: Expecting value"),
        (b"\0" * 100, "it is not JSON"),
        (b'{"a": 1,}', "it is not JSON"),
        (b'{"a": "\xff"}', "it is not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "it is not JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", ""),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / NAME
    path.write_bytes(data)
    with pytest.raises(ResultError) as caught:
        read_result_file(path, "lighteval")
    assert caught.value.what.startswith(why)


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    os.symlink("nowhere", tmp_path / NAME)
    (problem,) = read_task_results(tmp_path, "lighteval", {"org/model"}).problems
    assert problem.why == "it cannot be read: No such file or directory"


def test_a_result_of_another_model_does_not_count(
    written: Written, lighteval_document: Document
) -> None:
    path = written(lighteval_document)
    lighteval_document["config_general"]["model_name"] = "some\none/else"
    written(lighteval_document, "results_2031-01-01T00-00-00.000000.json")
    results = read_task_results(path.parent, "lighteval", {"hosted_vllm/org/model", "org/model"})
    assert [file.path for file in results.files] == [path]
    assert [problem.why for problem in results.problems] == [
        r"is of another model: 'some\none/else'"
    ]


def test_the_directory_is_not_believed_about_the_model(
    written: Written, lm_eval_document: Document, tmp_path: Path
) -> None:
    written(lm_eval_document, f"other__model/{NAME}")
    assert read_task_results(tmp_path, "lm_eval", {"other/model"}).files == ()
    assert len(read_task_results(tmp_path, "lm_eval", {"org/model"}).files) == 1


def test_a_tree_is_one_directory_and_not_what_is_below(
    written: Written, lighteval_document: Document
) -> None:
    path = written(lighteval_document)
    written(lighteval_document, f"old/{NAME}")
    assert [file.path for file in read_tree(path.parent, "org/model").files] == [path]


def test_an_unknown_framework_is_not_taken_for_another(written: Written) -> None:
    with pytest.raises(InputError, match="unknown framework 'lm-eval'") as caught:
        read_task_results(written({}).parent, "lm-eval", set())
    assert caught.value.nearest == "lm_eval"


@pytest.mark.parametrize(
    ("task", "base", "subset"),
    [
        ("swallow|mmlu:anatomy|0", "swallow|mmlu|0", "anatomy"),
        ("swallow|math_500|0", "swallow|math_500|0", ""),
        ("mmlu:anatomy|0", "mmlu|0", "anatomy"),
        ("math_500|0", "math_500|0", ""),
        ("mmlu:a:b|0", "mmlu|0", "a:b"),
        ("arc:easy", "arc:easy", ""),
    ],
)
def test_a_key_is_split_at_its_subset(task: str, base: str, subset: str) -> None:
    assert split_subset(task) == (base, subset)
