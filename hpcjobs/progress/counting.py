"""How many of its samples an evaluator has done, by the bars that it draws into its log. Pure.

Evaluators draw many bars: of downloads, of the questions that they make ready, of bootstraps. One
counts only if it is known to count what was asked of the model. What is not known is not told.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from hpcjobs.progress.bars import Bar, pieces

GENERATE, LOGLIKELIHOOD = "generate", "loglikelihood"
"""What a task may ask of a model (option `output`); else both, one after the other."""


@dataclass(frozen=True)
class Counted:
    """How many of the samples are done."""

    done: int
    total: int
    what: str
    """What is counted: `samples`, `requests` (one for each choice), `batches`."""
    elapsed: float
    """Seconds since the counting began, when this was written."""
    latest: bool
    """Nothing was written after it, so that it is as old as the log's last change."""
    part: str = ""
    """Which part of the task's samples this is, if there are several parts."""
    last: bool = False
    """Whether it is known that nothing more will be asked of the model after this."""


def counted(texts: Sequence[str], framework: str, output: str = GENERATE) -> Counted | None:
    """How far the evaluator is, by its log; None where that cannot be told.

    Args:
        texts: the log; or its begin and its end, where what is between was not read.
        framework: the evaluator.
        output: what the task asks of the model.
    """
    reader = {"lm_eval": _LmEval, "lighteval": _Lighteval}.get(framework)
    if reader is None:
        return None
    state = reader(output)
    for number, text in enumerate(texts):
        if number:
            state.gap()
        for piece in pieces(text, cut=number > 0):
            if isinstance(piece, str):
                state.line(piece)
            else:
                state.bar(piece)
    return state.found()


class _Reader(ABC):
    """What is known after so much of a log."""

    def __init__(self, output: str) -> None:
        self.output, self.one_kind = output, output in (GENERATE, LOGLIKELIHOOD)
        self.now: Counted | None = None
        self.latest = False
        """Whether nothing came after that."""

    def found(self) -> Counted | None:
        """What is known at the end."""
        return None if self.now is None else replace(self.now, latest=self.latest)

    def line(self, text: str) -> None:
        """A line of other text."""
        self.latest = False
        self.told(text)

    def bar(self, bar: Bar) -> None:
        """A bar."""
        before, self.latest = self.now, False
        self.drawn(bar)
        self.latest = self.now is not before

    def gap(self) -> None:
        """Some of the log was left out here."""
        self.now = None

    @abstractmethod
    def told(self, text: str) -> None:
        """Take what a line says."""

    @abstractmethod
    def drawn(self, bar: Bar) -> None:
        """Take what a bar says."""


class _LmEval(_Reader):
    """lm_eval: `Running KIND requests`, then one bar, or one for each group of gen_kwargs.

    Before that it makes the questions ready, a bar without a name for each of its tasks.
    """

    _KIND = re.compile(r"\S\s+Running (\w+) requests\s*$")  # a bar may begin so
    _KINDS: ClassVar = {"generate_until": GENERATE, "loglikelihood": LOGLIKELIHOOD}
    _GROUP = re.compile(r"\bUsing gen_kwargs: (.*)")
    _CACHED = re.compile(r"\bCached requests: (\d{1,12}), Requests remaining: \d+")
    _ASKING = re.compile(
        r"Requesting API|Running (?:loglikelihood|generate_until) requests(?: with \S+ input)?"
    )

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.kind = ""
        self.groups: set[str] = set()
        self.tasks = self.tasks_unread = self.questions = self.cached = 0
        self.outer: Bar | None = None
        self.reached = 0
        self.sure = True

    def gap(self) -> None:
        """Another kind of requests may have begun there."""
        super().gap()
        self.outer, self.sure = None, self.one_kind

    def told(self, text: str) -> None:
        """Remember what it says of the requests."""
        kind, group = self._KIND.search(text), self._GROUP.search(text)
        cached = self._CACHED.search(text)
        if "Building contexts for " in text:
            self.tasks += 1
            self.tasks_unread += 1
        elif kind:
            self.kind, self.now, self.outer, self.sure = kind[1], None, None, True
        elif group:
            self.groups.add(group[1])
        elif cached:
            self.cached += int(cached[1])

    def drawn(self, bar: Bar) -> None:
        """Count it, if it counts requests."""
        if not bar.name and not self.kind and self.tasks_unread and bar.done == bar.total:
            self.tasks_unread -= 1
            self.questions += bar.total
        # Of other kinds, loglikelihood_rolling has a bar for each document.
        if self.kind not in self._KINDS or not self.sure:
            return
        if self._ASKING.fullmatch(bar.name):
            before, self.outer = self.outer, bar
            if before is None or before.total != bar.total or before.done > bar.done:
                self.reached = 0
            self._count(bar.done, bar.total, bar.elapsed)
        elif bar.name == "Processed prompts" and self.outer:  # vLLM's own, of one batch
            if bar.total <= self.outer.total - self.outer.done:
                done = self.outer.done + bar.done
                self._count(done, self.outer.total, self.outer.elapsed + bar.elapsed)

    def _count(self, done: int, total: int, elapsed: float) -> None:
        self.reached = max(self.reached, done)  # of a batch, the inner bar tells first
        several = not self.one_kind or len(self.groups) > 1
        last = (
            self._KINDS[self.kind] == self.output
            and (len(self.groups) == 1 or self.output == LOGLIKELIHOOD)
            and self.tasks > 0
            and self.tasks_unread == 0
            and total + self.cached >= self.questions
        )
        part = "one of several parts" if several else ""
        self.now = Counted(self.reached, total, "requests", elapsed, True, part, last)


class _Lighteval(_Reader):
    """lighteval: `Splits`, a bar of the parts of the samples; below it one of each part."""

    _METHOD = re.compile(r"\bRunning (?:SamplingMethod|RequestType)\.\w+ requests\b")
    _BATCHES = re.compile(r"Greedy (?:Multi Turn )?generation|Loglikelihoods(?: rolling)?")

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.splits: Bar | None = None
        self.seen = True
        """Whether all was read since the last `Splits`."""

    def gap(self) -> None:
        """Another part may have begun there."""
        super().gap()
        self.seen = False

    def told(self, text: str) -> None:
        """Remember that requests of another kind begin."""
        if self._METHOD.search(text):
            self.now = self.splits = None
            self.seen = True

    def drawn(self, bar: Bar) -> None:
        """Count it, if it is below a bar of parts that has not ended."""
        if bar.name == "Splits":
            ended = self.seen and self.splits is not None and bar.done > self.splits.done
            if self.now and (ended or bar.done == bar.total):
                self.now = replace(self.now, done=self.now.total)  # some bars do not show their end
            self.splits, self.seen = bar, True
            return
        samples = bar.name in ("", "Processed prompts")
        if not samples and not self._BATCHES.fullmatch(bar.name):
            return
        if self.splits is None or (self.seen and self.splits.done == self.splits.total):
            return  # of something before or after
        if not (self.seen or bar.nested):
            return
        what, part, last = "samples" if samples else "batches", "", True
        if self.splits.total > 1:
            number = f"{self.splits.done + 1}" if self.seen else "?"
            part = f"part {number} of {self.splits.total}"
            last = self.seen and self.splits.done == self.splits.total - 1
        last = last and self.one_kind
        self.now = Counted(bar.done, bar.total, what, bar.elapsed, True, part, last)
