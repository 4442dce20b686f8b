"""docs/diagnosis.md tells the table as it is in the code."""

from __future__ import annotations

from pathlib import Path

from hpcjobs.diagnosis.table import CAUSES


def test_the_document_has_the_table_of_the_code(project: Path) -> None:
    text = (project / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    told = [line for line in text.splitlines() if line.startswith("| `")]
    assert told == [
        f"| `{cause.id}` | {cause.title} | {cause.do} | {cause.again.value} |" for cause in CAUSES
    ]
