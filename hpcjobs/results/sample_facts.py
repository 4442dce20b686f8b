"""What the samples of a task show: how many there are, which answers are empty or never ended.

Read as a stream, a few samples at a time. Token ids are only counted. A task that compares
likelihoods has no answers: of it, only the numbers are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcjobs.files import explained
from hpcjobs.results.result_file import ResultError, finite

TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
)
"""Between these, models think."""

_BATCH = 16
"""Rows in memory at a time: one may hold dozens of long answers."""
_TAIL, _ROUND = 600, 150
"""So many characters at the end of an answer, of one round after the other, each at most so long,
are no answer any more."""
_EXAMPLES = 5


class NotInstalledError(ResultError):
    """What reads the samples is not installed here: that says nothing of them."""


@dataclass
class SampleFacts:
    """Counts over the samples of one task or subset, as its evaluator names it."""

    task: str
    samples: int = 0
    answers: int = 0
    """Texts that were generated; several a sample where it was asked several times."""
    empty: int = 0
    """Answers without text, or with none behind the thinking."""
    unclosed: int = 0
    """Answers whose thinking never ends."""
    endless: int = 0
    """Answers that end in one round after the other of the same text."""
    limit: int | None = None
    """Tokens that an answer may have, where the samples tell that and how many it has."""
    at_limit: int = 0
    allowed: int | None = None
    """Tokens that an answer may have, the least of all, whether or not it tells how many it has."""
    likelihoods: int = 0
    broken: int = 0
    """Samples whose likelihoods are no numbers."""
    same: str | None = None
    """The text of all answers that are not empty, if it is one and the same."""
    examples: list[str] = field(default_factory=list)
    """Ids of the first samples with an empty answer."""
    closed_only: int = 0
    """Answers that end a thinking which the prompt began."""
    untagged: int = 0
    full: int = 0
    """Answers with text."""

    @property
    def unfinished(self) -> int:
        """`unclosed`, and those that never end what the prompt began, as others do."""
        return self.unclosed + (self.untagged if self.closed_only else 0)

    def add_answers(self, texts: Iterable[object], sample: str, thought: bool = False) -> None:
        """Look at the answers to one question; `thought`: the thinking is kept elsewhere."""
        for text in texts:
            self.answers += 1
            whole = text if isinstance(text, str) else ""
            opened, closed, rest = _behind_thinking(whole)
            self.unclosed += opened and not closed
            self.closed_only += closed and not opened
            if rest.strip():
                self.untagged += not opened and not closed
                self.full += 1
                self.same = whole if self.full == 1 or self.same == whole else None
                self.endless += is_endless(whole)
            elif thought and not closed:
                self.unclosed += 1  # it never came to answer
            else:
                self._add_empty(sample)

    def add_likelihoods(self, values: Iterable[object]) -> None:
        """Look at the likelihoods of one question."""
        found = list(values)
        self.likelihoods += len(found)
        self.broken += not found or any(_number(one) is None for one in found)

    def add_allowed(self, tokens: object) -> None:
        """Note how many tokens the answer to one question may have."""
        if isinstance(tokens, int) and tokens > 0:
            self.allowed = min(tokens, self.allowed or tokens)

    def _add_empty(self, sample: str) -> None:
        self.empty += 1
        if len(self.examples) < _EXAMPLES and sample not in self.examples:
            self.examples.append(sample)


def is_endless(text: str) -> bool:
    """Whether a long text ends in repetition of a short one."""
    tail = text[-_TAIL:]
    if len(tail) < _TAIL:
        return False
    end = tail[-_ROUND:]
    before = tail.rfind(end, 0, _TAIL - 1)
    period = _TAIL - _ROUND - before
    return before >= 0 and period <= _ROUND and tail[period:] == tail[:-period]


def read_facts(path: Path, task: str, limit: int | None = None) -> SampleFacts:
    """The facts of one file of samples; `limit` are the tokens that an answer might have.

    Raises:
        NotInstalledError: it is Parquet, and pyarrow is missing.
        ResultError: the file cannot be read whole.
        StorageError: it cannot be opened.
    """
    facts = SampleFacts(task)
    if path.suffix == ".jsonl":
        _read_lm_eval(path, facts)
    else:
        _read_lighteval(path, facts, limit)
    return facts


def _behind_thinking(text: str) -> tuple[bool, bool, str]:
    """Whether a thinking begins, whether it ends, and what comes then (or the whole)."""
    for begin, end in TAGS:
        _, closed, rest = text.rpartition(end)
        opened = begin in text
        if closed:
            return opened, begin not in rest, rest
        if opened:
            return True, False, text
    return False, False, text


def _number(value: object) -> float | None:
    """Likelihoods are written as text, too; minus infinity is one."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) else None
    except (ValueError, OverflowError):
        return None
    return None if number is None or number != number else number


# ---- lm_eval: a line for each sample and filter --------------------------------------------------


def _read_lm_eval(path: Path, facts: SampleFacts) -> None:
    chosen: object = None
    for where, value in _lines(path):
        if not isinstance(value, dict) or "doc_id" not in value or "resps" not in value:
            raise ResultError("no sample of lm_eval", where=where)
        if facts.samples == 0:
            chosen = value.get("filter")
        if value.get("filter") != chosen:
            continue  # the same answers again, filtered in another way
        facts.samples += 1
        responses = value["resps"] if isinstance(value["resps"], list) else [value["resps"]]
        words = _first_request(value.get("arguments"))
        if _is_generated(words, responses):
            facts.add_answers(_texts(responses), str(value["doc_id"]))
            facts.add_allowed(_tokens(words))
        else:
            facts.add_likelihoods(_first(one) for one in responses)


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    with explained("read", path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield f"{path}:{number}", json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise ResultError("not JSON", where=f"{path}:{number}") from error


def _first_request(arguments: object) -> list[Any]:
    """What the first of the requests for a sample consists of: a question, and how to answer it."""
    requests = list(arguments.values()) if isinstance(arguments, dict) else arguments
    first = requests[0] if isinstance(requests, list) and requests else None
    words = list(first.values()) if isinstance(first, dict) else first
    return words if isinstance(words, list) else []


def _is_generated(words: list[Any], responses: list[Any]) -> bool:
    """Whether text was asked for: the request then has an object with how to generate it."""
    if words:
        return any(isinstance(word, dict) for word in words)
    return all(isinstance(text, str) or text is None for text in _texts(responses))


def _tokens(words: list[Any]) -> object:
    """How many tokens the answer may have; lm_eval takes the first of these names."""
    how = next((word for word in words if isinstance(word, dict)), {})
    return how.get("max_tokens", how.get("max_gen_toks"))


def _texts(responses: list[Any]) -> list[Any]:
    """The answers to one question: a list for each request."""
    texts: list[Any] = []
    for one in responses:
        texts += one if isinstance(one, list) else [one]
    return texts or [None]


def _first(response: Any) -> object:
    while isinstance(response, list) and response:
        response = response[0]
    return response


# ---- lighteval: Parquet --------------------------------------------------------------------------

_OLD = ("predictions", "cont_tokens")
_NEW = (
    "doc.id", "doc.sampling_methods", "doc.generation_size",
    "model_response.text", "model_response.reasonings", "model_response.logprobs",
    "model_response.output_tokens",
)  # fmt: skip


def _read_lighteval(path: Path, facts: SampleFacts, limit: int | None) -> None:
    try:
        import pyarrow
        from pyarrow import compute, parquet
    except ImportError as error:
        raise NotInstalledError(
            "pyarrow, which reads it, is not installed", where=str(path)
        ) from error
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            names = set(file.schema_arrow.names)
            new = {"doc", "model_response"} <= names
            if not new and "predictions" not in names:
                raise ResultError("no details of lighteval 0.8 or 0.13", where=str(path))
            columns = list(_NEW if new else _OLD)
            for batch in file.iter_batches(_BATCH, columns=columns, use_threads=False):
                table = pyarrow.Table.from_batches([batch]).flatten()
                tokens = "model_response.output_tokens" if new else "cont_tokens"
                lengths = _lengths(table, tokens, compute)
                rows = table.drop_columns([tokens] if tokens in table.column_names else [])
                for row in rows.to_pylist():
                    limit = limit or row.get("doc.generation_size")
                    facts.add_allowed(limit)
                    (_add_new if new else _add_old)(facts, row)
                _add_lengths(facts, lengths, limit)
    except (pyarrow.ArrowException, OSError) as error:
        said = str(error).partition("\n")[0][:200]
        raise ResultError(f"it cannot be read: {said}", where=str(path)) from error


def _lengths(table: Any, column: str, compute: Any) -> list[int]:
    """The number of tokens of each answer, where the ids are there; they are never listed."""
    if column not in table.column_names:
        return []
    answers = compute.list_flatten(table[column])
    if not hasattr(answers.type, "value_type"):
        return []
    return [one for one in compute.list_value_length(answers).to_pylist() if one]


def _add_lengths(facts: SampleFacts, lengths: list[int], limit: int | None) -> None:
    if lengths and limit:
        facts.limit = limit
        facts.at_limit += sum(length >= limit for length in lengths)


def _add_new(facts: SampleFacts, row: dict[str, Any]) -> None:
    facts.samples += 1
    methods = row.get("doc.sampling_methods") or []
    texts, likelihoods = row.get("model_response.text"), row.get("model_response.logprobs")
    if methods and not any("GENERATIVE" in str(one) for one in methods):
        facts.add_likelihoods(likelihoods or [])
        return
    thought = any(row.get("model_response.reasonings") or [])
    sample = str(row.get("doc.id") or facts.samples - 1)
    facts.add_answers(texts or [None], sample, thought)


def _add_old(facts: SampleFacts, row: dict[str, Any]) -> None:
    facts.samples += 1
    predictions = row.get("predictions") or [None]
    first = predictions[0][0] if isinstance(predictions[0], list) and predictions[0] else None
    if finite(predictions[0]) is not None or finite(first) is not None:
        facts.add_likelihoods(_first(one) for one in predictions)
        return
    facts.add_answers(_texts(predictions), str(facts.samples - 1))
