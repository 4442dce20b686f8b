"""The rules of the trust gate: each threshold, and that bad news never makes a result better."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.results.gate import (
    EMPTY_SHARE,
    LIMIT_FROM,
    SAME_FROM,
    SAME_LENGTH,
    UNFINISHED_SHARE,
    Asked,
    EntryFacts,
    judge_task,
)
from hpcjobs.results.judgement import NO_SAMPLES, NOT_INSTALLED, Trust
from hpcjobs.results.log_facts import LogFacts, log_facts
from hpcjobs.results.sample_facts import SampleFacts

LOG = LogFacts(there=True)
WORST = [Trust.DONE, Trust.SUSPECT, Trust.FAILED]


def entry(samples: int = 100, task: str = "t", **counts: Any) -> EntryFacts:
    """A task with an answer for each sample, all of them full but the empty ones."""
    full = samples - counts.get("empty", 0)
    facts = SampleFacts(task, samples=samples, answers=samples, full=full)
    for name, value in counts.items():
        setattr(facts, name, value)
    return EntryFacts(task, samples, samples, facts)


def kinds(*entries: EntryFacts, log: LogFacts = LOG, **asked: Any) -> list[str]:
    return [one.kind for one in judge_task(entries, log, Asked(**asked)).findings]


def test_a_clean_one_is_done() -> None:
    assert judge_task([entry()], LOG, Asked()).trust is Trust.DONE


def test_a_few_answers_that_the_model_left_empty_are_its_own() -> None:
    few = int(100 * EMPTY_SHARE)
    assert kinds(entry(empty=few)) == []
    assert kinds(entry(empty=few + 1)) == ["empty"]


def test_without_a_log_nobody_knows_why_one_is_empty() -> None:
    assert kinds(entry(empty=1), log=LogFacts()) == ["empty"]
    assert kinds(entry(empty=1), log=LogFacts(True, cached=3)) == ["cached", "empty"]


def test_one_lost_answer_is_enough() -> None:
    assert kinds(entry(10_000, empty=1), log=LogFacts(True, lost=1)) == ["lost", "empty"]


def test_a_reasoning_parser_leaves_empty_what_was_never_answered() -> None:
    asked = {"settings": {"reasoning_parser": "deepseek_r1"}}
    most = int(100 * UNFINISHED_SHARE)
    assert kinds(entry(empty=most), **asked) == []
    assert kinds(entry(empty=most + 1), **asked) == ["empty"]
    assert kinds(entry(empty=100), **asked) == ["empty"]


def test_a_subset_without_any_answer_is_named() -> None:
    found = judge_task([entry(5000), entry(4, "t:sub", empty=4)], LOG, Asked())
    assert found.why == "all answers are empty in 1 subset: t:sub"
    assert found.trust is Trust.SUSPECT


@pytest.mark.parametrize("count", ["unclosed", "endless"])
def test_most_answers_never_end(count: str) -> None:
    most = int(100 * UNFINISHED_SHARE)
    assert kinds(entry(**{count: most})) == []
    assert len(kinds(entry(**{count: most + 1}))) == 1


def test_the_length_limit_of_long_answers_only() -> None:
    assert kinds(entry(at_limit=100, limit=LIMIT_FROM)) == ["length"]
    assert kinds(entry(at_limit=100, limit=LIMIT_FROM - 1)) == []
    assert kinds(entry(at_limit=100)) == []


def test_one_long_text_for_everything() -> None:
    text = "x" * SAME_LENGTH
    assert kinds(entry(SAME_FROM, same=text)) == ["same"]
    assert kinds(entry(SAME_FROM - 1, same=text)) == []
    assert kinds(entry(SAME_FROM, same=text[:-1])) == []


@pytest.mark.parametrize(
    ("samples", "original", "read", "most", "expected"),
    [
        (100, 100, 100, None, []),
        (99, 100, 99, None, ["fewer"]),
        (100, 100, 99, None, ["fewer"]),
        (None, None, 7, None, []),
        (None, 100, 99, None, ["fewer"]),
        (10, 100, 10, 10, []),
        (9, 100, 9, 10, ["fewer"]),
        (8, 8, 8, 10, []),
        (11, 100, 11, 10, ["limit"]),
        (10, 100, 10, 0.1, []),
        (9, 100, 9, 0.1, ["fewer"]),
        (10, 100, 10, None, ["fewer"]),
    ],
)
def test_samples_are_counted_against_what_was_asked(
    samples: int | None, original: int | None, read: int, most: float | None, expected: list[str]
) -> None:
    one = EntryFacts("t", samples, original, entry(read).facts)
    assert kinds(one, max_samples=most) == expected


def test_no_sample_at_all_is_no_result() -> None:
    assert judge_task([entry(0)], LOG, Asked()).trust is Trust.FAILED


def test_samples_that_were_not_looked_at_are_told() -> None:
    one = EntryFacts("t", 4, 4, None, "why", NOT_INSTALLED)
    two = EntryFacts("u", 4, 4, None, "", NO_SAMPLES)
    found = judge_task([one, dataclasses.replace(one, task="v"), two], LOG, Asked())
    assert found.trust is Trust.SUSPECT
    assert found.unread
    assert found.incomplete
    assert found.why == (
        "no samples are there of u; the answers were not looked at of t and 1 more (why)"
    )


@pytest.mark.parametrize(
    ("told", "asked", "differs"),
    [(0.6, 0.6, False), (1, 1.0, False), (0.6, 0.7, True), ("low", "high", True), ("1", 1, False)],
)
def test_settings_are_compared_as_they_are_meant(
    told: object, asked: object, differs: bool
) -> None:
    found = kinds(entry(), settings={"a": asked}, generations=({"a": told, "b": 3},))
    assert found == (["settings"] if differs else [])


@pytest.mark.parametrize(
    ("samples", "original", "why"),
    [
        (10, 1319, "t: only 10 of 1319 samples (the option limit, 10)"),
        (10, None, "t: only 10 of ? samples (the option limit, 10)"),
        (None, 1319, "t: only ? of 1319 samples (the option limit, 10)"),
        (8, 8, ""),
    ],
)
def test_a_part_of_a_task_is_not_the_whole_of_it(
    samples: int | None, original: int | None, why: str
) -> None:
    one = EntryFacts("t", samples, original, entry(samples or 10).facts)
    asked = Asked(max_samples=10, limits=(10,))
    assert judge_task([one], LOG, asked).why == "", "a trial is kept apart"
    assert judge_task([one], LOG, dataclasses.replace(asked, partial=True)).why == why


def test_parts_of_many_subsets_are_told_once() -> None:
    one = EntryFacts("t", 3, 30, entry(3).facts)
    some = [one, dataclasses.replace(one, task="u"), EntryFacts("v", 3, 3, entry(3).facts)]
    found = judge_task(some, LOG, Asked(max_samples=0.1, partial=True))
    assert found.why == "t: only 3 of 30 samples and 1 more (the option limit, 0.1)"


def test_a_limit_that_nobody_asked_for() -> None:
    assert kinds(entry(), limits=(100.0,)) == ["limit"]
    assert kinds(entry(), limits=(100.0, None), max_samples=100) == []


# ---- All in all ----------------------------------------------------------------------------------

COUNTS = ("empty", "unclosed", "endless", "broken", "at_limit")


@st.composite
def entries(draw: st.DrawFn) -> EntryFacts:
    samples = draw(st.integers(1, 50))
    counts = {name: draw(st.integers(0, samples)) for name in COUNTS}
    return entry(samples, limit=draw(st.sampled_from([None, 16, 4096])), **counts)


@given(st.lists(entries(), min_size=1, max_size=4), st.integers(0, 9), st.integers(0, 9))
def test_lost_or_cached_answers_are_never_done(
    some: list[EntryFacts], lost: int, cached: int
) -> None:
    found = judge_task(some, LogFacts(True, lost, cached), Asked())
    if lost or cached:
        assert found.trust is not Trust.DONE


@given(st.lists(entries(), min_size=1, max_size=4), st.sampled_from(COUNTS), st.booleans())
def test_worse_facts_are_never_trusted_more(
    some: list[EntryFacts], count: str, parser: bool
) -> None:
    asked = Asked(settings={"reasoning_parser": "x"} if parser else {})
    before = judge_task(some, LOG, asked)
    facts = some[0].facts
    assert facts is not None
    worse = dataclasses.replace(facts, **{count: min(getattr(facts, count) + 5, facts.answers)})
    after = judge_task([dataclasses.replace(some[0], facts=worse), *some[1:]], LOG, asked)
    assert WORST.index(after.trust) >= WORST.index(before.trust)


@given(st.lists(entries(), min_size=1, max_size=4))
def test_it_is_failed_if_and_only_if_there_is_no_answer_at_all(some: list[EntryFacts]) -> None:
    answers = sum(one.facts.answers for one in some if one.facts)
    empty = sum(one.facts.empty for one in some if one.facts)
    assert (judge_task(some, LOG, Asked()).trust is Trust.FAILED) == (empty == answers)


# ---- Logs ----------------------------------------------------------------------------------------


def test_a_log_is_counted_and_its_keys_are_hidden() -> None:
    lines = [
        "fine",
        "Error in API call: AuthenticationError: Incorrect API key provided: sk-abcdefgh12345678",
        "50%|##   |\rAPI call failed after 3 attempts, returning empty response. (x.py:1)",
        "API call failed after 3 attempts, returning empty response. (x.py:1)",
        "Error in API call: later",
    ]
    found = log_facts("a.log", enumerate(lines, 1))
    assert (found.there, found.lost, found.cached) == (True, 2, 0)
    first, second = found.lost_lines
    assert first.startswith("a.log:2: Error in API call: AuthenticationError")
    assert "abcdefgh" not in first
    assert second == (
        "a.log:3: API call failed after 3 attempts, returning empty response. (x.py:1)"
    )


@pytest.mark.parametrize(
    ("line", "cached"),
    [
        ("Cache: 4/4 samples are cached for tasks t|0 (cache_management.py:402)", 4),
        ("Cache: Starting to process 4/4 samples (not found in cache) for tasks t|0", 0),
        ("Cached 4 samples of t|0 at lighteval_cache/x.parquet.", 0),
        ("[CACHING] Loaded 12 cached indices for task 't|0'", 12),
        ("[CACHING] Loaded 0 cached indices for task 't|0'", 0),
    ],
)
def test_what_came_from_a_cache_is_told_from_what_went_into_it(line: str, cached: int) -> None:
    found = log_facts("a.log", [(1, line)])
    assert found.cached == cached
    assert bool(found.cached_lines) == bool(cached)
