"""The trust gate: whether the numbers of a task mean what they seem to mean. Pure.

An evaluator that ends with 0 and writes a score has not necessarily asked the model: lighteval
scores an answer that was lost as a wrong one. What is judged are facts: counts over the samples and
the log, and what the result files say of themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpcjobs.results.judgement import (
    BROKEN_SAMPLES,
    FEWER,
    NO_SAMPLES,
    NOT_INSTALLED,
    Finding,
    Judgement,
    Trust,
)
from hpcjobs.results.log_facts import LogFacts
from hpcjobs.results.sample_facts import SampleFacts
from hpcjobs.results.server_facts import ServerFacts

VERSION = 2
"""Of these rules: what was judged by others is judged again."""

# ---- The thresholds ------------------------------------------------------------------------------

EMPTY_SHARE = 0.02
"""Answers that the model itself left empty: above this share of all, the value is suspect."""

UNFINISHED_SHARE = 0.5
"""The same for answers that never came to an end: cut off at the length limit, in an open think tag
or in endless repetition; where a reasoning parser takes the thinking away, such are empty."""

LIMIT_FROM = 128
"""Tokens: a task that allows fewer wants short answers, and cuts them off on purpose."""

SAME_FROM, SAME_LENGTH = 10, 20
"""One and the same text to so many questions, and so long, is no answer to them."""

CLOCK_SLACK = 600.0
"""Seconds by which the clocks of a node and of a file server may differ."""


@dataclass(frozen=True)
class EntryFacts:
    """What is known of one task or subset, as its evaluator names it, that has a value."""

    task: str
    samples: int | None
    """How many were evaluated, as the result file says."""
    original: int | None
    """How many the data set has."""
    facts: SampleFacts | None = None
    """Counts over its samples; None if they were not read."""
    fault: str = ""
    """Why they were not."""
    kind: str = ""
    """NOT_INSTALLED, NO_SAMPLES or BROKEN_SAMPLES, likewise."""


@dataclass(frozen=True)
class Asked:
    """What the job asked of the evaluator."""

    max_samples: float | None = None
    """At most so many samples a task; below 1, a share of them."""
    partial: bool = False
    """It was an option of the task that said so: its result stands among those of whole tasks."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Of these, those that the evaluator repeats are compared."""
    limits: tuple[float | None, ...] = ()
    """The same number, as each result file says that it was asked."""
    generations: tuple[Mapping[str, object], ...] = ()
    """The settings, likewise, under our names."""
    generates: bool = True
    """It asks for texts only: requests for log-likelihoods end at a limit of one token."""
    answer_tokens: int | None = None
    """Tokens that an answer may have, where neither samples nor result say it."""
    seconds_before: float = 0.0
    """So much older than the attempt the oldest of its result files is."""

    @property
    def reasoning_parser(self) -> bool:
        """Whether somebody takes the thinking out of the answers."""
        return bool(self.settings.get("reasoning_parser"))


def judge_task(
    entries: Sequence[EntryFacts],
    log: LogFacts,
    asked: Asked,
    server: ServerFacts = ServerFacts(),  # noqa: B008 - frozen, and empty
) -> Judgement:
    """The judgement on one task of a job, which may have many subsets."""
    findings = [
        *_of_requests(log),
        *_of_answers([one.facts for one in entries if one.facts], log, asked),
        *_of_server(entries, server, asked),
        *_of_counts(entries, asked),
        *_of_samples(entries),
        *_of_settings(asked),
    ]
    return Judgement(tuple(findings))


def _of_requests(log: LogFacts) -> list[Finding]:
    found = []
    if log.lost:
        why = f"{_count(log.lost, 'answer')} lost: the requests failed, and count as wrong answers"
        found.append(Finding("lost", why, log.lost_lines))
    if log.cached:
        why = (
            f"{_count(log.cached, 'answer')} taken from a cache, not from this server: an earlier "
            "failure may have filled it"
        )
        found.append(Finding("cached", why, log.cached_lines))
    return found


def _of_answers(facts: Sequence[SampleFacts], log: LogFacts, asked: Asked) -> list[Finding]:
    answers = sum(one.answers for one in facts)
    found = []
    if answers:
        found += _of_empty(facts, answers, log, asked)
        found += _of_unfinished(facts, answers)
    if broken := sum(one.broken for one in facts):
        samples = sum(one.samples for one in facts)
        found.append(Finding("likelihoods", f"{broken} of {samples} samples have no likelihoods"))
    for one in facts:
        if one.same is not None and one.full >= SAME_FROM and len(one.same) >= SAME_LENGTH:
            found.append(Finding("same", f"{one.task}: all {one.full} answers are the same text"))
    return found


def _of_empty(
    facts: Sequence[SampleFacts], answers: int, log: LogFacts, asked: Asked
) -> list[Finding]:
    empty = sum(one.empty for one in facts)
    if not empty:
        return []
    examples = [f"{one.task} {name}" for one in facts for name in one.examples][:3]
    such = f" (sample {', '.join(examples)})"
    if empty == answers:
        why = f"all {answers} answers are empty" if answers > 1 else "the only answer is empty"
        return [Finding("empty", why, trust=Trust.FAILED)]
    if not log.there:
        return [
            Finding("empty", f"{empty} of {answers} answers are empty{such}, and no log tells why")
        ]
    own = max(0, empty - log.lost)
    allowed = UNFINISHED_SHARE if asked.reasoning_parser else EMPTY_SHARE
    whole = [one for one in facts if one.empty == one.answers > 0]
    if log.lost or log.cached or own > allowed * answers:
        return [Finding("empty", f"{empty} of {answers} answers are empty{such}")]
    if whole:
        names = ", ".join(one.task for one in whole[:3])
        return [
            Finding("empty", f"all answers are empty in {_count(len(whole), 'subset')}: {names}")
        ]
    return []


def _of_unfinished(facts: Sequence[SampleFacts], answers: int) -> list[Finding]:
    found = []
    for kind, count, how in (
        ("think", sum(one.unfinished for one in facts), "never end their thinking"),
        ("endless", sum(one.endless for one in facts), "end in endless repetition"),
        ("length", sum(_cut_off(one) for one in facts), "are cut off at the length limit"),
    ):
        if count > UNFINISHED_SHARE * answers:
            found.append(Finding(kind, f"{count} of {answers} answers {how}"))
    return found


def _cut_off(facts: SampleFacts) -> int:
    return facts.at_limit if facts.limit is not None and facts.limit >= LIMIT_FROM else 0


def _of_server(entries: Sequence[EntryFacts], server: ServerFacts, asked: Asked) -> list[Finding]:
    """How the answers ended, where the samples do not tell it and the server counted only texts."""
    facts = [one.facts for one in entries if one.facts]
    if not asked.generates or len(facts) < len(entries):
        return []
    if any(one.likelihoods or one.limit is not None for one in facts):
        return []
    limits = (one.allowed or asked.answer_tokens for one in facts)
    if any(limit is not None and limit < LIMIT_FROM for limit in limits):
        return []
    # What came from a cache of lm_eval was not asked for: nobody knows how it ended.
    answers = max(server.answered, sum(one.answers for one in facts))
    if server.cut_off > UNFINISHED_SHARE * answers:
        how = "are cut off at the length limit, as vLLM counted them"
        return [Finding("length", f"{server.cut_off} of {answers} answers {how}")]
    return []


def _of_counts(entries: Sequence[EntryFacts], asked: Asked) -> list[Finding]:
    """Fewer samples than were asked for, or than the score is said to be made of."""
    found = []
    for one in entries:
        read = one.facts.samples if one.facts else None
        if read == 0 or one.samples == 0:
            why = f"{one.task}: no sample was evaluated"
            found.append(Finding(FEWER, why, trust=Trust.FAILED))
            continue
        told = one.samples if one.samples is not None else read
        wanted = _wanted(one.original, asked.max_samples)
        if told is not None and wanted is not None and told < wanted:
            found.append(
                Finding(FEWER, f"{one.task}: {told} samples evaluated, {wanted} asked for")
            )
        elif read is not None and one.samples is not None and read < one.samples:
            why = f"{one.task}: {read} samples are there, of {one.samples} evaluated"
            found.append(Finding(FEWER, why))
    most = asked.max_samples
    for limit in dict.fromkeys(asked.limits):
        if limit is not None and limit != most:
            wanted_text = f"{most:g}" if most else "all"
            why = f"made with at most {limit:g} samples a task, asked for were {wanted_text}"
            found.append(Finding("limit", why))
    if most is not None and most >= 1:
        for one in entries:
            if one.samples is not None and one.samples > most:
                why = f"{one.task}: {one.samples} samples evaluated, at most {most:g} asked for"
                found.append(Finding("limit", why))
    return [*found, *_of_parts(entries, asked)]


def _of_parts(entries: Sequence[EntryFacts], asked: Asked) -> list[Finding]:
    """Only some of the samples, though it was no trial, which is kept apart."""
    parts = [
        f"{one.task}: only {_known(one.samples)} of {_known(one.original)} samples"
        for one in entries
        if one.samples is None or one.original is None or one.samples < one.original
    ]
    if not asked.partial or not parts:
        return []
    more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
    why = f"{parts[0]}{more} (the option limit, {asked.max_samples:g})"
    return [Finding("limit", why)]


def _wanted(original: int | None, most: float | None) -> int | None:
    """How many samples should be there; None = nobody knows."""
    if original is None:
        return None
    if most is None:
        return original
    return min(original, int(most)) if most >= 1 else int(original * most)


def _of_samples(entries: Sequence[EntryFacts]) -> list[Finding]:
    """Samples that were not looked at: nobody knows then what the answers are like."""
    found = []
    for kind, how in (
        (NO_SAMPLES, "no samples are there of"),
        (BROKEN_SAMPLES, "the samples cannot be read of"),
        (NOT_INSTALLED, "the answers were not looked at of"),
    ):
        some = [one for one in entries if one.kind == kind]
        if some:
            more = f" and {len(some) - 1} more" if len(some) > 1 else ""
            fault = f" ({some[0].fault})" if some[0].fault else ""
            found.append(Finding(kind, f"{how} {some[0].task}{more}{fault}"))
    return found


def _of_settings(asked: Asked) -> list[Finding]:
    found = []
    for told in asked.generations:
        others = [
            f"{key} {told[key]} instead of {asked.settings[key]}"
            for key in sorted(told)
            if key in asked.settings and _differs(told[key], asked.settings[key])
        ]
        if others:
            found.append(Finding("settings", f"made under other settings: {', '.join(others)}"))
            break
    if asked.seconds_before > CLOCK_SLACK:
        found.append(Finding("older", "the result is older than this attempt"))
    return found


def _differs(told: object, asked: object) -> bool:
    """Whether both are numbers, or both texts, and not the same."""
    if isinstance(told, (int, float)) and isinstance(asked, (int, float)):
        return abs(told - asked) > 1e-9 * max(1.0, abs(asked))
    return isinstance(told, str) and isinstance(asked, str) and told != asked


def _known(number: int | None) -> str:
    return "?" if number is None else str(number)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
