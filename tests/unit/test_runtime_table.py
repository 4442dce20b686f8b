"""conf/tasks_runtime.csv: the users' own rows, and what is accepted and refused in such a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs.config.tables import FRAMEWORKS, read_rows, read_tasks
from hpcjobs.errors import InputError, StorageError

USERS = Path(__file__).parents[1] / "fixtures" / "tables" / "tasks_runtime.csv"
HEADER = "key,script,result_dir,framework,hrt_q\n"
ROW = "ja_gpqa,gpqa,ja/gpqa,lighteval,00:30:00\n"

Write = Callable[..., Path]


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_tasks(path)
    return caught.value


def test_the_users_rows_stand_unchanged_in_front_of_the_shipped_table(project: Path) -> None:
    shipped = (project / "conf" / "tasks_runtime.csv").read_bytes()
    assert shipped.startswith(USERS.read_bytes())


def test_the_users_table_has_31_tasks() -> None:
    assert len(read_tasks(USERS)) == 31


def test_the_shipped_table_adds_only_the_demo(project: Path) -> None:
    added = set(read_tasks(project / "conf" / "tasks_runtime.csv")) - set(read_tasks(USERS))
    assert added == {"demo_capitals", "demo_sums"}


@pytest.mark.parametrize("key", ["en_hellaswag", "en_mmlu"])
def test_a_row_of_the_users_with_a_stray_comma_keeps_its_times(key: str) -> None:
    assert set(read_tasks(USERS)[key].walltimes) == {"hrt_q", "hrt_f", "wlt_HG", "wlt_HF"}


def test_times_are_seconds_by_column() -> None:
    times = read_tasks(USERS)["ja_mmlu_prox"].walltimes
    assert times == {"hrt_q": 14400, "hrt_f": 57600, "wlt_HG": 14400, "wlt_HF": 57600}


def test_a_script_may_have_a_colon() -> None:
    assert read_tasks(USERS)["ja_wmt20_en_ja"].script == "wmt20:en-ja"


def test_the_order_of_the_table_is_kept(write: Write) -> None:
    rows = "".join(ROW.replace("ja_gpqa", key) for key in ("zz", "aa", "mm"))
    assert list(read_tasks(write(HEADER + rows))) == ["zz", "aa", "mm"]


@pytest.mark.parametrize("text", ["1:30:00", "01:30:00", " 01:30:00 ", "1:30:0", "001:30:00"])
def test_a_time_need_not_be_padded(write: Write, text: str) -> None:
    path = write(HEADER + ROW.replace("00:30:00", text))
    assert read_tasks(path)["ja_gpqa"].walltimes == {"hrt_q": 5400}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(("\ufeff" + HEADER + ROW).encode(), id="byte order mark"),
        pytest.param((HEADER + ROW).replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param((HEADER + ROW).replace("\n", "\r").encode(), id="CR"),
        pytest.param((HEADER + ROW).rstrip("\n").encode(), id="no newline at the end"),
        pytest.param(("\n\n" + HEADER + "\n  \n,,,\n" + ROW + "\n").encode(), id="blank lines"),
        pytest.param(("# ours, really\n" + HEADER + "  # a,b\n" + ROW).encode(), id="comments"),
        pytest.param((HEADER.replace(",", " , ") + ROW.replace(",", ", ")).encode(), id="spaces"),
        pytest.param((HEADER.strip() + ",,\n" + ROW).encode(), id="stray commas in the header"),
        pytest.param((HEADER + ROW.strip() + ",,,\n").encode(), id="stray commas in a row"),
        pytest.param((HEADER + ROW.replace("gpqa,ja", '"gpqa",ja')).encode(), id="quotes"),
    ],
)
def test_a_table_is_read_however_an_editor_saved_it(write: Write, content: bytes) -> None:
    (task,) = read_tasks(write(content)).values()
    assert (task.key, task.script, task.result_dir, task.framework, dict(task.walltimes)) == (
        ("ja_gpqa", "gpqa", "ja/gpqa", "lighteval", {"hrt_q": 1800})
    )


def test_columns_may_stand_in_any_order(write: Write) -> None:
    path = write("framework,hrt_q,key,result_dir,script\nlm_eval,00:10:00,k,d,s\n")
    assert read_tasks(path)["k"].script == "s"


@pytest.mark.parametrize("name", ["NA", "null", "nan", "None", "true", "1e5", "007"])
def test_a_task_may_have_a_name_that_looks_like_a_value(write: Write, name: str) -> None:
    (task,) = read_tasks(write(HEADER + f"{name},{name},{name},lm_eval,00:10:00\n")).values()
    assert (task.key, task.script, task.result_dir) == (name, name, name)


def test_columns_that_we_do_not_know_are_kept(write: Write) -> None:
    path = write(HEADER.strip() + ",note,owner\n" + ROW.strip() + ",slow,NA\n")
    assert read_tasks(path)["ja_gpqa"].extra == {"note": "slow", "owner": "NA"}


def test_a_quoted_field_may_hold_commas_and_quotes(write: Write) -> None:
    path = write(HEADER.strip() + ",note\n" + ROW.strip() + ',"a, ""b"""\n')
    assert read_tasks(path)["ja_gpqa"].extra == {"note": 'a, "b"'}


def test_a_row_after_a_field_of_two_lines_is_named_by_its_own_line(write: Write) -> None:
    path = write(HEADER.strip() + ",note\n" + ROW.strip() + ',"two\nlines"\nx,y,z,lighteval,,\n')
    assert read_tasks(path)["x"].where == f"{path}:4"


def test_an_empty_time_is_no_time(write: Write) -> None:
    assert read_tasks(write(HEADER + "a,b,c,lighteval,\n"))["a"].walltimes == {}


def test_a_task_tells_where_it_stands(write: Write) -> None:
    path = write("# one\n\n" + HEADER + ROW)
    assert read_tasks(path)["ja_gpqa"].where == f"{path}:4"


# ---- Refusals: file, line, column, value, and the nearest that would have been right -------------


def test_a_misspelt_column_is_named_with_what_stands_there(write: Write) -> None:
    path = write("# x\n" + HEADER.replace("framework", "framewrok") + ROW)
    error = refusal(path)
    assert error.where == f"{path}:2"
    assert error.what == "the column 'framework' is missing"
    assert error.nearest == "framewrok"


def test_a_column_that_stands_twice_is_refused(write: Write) -> None:
    path = write(HEADER.strip() + ",hrt_q\n" + ROW.strip() + ",00:10:00\n")
    error = refusal(path)
    assert (error.where, error.what) == (f"{path}:1", "the column 'hrt_q' stands twice")


def test_a_column_without_a_name_is_refused(write: Write) -> None:
    path = write("key,,script,result_dir,framework\na,,b,c,lighteval\n")
    assert refusal(path).what == "a column has no name"


def test_a_second_task_of_the_same_key_is_refused_with_both_places(write: Write) -> None:
    path = write(HEADER + ROW + "\n" + ROW)
    error = refusal(path)
    assert error.where == f"{path}:4"
    assert "column key: 'ja_gpqa'" in error.what
    assert f"{path}:2" in str(error.expected)


@pytest.mark.parametrize("row", ["ja_gpqa,gpqa,ja/gpqa\n", ROW.strip() + ",more\n", "a\n"])
def test_a_row_of_another_length_is_refused(write: Write, row: str) -> None:
    path = write(HEADER + row)
    error = refusal(path)
    assert error.where == f"{path}:2"
    assert row.strip() in error.what
    assert str(error.expected).startswith("5 fields")


@pytest.mark.parametrize(
    "text", ["30", "30:00", "1h", "00:60:00", "00:00:60", "-1:00:00", "00:30:00.5", "24:00", "x"]
)
def test_a_time_of_another_form_is_refused(write: Write, text: str) -> None:
    path = write(HEADER + ROW.replace("00:30:00", text))
    error = refusal(path)
    assert (error.where, error.what) == (f"{path}:2", f"column hrt_q: '{text}' is not allowed")


@pytest.mark.parametrize("text", ["00:00:00", "0:0:0"])
def test_a_time_of_zero_is_refused(write: Write, text: str) -> None:
    assert "column hrt_q" in refusal(write(HEADER + ROW.replace("00:30:00", text))).what


def test_an_unknown_framework_is_refused_with_the_nearest(write: Write) -> None:
    error = refusal(write(HEADER + ROW.replace("lighteval", "light_eval")))
    assert error.what == "column framework: 'light_eval' is not allowed"
    assert error.nearest == "lighteval"
    assert all(name in str(error.expected) for name in FRAMEWORKS)


@pytest.mark.parametrize("where", ["/tmp/x", "../x", "ja/../../x", "", ".", "ja/x\x07"])
def test_a_result_directory_outside_the_attempt_is_refused(write: Write, where: str) -> None:
    error = refusal(write(HEADER + ROW.replace("ja/gpqa", where)))
    assert error.what.startswith("column result_dir:")


@pytest.mark.parametrize("key", ["", "a b", "../x", "a/b", "-a", "日本", "a;b", "$(x)", "a\x1b"])
def test_a_key_that_cannot_be_a_plain_file_name_is_refused(write: Write, key: str) -> None:
    assert refusal(write(HEADER + ROW.replace("ja_gpqa", key))).what.startswith("column key:")


def test_a_task_without_a_script_is_refused(write: Write) -> None:
    assert refusal(write(HEADER + ROW.replace("gpqa,ja/", ",ja/"))).what.startswith("column script")


def test_control_characters_do_not_reach_the_terminal(write: Write) -> None:
    message = str(refusal(write(HEADER + ROW.replace("lighteval", "\x1b[2Jx"))))
    assert message.replace("\n", "").isprintable()


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n", "\ufeff"])
def test_an_empty_table_is_refused(write: Write, content: str) -> None:
    error = refusal(write(content))
    assert error.what == "the table is empty"


def test_a_table_with_nothing_but_its_header_is_refused(write: Write) -> None:
    assert refusal(write(HEADER)).what == "the table has no tasks"


def test_a_quote_that_does_not_end_is_refused(write: Write) -> None:
    path = write(HEADER + ROW.replace(",gpqa,", ',"gpqa,'))
    error = refusal(path)
    assert error.what.startswith("not CSV")
    assert str(error.where).startswith(f"{path}:")


@pytest.mark.parametrize("encoding", ["shift_jis", "utf-16"])
def test_a_table_that_is_not_utf8_is_refused(write: Write, encoding: str) -> None:
    path = write((HEADER + ROW.replace("gpqa,", "日本語,", 1)).encode(encoding))
    error = refusal(path)
    assert error.what == "not UTF-8"
    assert error.where == f"{path}:{1 if encoding == 'utf-16' else 2}"


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.csv")
    assert (error.where, error.what) == (str(tmp_path / "none.csv"), "no such file")


def test_a_directory_instead_of_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Is a directory"):
        read_tasks(tmp_path)


def test_a_table_that_cannot_be_read_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    path = write(HEADER + ROW)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(StorageError, match=r"cannot read .*: Permission denied") as caught:
        read_tasks(path)
    assert caught.value.do is not None


def test_rows_of_any_table_are_given_as_text_by_column(write: Write) -> None:
    path = write("a,b\n1,\n")
    assert list(read_rows(path, ("a",))) == [(2, {"a": "1", "b": ""})]
