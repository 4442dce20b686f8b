"""How single samples are shown on the terminal, and written into files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcjobs.cli.context import interactive

if TYPE_CHECKING:
    from hpcjobs.results.sample import Sample


class Counts:
    """How many samples went by."""

    def __init__(self) -> None:
        self.all = self.matched = 0

    def read(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Count all of them, on their way."""
        for one in samples:
            self.all += 1
            yield one

    def matching(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Count those that match."""
        for one in samples:
            self.matched += 1
            yield one

    def finish(self, samples: Iterable[Sample]) -> None:
        """Count the rest."""
        if isinstance(samples, Iterator):
            for _ in samples:
                pass


def show(pages: Iterator[str]) -> None:
    """All of them, through a pager where a person looks on."""
    import sys

    if sys.stdout.isatty() and interactive():
        click.echo_via_pager(pages)
        return
    for page in pages:
        click.echo(page, nl=False)


def pages(
    chosen: Iterable[Sample],
    found: Iterable[Sample],
    counts: Counts,
    metrics: list[str],
    cut: int | None,
) -> Iterator[str]:
    """A page for each that is chosen, and a last line that counts them."""
    shown = 0
    for sample in chosen:
        shown += 1
        yield _page(sample, metrics, cut)
    counts.finish(found)
    if not shown:
        yield f"no sample matches, of {counts.all}\n"
    else:
        more = " (more with --limit N, or --output FILE)" if shown < counts.matched else ""
        yield f"{shown} shown, {counts.matched} match, {counts.all} read{more}\n"


def _page(sample: Sample, metrics: list[str], cut: int | None) -> str:
    from hpcjobs.results.samples import score_of

    first = score_of(sample, metrics)
    ordered = dict([first] if first else []) | dict(sample.scores)
    scores = "  ".join(f"{name} {value:g}" for name, value in ordered.items())
    lines = [f"== {_plain(sample.task)}  sample {_plain(sample.id)}  {_plain(scores)}"]
    parts = [("prompt", sample.prompt)]
    parts += [("gold", gold) for gold in sample.gold]
    parts += [("answer", answer) for answer in sample.answers] or [("answer", "")]
    for name, text in parts:
        shown = _shortened(_plain(text), cut) if text.strip() else "(empty)"
        lines.append(f"{name}: {shown}")
    return "\n".join(lines) + "\n\n"


def _shortened(text: str, cut: int | None) -> str:
    if cut is None or len(text) <= cut:
        return text
    half = cut // 2
    return f"{text[:half]}\n  [... {len(text) - 2 * half} characters ...]\n{text[-half:]}"


def _plain(text: str) -> str:
    """What a model wrote may not command the terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def sample_json(sample: Sample, metrics: list[str]) -> dict[str, Any]:
    """A sample as plain values, with the metric that counts."""
    from hpcjobs.results.samples import score_of

    first = score_of(sample, metrics)
    return {
        "task": sample.task,
        "id": sample.id,
        "metric": first[0] if first else None,
        "score": first[1] if first else None,
        "prompt": sample.prompt,
        "answers": list(sample.answers),
        "gold": list(sample.gold),
        "scores": dict(sample.scores),
    }


def write_samples(path: Path, samples: Iterable[Sample], metrics: list[str]) -> int:
    """Write them one by one; how many there were."""
    from hpcjobs.files import explained, replacing

    count = 0
    with replacing(path) as file:
        writer = csv.writer(file)
        for sample in samples:
            row = sample_json(sample, metrics)
            with explained("write", path):
                if path.suffix == ".jsonl":
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                else:
                    if not count:
                        writer.writerow(row)
                    writer.writerow(_cell(value) for value in row.values())
            count += 1
        if not count and path.suffix == ".csv":
            with explained("write", path):
                writer.writerow(
                    ("task", "id", "metric", "score", "prompt", "answers", "gold", "scores")
                )
    return count


def _cell(value: Any) -> Any:
    """A text as it is, one of one too; several as JSON."""
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
