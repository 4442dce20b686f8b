"""What a job finds out of its model and server before it spends time on them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from running_job import RunningJob

Start = Callable[..., RunningJob]
PROGRAM = Path(__file__).parents[2] / "templates" / "servers" / "look_at_model.py"


def look(*words: str, **environ: str) -> dict[str, str]:
    """What look_at_model.py says."""
    ended = subprocess.run(
        [sys.executable, PROGRAM, *words],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "HF_HUB_OFFLINE": "1", **environ},
        check=True,
    )
    return dict(line.split(" ", 1) for line in ended.stdout.splitlines())


def a_model(directory: Path, tokenizer: str = "{}", **config: object) -> Path:
    directory.mkdir(parents=True)
    (directory / "tokenizer.json").write_text(tokenizer)
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize(
    ("tokenizer", "thinks"),
    [
        ('{"added_tokens": [{"content": "<think>"}, {"content": "</think>"}]}', "yes"),
        ('{"added_tokens": [{"content": "[/THINK]"}]}', "yes"),
        ('{"added_tokens": [{"content": "</thinker>"}]}', "no"),
        ("{}", "no"),
    ],
)
def test_think_tags_are_found_in_a_tokenizer(tmp_path: Path, tokenizer: str, thinks: str) -> None:
    assert look(str(a_model(tmp_path / "m", tokenizer)))["thinks"] == thinks


def test_think_tags_are_found_in_a_chat_template(tmp_path: Path) -> None:
    model = a_model(tmp_path / "m")
    (model / "chat_template.jinja").write_text("{{ x.split('</think>') }}")
    assert look(str(model))["thinks"] == "yes"


def test_without_a_tokenizer_nothing_is_concluded(tmp_path: Path) -> None:
    model = a_model(tmp_path / "m")
    (model / "tokenizer.json").unlink()
    assert "thinks" not in look(str(model))


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 4096}, "4096"),
        ({"text_config": {"max_position_embeddings": 8192}}, "8192"),
        (
            {"max_position_embeddings": 1000, "rope_scaling": {"type": "yarn", "factor": 4.0}},
            "4000",
        ),
        (
            {"max_position_embeddings": 9, "rope_scaling": {"type": "llama3", "factor": 8.0}},
            "9",
        ),
    ],
)
def test_the_longest_text_is_read_of_the_configuration(
    tmp_path: Path, config: dict[str, object], length: str
) -> None:
    assert look(str(a_model(tmp_path / "m", **config)))["length"] == length


def test_a_configuration_without_a_length_tells_none(tmp_path: Path) -> None:
    assert "length" not in look(str(a_model(tmp_path / "m")))


def test_a_model_of_the_hub_is_found_in_the_cache(tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "models--org--name"
    snapshot = a_model(cached / "snapshots" / "abc", max_position_embeddings=7)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    found = look("org/name", HF_HOME=str(tmp_path))
    assert (found["path"], found["length"]) == (str(snapshot.resolve()), "7")


def test_a_model_that_is_nowhere_ends_with_0_and_says_nothing(tmp_path: Path) -> None:
    assert look("org/name", HF_HOME=str(tmp_path)) == {}


def test_parsers_are_asked_of_the_installed_vllm(tmp_path: Path) -> None:
    package = tmp_path / "vllm" / "reasoning"
    package.mkdir(parents=True)
    (tmp_path / "vllm" / "__init__.py").touch()
    (package / "__init__.py").write_text(
        "class ReasoningParserManager:\n"
        "    @staticmethod\n"
        "    def list_registered(): return ['qwen3', 'deepseek_r1']\n"
    )
    found = look(str(tmp_path), "qwen3", PYTHONPATH=str(tmp_path))
    assert (found["parser"], found["parsers"]) == ("yes", "deepseek_r1 qwen3")
    assert look(str(tmp_path), "qwen4", PYTHONPATH=str(tmp_path))["parser"] == "no"


# ---- In jobs -------------------------------------------------------------------------------------


def test_a_model_that_thinks_is_refused_without_a_parser(start: Start, tmp_path: Path) -> None:
    model = a_model(tmp_path / "it's a model", '{"content": "</think>"}')
    job = start(weights=str(model))
    assert job.wait() == 89, job.log()
    assert job.markers()["failure"] == "no_reasoning_parser"
    assert not job.records_of("vllm")


def test_a_model_that_thinks_may_be_asked_for_log_likelihoods(start: Start, tmp_path: Path) -> None:
    model = a_model(tmp_path / "m", '{"content": "</think>"}')
    job = start("loglikelihood", weights=str(model))
    assert job.wait() == 0, job.log()


def test_where_vllm_cannot_be_asked_for_its_parsers_it_is_left_to_tell(start: Start) -> None:
    job = start("parsed")
    assert job.wait() == 0, job.log()
    assert "could not be asked for its reasoning parsers" in job.log()
    argv = job.records_of("vllm")[0]["argv"]
    assert argv[argv.index("--reasoning-parser") + 1] == "nobodys"


def test_log_likelihoods_are_asked_for_with_the_length_that_the_server_takes(start: Start) -> None:
    job = start("loglikelihood")
    assert job.wait() == 0, job.log()
    arguments = job.records_of("lm_eval")[0]["model_args"]
    assert arguments["max_length"] == 512
    assert arguments["base_url"].endswith("/v1/completions")


def test_a_server_without_log_likelihoods_ends_the_job_before_the_evaluator(start: Start) -> None:
    job = start("loglikelihood", vllm={"no_logprobs": True})
    assert job.wait() == 94, job.log()
    assert job.markers()["failure"] == "no_loglikelihood"
    assert not job.records_of("lm_eval")


def test_no_server_is_started_where_the_evaluator_loads_the_model(start: Start) -> None:
    job = start(provider="hf")
    assert job.wait() == 0, job.log()
    assert not job.records_of("vllm")
    assert "pretrained" in job.records_of("lm_eval")[0]["model_args"]


def test_weights_are_staged_on_the_nodes_own_disk_and_removed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = a_model(tmp_path / "it's a model", max_position_embeddings=7)
    disk = tmp_path / "own disk"
    disk.mkdir()
    job = start(weights=str(model), stage_weights=True, exports={"TMPDIR": str(disk)})
    assert job.wait() == 0, job.log()
    served = Path(job.records_of("vllm")[0]["argv"][2])
    assert served.parent == disk
    assert not list(disk.iterdir())


def test_an_unknown_version_of_lighteval_is_not_guessed_at(start: Start) -> None:
    job = start("auto")
    assert job.wait() == 91, job.log()
    assert job.markers()["failure"] == "unknown_lighteval"


def test_ollama_is_known_by_its_name_alone_and_leaves_nothing(start: Start, tmp_path: Path) -> None:
    weights = tmp_path / "it's a model.gguf"
    weights.touch()
    disk = tmp_path / "own disk"
    disk.mkdir()
    job = start(provider="ollama", weights=str(weights), exports={"TMPDIR": str(disk)})
    assert job.wait() == 0, job.log()
    assert job.markers()["server_version"] == "ollama 0.0.fake"
    assert (job.directory / "work" / "Modelfile").read_text() == f"FROM {weights}\n"
    assert not list(disk.iterdir())
    job.wait_until_gone()


def test_programs_are_started_by_uv_where_the_service_says_so(start: Start, tmp_path: Path) -> None:
    command = "uv run --isolated --locked --project '/a b' --extra x"
    job = start(environments={"vllm": command, "lm_eval": command})
    assert job.wait() == 0, job.log()
    told = (tmp_path / "records" / "uv.txt").read_text()
    assert told.count("run\n--isolated\n--locked\n--project\n/a b\n--extra\nx\n--\n") == 3
    job.wait_until_gone()
