"""What is to be fetched and where to, and what counts as there."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.assemble import Assembly, Choices, assemble
from hpcjobs.config.services import read_service_file
from hpcjobs.errors import InputError
from hpcjobs.model import Node, Service
from hpcjobs.predownload import job as downloads
from hpcjobs.predownload.records import (
    Fetched,
    missing,
    new_directory,
    read_end,
    read_request,
    same,
    write_end,
)
from hpcjobs.predownload.request import (
    DATASET,
    MODEL,
    TASK,
    Request,
    Thing,
    hub_cache,
    not_fetched,
    request_for,
)
from hpcjobs.workspace import Workspace

SMALL = Thing(MODEL, "acme/small")
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
SERVICE = """\
scheduler: slurm
group: research
times: {walltime_max: "24:00:00"}
exports: {HF_HOME: "${HUGGINGFACE_CACHE}", HF_HUB_OFFLINE: "1"}
environments: {lm_eval: /opt/lm_eval}
options: {qos: normal, signal: "B:USR1@50"}
nodes:
  gpu_1: {gpus: 1, cores: 8, memory_gb: 1, runtime: hrt_q}
  cpu: {cores: 2, memory_gb: 1, runtime: hrt_q, options: {partition: cpu, exclusive: ""}}
  big: {cores: 9, memory_gb: 1, runtime: hrt_q}
"""
TASKS = """key,script,result_dir,framework,hrt_q
one,script_one,one,lm_eval,00:10:00
two,script_two,two,lighteval,00:10:00
"""


def a_request(*things: Thing, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "things": things or (SMALL,),
        "exports": {"HF_HOME": "/cache"},
        "inherits": False,
        "env_file": "/work/.env",
        "umask": "027",
    }
    return Request(**{**values, **changes})


@pytest.fixture
def assembly(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Assembly:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    write(SERVICE, "conf/services/cluster.yaml")
    write(TASKS, "conf/tasks_runtime.csv")
    write("HUGGINGFACE_CACHE=/group/cache\nHF_TOKEN=hf_secret\n", ".env")
    choices = Choices("cluster", "gpu_1", ["acme/small"], tasks=("one", "two"))
    return assemble(Workspace(tmp_path), choices)


def test_the_model_and_the_tasks_of_lm_eval_are_fetched(assembly: Assembly) -> None:
    request = request_for(assembly, assembly.jobs, ["acme/questions", "acme/questions"])
    assert request.things == (SMALL, Thing(DATASET, "acme/questions"), Thing(TASK, "script_one"))
    assert request.environments == {"lm_eval": "/opt/lm_eval"}
    assert hub_cache(request.environment({})) == Path("/group/cache/hub")


def test_a_path_is_nothing_to_fetch(assembly: Assembly, tmp_path: Path) -> None:
    job = assembly.jobs[1]
    (task,) = job.tasks
    here = replace(task, settings={"weights": str(tmp_path)})
    assert request_for(assembly, [replace(job, tasks=(here,))]).things == ()


def test_a_model_that_is_served_elsewhere_is_nothing_to_fetch(assembly: Assembly) -> None:
    assembly.provider = replace(assembly.provider, name="openai", server=None)
    assert request_for(assembly, assembly.jobs).things == (Thing(TASK, "script_one"),)


def test_what_cannot_be_found_out_is_named(assembly: Assembly) -> None:
    assert not_fetched(assembly.jobs) == ["two"]


def test_no_key_is_in_a_request(assembly: Assembly) -> None:
    text = json.dumps(request_for(assembly, assembly.jobs).to_json())
    assert "/group/cache" in text
    assert "hf_secret" not in text


def test_a_value_that_is_missing_is_asked_for(assembly: Assembly) -> None:
    assembly.personal.values = {}
    with pytest.raises(InputError, match="HUGGINGFACE_CACHE"):
        request_for(assembly, assembly.jobs)


@given(
    st.lists(st.builds(Thing, st.sampled_from([MODEL, DATASET, TASK]), WORDS), max_size=5),
    st.dictionaries(WORDS, WORDS, max_size=3),
    st.booleans(),
)
def test_a_request_survives_its_file(
    things: list[Thing], exports: dict[str, str], inherits: bool
) -> None:
    request = a_request(*things, exports=exports, inherits=inherits)
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request


def test_fetching_is_never_offline() -> None:
    request = a_request(exports={"HF_HUB_OFFLINE": "1", "HF_HOME": "/cache"})
    assert request.environment({"HF_DATASETS_OFFLINE": "1", "HF_ENDPOINT": "http://mirror"}) == {
        "HF_ENDPOINT": "http://mirror",
        "HF_HOME": "/cache",
    }


@pytest.mark.parametrize(("inherits", "cache"), [(True, "/mine"), (False, "/home/me/.cache")])
def test_the_caches_of_the_shell_count_only_where_jobs_see_them(
    inherits: bool, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    request = a_request(exports={}, inherits=inherits)
    found = hub_cache(request.environment({"XDG_CACHE_HOME": "/mine"}))
    assert found == Path(cache, "huggingface", "hub")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_is_the_hubs_own(variables: dict[str, str], expected: str) -> None:
    assert hub_cache(variables) == Path(expected)


def test_the_cache_is_where_huggingface_hub_looks() -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    assert hub_cache(os.environ) == Path(constants.HF_HUB_CACHE)


# ---- What is there ----


@pytest.fixture
def fetched(shipped: Workspace, tmp_path: Path) -> Path:
    """A file that a download brought."""
    file = tmp_path / "config.json"
    file.write_text("{}")
    directory = new_directory(shipped, a_request())
    write_end(directory, [Fetched(SMALL, {str(file): 2})], ["acme/none: no"])
    return file


def test_what_was_fetched_is_not_missing(shipped: Workspace, fetched: Path) -> None:
    other = Thing(MODEL, "acme/none")
    assert missing(shipped, a_request(SMALL, other)) == [other]


def test_a_file_of_another_size_is_missing(shipped: Workspace, fetched: Path) -> None:
    fetched.write_text("{ }")
    assert missing(shipped, a_request()) == [SMALL]


def test_a_file_that_is_gone_is_missing(shipped: Workspace, fetched: Path) -> None:
    fetched.unlink()
    assert missing(shipped, a_request()) == [SMALL]


def test_what_is_in_another_cache_is_missing(shipped: Workspace, fetched: Path) -> None:
    assert missing(shipped, a_request(exports={"HF_HOME": "/elsewhere"})) == [SMALL]


def test_what_another_evaluator_loaded_is_missing(shipped: Workspace, tmp_path: Path) -> None:
    task = Thing(TASK, "script_one")
    request = a_request(task, environments={"lm_eval": "/old"})
    write_end(new_directory(shipped, request), [Fetched(task, {})], [])
    assert missing(shipped, request) == []
    assert missing(shipped, replace(request, environments={"lm_eval": "/new"})) == [task]


def test_a_download_that_has_not_ended_brought_nothing(shipped: Workspace) -> None:
    directory = new_directory(shipped, a_request())
    assert read_end(directory) is None
    assert missing(shipped, a_request()) == [SMALL]
    assert same(read_request(directory), a_request())


def test_half_a_record_is_none(shipped: Workspace) -> None:
    directory = new_directory(shipped, a_request())
    (directory / "ended.json").write_text('{"fetched": [')
    assert read_end(directory) is None


# ---- Where it runs ----


def test_downloads_run_on_the_first_node_without_gpus(assembly: Assembly) -> None:
    assert downloads.download_node(assembly.service).name == "cpu"


def test_downloads_run_where_the_service_says(write: Callable[..., Path]) -> None:
    text = SERVICE + 'predownload: {node: big, walltime: "00:30:00"}\n'
    service = read_service_file(write(text))
    assert downloads.download_node(service).name == "big"
    assert service.download_walltime == 1800


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("predownload: {node: bgi}", "did you mean: big"),
        ("predownload: {nodes: big}", "did you mean: node"),
        ("predownload: {walltime: long}", "HH:MM:SS"),
    ],
)
def test_a_wrong_word_for_downloads_is_refused(
    write: Callable[..., Path], line: str, what: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_service_file(write(f"{SERVICE}{line}\n", "conf/services/cluster.yaml"))
    assert what in str(caught.value)
    assert "cluster.yaml:" in str(caught.value)


def test_a_service_of_gpus_only_must_name_the_node(
    a_service: Callable[..., Service], a_node: Callable[..., Node]
) -> None:
    with pytest.raises(InputError, match="no node without GPUs"):
        downloads.download_node(a_service(nodes={"gpu_1": a_node()}))


def test_sbatch_is_told_what_the_node_needs(assembly: Assembly) -> None:
    assert downloads.sbatch_options(assembly) == {
        "time": "04:00:00",
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": "2",
        "no-requeue": True,
        "account": "research",
        "qos": "normal",
        "partition": "cpu",
        "exclusive": True,
    }


@pytest.mark.parametrize("name", ["submitit", "huggingface_hub"])
def test_a_library_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, a_service: Callable[..., Service], name: str
) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module: None if module == name else object()
    )
    with pytest.raises(InputError) as caught:
        downloads.require_libraries(a_request(), a_service())
    assert name.replace("_", "-") in caught.value.what
    assert caught.value.do == "pip install 'hpcjobs[predownload]'"


def test_in_the_foreground_submitit_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, a_service: Callable[..., Service]
) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module: None if module == "submitit" else object()
    )
    downloads.require_libraries(a_request(), a_service(scheduler="pbs"))
