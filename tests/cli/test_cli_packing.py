"""How `submit --pack` is shown before anything is submitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcjobs.cli import main


@pytest.mark.parametrize(("provider", "at_once"), [("vllm", 2), ("vllm_engine", 1)])
def test_tasks_that_load_the_model_themselves_are_never_evaluated_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], provider: str, at_once: int
) -> None:
    words = ("--service", "local", "--node", "gpu_1", "--provider", provider, "--model", "org/m")
    packed = ("--pack", "--pack-at-once", "2", "--dry-run")
    with pytest.raises(SystemExit) as ended:
        main(["-w", str(tmp_path), "submit", *words, *packed])
    printed = capsys.readouterr()
    assert not ended.value.code, printed
    assert f"readonly at_once={at_once} " in printed.out
    assert ("one task after the other" in printed.out) == (at_once == 1)
