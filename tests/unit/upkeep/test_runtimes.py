"""What the runtime table could say, given what jobs took; and how the table is changed."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.config.tables import read_tasks
from hpcjobs.errors import InputError
from hpcjobs.markers import Marker, Markers, TaskMarkers
from hpcjobs.model import Job, JobState, Reason, TaskRun
from hpcjobs.runtimes.model_size import UNKNOWN, size_class, size_in_cache, size_in_name
from hpcjobs.runtimes.observed import seconds_of_tasks
from hpcjobs.runtimes.proposal import Group, Rule, decide
from hpcjobs.runtimes.table_text import edited, unified_diff
from hpcjobs.store import AttemptRecord

Command = Callable[..., tuple[str, str]]

# The size of a model


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5", 8), ("org/x-1.5b", 1.5),
        ("meta/Llama-3-70B", 70), ("mistralai/Mixtral-8x7B-v0.1", 56), ("Qwen/Qwen2.5-0.5B", 0.5),
        ("Qwen/Qwen3-30B-A3B", 30), ("org/SmolLM2-135M", 0.135), ("openai/gpt-oss-120b", 120),
        ("google/gemma-3n-E4B-it", 4), ("microsoft/phi-3-mini-4k", None), ("openai/o3-mini", None),
        ("7B-org/name", None), ("org/model-4bit", None), ("org/v2.5Beta", None), ("org/x-0B", None),
    ],
)  # fmt: skip
def test_the_name_of_a_model_tells_its_size(name: str, billions: float | None) -> None:
    assert size_in_name(name) == billions


@pytest.mark.parametrize(
    ("billions", "name"),
    [(0.5, "0-2B"), (7.9, "5-10B"), (8, "5-10B"), (10, "10-20B"), (405, "400B+"), (None, UNKNOWN)],
)
def test_sizes_are_told_apart_in_classes(billions: float | None, name: str) -> None:
    assert size_class(billions) == name


@pytest.mark.parametrize(
    ("index", "config", "billions"),
    [
        ({"metadata": {"total_size": 16_000_000_000}}, {"torch_dtype": "bfloat16"}, 8),
        ({"metadata": {"total_parameters": 3_000_000_000, "total_size": 1}}, {}, 3),
        ({"metadata": {"total_size": 16}}, {"torch_dtype": "bfloat16",
                                            "quantization_config": {}}, None),
        ({"metadata": {"total_size": 16}}, {"torch_dtype": "float8"}, None),
        ([], [], None),
        ({"metadata": 5}, {"dtype": "float16"}, None),
    ],
)  # fmt: skip
def test_the_cache_tells_it_where_the_name_does_not(
    tmp_path: Path, index: Any, config: Any, billions: float | None
) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    (snapshot / "config.json").write_text(json.dumps(config))
    assert size_in_cache("org/name", tmp_path) == billions
    assert size_in_cache("org/other", tmp_path) is None


# What was observed


def an_attempt(state: JobState, reason: Reason | None = None) -> AttemptRecord:
    return AttemptRecord(1, "x", "here", 0.0, state=state, reason=reason)


def two_tasks(a_job: Callable[..., Job]) -> Job:
    runs = tuple(TaskRun(key, key, key, "lighteval", {}) for key in ("a", "b"))
    return a_job(tasks=runs, walltime=1000)


def test_each_task_of_a_job_has_the_servers_start_on_its_bill(a_job: Callable[..., Job]) -> None:
    markers = Markers(
        started=Marker("n", 0),
        exit_code=Marker("0", 410),
        tasks={
            "a": TaskMarkers(Marker("-", 100), Marker("0", 150)),
            "b": TaskMarkers(Marker("-", 150), Marker("0", 400)),
        },
    )
    found = seconds_of_tasks(two_tasks(a_job), an_attempt(JobState.SUCCEEDED), markers)
    assert found == {"a": (100 + 50 + 10, 100), "b": (100 + 250 + 10, 100)}


def test_out_of_time_counts_for_the_task_that_was_not_done(a_job: Callable[..., Job]) -> None:
    markers = Markers(
        started=Marker("n", 0),
        tasks={"a": TaskMarkers(Marker("-", 100), Marker("0", 150)),
               "b": TaskMarkers(Marker("-", 150))},
    )  # fmt: skip
    attempt = an_attempt(JobState.FAILED, Reason.TIMEOUT)
    assert seconds_of_tasks(two_tasks(a_job), attempt, markers) == {"b": (950, 100)}


@pytest.mark.parametrize(
    "markers",
    [
        Markers(),
        Markers(started=Marker("n", 0), exit_code=Marker("0", 9)),
        Markers(started=Marker("n", 50), exit_code=Marker("0", 60),
                tasks={"a": TaskMarkers(Marker("-", 10), Marker("0", 20))}),
        Markers(started=Marker("n", 0), exit_code=Marker("0", 60),
                tasks={"a": TaskMarkers(Marker("-", 30), Marker("0", 20))}),
        Markers(started=Marker("n", 0), restarted=Marker("n", 1), exit_code=Marker("0", 60),
                tasks={"a": TaskMarkers(Marker("-", 10), Marker("0", 20))}),
        Markers(started=Marker("n", 0), exit_code=Marker("0", 60),
                tasks={"a": TaskMarkers(Marker("-", 10), Marker("1", 20))}),
    ],
    ids=["none", "no task", "clock back", "task back", "started twice", "task failed"],
)  # fmt: skip
def test_what_is_not_whole_is_no_observation(a_job: Callable[..., Job], markers: Markers) -> None:
    assert not seconds_of_tasks(two_tasks(a_job), an_attempt(JobState.SUCCEEDED), markers)


# What is proposed


def group(*seconds: float, size: str = "5-10B", timeouts: tuple[float, ...] = ()) -> Group:
    return Group("ja_a", "hrt_q", size, ("s/n",), tuple(sorted(seconds)), (), timeouts)


HOUR = 3600
CASES: list[tuple[list[Group], int | None, int, int | None, str]] = [
    ([group(1000, 1100, 1200)], 4 * HOUR, 24 * HOUR, 1800, "less is enough"),
    ([group(3000, 3100, 3200)], HOUR, 24 * HOUR, 4800, "margin is too small"),
    ([group(1000, 1100)], HOUR, 24 * HOUR, None, "too few observations (2 of 5-10B"),
    ([group(1000, 1100, 1200), group(9, size="80B")], HOUR, 24 * HOUR, None, "1 of 80B"),
    ([group(1000, 1100, 1200, timeouts=(1800,))], 4 * HOUR, 24 * HOUR, None, "not lowered"),
    ([group(timeouts=(HOUR,))], HOUR, 24 * HOUR, 5400, "1 ran out of time"),
    ([group(timeouts=(20 * HOUR,))], 20 * HOUR, 24 * HOUR, 24 * HOUR, "allows no more"),
    ([group(timeouts=(24 * HOUR,))], 24 * HOUR, 24 * HOUR, None, "allows no more"),
    ([group(1200, 1200, 1200)], 1800, 24 * HOUR, None, "as it is"),
    ([group(1200, 1200, 1200)], None, 24 * HOUR, 1800, "empty"),
    ([group(1200, 1200, 1200), group(2000, 2000, 2000, size="10-20B")], 1800, 24 * HOUR, 3000,
     "margin"),
]  # fmt: skip


@pytest.mark.parametrize(("groups", "present", "limit", "proposed", "why"), CASES)
def test_the_table_follows_what_was_seen(
    groups: list[Group], present: int | None, limit: int, proposed: int | None, why: str
) -> None:
    found, said = decide(groups, present, limit, Rule())
    assert found == proposed
    assert why in said


times = st.lists(st.floats(1, 80000), max_size=6).map(lambda x: tuple(sorted(x)))


@given(times, times, st.integers(1, 90000), st.integers(600, 90000))
def test_out_of_time_never_lowers_and_no_proposal_is_below_what_was_seen(
    done: tuple[float, ...], late: tuple[float, ...], present: int, limit: int
) -> None:
    found, _ = decide([group(*done, timeouts=late)], present, limit, Rule())
    if found is not None:
        assert found <= limit
        assert found != present
        assert found == limit or found >= max((*done, *late))
        assert not late or found > present


def test_raise_only_lowers_nothing_and_a_quantile_passes_over_the_slowest() -> None:
    seen = [group(*[600] * 19, 9000)]
    assert decide(seen, 20000, 90000, Rule(lower=False))[0] is None
    assert decide(seen, 20000, 90000, Rule(quantile=0.95))[0] == 1200
    assert decide(seen, 20000, 90000, Rule())[0] == 13800


# The table as text

TABLE = (
    "\ufeff# times of ours, \"quoted\n"
    "key,script,result_dir,framework, hrt_q ,note,hrt_f,\r\n"
    "\r\n"
    'ja_a,"a, ""b""",ja/a,lighteval, 01:00:00 ,"has 01:00:00, too",02:00:00,,,\r\n'
    "  # a comment, with 01:00:00\n"
    "ja_b,b,ja/b,lighteval,01:00:00,,\n"
    'ja_c,c,ja/c,lighteval,"01:00:00",,02:00:00'
)  # fmt: skip


def test_only_the_cell_changes() -> None:
    new = edited(TABLE, {("ja_a", "hrt_q"): "00:30:00", ("ja_c", "hrt_q"): "03:00:00"})
    assert new == TABLE.replace(", 01:00:00 ,", ", 00:30:00 ,").replace('"01:00:00"', '"03:00:00"')


def test_an_empty_cell_is_filled() -> None:
    new = edited(TABLE, {("ja_b", "hrt_f"): "00:30:00"})
    assert new == TABLE.replace("lighteval,01:00:00,,\n", "lighteval,01:00:00,,00:30:00\n")


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no cell wlt of ja_a"):
        edited(TABLE, {("ja_a", "wlt"): "00:30:00"})


cells = st.text(st.sampled_from('ab "#,\n\r01:é '), max_size=8)


@given(st.lists(st.tuples(cells, st.sampled_from(["", "01:00:00", " 1:00:00"])), min_size=1),
       st.sampled_from(["\n", "\r\n"]), st.data())  # fmt: skip
def test_any_table_that_csv_writes_is_changed_in_one_cell_only(
    rows: list[tuple[str, str]], end: str, data: st.DataObject
) -> None:
    out = io.StringIO(newline="")
    everything = data.draw(st.booleans())
    if not everything:  # (Python's writer leaves a lone return without quotes)
        rows = [(note.replace("\r", ""), time) for note, time in rows]
    quoting = csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL
    writer = csv.writer(out, lineterminator=end, quoting=quoting)
    writer.writerow(["key", "note", "hrt_q"])
    for number, row in enumerate(rows):
        writer.writerow([f"k{number}", row[0].replace("\n#", "").replace("\r#", ""), row[1]])
    text = out.getvalue()
    if any(line.lstrip().startswith("#") for line in io.StringIO(text, newline="")):
        return
    chosen = data.draw(st.integers(0, len(rows) - 1))
    new = edited(text, {(f"k{chosen}", "hrt_q"): "09:10:00"})
    old_rows, new_rows = (list(csv.reader(io.StringIO(x, newline=""))) for x in (text, new))
    assert new_rows[chosen + 1][2].strip() == "09:10:00"
    new_rows[chosen + 1][2] = old_rows[chosen + 1][2]
    assert new_rows == old_rows


def test_the_diff_is_one_that_patch_applies(tmp_path: Path) -> None:
    new = edited(TABLE, {("ja_c", "hrt_q"): "03:00:00", ("ja_a", "hrt_q"): "00:30:00"})
    (tmp_path / "t.csv").write_bytes(TABLE.encode())
    (tmp_path / "d").write_bytes(unified_diff(TABLE, new, "t.csv").encode())
    subprocess.run(["git", "apply", "d"], cwd=tmp_path, check=True)
    assert (tmp_path / "t.csv").read_bytes() == new.encode()
    assert unified_diff(TABLE, TABLE, "t.csv") == ""


# The command


@pytest.fixture
def own_table(tmp_path: Path) -> Path:
    path = tmp_path / "conf" / "tasks_runtime.csv"
    path.parent.mkdir()
    path.write_text("# ours\nkey,script,result_dir,framework,hrt_q,hrt_f,\n"
                    "ja_a,a,ja/a,lighteval,04:00:00,08:00:00,\n")  # fmt: skip
    return path


def test_times_are_learned_from_full_runs_that_succeeded(
    ended: Any, own_table: Path, command: Command
) -> None:
    for seconds in (1000, 1100, 1500):
        ended.timed(seconds)
    ended.timed(90, max_samples=3)
    ended.timed(90, trial=True)
    failed = ended.job()
    ended.attempt(failed, state="FAILED", reason="EXIT_CODE", markers={"started": ("n", 0)})
    ended.timed(50, tasks=(TaskRun("ja_a", "another", "ja/a", "lighteval", {}),))
    ended.timed(50, node="gone")
    ended.attempt(ended.job(), end=None)
    found = json.loads(command("runtimes", "show", "--json")[0])
    (cell,) = found["proposals"]
    assert (cell["task"], cell["column"]) == ("ja_a", "hrt_q")
    assert (cell["present"], cell["proposed"]) == (4 * 3600, 2400)
    (seen,) = cell["observed"]
    assert (seen["size"], seen["seconds"]) == ("5-10B", [1000, 1100, 1500])
    assert (seen["median"], seen["longest"], seen["nodes"]) == (1100, 1500, ["tsubame/node_q"])
    assert sum(found["left_out"].values()) == 5
    shown, told = command("runtimes", "show")
    assert "00:25:00" in shown
    assert "2 attempt(s) left out: trial runs" in told


def test_what_is_suspect_is_no_observation(ended: Any, own_table: Path, command: Command) -> None:
    for _ in range(3):
        ended.timed(100, outcome={"suspect": {"ja_a": "answers lost"}})
        ended.timed(100, outcome={"suspect": None})
    found = json.loads(command("runtimes", "show", "--json")[0])
    assert found["proposals"] == []
    assert sorted(found["left_out"].values()) == [3, 3]


def test_refresh_writes_nothing_unasked_and_then_one_cell(
    ended: Any, own_table: Path, command: Command, tmp_path: Path
) -> None:
    for _ in range(3):
        ended.timed(1200)
    before = own_table.read_bytes()
    diff, told = command("runtimes", "refresh")
    assert "-ja_a,a,ja/a,lighteval,04:00:00,08:00:00," in diff
    assert "+ja_a,a,ja/a,lighteval,00:30:00,08:00:00," in diff
    assert "nothing was written" in told
    command("runtimes", "refresh", "--in-place", code=2)
    assert own_table.read_bytes() == before
    new = tmp_path / "new.csv"
    command("runtimes", "refresh", "--write", new)
    assert new.read_bytes() == before.replace(b"04:00:00", b"00:30:00")
    command("runtimes", "refresh", "--write", new, code=2)
    command("runtimes", "refresh", "--write", own_table, code=2)
    assert own_table.read_bytes() == before
    own_table.chmod(0o640)
    command("runtimes", "refresh", "--in-place", "--yes")
    assert read_tasks(own_table)["ja_a"].walltimes["hrt_q"] == 1800
    assert own_table.stat().st_mode & 0o777 == 0o640
    (backup,) = own_table.parent.glob("*.bak")
    assert backup.read_bytes() == before
    assert command("runtimes", "refresh", "--in-place", "--yes")[0] == ""
    assert len([*own_table.parent.iterdir()]) == 2


def test_out_of_time_raises_even_alone(ended: Any, own_table: Path, command: Command) -> None:
    ended.out_of_time(4 * 3600)
    assert "+ja_a,a,ja/a,lighteval,06:00:00," in command("runtimes", "refresh")[0]


def test_the_defaults_are_never_written(ended: Any, command: Command) -> None:
    job = (TaskRun("ja_gpqa", "swallow_gpqa_ja", "ja/gpqa", "lighteval", {}),)
    made = ended.job(tasks=job)
    ended.attempt(
        made, state="FAILED", reason="TIMEOUT",
        markers={"started": ("n", 0), "task.ja_gpqa.started": ("-", 60)},
    )  # fmt: skip
    _, told = command("runtimes", "refresh", "--in-place", "--yes", code=2)
    assert "not the workspace's own" in told


def test_without_jobs_there_is_nothing_to_learn(own_table: Path, command: Command) -> None:
    assert "nothing was observed" in command("runtimes", "show")[0]
    assert command("runtimes", "refresh")[0] == ""
