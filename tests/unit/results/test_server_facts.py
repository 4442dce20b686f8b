"""How answers ended by the server's own count: read from what jobs keep, and never mixed up."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.markers import Marker, Markers, TaskMarkers
from hpcjobs.results.gate import LIMIT_FROM, UNFINISHED_SHARE, Asked, EntryFacts, judge_task
from hpcjobs.results.log_facts import LogFacts
from hpcjobs.results.sample_facts import SampleFacts, read_facts
from hpcjobs.results.server_facts import ServerFacts, parsed, server_facts

RECORDED = Path(__file__).parents[2] / "fixtures/vllm_metrics/vllm-0.32.0.prom"
LOG = LogFacts(there=True)
ALONE = {"t": (0, 9)}


def told(model: str = "M", engine: str = "0", **counts: float) -> str:
    """What the server tells, in its own words."""
    return "".join(
        f'vllm:request_success_total{{engine="{engine}",finished_reason="{reason}",'
        f'model_name="{model}"}} {float(counts.get(reason, 0))}\n'
        for reason in ("stop", "length", "abort", "error")
    )


def kept(directory: Path, key: str, begin: str | None, end: str | None) -> None:
    (directory / "metrics").mkdir(exist_ok=True)
    for when, text in (("begin", begin), ("end", end)):
        if text is not None:
            (directory / f"metrics/{key}.{when}.prom").write_text(text)


def ran(times: dict[str, tuple[float, float | None]]) -> Markers:
    return Markers(
        tasks={
            key: TaskMarkers(Marker("-", start), None if end is None else Marker("0", end))
            for key, (start, end) in times.items()
        }
    )


# ---- What the job has kept -----------------------------------------------------------------------


def test_what_vllm_really_tells_is_understood(tmp_path: Path) -> None:
    text = RECORDED.read_text()
    assert sum(parsed(text).values()) == 15
    kept(tmp_path, "t", told("M"), text)  # another set of reasons: from another version
    assert server_facts(tmp_path, "t", ran(ALONE)).ended == {}
    kept(tmp_path, "t", text.replace("9.0", "1.0").replace("6.0", "4.0"), text)
    found = server_facts(tmp_path, "t", ran(ALONE))
    assert found.ended == {"stop": 8, "length": 2, "abort": 0, "error": 0, "repetition": 0}
    assert (found.answered, found.cut_off) == (10, 2)


def test_only_what_ended_during_the_task_counts(tmp_path: Path) -> None:
    kept(tmp_path, "t", told(stop=5, length=7, abort=1), told(stop=6, length=9, abort=4))
    found = server_facts(tmp_path, "t", ran(ALONE))
    assert found.ended == {"stop": 1, "length": 2, "abort": 3, "error": 0}
    assert found.answered == 3, "an abort is no answer"


def test_engines_are_added_up(tmp_path: Path) -> None:
    end = told(length=2) + told(engine="1", length=3, stop=1)
    kept(tmp_path, "t", told() + told(engine="1"), end)
    assert server_facts(tmp_path, "t", ran(ALONE)).cut_off == 5


def test_a_models_name_says_nothing_of_how_answers_ended(tmp_path: Path) -> None:
    name = r"finished_reason=\"length\" 日本 \n} "
    kept(tmp_path, "t", told(name), told(name, stop=3))
    assert server_facts(tmp_path, "t", ran(ALONE)).ended["stop"] == 3


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (None, told(length=5)),
        (told(), None),
        ("", ""),
        (told(stop=2), told(stop=1, length=5)),
        (told(), told(length=5).splitlines()[1]),
        (told(), told(length=5).replace("5.0", "NaN")),
    ],
    ids=["no begin", "no end", "nothing", "it began anew", "lines are missing", "no number"],
)
def test_what_is_not_whole_says_nothing(tmp_path: Path, begin: str | None, end: str | None) -> None:
    kept(tmp_path, "t", begin, end)
    assert server_facts(tmp_path, "t", ran(ALONE)) == ServerFacts()


# ---- Whose answers they were ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "known"),
    [
        ({"t": (10, 20), "u": (20, 30)}, True),
        ({"t": (10, 20), "u": (2, 10)}, True),
        ({"t": (10, 20), "u": (19, 30)}, False),
        ({"t": (10, 20), "u": (12, 13)}, False),
        ({"t": (10, 20), "u": (2, 40)}, False),
        ({"t": (10, 20), "u": (2, None)}, False),
        ({"t": (10, None)}, False),
        ({"u": (10, 20)}, False),
    ],
)
def test_of_tasks_that_ran_at_once_nobody_knows(
    tmp_path: Path, times: dict[str, tuple[float, float | None]], known: bool
) -> None:
    kept(tmp_path, "t", told(), told(length=5))
    assert bool(server_facts(tmp_path, "t", ran(times)).ended) is known


def test_counts_tell_what_the_clock_does_not(tmp_path: Path) -> None:
    times = {"t": (10, 10), "u": (10, 10)}
    kept(tmp_path, "t", told(), told(length=5))
    kept(tmp_path, "u", told(length=3), told(length=8))
    assert server_facts(tmp_path, "t", ran(times)) == ServerFacts()
    kept(tmp_path, "u", told(length=5), told(length=8))
    assert server_facts(tmp_path, "t", ran(times)).cut_off == 5


def test_the_counts_of_a_server_that_died_are_not_those_of_the_next_one(tmp_path: Path) -> None:
    kept(tmp_path, "t", told(), told(length=5))
    kept(tmp_path, "u", told(), told(length=8))
    apart = {"t": (10, 20), "u": (21, 30)}
    assert server_facts(tmp_path, "t", ran(apart)).cut_off == 5
    assert server_facts(tmp_path, "u", ran(apart)).cut_off == 8
    within_a_second = {"t": (10, 20), "u": (20, 30)}
    assert server_facts(tmp_path, "t", ran(within_a_second)) == ServerFacts()


@given(st.integers(0, 9), st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_requests_of_two_at_once_are_never_one_tasks(
    tmp_path_factory: pytest.TempPathFactory, before: int, both: int, first: int, second: int
) -> None:
    """`both` ended while both tasks ran; the markers see nothing."""
    directory = tmp_path_factory.mktemp("attempt")
    end = before + first + both
    kept(directory, "t", told(stop=before), told(stop=end))
    kept(directory, "u", told(stop=before + first), told(stop=end + second))
    times = {"t": (10, 10), "u": (10, 10)}
    assert server_facts(directory, "t", ran(times)) == ServerFacts()
    assert server_facts(directory, "u", ran(times)) == ServerFacts()


# ---- What the gate makes of it -------------------------------------------------------------------


def entry(answers: int = 100, **more: object) -> EntryFacts:
    facts = SampleFacts("t", samples=answers, answers=answers, full=answers, **more)  # type: ignore[arg-type]
    return EntryFacts("t", answers, answers, facts)


def why(one: EntryFacts, cut: int, stopped: int = 0, **asked: object) -> str:
    server = ServerFacts({"length": cut, "stop": stopped, "abort": 50})
    return judge_task([one], LOG, Asked(**asked), server).why  # type: ignore[arg-type]


SAID = "answers are cut off at the length limit, as vLLM counted them"


def test_most_answers_are_cut_off() -> None:
    most = int(100 * UNFINISHED_SHARE)
    assert why(entry(), most, 100 - most) == ""
    assert why(entry(), most + 1, 99 - most) == f"{most + 1} of 100 {SAID}"


@pytest.mark.parametrize("allowed", [None, LIMIT_FROM, 4096])
def test_a_task_that_wants_long_answers(allowed: int | None) -> None:
    assert SAID in why(entry(allowed=allowed), 100)


def test_a_task_that_wants_short_answers_cuts_them_off() -> None:
    assert why(entry(allowed=LIMIT_FROM - 1), 100) == ""
    assert why(entry(), 100, answer_tokens=LIMIT_FROM - 1) == ""


def test_log_likelihoods_all_end_at_the_limit() -> None:
    assert why(entry(), 100, generates=False) == ""
    assert why(entry(likelihoods=4), 100) == ""


def test_where_the_samples_tell_it_they_decide() -> None:
    assert why(entry(limit=4096, at_limit=0), 100) == ""


def test_answers_from_a_cache_are_not_thought_to_be_like_the_others() -> None:
    assert why(entry(), 3, 1) == ""


def test_a_request_that_was_aborted_and_asked_again_is_no_answer() -> None:
    assert f"60 of 100 {SAID}" in why(entry(), 60, 40)


def test_without_counts_nothing_is_said() -> None:
    assert judge_task([entry()], LOG, Asked(), ServerFacts()).why == ""


def test_what_lm_eval_allows_is_in_its_samples(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    line = (
        '{"doc_id": %d, "arguments": {"gen_args_0": {"arg_0": "q", "arg_1": %s}}, "resps": [["a"]]}'
    )
    hows = ('{"max_gen_toks": 32}', '{"max_gen_toks": 900, "max_tokens": 16}', "{}")
    path.write_text("\n".join(line % (number, how) for number, how in enumerate(hows)))
    found = read_facts(path, "t")
    assert (found.answers, found.allowed, found.limit) == (3, 16, None)
