"""campaign.yaml: what it means, and how its mistakes are told."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from hpcjobs.config.campaigns import Campaign, read_campaign
from hpcjobs.config.settings import read_model_settings, settings_names
from hpcjobs.config.submissions import Submission
from hpcjobs.errors import InputError
from hpcjobs.workspace import Workspace

BASE = "service: tsubame\nnode: node_q\ntasks: ja_mmlu\n"


def read(root: Path, text: str) -> Campaign:
    (root / "campaign.yaml").write_text(text)
    return read_campaign(Workspace(root), root / "campaign.yaml")


def test_models_times_tasks_times_settings(tmp_path: Path) -> None:
    text = "service: local\nnode: gpu_1\nprovider: openai\ntasks: [ja_mmlu, ja_gpqa]\n"
    rows = read(tmp_path, text + "settings: [x, '']\nmodels: [org/a, org/b]\n").rows
    assert len(rows) == len(set(rows)) == 8
    assert rows[0] == Submission(
        "org/a", "ja_mmlu", "local", "gpu_1", "openai", "x", where=f"{tmp_path}/campaign.yaml:6"
    )


def test_a_model_says_more_than_a_pattern_and_a_pattern_more_than_the_top(tmp_path: Path) -> None:
    text = BASE + (
        "models:\n  org/a-iter1: {settings: own}\n  org/b-iter1:\n  org/c:\n"
        "patterns:\n  '*-iter*': {settings: pattern, node: node_f}\n  'org/*': {node: node_h}\n"
    )
    found = {row.model: (row.settings, row.node) for row in read(tmp_path, text).rows}
    assert found == {
        "org/a-iter1": ("own", "node_f"),
        "org/b-iter1": ("pattern", "node_f"),
        "org/c": ("", "node_h"),
    }


def test_a_list_of_models_may_have_comments_and_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "models.txt").write_text("\ufeff# all\n\norg/a  # the first\r\norg/b\n")
    rows = read(tmp_path, BASE + "models: ['@models.txt', org/c]\n").rows
    assert [row.model for row in rows] == ["org/a", "org/b", "org/c"]
    assert rows[0].where == f"{tmp_path}/models.txt:3"
    rows = read(tmp_path, BASE + "models:\n  '@models.txt': {settings: x}\n").rows
    assert [row.settings for row in rows] == ["x", "x"]


@pytest.mark.parametrize(
    ("service", "said", "meant"),
    [("tsubame", "node_q", "node_q"), ("abci", "node_q", "rt_HG"), ("tsubame", "rt_HG", "node_q"),
     ("local", "one_gpu", "gpu_1"), ("abci", "mine", "rt_HC")],
)  # fmt: skip
def test_nodes_are_called_otherwise_elsewhere(
    tmp_path: Path, service: str, said: str, meant: str
) -> None:
    text = f"service: {service}\nnode: {said}\ntasks: ja_mmlu\nmodels: org/a\n"
    (row,) = read(tmp_path, text + "nodes: {mine: {abci: rt_HC}}\n").rows
    assert row.node == meant


def test_how_it_is_repeated_and_when_it_asks(tmp_path: Path) -> None:
    text = (
        BASE + "models: org/a\nretry: {attempts: 5, longer: 1.5, in_a_row: 4}\n"
        "ask_above: {jobs: 50, points: 100.5}\nlimits: {unfinished: 9, per_minute: 3}\n"
        "priority: -4\n"
    )
    found = read(tmp_path, text)
    assert (found.attempts, found.longer, found.in_a_row) == (5, 1.5, 4)
    assert (found.ask_jobs, found.ask_price) == (50, Decimal("100.5"))
    assert found.limits == {"unfinished": 9, "per_minute": 3}
    assert found.priority == "-4"


def test_without_a_word_about_it_everything_is_asked_for(tmp_path: Path) -> None:
    assert read(tmp_path, BASE + "models: org/a\n").ask_jobs == 0


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("service: tsubame\n", "campaign.yaml:1", "the key 'models' is missing"),
        (BASE + "models: []\n", "campaign.yaml:4", "no models are named"),
        (BASE + "models: org/a\nmodls: org/b\n", "campaign.yaml:5", "did you mean: models"),
        (BASE + "models: {org/a: {nodes: x}}\n", "campaign.yaml:4", "did you mean: node"),
        (BASE + "models: org/a\npatterns: {x*: {nod: x}}\n", "campaign.yaml:5", "mean: node"),
        (BASE + "models: [org/a, org/a]\n", "campaign.yaml:4", "a second time"),
        (BASE + "models: ['@none.txt']\n", "campaign.yaml:4", "no such file: "),
        (BASE.replace("node_q", "node_x") + "models: a\n", "campaign.yaml:2", "no node 'node_x'"),
        (BASE.replace("tsubame", "tsubamo") + "models: a\n", "campaign.yaml:1", "mean: tsubame"),
        (BASE.replace("ja_mmlu", "ja_mmlo") + "models: a\n", "campaign.yaml:3", "mean: ja_mmlu"),
        ("service: local\nmodels: a\n", "campaign.yaml:2", "'a' has no node"),
        (BASE + "models: a\nretry: {attempts: 0}\n", "campaign.yaml:5", "from 1 up"),
        (BASE + "models: a\nretry: {atempts: 2}\n", "campaign.yaml:5", "mean: attempts"),
        (BASE + "models: a\nlimits: {runing: 2}\n", "campaign.yaml:5", "mean: running"),
        (BASE + "models: a\nmax_samples: -1\n", "campaign.yaml:5", "from 1 up"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, text: str, line: str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert str(caught.value.where).endswith(line), caught.value
    assert said in str(caught.value)


def test_a_checkpoint_has_the_settings_of_its_model(shipped: Workspace) -> None:
    model = "tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5"
    names = settings_names(shipped, model)
    assert names
    assert settings_names(shipped, f"{model}-iter0005000") == names
    own = read_model_settings(shipped, model, names[0])
    assert read_model_settings(shipped, f"{model}-iter0005000", names[0]) == own
    assert settings_names(shipped, f"{model}-other") == []


def test_its_own_settings_come_first(tmp_path: Path, shipped: Workspace) -> None:
    path = tmp_path / "generation_settings/custom_model_settings/org/a-iter1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("mine: {version: '1'}\n")
    path.with_name("a.yaml").write_text("theirs: {version: '1'}\n")
    assert settings_names(shipped, "org/a-iter1") == ["mine"]
    assert settings_names(shipped, "org/a-iter2") == ["theirs"]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [("{a: {cores: 1, memory_gb: 1, runtime: x, bigger: c}}", "unknown node 'c'"),
     ("{a: {cores: 1, memory_gb: 1, runtime: x, bigger: b},"
      " b: {cores: 1, memory_gb: 1, runtime: x, bigger: a}}", "bigger leads back to")],
)  # fmt: skip
def test_a_bigger_node_must_be_one(tmp_path: Path, nodes: str, said: str) -> None:
    from hpcjobs.config.services import read_service_file

    path = tmp_path / "mine.yaml"
    path.write_text(f"scheduler: slurm\ntimes: {{walltime_max: '24:00:00'}}\nnodes: {nodes}\n")
    with pytest.raises(InputError, match=said):
        read_service_file(path)
