"""What each evaluator and each server is told, and the settings that neither would heed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hpcjobs.config.settings import KEYS
from hpcjobs.errors import InputError
from hpcjobs.evaluators import (
    GENERATION,
    OF_A_SERVER,
    Served,
    check_settings,
    evaluator_values,
    result_model_names,
)
from hpcjobs.model import Node, Provider, Service, TaskRun
from hpcjobs.servers import server_values

Make = Callable[..., Provider]

ELSEWHERE: dict[str, Any] = {
    "name": "openai",
    "server": None,
    "litellm": "",
    "base_url": "https://api.openai.com/v1",
    "key": "OPENAI_API_KEY",
}


def told(framework: str, settings: dict[str, Any], provider: Provider) -> dict[str, Any]:
    return evaluator_values(framework, "task", settings, Served(provider, "org/model"))


def test_every_setting_is_somebodys_business() -> None:
    evaluators = {key for words in GENERATION.values() for key in words}
    assert evaluators | OF_A_SERVER | {"system_message", "version"} == set(KEYS)


@pytest.mark.parametrize("framework", GENERATION)
def test_settings_with_an_effect_are_accepted(a_provider: Make, framework: str) -> None:
    settings = {"temperature": 0.5, "system_message": "hi", "max_model_length": 4096}
    check_settings(framework, a_provider(), settings, "x.yaml")


@pytest.mark.parametrize(
    ("framework", "provider", "key", "value"),
    [
        ("lm_eval", {}, "max_n", 8),
        ("lm_eval", {}, "reasoning_parser", "deepseek_r1_markup"),
        ("lighteval", {}, "version", "1"),
        ("lighteval", ELSEWHERE, "max_model_length", 4096),
        ("lighteval", ELSEWHERE, "weights", "a/b"),
        ("lighteval", ELSEWHERE, "vllm_use_v1", 1),
        ("lighteval", {"server": "llamacpp"}, "reasoning_parser", "deepseek_r1"),
        ("lm_eval", {"server": "llamacpp"}, "vllm_use_v1", 1),
    ],
)
def test_a_setting_without_effect_is_refused(
    a_provider: Make, framework: str, provider: dict[str, Any], key: str, value: Any
) -> None:
    with pytest.raises(InputError) as caught:
        check_settings(framework, a_provider(**provider), {key: value}, "x.yaml")
    assert caught.value.where == "x.yaml"
    assert str(value) in caught.value.what or key in caught.value.what


@pytest.mark.parametrize("provider", [{}, ELSEWHERE, {"server": "llamacpp"}])
def test_a_parser_of_lighteval_itself_works_with_every_server(
    a_provider: Make, provider: dict[str, Any]
) -> None:
    settings = {"reasoning_parser": "deepseek_r1_markup"}
    check_settings("lighteval", a_provider(**provider), settings, "x.yaml")


@pytest.mark.parametrize("key", sorted(OF_A_SERVER))
def test_a_server_of_ones_own_template_may_be_told_everything(a_provider: Make, key: str) -> None:
    check_settings("lighteval", a_provider(server="sglang"), {key: "x"}, "x.yaml")


@pytest.mark.parametrize("framework", GENERATION)
def test_every_word_of_an_evaluator_reaches_it(a_provider: Make, framework: str) -> None:
    settings = dict.fromkeys(GENERATION[framework], 1)
    provider = a_provider()
    service, node = Service("s", "local", "s", {}, 1, "t"), Node("n", 1, 1, 1, ("hrt_q",))
    run = (TaskRun("k", "task", "d", framework, settings),)
    server = server_values(provider, service, node, run, "w")
    shown = json.dumps([told(framework, settings, provider), server["generation"]])
    for word in GENERATION[framework].values():
        assert word in shown


@pytest.mark.parametrize("key", ["top_k", "min_p"])
def test_what_litellm_drops_is_refused_where_the_server_cannot_be_told(
    a_provider: Make, key: str
) -> None:
    check_settings("lighteval", a_provider(), {key: 0.5}, "x.yaml")
    with pytest.raises(InputError, match="has no effect"):
        check_settings("lighteval", a_provider(server="llamacpp"), {key: 0.5}, "x.yaml")


def test_lighteval_is_given_one_line_of_yaml_a_setting(a_provider: Make) -> None:
    settings = {"temperature": 0.6, "reasoning_effort": "high", "weights": "x"}
    assert told("lighteval", settings, a_provider())["generation"] == [
        'reasoning_effort: "high"',
        "temperature: 0.6",
    ]


def test_lm_eval_is_given_json_in_its_own_words(a_provider: Make) -> None:
    settings = {"max_new_tokens": 16, "temperature": 0.0}
    assert json.loads(told("lm_eval", settings, a_provider())["gen_kwargs"]) == {
        "max_gen_toks": 16,
        "temperature": 0.0,
    }


def test_lm_eval_samples_where_there_is_a_temperature(a_provider: Make) -> None:
    kwargs = json.loads(told("lm_eval", {"temperature": 0.6}, a_provider())["gen_kwargs"])
    assert kwargs["do_sample"] is True


@pytest.mark.parametrize("framework", GENERATION)
def test_an_evaluator_without_settings_is_told_none(a_provider: Make, framework: str) -> None:
    values = told(framework, {}, a_provider())
    assert not values.get("generation")
    assert not values.get("gen_kwargs")


def test_only_lighteval_is_given_its_own_parser(a_provider: Make) -> None:
    for parser, given in (("deepseek_r1_markup", "deepseek_r1_markup"), ("deepseek_r1", None)):
        settings = {"reasoning_parser": parser}
        assert told("lighteval", settings, a_provider())["reasoning_parser"] == given


@pytest.mark.parametrize(
    ("provider", "model", "names"),
    [
        ({}, "org/m", ("org/m", "hosted_vllm/org/m")),
        (ELSEWHERE, "openai/o3-mini", ("openai/o3-mini", "o3-mini")),
        ({**ELSEWHERE, "name": "deepinfra", "litellm": "deepinfra"}, "org/m", ("org/m",)),
    ],
)
def test_results_are_found_under_every_name_that_the_model_has(
    a_provider: Make, provider: dict[str, Any], model: str, names: tuple[str, ...]
) -> None:
    assert set(names) <= set(result_model_names(a_provider(**provider), model))


def test_each_name_is_there_once(a_provider: Make) -> None:
    names = result_model_names(a_provider(litellm=""), "org/m")
    assert names == ("org/m",)
