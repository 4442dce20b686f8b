"""Samples that lighteval wrote: `details_{task}_{time}.parquet`.

0.8 (also Swallow's fork) has the columns full_prompt, predictions, gold, metrics; 0.13 has doc,
model_response and metric. Token ids, the greater part of a file, are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcjobs.errors import InputError
from hpcjobs.results.result_file import ResultError, finite
from hpcjobs.results.sample import Sample, conversation, texts

_BATCH = 64
"""Samples in memory at a time."""

_OLD = ("example", "full_prompt", "predictions", "gold", "choices", "gold_index", "metrics")
_NEW = (
    "doc.query", "doc.choices", "doc.gold_index", "doc.id",
    "model_response.input", "model_response.text", "model_response.logprobs", "metric",
)  # fmt: skip


def read(path: Path, task: str) -> Iterator[Sample]:
    """The samples of one file.

    Raises:
        ResultError: it cannot be read whole, or is of an unknown shape.
        InputError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            "pyarrow, which reads Parquet, is not installed",
            where=str(path),
            do="pip install 'hpcjobs[details]'",
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            names = set(file.schema_arrow.names)
            columns: tuple[str, ...]
            if {"doc", "model_response", "metric"} <= names:
                convert, columns = _new, _NEW
            elif {"predictions", "metrics"} <= names:
                convert, columns = _old, _OLD
            else:
                raise ResultError(
                    "no details of lighteval 0.8 or 0.13",
                    where=str(path),
                    expected="the columns predictions and metrics, or doc and model_response",
                )
            for batch in file.iter_batches(_BATCH, columns=list(columns), use_threads=False):
                for row in batch.to_pylist():
                    yield convert(row, task, number)
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        said = str(error).partition("\n")[0][:200]
        raise ResultError(f"it cannot be read: {said}", where=str(path)) from error


def _old(row: Mapping[str, Any], task: str, number: int) -> Sample:
    choices = texts(row.get("choices"))
    gold = texts(row.get("gold"))
    return Sample(
        id=str(number),
        task=task,
        prompt=conversation(row.get("full_prompt")) or str(row.get("example") or ""),
        answers=_answers(row.get("predictions"), choices),
        gold=gold or _chosen_by(row.get("gold_index"), choices),
        scores=_scores(row.get("metrics")),
    )


def _new(row: Mapping[str, Any], task: str, number: int) -> Sample:
    doc, response = row.get("doc") or {}, row.get("model_response") or {}
    choices = texts(doc.get("choices"))
    answers = texts(response.get("text"))
    return Sample(
        id=str(doc.get("id") or number),
        task=task,
        prompt=conversation(response.get("input")) or str(doc.get("query") or ""),
        answers=answers or _most_likely(response.get("logprobs"), choices),
        gold=_chosen_by(doc.get("gold_index"), choices),
        scores=_scores(row.get("metric")),
    )


def _answers(predictions: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    """Texts, or the most likely choice where there are likelihoods instead."""
    if isinstance(predictions, list) and predictions and not isinstance(predictions[0], str):
        likely = _most_likely(predictions, choices)
        if likely:
            return likely
        if isinstance(predictions[0], list):  # several answers to one question
            return tuple(text for one in predictions for text in texts(one))
    return texts(predictions)


def _most_likely(likelihoods: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(likelihoods, list) or len(likelihoods) != len(choices):
        return ()
    firsts = [one[0] if isinstance(one, list) and one else one for one in likelihoods]
    numbers = [number for one in firsts if (number := finite(one)) is not None]
    if not numbers or len(numbers) < len(choices):
        return ()
    return (choices[numbers.index(max(numbers))],)


def _chosen_by(index: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    indexes = index if isinstance(index, list) else [index]
    return tuple(choices[one] for one in indexes if isinstance(one, int) and one < len(choices))


def _scores(metrics: Any) -> dict[str, float]:
    if not isinstance(metrics, dict):
        return {}
    return {
        name: number
        for name, value in metrics.items()
        if (number := finite(float(value) if isinstance(value, bool) else value)) is not None
    }
