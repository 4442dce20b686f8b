"""A single sample of an evaluation, in whatever form its evaluator wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sample:
    """One question put to a model.

    `answers` are several where it was asked several times. `scores` are by the name of the metric,
    with lm_eval's filter (`exact_match,strip`).
    """

    id: str
    task: str
    prompt: str
    answers: tuple[str, ...]
    gold: tuple[str, ...]
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Characters of its longest answer."""
        return max(map(len, self.answers), default=0)

    @property
    def empty(self) -> bool:
        """Whether there is no answer, or one of them is blank."""
        return not self.answers or any(not answer.strip() for answer in self.answers)


def conversation(messages: object) -> str:
    """A prompt as text: one message as it is, several with their roles before them."""
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list):
        return ""
    parts = [
        (str(one.get("role", "")), str(one.get("content", "")))
        for one in messages
        if isinstance(one, dict)
    ]
    if len(parts) == 1:
        return parts[0][1]
    return "\n".join(f"[{role}] {content}" for role, content in parts)


def texts(value: object) -> tuple[str, ...]:
    """What should be a list of texts, whatever it is."""
    if value is None:
        return ()
    items = value if isinstance(value, (list, tuple)) else [value]
    return tuple(item if isinstance(item, str) else str(item) for item in items)
