"""The table that `aggregate --check` writes and `submit --from` reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.config.submissions import (
    COLUMNS,
    Submission,
    as_table,
    grouped,
    is_edited,
    read_submissions,
)
from hpcjobs.errors import InputError

HEADER = "model,task,service,node,provider,settings,max_samples\n"
TASKS = ("ja_mmlu", "en_mmlu", "NA")


def read(tmp_path: Path, text: str) -> list[Submission]:
    (tmp_path / "missing.csv").write_text(text)
    return read_submissions(tmp_path / "missing.csv", TASKS)


def test_rows_are_read_whole_and_know_their_lines(tmp_path: Path) -> None:
    text = HEADER + "# mine\norg/a,ja_mmlu,tsubame,node_q,vllm,,\n\norg/b,NA,local,cpu,x,fast,8\n"
    path = tmp_path / "missing.csv"
    assert read(tmp_path, text) == [
        Submission("org/a", "ja_mmlu", "tsubame", "node_q", "vllm", where=f"{path}:3"),
        Submission("org/b", "NA", "local", "cpu", "x", "fast", 8, where=f"{path}:5"),
    ]


def test_rows_that_differ_in_their_tasks_only_go_together(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        HEADER
        + "a,ja_mmlu,s,n,p,,\nb,ja_mmlu,s,n,p,,\na,en_mmlu,s,n,p,,\na,NA,s,other,p,,\n"
        + "a,ja_mmlu,s,n,p,fast,\na,ja_mmlu,s,n,p,,8\n",
    )
    assert [[row.task for row in group] for group in grouped(rows)] == [
        ["ja_mmlu", "en_mmlu"], ["ja_mmlu"], ["NA"], ["ja_mmlu"], ["ja_mmlu"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", None, "the table is empty"),
        ("model,task,service,node,provider\n", 1, "the column 'settings' is missing"),
        (HEADER.replace("task", "tasks"), 1, "did you mean: tasks"),
        ("priority," + HEADER + "1,a,NA,s,n,p,,\n", None, "unknown column 'priority'"),
        (HEADER + "a,NA,s,n,p\n", 2, "a row of 5 fields"),
        (HEADER + "a,ja_mmlo,s,n,p,,\n", "2, column task", "did you mean: ja_mmlu"),
        (HEADER + "a,ja_*,s,n,p,,\n", "2, column task", "unknown task 'ja_*'"),
        (HEADER + "a,NA,s,,p,,\n", 2, "column node: it is empty"),
        (HEADER + "a,NA,s,n,,,\n", 2, "column provider: it is empty"),
        (HEADER + "a,NA,s,n,p,,-1\n", 2, "column max_samples: '-1'"),
        (HEADER + "a,NA,s,n,p,,0\n", 2, "column max_samples: '0'"),
        (HEADER + "a,NA,s,n,p,,8.0\n", 2, "column max_samples: '8.0'"),
        (HEADER + "a,NA,s,n,p,,\na,NA,s,other,p,,\n", 3, "'NA' of 'a' a second time"),
        (HEADER + 'a,"NA,s,n,p,,\n', 2, "not CSV"),
        ("walltime," + HEADER + "9h,a,NA,s,n,p,,\n", 2, "column walltime: '9h'"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int | str | None, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    path = tmp_path / "missing.csv"
    assert caught.value.where == (f"{path}:{line}" if line else str(path))
    assert said in str(caught.value)


words = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=12)
names = words.map(str.strip).filter(bool)


@given(
    st.lists(
        st.builds(
            Submission,
            model=names,
            task=st.sampled_from(TASKS),
            service=names,
            node=names,
            provider=names,
            settings=names | st.just(""),
            max_samples=st.none() | st.integers(1, 10**6),
            walltime=st.sampled_from(["", "01:30:00"]),
            state=st.sampled_from(["", "missing", "failed"]),
            why=st.text(max_size=20),
        ),
        max_size=5,
        unique_by=lambda row: (row.model, row.task, row.provider, row.settings, row.max_samples),
    )
)
def test_what_was_written_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Submission]
) -> None:
    path = tmp_path_factory.mktemp("table") / "missing.csv"
    path.write_text(as_table(rows), encoding="utf-8")

    def essence(row: Submission) -> tuple[object, ...]:
        return (*row.alike, row.task, row.walltime)

    assert list(map(essence, read_submissions(path, TASKS))) == list(map(essence, rows))


def test_an_edited_table_is_known_by_its_digest() -> None:
    text = as_table([Submission("a", "NA", "s", "n", "p")])
    assert text.splitlines()[1] == ",".join(COLUMNS)
    assert not is_edited(text)
    assert is_edited(text.replace(",n,", ",other,"))
    assert is_edited(text.partition("\n")[2])
    assert is_edited("")
