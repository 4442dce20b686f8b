"""What vLLM's own figures, a line every ten seconds, say of how well its GPU was used."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FIGURES = re.compile(
    r"Avg prompt throughput: (?P<prompt>[\d.]+) tokens/s,"
    r" Avg generation throughput: (?P<generation>[\d.]+) tokens/s,"
    r" Running: (?P<running>\d+) reqs,(?: Swapped: \d+ reqs,)?"
    r" (?:Waiting|Pending): (?P<waiting>\d+) reqs,"
    r".*?KV cache usage: (?P<usage>[\d.]+)%"
)
_WHEN = re.compile(r"\b\d\d-\d\d (\d\d):(\d\d):(\d\d)\b", re.ASCII)
_DAY = 24 * 3600
_PREEMPTIONS = re.compile(r"Preemptions: (\d+)")
INTERVAL = 10.0
"""Seconds between two lines, where they bear no time."""

ENOUGH = 30
"""Lines (five minutes) with requests under way, before anything is concluded."""
LITTLE = 30.0
"""Per cent of the KV cache: who never needs more could take three times as many requests."""
FULL = 95.0
OFTEN = 0.1
"""Share of the lines."""
SELDOM = 0.02
ENDLESS = 20_000
"""Tokens that each of the same few requests made while none ended and none began."""


@dataclass
class _Stretch:
    """A time in which no request began and none ended."""

    running: int = 0
    tokens: float = 0.0
    number: int = 0
    text: str = ""


@dataclass
class Serving:
    """The figures, summed up as they are read."""

    busy: int = 0
    """Lines with requests under way."""
    queued: int = 0
    """Lines with requests that waited."""
    starved: int = 0
    """Lines with requests that waited while the KV cache was full."""
    preemptions: int = 0
    most_usage: float = 0.0
    peak: tuple[int, str] = (0, "")
    """The line with the highest use of the KV cache."""
    full: tuple[int, str] = (0, "")
    longest: _Stretch | None = None
    _stretch: _Stretch | None = None
    _when: int | None = None
    """Second of the day of the line before."""

    def read(self, number: int, line: str) -> None:
        """Take the figures of a line, if it has any."""
        match = _FIGURES.search(line) if "Avg prompt throughput" in line else None
        if match is None:
            return
        try:
            running, waiting = int(match["running"]), int(match["waiting"])
            usage = float(match["usage"])
            prompt, generation = float(match["prompt"]), float(match["generation"])
        except (ValueError, OverflowError):  # a number such as `1.2.3`
            return
        preempted = _PREEMPTIONS.search(line)
        self.preemptions += int(preempted[1]) if preempted else 0
        tokens = generation * self._seconds(_WHEN.search(line))
        self._stretched(running, waiting, prompt, tokens, (number, line))
        if running == 0 and waiting == 0:
            return
        self.busy += 1
        self.queued += waiting > 0
        if usage >= self.most_usage:
            self.most_usage, self.peak = usage, (number, line)
        if waiting > 0 and usage >= FULL:
            self.starved += 1
            self.full = (number, line)

    def _stretched(
        self, running: int, waiting: int, prompt: float, tokens: float, line: tuple[int, str]
    ) -> None:
        same = self._stretch is not None and self._stretch.running == running
        if running == 0 or waiting > 0 or prompt > 0 or not same:
            self._stretch = _Stretch(running)
            return
        stretch = self._stretch
        assert stretch is not None  # noqa: S101 # `same` says so
        stretch.tokens += tokens / running
        stretch.number, stretch.text = line
        if self.longest is None or stretch.tokens > self.longest.tokens:
            self.longest = _Stretch(running, stretch.tokens, stretch.number, stretch.text)

    def _seconds(self, when: re.Match[str] | None) -> float:
        """Since the line before."""
        if when is None:
            return INTERVAL
        now = int(when[1]) * 3600 + int(when[2]) * 60 + int(when[3])
        passed = INTERVAL if self._when is None else (now - self._when) % _DAY
        self._when = now
        return passed if 0 < passed <= 60 else INTERVAL

    @property
    def was_full(self) -> bool:
        """Whether requests waited for room in the KV cache, for a good part of the time."""
        return self.busy >= ENOUGH and self.starved >= OFTEN * self.busy

    @property
    def was_idle(self) -> bool:
        """Whether it could have answered several times as many requests at a time."""
        return (
            self.busy >= ENOUGH
            and self.most_usage <= LITTLE
            and self.queued <= SELDOM * self.busy
            and self.preemptions == 0
        )

    @property
    def endless(self) -> _Stretch | None:
        """The stretch in which the same few requests made a great many tokens each."""
        return self.longest if self.longest and self.longest.tokens >= ENDLESS else None
