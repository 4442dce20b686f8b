"""How many samples are done, by logs that real evaluators wrote: tests/fixtures/progress/.

All are whole logs, so that any beginning of one is what a person may look at while it runs. Their
evaluators are lm_eval 0.4.13 (against a server, with vLLM's engine, with transformers), lighteval
0.13.0 (against a server, with transformers) and 0.8.1. In lighteval_0.8_stuck.log (its
beginning, most of its warnings left out) the server's answers could not be used.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpcjobs.progress.counting import Counted, counted
from hpcjobs.progress.reading import HEAD, TAIL, read_log

LOGS = Path(__file__).parents[1] / "fixtures" / "progress"
OUTPUTS = {"lm_eval_both_kinds": "mixed", "lm_eval_vllm_engine": "mixed", "lm_eval_hf": "mixed"}
NAMES = sorted(path.stem for path in LOGS.glob("*.log"))

Seen = list[tuple[int, int, str]]


def told(text: str, name: str) -> Counted | None:
    framework = "lm_eval" if name.startswith("lm_eval") else "lighteval"
    return counted([text], framework, OUTPUTS.get(name, "generate"))


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_bytes().decode("utf-8", errors="replace")


def course(name: str, step: int = 29) -> list[Counted | None]:
    """What was told while the log grew, each once."""
    text = log(name)
    found: list[Counted | None] = []
    for size in [*range(0, len(text), step), len(text)]:
        one = told(text[:size], name)
        if not found or one != found[-1]:
            found.append(one)
    return found


def totals(name: str) -> list[tuple[int, str, str, bool]]:
    """What was counted, one after the other."""
    found = [(one.total, one.what, one.part, one.last) for one in course(name) if one]
    return [one for number, one in enumerate(found) if number == 0 or one != found[number - 1]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lm_eval_chat", [(160, "requests", "", True)]),
        # Two tasks with gen_kwargs of their own: a bar each, of the same size.
        ("lm_eval_two_groups", [(160, "requests", "one of several parts", False)]),
        (
            "lm_eval_both_kinds",
            [
                (360, "requests", "one of several parts", False),
                (160, "requests", "one of several parts", False),
            ],
        ),
        (
            "lm_eval_vllm_engine",
            [
                (160, "requests", "one of several parts", False),
                (360, "requests", "one of several parts", False),
            ],
        ),
        (
            "lm_eval_hf",
            [
                (160, "requests", "one of several parts", False),
                (360, "requests", "one of several parts", False),
            ],
        ),
        ("lighteval_0.13", [(160, "samples", "", True)]),
        ("lighteval_0.13_accelerate", [(40, "batches", "", True)]),
        ("lighteval_0.8", [(320, "samples", "", True)]),
        ("lighteval_0.8_stuck", [(160, "samples", "", True)]),
    ],
)
def test_only_what_was_asked_of_the_model_is_counted(
    name: str, expected: list[tuple[int, str, str, bool]]
) -> None:
    assert totals(name) == expected


def test_every_log_is_looked_at() -> None:
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("stuck")])
def test_at_the_end_all_are_done(name: str) -> None:
    last = told(log(name), name)
    assert last is not None
    assert last.done == last.total


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("lighteval-good/0.13.0", 8),
        ("lighteval-good/0.8.1", 8),
        ("lighteval-good/swallow-0.8.0", 8),
        ("lighteval-failures/swallow_die2", 4),
        ("lighteval-failures/0.13.0_slow", 4),
        ("lm_eval-good/local-chat-completions", 3),
        ("lm_eval-good/local-completions", 4),
    ],
)
def test_other_logs_of_evaluators_that_were_recorded(path: str, expected: int) -> None:
    text = (LOGS.parent / "evaluations" / path / "stdout.log").read_bytes().decode()
    one = counted([text], path.partition("-")[0])
    assert one is not None
    assert (one.done, one.total) == (expected, expected)


@pytest.mark.parametrize("name", NAMES)
def test_while_a_bar_grows_the_number_does_not_fall(name: str) -> None:
    found = [one for one in course(name, 13) if one]
    falls = [
        (before, after)
        for before, after in pairwise(found)
        if after.done < before.done and (before.done < before.total or after.done > 0)
    ]
    assert falls == []


def test_several_numbers_are_seen_while_it_runs() -> None:
    assert len({one.done for one in course("lm_eval_chat") if one}) > 30


def test_what_came_after_the_bar_is_known_to_be_later() -> None:
    text = log("lighteval_0.8_stuck")
    bar = text.index("21/160")
    end = text.index("]", bar) + 1
    assert told(text[:end], "lighteval") is not None
    fresh, old = told(text[:end], "lighteval"), told(text, "lighteval")
    assert fresh and old
    assert (fresh.done, fresh.latest) == (21, True)
    assert (old.done, old.latest) == (21, False)


@pytest.mark.parametrize("name", NAMES)
def test_a_log_of_another_framework_tells_nothing_wrong(name: str) -> None:
    other = "lighteval" if name.startswith("lm_eval") else "lm_eval"
    assert counted([log(name)], other) is None
    assert counted([log(name)], "another") is None


# ---- Bars that count something else --------------------------------------------------------------

RUNNING = "2026-11-21:08:21:48 INFO     [evaluator:589] Running generate_until requests\n"
BAR = "\r{}  50%|█████     | 4/8 [00:01<00:01,  3.5it/s]"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Map:",
        "Generating test split:",
        "Loading safetensors checkpoint shards:",
        "Tokenizing inputs:",
        "Checking cached requests:",
        "Fetching 7 files:",
        "model.safetensors:",
        "Rendering prompts:",
        "Creating parquet from Arrow format:",
        "Capturing CUDA graphs:",
    ],
)
def test_a_bar_that_counts_something_else_is_no_progress(name: str) -> None:
    assert counted([RUNNING + BAR.format(name)], "lm_eval") is None
    if name:
        splits = "\rSplits:   0%|          | 0/1 [00:00<?, ?it/s]\n"
        assert counted([splits + BAR.format(name)], "lighteval") is None
    assert counted([BAR.format(name)], "lighteval") is None


@pytest.mark.parametrize(
    "bar",
    [
        "\rRequesting API:  50%|█████     | 9/8 [00:01<00:01,  3.5it/s]",
        "\rRequesting API:  90%|█████     | 4/8 [00:01<00:01,  3.5it/s]",
        "\rRequesting API:  50%|█████     | 0/0 [00:01<00:01,  3.5it/s]",
        "\rRequesting API:  50%|█████     | 4/8 [00:01<00:01,  3.5i",
        "\ran answer of the model: Requesting API:  50%|█████     | 4/8 [00:01<00:01,  3.5it/s]",
        "\rRequesting API: 4it [00:01,  3.5it/s]",
    ],
)
def test_what_is_no_whole_bar_tells_nothing(bar: str) -> None:
    assert counted([RUNNING + bar], "lm_eval") is None


def test_a_bar_that_was_written_halfway_does_not_hide_the_one_before() -> None:
    text = RUNNING + BAR.format("Requesting API:")
    one = counted([text + "\rRunning generate_until requests"], "lm_eval")
    assert one is not None
    assert one.done == 4


def test_of_many_drawings_the_last_whole_one_counts() -> None:
    drawn = "".join(BAR.format("Requesting API:").replace("50%", "0%").replace("4/8", f"{n}/800")
                    for n in range(5))  # fmt: skip
    for torn in ("", "\rRequesting API:  1%|", "\rRequesting API:  90%|x| 5/800 [00:01<00:01]"):
        one = counted([RUNNING + drawn + torn], "lm_eval")
        assert one is not None
        assert one.done == 4


def test_of_each_document_by_itself_nothing_is_told() -> None:
    running = RUNNING.replace("generate_until", "loglikelihood_rolling")
    assert counted([running + BAR.format("Requesting API:")], "lm_eval") is None


def test_hours_count() -> None:
    bar = "\rRequesting API:  50%|█████     | 4/8 [27:00:01<27:00:01, 3.5s/it]"
    one = counted([RUNNING + bar], "lm_eval")
    assert one is not None
    assert one.elapsed == 27 * 3600 + 1


def splits(done: int, total: int) -> str:
    return f"\rSplits: {round(100 * done / total):3d}%|█| {done}/{total} [00:00<?, ?it/s]\n"


def test_the_parts_of_lighteval_are_told_and_only_the_last_is_the_last() -> None:
    nested = BAR.format("") + "\x1b[A"
    first = counted([splits(0, 2) + nested], "lighteval")
    second = counted([splits(0, 2) + nested + splits(1, 2) + nested], "lighteval")
    unknown = counted([splits(0, 2) + nested, "\r cut" + nested], "lighteval")
    assert first and second and unknown
    assert (first.part, first.last) == ("part 1 of 2", False)
    assert (second.part, second.last) == ("part 2 of 2", True)
    assert (unknown.part, unknown.last) == ("part ? of 2", False)


def test_a_judge_after_the_samples_is_not_counted() -> None:
    done = splits(0, 1) + BAR.format("").replace("4/8", "8/8").replace(" 50%", "100%")
    judged = done + splits(1, 1) + BAR.format("")
    for texts in ([judged], [splits(0, 1), "\r cut" + BAR.format("")]):
        one = counted(texts, "lighteval")
        assert one is None or (one.done, one.total) == (8, 8)


def test_the_default_kind_is_not_believed_against_the_log() -> None:
    """A task of which nobody said that it needs log-likelihoods; others may follow."""
    text = log("lm_eval_both_kinds")
    one = counted([text[: text.index("Running generate_until")]], "lm_eval", "generate")
    assert one is not None
    assert not one.last


# ---- Long logs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_between_begin_and_end_makes_no_number_wrong(name: str) -> None:
    text = log(name)
    for start in range(0, len(text), 701):
        for end in range(start, len(text), 977):
            framework = "lm_eval" if name.startswith("lm_eval") else "lighteval"
            output = OUTPUTS.get(name, "generate")
            one = counted([text[:start], text[end:]], framework, output)
            whole = told(text, name)
            assert one is None or (whole and (one.done, one.total) == (whole.done, whole.total))


def test_of_a_long_log_the_begin_and_the_end_are_read(tmp_path: Path) -> None:
    head = log("lm_eval_chat")
    head = head[: head.index("\rRequesting API:   1%")]
    many = 5000
    bars = "".join(
        f"\rRequesting API: {100 * done / many:3.0f}%|     | {done}/{many} [00:10<00:10,  8it/s]"
        for done in range(many * 3 // 4)
    )
    path = tmp_path / "x.log"
    path.write_text(head + bars)
    assert path.stat().st_size > HEAD + TAIL
    one = read_log(path, "lm_eval")
    assert one is not None
    assert one.counted == Counted(3749, 5000, "requests", 10.0, latest=True, last=True)
    assert one.written_at == path.stat().st_mtime


def test_there_may_be_no_log(tmp_path: Path) -> None:
    (tmp_path / "directory.log").mkdir()
    assert read_log(tmp_path / "absent.log", "lm_eval") is None
    assert read_log(tmp_path / "directory.log", "lm_eval") is None


# ---- Anything at all -----------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(RUNNING, "\r", "\n", "\x1b[A", "\x1b[2J", "%|", "|", "7/9 ["),
        *(splits(0, 1), splits(1, 2), splits(1, 1)),
        *(BAR.format(name) for name in ("", "Requesting API:", "Processed prompts:")),
        *(BAR.format(name) for name in ("Greedy generation:", "Running loglikelihood requests:")),
        "\rRequesting API: 100%|█| 9/9 [00:09<00:00]",
        "[evaluator] Building contexts for x",
        "Cached requests: 5, Requests remaining: 6",
    ]
)


@given(
    st.lists(st.one_of(PIECES, st.binary(max_size=60).map(lambda raw: raw.decode("latin1")))),
    st.lists(st.one_of(PIECES, st.text(max_size=60))),
    st.sampled_from(["lm_eval", "lighteval"]),
    st.sampled_from(["generate", "loglikelihood", "mixed"]),
)
@example(
    [RUNNING, BAR.format("Requesting API:")], [BAR.format("Processed prompts:")], "lm_eval", "x"
)
@example([RUNNING, "\r\x1b[%|\x1b[A", "\n"], ["\r\x1b[%|]"], "lm_eval", "generate")
def test_whatever_the_log_holds(
    begin: list[str], end: list[str], framework: str, output: str
) -> None:
    for texts in (["".join(begin)], ["".join(begin), "".join(end)]):
        one = counted(texts, framework, output)
        if one is not None:
            assert 0 <= one.done <= one.total
            assert one.total > 0
            assert one.elapsed >= 0
            assert (one.what + one.part).isprintable()


@given(st.binary(max_size=400))
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.log"
    path.write_bytes(content)
    for framework in ("lm_eval", "lighteval"):
        assert read_log(path, framework) is not None
