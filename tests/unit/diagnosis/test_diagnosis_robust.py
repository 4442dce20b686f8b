"""Any bytes in a log: no exception, no key shown, bounded memory, right line numbers."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.diagnosis.diagnose import diagnose
from hpcjobs.diagnosis.reading import diagnose_attempt, read_lines
from hpcjobs.diagnosis.table import CAUSES
from hpcjobs.diagnosis.text import HIDDEN, LONGEST, redacted, shown
from hpcjobs.errors import StorageError
from hpcjobs.markers import Marker, Markers
from hpcjobs.model import JobState, Reason, Verdict

TEXTS = sorted({sign.text for cause in CAUSES for sign in cause.signs})
pieces = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(TEXTS).map(str.encode),
    st.sampled_from([b"\x1b[31m", b"\x1b]0;x", b"\r", b"\n", b"\x00", b"Traceback", b"XError: y"]),
    st.sampled_from([b"Avg prompt throughput: 9.9.9 tokens/s, KV cache usage: .%", b"11-99 99:99"]),
)
contents = st.lists(pieces, max_size=40).map(b"".join)
names = st.sampled_from(["server.log", "job.log", "scheduler.out", "ja_x.log"])
verdicts = st.builds(
    Verdict, st.sampled_from(JobState), st.none() | st.sampled_from(Reason), st.text(max_size=20)
)
words = st.none() | st.text(max_size=12).map(lambda text: Marker(text, 0.0))
some_markers = st.builds(Markers, ready=words, failure=words, signal=words)


@given(st.dictionaries(names, contents, max_size=4), verdicts, some_markers)
def test_any_bytes_are_taken(logs: dict[str, bytes], verdict: Verdict, markers: Markers) -> None:
    numbered = {
        name: list(enumerate(data.decode("utf-8", "replace").split("\n"), 1))
        for name, data in logs.items()
    }
    found = diagnose(numbered, verdict, markers)
    for line in [*found.unexplained, *(line for one in found.findings for line in one.lines)]:
        assert line.text.isprintable()
        assert len(line.text) <= LONGEST


@given(contents, st.integers(0, 200), st.integers(0, 200))
def test_lines_keep_their_numbers_when_the_middle_is_left_out(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, head: int, tail: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "x.log"
    path.write_bytes(data)
    whole = data.decode("utf-8", "replace").split("\n")
    for number, text in read_lines(path, head, tail):
        assert whole[number - 1] == text


def test_of_a_huge_log_begin_and_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(f"line {number}\n" for number in range(1, 100_001)))
    read = list(read_lines(path, 1000, 1000))
    assert read[0] == (1, "line 1")
    assert read[-1] == (100_000, "line 100000")
    assert len(read) < 400


def test_a_line_without_end_costs_little_memory(tmp_path: Path) -> None:
    (tmp_path / "ja_x.log").write_bytes(b"12%|## | 1/9\r" * 2_000_000 + b"\nOSError: [Errno 122] x")
    tracemalloc.start()
    found = diagnose_attempt(tmp_path, ["ja_x"], Verdict(JobState.FAILED))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.cause is not None
    assert found.findings[0].lines[0].number == 2
    assert most < 8_000_000


def test_a_log_of_many_lines_is_streamed() -> None:
    def lines() -> Iterator[tuple[int, str]]:
        for number in range(1, 200_001):
            yield number, f'INFO:     127.0.0.1:{number} - "POST /v1/completions HTTP/1.1" 200 OK'

    tracemalloc.start()
    diagnose({"server.log": lines()})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000


def test_only_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "server.log").mkdir()
    (tmp_path / "job.log").symlink_to(tmp_path / "nothing")
    assert diagnose_attempt(tmp_path, ["ja_x"], Verdict(JobState.FAILED)).findings == ()
    assert diagnose_attempt(tmp_path / "gone", [], Verdict(JobState.FAILED)).findings == ()


def test_a_log_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server.log").write_text("x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match=r"server\.log"):
        diagnose_attempt(tmp_path, [], Verdict(JobState.FAILED))


@pytest.mark.parametrize(
    "text",
    [
        "using token hf_{key}",
        "OPENAI_API_KEY=sk-proj-{key}",
        "Authorization: Bearer {key}",
        "'Authorization': 'Bearer {key}', 'Accept': '*/*'",
        '{{"api_key": "{key}", "x": 1}}',
        "api_key={key} rest",
        "HF_TOKEN: {key}",
        "os.environ['DEEPINFRA_TOKEN'] = '{key}'",
        "https://user:{key}@example.org/x",
        "VLLM_API_KEY=0123456789abcdef0123456789abcdef0123456789abcdef{key}",
    ],
)
def test_what_looks_like_a_key_is_not_shown(text: str) -> None:
    key = "AbCdEf0123456789AbCdEf"
    hidden = shown(text.format(key=key))
    assert key not in hidden
    assert HIDDEN in hidden


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=100000 cannot be greater than max_model_len=1024",
        "Avg generation throughput: 4092.7 tokens/s, Running: 803 reqs",
        "api_key=None, token: null",
        "Task-15 was destroyed, risk-averse-behaviour",
        "could not locate think start/end tokens in the tokenizer",
    ],
)
def test_what_is_no_key_is_shown(text: str) -> None:
    assert redacted(text) == text


def test_the_keys_of_the_workspace_are_never_shown() -> None:
    lines = [(1, "OSError: [Errno 122] Disk quota exceeded: correct horse battery")]
    [finding] = diagnose({"ja_x.log": lines}, keys=["correct horse battery"]).findings
    assert finding.lines[0].text.endswith(f"exceeded: {HIDDEN}")
