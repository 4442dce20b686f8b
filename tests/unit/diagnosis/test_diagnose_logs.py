"""Each recorded log gives exactly its cause, each known message too, and healthy logs give none."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hpcjobs.diagnosis.cause import Kind
from hpcjobs.diagnosis.diagnose import Diagnosis, diagnose
from hpcjobs.diagnosis.reading import read_lines
from hpcjobs.diagnosis.table import BY_ID, CAUSES
from hpcjobs.markers import Marker, Markers
from hpcjobs.model import JobState, Verdict

FIXTURES = Path(__file__).parents[2] / "fixtures" / "diagnosis"


def rows(name: str) -> list[dict[str, str]]:
    with (FIXTURES / name).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


RECORDED = rows("real/INDEX.tsv")
MESSAGES = rows("messages.tsv")
READY = Markers(ready=Marker("20000", 1.0))
SUCCEEDED = Verdict(JobState.SUCCEEDED)


def of_file(row: dict[str, str], verdict: Verdict | None = None) -> Diagnosis:
    logs = {row["log"]: read_lines(FIXTURES / "real" / row["file"])}
    return diagnose(logs, verdict) if verdict else diagnose(logs)


def ids(diagnosis: Diagnosis) -> list[str]:
    return [finding.cause.id for finding in diagnosis.findings]


def test_every_recorded_log_is_in_the_index() -> None:
    there = {path.name for path in (FIXTURES / "real").glob("*.log")}
    assert there == {row["file"] for row in RECORDED}
    assert len(there) > 30


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["file"])
def test_a_recorded_log_gives_exactly_its_cause(row: dict[str, str]) -> None:
    found = ids(of_file(row))
    # What a lost connection led to is told too, after it.
    assert [one for one in found if one != "lost_answers"] == (
        [] if row["cause"] == "-" else [row["cause"]]
    )


@pytest.mark.parametrize(
    "row", [row for row in RECORDED if row["cause"] == "-"], ids=lambda row: row["file"]
)
def test_a_healthy_log_warns_of_nothing(row: dict[str, str]) -> None:
    assert of_file(row, SUCCEEDED) == Diagnosis()


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: f"{row['cause']} {row['line'][:40]}")
def test_a_message_shows_its_cause_and_no_other(row: dict[str, str]) -> None:
    lines = [(1, "INFO: first"), (2, row["line"]), (3, "INFO: last")]
    diagnosis = diagnose({row["log"]: lines})
    assert ids(diagnosis) == [row["cause"]]
    assert [(line.file, line.number) for line in diagnosis.findings[0].lines] == [(row["log"], 2)]


def test_every_cause_that_logs_show_has_a_recorded_log_or_a_message() -> None:
    shown = {row["cause"] for row in (*RECORDED, *MESSAGES)} - {"-"}
    # These are seen with others, or are the script's own words (see test_diagnose_evidence).
    elsewhere = {"gpu_memory_later", "lost_answers", "server_ended", "server_died"}
    elsewhere |= {"server_unprotected", "no_directory"}
    assert {cause.id for cause in CAUSES if cause.signs} == shown | elsewhere


def test_the_first_error_of_a_chain_comes_before_what_it_led_to() -> None:
    row = next(row for row in RECORDED if row["file"] == "hub_gated.log")
    finding = of_file(row).findings[0]
    text = (FIXTURES / "real" / row["file"]).read_text().splitlines()
    assert finding.lines[0].text == text[finding.lines[0].number - 1].strip()


def test_colours_and_progress_bars_do_not_hide_an_error() -> None:
    line = "\x1b[31m 10%|#   | 1/10\r\x1b[1m 20%|##  | 2/10\rOSError: [Errno 28] \x1b[1mNo space"
    line += " left on device\x1b[0m\r 30%|### |"
    [finding] = diagnose({"ja_x.log": [(7, line)]}).findings
    assert finding.cause.id == "disk_full"
    assert finding.lines[0].text == "OSError: [Errno 28] No space left on device"


def test_the_fuller_table_of_a_cause_is_consistent() -> None:
    assert len(BY_ID) == len(CAUSES)
    for cause in CAUSES:
        assert cause.title == cause.title.strip().rstrip(".")
        assert len(cause.title) <= 90, cause.title
        assert cause.do
        assert cause.kind is not Kind.ADVICE or cause.warns
        for sign in cause.signs:
            assert len(sign.text) >= 8, sign


def test_of_a_cause_that_shows_often_few_lines_are_kept() -> None:
    lines = ((number, "litellm.Timeout: x") for number in range(1, 5001))
    [finding] = diagnose({"ja_x.log": lines}).findings
    assert finding.count == 5000
    assert [line.number for line in finding.lines] == [1, 2, 3, 5000]
