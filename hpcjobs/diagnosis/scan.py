"""One log, read once from its first line to its last: which signs it shows, and where.

Pure and in bounded memory: of each cause, few lines are kept, however often it shows.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hpcjobs.diagnosis.cause import JOB, SCHEDULER, SERVER, TASK, Cause, Sign
from hpcjobs.diagnosis.serving import Serving
from hpcjobs.diagnosis.text import without_ansi

Numbered = tuple[int, str]
"""A line and its number in the file."""

BLOCK = 64 * 1024
"""Characters that are searched at once: most hold no sign at all, and that is soon known."""
FIRST = 3
"""Lines that are kept of a cause, beside its last."""
LAST_ERRORS = 5
LONGEST = 64 * 1024

_ERRORS = (
    "error", "exception", "fatal", "killed", "denied", "refused", "cannot", "can't", "failed",
    "no such", "abort", "not found", "traceback", "segmentation", "panic",
)  # fmt: skip
_HARMLESS = re.compile(
    r"nltk_data|not a git repository|PyTorch was not found|Found ulimit of|leaked \w+ objects"
    r"|LD_PRELOAD|\b(?:INFO|DEBUG)\b|non-default args"
)
_RAISED = re.compile(
    r"^(?:\([^()]*pid=\d+\)\s+)?(?:ERROR\s[^\]]*\]\s)?"
    r"((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Timeout|Refused|NotFound))"
    r"(?::|\s*$)"
)
_GOES_ON = (
    "During handling of the above exception",
    "The above exception was the direct cause",
)


@dataclass
class Hits:
    """Where one cause shows in one log."""

    count: int = 0
    strong: bool = False
    """At least one line that was not overcome."""
    first: list[Numbered] = field(default_factory=list)
    last: Numbered | None = None

    def add(self, line: Numbered, weak: bool) -> None:
        """One more line; one that is certain goes before those that are not."""
        self.count += 1
        if not weak and not self.strong:
            self.strong = True
            self.first.clear()
        if (not weak) == self.strong and len(self.first) < FIRST:
            self.first.append(line)
        elif (not weak) == self.strong:
            self.last = line

    @property
    def lines(self) -> list[Numbered]:
        """The first ones and the last."""
        return [*self.first, self.last] if self.last else list(self.first)


@dataclass
class Scan:
    """What one log shows."""

    name: str
    kind: str
    hits: dict[str, Hits] = field(default_factory=dict)
    """By the cause's id."""
    raised: Numbered | None = None
    """The first exception of the last chain of tracebacks."""
    errors: deque[Numbered] = field(default_factory=lambda: deque(maxlen=LAST_ERRORS))
    last: Numbered | None = None
    serving: Serving = field(default_factory=Serving)
    _chained: bool = False


def kind_of(name: str) -> str:
    """Whose log a file of this name is."""
    if re.fullmatch(r"server\.\d+\.log", name):  # of a server that was started again
        return SERVER
    return {"server.log": SERVER, "job.log": JOB, "scheduler.out": SCHEDULER}.get(name, TASK)


def scan(name: str, lines: Iterable[Numbered], causes: Iterable[Cause]) -> Scan:
    """Read a log."""
    found = Scan(name, kind_of(name))
    signs = _signs(causes, found.kind)
    for block in _blocks(lines):
        _search(found, block, signs)
    return found


def _signs(causes: Iterable[Cause], kind: str) -> dict[str, list[tuple[Cause, Sign]]]:
    """The signs that this kind of log may show, by the text to search for."""
    signs: dict[str, list[tuple[Cause, Sign]]] = {}
    for cause in causes:
        for sign in cause.signs:
            if kind in sign.logs:
                signs.setdefault(sign.text, []).append((cause, sign))
    return signs


def _blocks(lines: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    block: list[Numbered] = []
    size = 0
    for number, line in lines:
        block.append((number, line[:LONGEST].replace("\n", " ")))
        size += len(line)
        if size >= BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _search(
    found: Scan, block: Sequence[Numbered], signs: dict[str, list[tuple[Cause, Sign]]]
) -> None:
    text = without_ansi("\n".join(line for _, line in block))
    starts = [0]
    starts.extend(match.end() for match in re.finditer("\n", text))
    candidates: dict[int, set[str]] = {}
    for wanted in signs:
        at = text.find(wanted)
        while at >= 0:
            index = bisect_right(starts, at) - 1
            candidates.setdefault(index, set()).add(wanted)
            at = text.find(wanted, starts[index + 1]) if index + 1 < len(starts) else -1
    if candidates:
        lines = text.split("\n")
        for index in sorted(candidates):
            pairs = [pair for wanted in candidates[index] for pair in signs[wanted]]
            _take(found, (block[index][0], lines[index]), pairs)
    if found.kind == SERVER and "KV cache usage" in text:
        for (number, _), line in zip(block, text.split("\n"), strict=True):
            found.serving.read(number, line)
    _keep_errors(found, text, block)


def _take(found: Scan, line: Numbered, pairs: Sequence[tuple[Cause, Sign]]) -> None:
    """Note which causes this line shows, each once; a progress bar overwrites its own line."""
    number, text = line
    seen: dict[str, tuple[str, bool]] = {}
    for part in text.split("\r"):
        for cause, sign in pairs:
            if sign.shows(part):
                weak = sign.weak and seen.get(cause.id, ("", True))[1]
                seen[cause.id] = (part, weak)
    for name, (part, weak) in seen.items():
        found.hits.setdefault(name, Hits()).add((number, part), weak)


def _keep_errors(found: Scan, text: str, block: Sequence[Numbered]) -> None:
    """For the case that nothing is known: what looks like an error, and the last line."""
    lines = text.split("\n")
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].strip():
            found.last = (block[index][0], lines[index].rstrip().rsplit("\r", 1)[-1])
            break
    lowered = text.lower()
    if not any(word in lowered for word in _ERRORS):
        return
    for (number, _), whole in zip(block, lines, strict=True):
        lower = whole.lower()
        if not any(word in lower for word in _ERRORS):
            continue
        for part in whole.split("\r"):
            _keep_error(found, (number, part))


def _keep_error(found: Scan, line: Numbered) -> None:
    _, text = line
    if text.startswith(_GOES_ON):
        found._chained = True
    elif _RAISED.search(text):
        if found.raised is None or not found._chained:
            found.raised = line
        found._chained = False
    elif not any(word in text.lower() for word in _ERRORS) or _HARMLESS.search(text):
        return
    elif not text.startswith(("Traceback", " ")):
        found.errors.append(line)
