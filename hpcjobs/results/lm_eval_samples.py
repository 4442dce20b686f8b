"""Samples that lm_eval (0.4) wrote: `samples_{task}_{time}.jsonl`, a line for each and filter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcjobs.files import explained
from hpcjobs.results.result_file import ResultError, finite
from hpcjobs.results.sample import Sample, conversation, texts


def read(path: Path, task: str) -> Iterator[Sample]:
    """The samples of one file.

    Raises:
        ResultError: a line is no sample, or cut off.
        StorageError: it cannot be opened.
    """
    with explained("read", path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                cut = "" if line.endswith(b"\n") else " (cut off)"
                raise ResultError(f"not JSON{cut}", where=f"{path}:{number}") from error
            if not isinstance(value, dict) or "doc_id" not in value or "resps" not in value:
                raise ResultError(
                    "no sample of lm_eval",
                    where=f"{path}:{number}",
                    expected="an object with doc_id and resps",
                )
            yield _sample(value, task)


def _sample(value: Mapping[str, Any], task: str) -> Sample:
    requests = _requests(value.get("arguments"))
    choices = [continuation for _, continuation in requests]
    chosen = _chosen(value.get("filtered_resps"), choices)
    answers = _answers(value["resps"]) if chosen is None else (chosen,)
    name = value.get("filter")
    return Sample(
        id=str(value["doc_id"]),
        task=task,
        prompt=_prompt(requests[0][0]) if requests else "",
        answers=answers,
        gold=_gold(value.get("target"), choices if chosen is not None else []),
        scores={
            f"{metric},{name}" if name else metric: number
            for metric in value.get("metrics", [])
            if (number := _number(value.get(metric))) is not None
        },
    )


def _requests(arguments: Any) -> list[tuple[Any, Any]]:
    """Context and continuation of each request: `{gen_args_0: {arg_0, arg_1}}`, or early lists."""
    if isinstance(arguments, dict):
        found = [one for one in arguments.values() if isinstance(one, dict)]
        return [(one.get("arg_0"), one.get("arg_1")) for one in found]
    if isinstance(arguments, list):
        return [(one[0], one[1] if len(one) > 1 else None) for one in arguments if one]
    return []


def _prompt(context: Any) -> str:
    """The text; chat messages are JSON in a list of one."""
    if isinstance(context, list) and len(context) == 1 and isinstance(context[0], str):
        context = context[0]
        if context.startswith("["):
            try:
                return conversation(json.loads(context))
            except ValueError:
                pass
    return conversation(context)


def _chosen(responses: Any, choices: list[Any]) -> str | None:
    """Of multiple choice, the continuation with the highest likelihood; None: it is no such."""
    if not isinstance(responses, list) or len(responses) != len(choices) or len(choices) < 2:
        return None
    if not all(isinstance(choice, str) for choice in choices):
        return None
    likelihoods = []
    for response in responses:
        first = response[0] if isinstance(response, list) and response else None
        number = _number(first)
        if number is None:
            return None
        likelihoods.append(number)
    return str(choices[likelihoods.index(max(likelihoods))])


def _answers(responses: Any) -> tuple[str, ...]:
    """`resps` has a list of answers for each request."""
    lists = responses if isinstance(responses, list) else [responses]
    return tuple(text for one in lists for text in texts(one))


def _gold(target: Any, choices: list[Any]) -> tuple[str, ...]:
    if choices and isinstance(target, (int, str)) and str(target).isdecimal():
        index = int(target)
        if index < len(choices):
            return (str(choices[index]),)
    return texts(target)


def _number(value: Any) -> float | None:
    """Likelihoods are written as text, and right or wrong sometimes as a boolean."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return finite(value)
