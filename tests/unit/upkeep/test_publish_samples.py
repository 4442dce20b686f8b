"""Single samples in the copy for others: only if asked for, whole, and with no key in them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import InputError
from hpcjobs.publishing import sample_copies
from hpcjobs.publishing.sample_copies import copy, look_through, samples_of
from hpcjobs.store import load

Command = Callable[..., tuple[str, str]]
PLACE = "p/org/m-8B"
RAW = "results_2026-01-01T00-00-00.000000.json"
SAMPLES = "samples_sums_2026-01-01T00-00-00.000000.jsonl"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o2770)
    return path


@pytest.fixture
def job(ended: Any, command: Command, metrics: None) -> Any:
    """A job whose result was aggregated."""
    made = ended.evaluated()
    command("aggregate")
    return made


@pytest.fixture
def own(job: Any, tmp_path: Path) -> Path:
    """Its file of samples."""
    (path,) = (tmp_path / "jobs").rglob(SAMPLES)
    return path


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(directory)): one.read_bytes()
        for one in directory.rglob("*")
        if one.is_file()
    }


def published(command: Command, *words: object, code: int = 0) -> Any:
    return json.loads(command("publish", *words, "--json", code=code)[0])


def published_samples(job: Any) -> str:
    return f"raw/{job.id}-01/ja/a/{SAMPLES}"


def test_samples_are_copied_beside_their_raw_result_if_asked_for(
    job: Any, own: Path, command: Command, shared: Path
) -> None:
    before = os.umask(0o077)
    try:
        (one,) = published(command, shared, "--samples")["published"]
    finally:
        os.umask(before)
    name = published_samples(job)
    assert one["written"] == [
        f"raw/{job.id}-01/ja/a/{RAW}", "aggregated_results.json", name, "provenance.json"
    ]  # fmt: skip
    found = tree(shared / PLACE)
    assert found[name] == own.read_bytes()
    assert one["bytes"] == sum(map(len, found.values()))
    assert stat.S_IMODE((shared / PLACE / name).stat().st_mode) == 0o640
    about = json.loads(found["provenance.json"])["files"][name]
    assert about["sha256"] == hashlib.sha256(own.read_bytes()).hexdigest()
    assert about["from"].startswith(f"jobs/{job.id}/01/results/")


def test_they_may_be_asked_for_later_and_are_kept_when_not_asked_for_again(
    job: Any, own: Path, command: Command, shared: Path
) -> None:
    command("publish", shared)
    assert published_samples(job) not in tree(shared / PLACE)
    (one,) = published(command, shared, "--samples")["published"]
    assert (one["state"], one["replaced"]) == ("written", [])
    assert one["written"] == [published_samples(job), "provenance.json"]
    both = tree(shared)
    for words in ((), ("--samples",), ("--replace",)):
        assert published(command, shared, *words)["published"][0]["state"] == "up to date"
        assert tree(shared) == both


def test_a_copy_of_them_that_was_broken_off_is_completed(
    job: Any, own: Path, command: Command, shared: Path
) -> None:
    command("publish", shared, "--samples")
    whole = tree(shared)
    for name in (published_samples(job), "provenance.json"):
        (shared / PLACE / name).unlink()
        assert published(command, shared, "--samples")["published"][0]["written"] == [name]
        assert tree(shared) == whole


def test_with_the_result_that_replaces_theirs_the_old_ones_go(
    ended: Any, job: Any, own: Path, command: Command, shared: Path
) -> None:
    command("publish", shared, "--samples")
    ended.evaluated(2, job=job)
    command("aggregate")
    assert "--replace" in published(command, shared, "--samples", code=1)["problems"][0]
    command("publish", shared, "--samples", "--replace")
    assert {Path(name).parts[1] for name in tree(shared / PLACE) if name.startswith("raw/")} == {
        f"{job.id}-02"
    }
    assert len(tree(shared / PLACE)) == 4


def test_what_others_put_in_their_place_is_never_written_over(
    job: Any, own: Path, command: Command, shared: Path
) -> None:
    path = shared / PLACE / published_samples(job)
    path.parent.mkdir(parents=True)
    path.write_text("of a colleague")
    (problem,) = published(command, shared, "--samples", "--replace", code=1)["problems"]
    assert "something else is there" in problem
    assert tree(shared) == {str(path.relative_to(shared)): b"of a colleague"}


def test_a_result_without_samples_is_published_and_told(
    job: Any, own: Path, command: Command, shared: Path
) -> None:
    own.unlink()
    shown, told = command("publish", shared, "--samples", code=1)
    assert shown.startswith("written: ")
    assert "it has no samples beside it" in told
    assert "aggregated_results.json" in tree(shared / PLACE)


def test_samples_of_another_run_of_the_task_are_not_those_of_this_result(
    job: Any, own: Path, command: Command, shared: Path
) -> None:
    own.rename(own.with_name(own.name.replace("2026-01-01", "2025-01-01")))
    command("publish", shared, "--samples", code=1)
    assert not [name for name in tree(shared) if name.endswith(".jsonl")]


@pytest.mark.parametrize("case", ["later", "behind a link"])
def test_samples_that_are_not_those_of_the_job_stop_it(
    job: Any, own: Path, command: Command, shared: Path, tmp_path: Path, case: str
) -> None:
    if case == "later":
        os.utime(own, (4e9, 4e9))
    else:
        own.rename(tmp_path / "elsewhere")
        own.symlink_to(tmp_path / "elsewhere")
    told = command("publish", shared, "--samples", code=1)[1]
    assert {"later": "later than the aggregate", "behind a link": "outside jobs/"}[case] in told
    assert not tree(shared)


@pytest.mark.parametrize("secret", ["a-key-of-mine", "hf_" + "a" * 34])
@pytest.mark.parametrize("kind", [".jsonl", ".parquet"])
def test_a_key_in_a_sample_stops_it_compressed_or_not(
    job: Any, own: Path, command: Command, shared: Path, tmp_path: Path, secret: str, kind: str
) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=a-key-of-mine\n")
    if kind == ".jsonl":
        own.write_text(own.read_text() + json.dumps({"resps": [[f"it is {secret}"]]}) + "\n")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        column = [{"text": [f"it is {secret}"], "ids": [[1, 2]]}] * 50
        own.unlink()
        own = own.with_name(own.name.replace("samples_", "details_")).with_suffix(kind)
        table = pyarrow.table({"response": column})
        parquet.write_table(table, own, compression="gzip", write_statistics=False)
        assert secret.encode() not in own.read_bytes()
    os.utime(own, (1, 1))
    shown, told = command("publish", shared, "--samples", code=1)
    assert "what looks like one" in told
    assert secret not in shown + told
    assert not tree(shared)


def test_details_that_cannot_be_looked_through_stop_it(
    job: Any, own: Path, command: Command, shared: Path
) -> None:
    path = own.with_name(own.name.replace("samples_", "details_")).with_suffix(".parquet")
    own.rename(path)
    os.utime(path, (1, 1))
    assert "cannot be looked through" in command("publish", shared, "--samples", code=1)[1]
    assert not tree(shared)


def test_real_details_of_lighteval_can_be_looked_through() -> None:
    fixtures = Path(__file__).parents[2] / "fixtures" / "samples"
    found = [*fixtures.rglob("*.parquet")]
    assert len(found) >= 4
    for path in found:
        seen: list[bytes] = []

        def remember(data: bytes, seen: list[bytes] = seen) -> bool:
            seen.append(data)
            return False

        assert look_through(path, remember).digest == hashlib.sha256(path.read_bytes()).hexdigest()
        assert len(b"".join(seen[1:])) > 100  # texts, beside the bytes of the file


def test_a_key_across_two_pieces_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_copies, "PIECE", 64)
    monkeypatch.setattr(sample_copies, "OVERLAP", 32)
    path = tmp_path / "samples.jsonl"
    for start in range(128):
        path.write_bytes(b"." * start + b"a-key-of-mine" + b"." * 99)
        with pytest.raises(InputError, match="what looks like one"):
            look_through(path, lambda data: b"a-key-of-mine" in data)


def test_what_changes_while_it_is_copied_is_not_published(tmp_path: Path) -> None:
    source, target = tmp_path / "source.jsonl", tmp_path / "target.jsonl"
    source.write_text("one")
    seen = look_through(source, lambda data: False)
    source.write_text("two")
    with pytest.raises(InputError, match="changed while it was copied"):
        copy(seen, target)
    assert [*tmp_path.iterdir()] == [source]


@pytest.mark.parametrize("version", ["0.8.1", "swallow-0.8.0", "0.13.0"])
def test_details_of_lighteval_are_found_beside_its_results(
    ended: Any, tmp_path: Path, version: str
) -> None:
    fixture = Path(__file__).parents[2] / "fixtures" / "evaluations" / "lighteval-good" / version
    made = ended.job()
    directory = ended.attempt(made) / "results" / "ja" / "a"
    shutil.copytree(fixture, directory)
    other = directory.with_name("b")  # another task of the same attempt
    shutil.copytree(fixture, other)
    (source,) = directory.rglob("results_*.json")
    found = samples_of(
        ended.workspace, load(ended.workspace.journal), str(source.relative_to(tmp_path))
    )
    assert sorted(found) == sorted(directory.rglob("details_*.parquet"))
    assert len(found) == 2
