"""Planning: which job a request stands for, what it is called, and what is refused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.errors import InputError
from hpcjobs.model import Attempt, Job, Settings
from hpcjobs.plan import Request, check_model_name, job_name, plan, walltime
from hpcjobs.queueing import Queueing

MODEL = "org/model"
MINE = Settings("mine", "1", "generation_settings/x.yaml", {"temperature": 0.5})

Make = Callable[..., Any]


def planned(
    request: Request,
    model: str = MODEL,
    settings: Settings = MINE,
    taken: Mapping[str, str] | None = None,
) -> Job:
    (job,) = plan(request, model, settings, taken or {})
    return job


def refused(request: Request, model: str = MODEL, settings: Settings = MINE) -> InputError:
    with pytest.raises(InputError) as caught:
        plan(request, model, settings, {})
    return caught.value


# ---- Ids -----------------------------------------------------------------------------------------


def test_the_same_request_gives_the_same_job(a_request: Make) -> None:
    assert planned(a_request()) == planned(a_request())


def test_an_id_does_not_change_from_one_version_of_hpcjobs_to_the_next(a_request: Make) -> None:
    assert planned(a_request()).id == "efknh1k"


def test_an_id_is_seven_characters_and_begins_with_a_letter(a_request: Make) -> None:
    for count in range(50):
        job = planned(a_request(max_samples=count + 1))
        assert re.fullmatch(r"[a-z][0-9a-z]{6}", job.id)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"workspace": "/home/me/evaluations:5678"}, id="workspace"),
        pytest.param({"max_samples": 10}, id="number of samples"),
        pytest.param({"task_settings": {"script_of_ja_gpqa": {"seed": 1}}}, id="task's settings"),
    ],
)
def test_what_is_asked_for_makes_another_job(a_request: Make, changes: dict[str, Any]) -> None:
    assert planned(a_request(**changes)).id != planned(a_request()).id


@pytest.mark.parametrize(
    "changes",
    [{"key": "other"}, {"script": "other"}, {"framework": "lm_eval"}],
    ids=lambda changes: next(iter(changes)),
)
def test_another_task_is_another_job(
    a_request: Make, a_task: Make, changes: dict[str, Any]
) -> None:
    task = dataclasses.replace(a_task(), **changes)
    assert planned(a_request(tasks=[task])).id != planned(a_request()).id


def test_another_node_is_another_job(a_request: Make, a_node: Make) -> None:
    assert planned(a_request(node=a_node(name="gpu_2"))).id != planned(a_request()).id


def test_another_service_is_another_job(a_request: Make, a_service: Make) -> None:
    service = a_service(name="other")
    assert planned(a_request(service=service)).id != planned(a_request()).id


def test_another_provider_is_another_job(a_request: Make, a_provider: Make) -> None:
    provider = a_provider(name="other")
    assert planned(a_request(provider=provider)).id != planned(a_request()).id


def test_another_model_is_another_job(a_request: Make) -> None:
    assert planned(a_request(), "org/other").id != planned(a_request()).id


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"version": "2"},
        {"values": {"temperature": 0.6}},
        {"values": {}},
        {"values": {"temperature": 0.5, "seed": 1}},
    ],
    ids=str,
)
def test_other_settings_are_another_job(a_request: Make, changes: dict[str, Any]) -> None:
    settings = dataclasses.replace(MINE, **changes)
    assert planned(a_request(), settings=settings).id != planned(a_request()).id


def test_a_longer_walltime_is_the_same_job(a_request: Make, a_task: Make) -> None:
    longer = planned(a_request(tasks=[a_task(walltimes={"hrt_q": 7200})]))
    assert (longer.id, longer.walltime) == (planned(a_request()).id, 7200)


def test_another_priority_is_the_same_job(a_request: Make) -> None:
    job = planned(a_request(queueing=Queueing(priority="5")))
    assert (job.id, job.priority) == (planned(a_request()).id, "5")


def test_other_devices_are_the_same_job(a_request: Make) -> None:
    assert (
        planned(a_request(queueing=Queueing(devices=("1",)))).id
        == planned(a_request(queueing=Queueing(devices=("0",)))).id
    )


def test_the_order_in_which_settings_are_written_makes_no_other_job(a_request: Make) -> None:
    one = dataclasses.replace(MINE, values={"temperature": 0.5, "seed": 1})
    two = dataclasses.replace(MINE, values={"seed": 1, "temperature": 0.5})
    assert planned(a_request(), settings=one).id == planned(a_request(), settings=two).id


def test_a_setting_that_is_unset_makes_no_other_job(a_request: Make) -> None:
    unset = dataclasses.replace(MINE, values={**MINE.values, "top_p": None})
    assert planned(a_request(), settings=unset).id == planned(a_request()).id


def test_an_id_that_another_job_has_is_not_given_again(a_request: Make) -> None:
    first = planned(a_request())
    second = planned(a_request(), taken={first.id: "the digest of another job"})
    assert second.id != first.id
    assert second.digest == first.digest


def test_a_job_that_is_known_keeps_its_id(a_request: Make) -> None:
    first = planned(a_request())
    assert planned(a_request(), taken={first.id: first.digest}).id == first.id


def test_a_job_that_got_another_id_keeps_that_one(a_request: Make) -> None:
    other = {planned(a_request()).id: "the digest of another job"}
    second = planned(a_request(), taken=other)
    assert planned(a_request(), taken={**other, second.id: second.digest}).id == second.id


def test_each_task_is_a_job_in_the_order_given(a_request: Make, a_task: Make) -> None:
    jobs = plan(a_request(tasks=[a_task("b"), a_task("a")]), MODEL, MINE, {})
    assert [job.tasks[0].key for job in jobs] == ["b", "a"]
    assert len({job.id for job in jobs}) == 2


# ---- Names ---------------------------------------------------------------------------------------


def named(job: Job, model: str, number: int = 1) -> str:
    return job_name(Attempt(dataclasses.replace(job, model=model), number))


def test_a_name_shows_attempt_task_and_model(a_request: Make) -> None:
    job = planned(a_request())
    assert named(job, "org/Llama-3.1", 2) == f"{job.id}-02_ja_gpqa_Llama-3.1"


@pytest.mark.parametrize(
    "model",
    [
        "org/日本語モデル",
        "組織/model",
        "org/a b;c$(touch x)`id`\n#$ -l x=1",
        "org/" + "x" * 190,
        "org/...",
        "org/@,:=+",
        "o3-mini",
    ],
)
@pytest.mark.parametrize("number", [1, 99])
def test_a_name_is_one_that_every_scheduler_takes(a_request: Make, model: str, number: int) -> None:
    name = named(planned(a_request()), model, number)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{,59}", name)
    assert name[-1] not in "-._"


@given(st.text(), st.integers(1, 99))
def test_any_model_gives_a_name_that_every_scheduler_takes(model: str, number: int) -> None:
    job = Job("abcdef0", "", "s", "n", "p", model, "", "", "", (), 60)
    name = job_name(Attempt(job, number))
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{,59}", name)
    assert name.startswith(f"abcdef0-{number:02d}")


@pytest.mark.parametrize("number", [1, 10, 99])
def test_the_number_of_the_attempt_is_within_the_ten_characters_that_qstat_shows(
    a_request: Make, number: int
) -> None:
    job = planned(a_request())
    assert named(job, "org/model", number)[:10] == f"{job.id}-{number:02d}"


@pytest.mark.parametrize(
    "model",
    ["org/model", "model", "org/.hidden", "org/a b", "組織/モデル", "org/" + "x" * 196, "a.b/c_-"],
)
def test_a_name_of_the_hub_is_a_model(model: str) -> None:
    check_model_name(model)


@pytest.mark.parametrize(
    "model",
    [
        *("", "/", "/abs/path", "a/b/c", "org/", "/model", ".", "..", "../x", "org/..", "./x"),
        *(" x", "x ", "org/ x", "-x", "--help", "a\0b", "org/" + "x" * 197, "\udcff", "日" * 67),
        *("a/x\x1b]0;pwn\x07y", "a/x\ny", "a/x\x7f", "a/\x9bx", "a/x\u202egpj", "a/\u2066x"),
        *("a/x\u2028y", "a/x\u2029y", "a/x\u200by"),
    ],
)
def test_what_is_no_model_is_refused(model: str) -> None:
    with pytest.raises(InputError, match="the model name") as caught:
        check_model_name(model)
    assert str(caught.value).replace("\n", "").isprintable()


def test_a_model_is_checked_when_it_is_planned(a_request: Make) -> None:
    assert refused(a_request(), "../../etc").where == "--model"


# ---- Walltimes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "seconds"),
    [(("hrt_h", "hrt_q"), 1800), (("hrt_f", "hrt_q"), 7200), (("hrt_q", "hrt_f"), 1800)],
)
def test_the_first_column_that_the_table_has_is_taken(
    a_task: Make, a_node: Make, a_service: Make, columns: tuple[str, ...], seconds: int
) -> None:
    task = a_task(walltimes={"hrt_q": 1800, "hrt_f": 7200})
    assert walltime(task, a_node(runtime=columns), a_service()) == seconds


def test_a_table_without_the_column_is_refused_with_the_nearest(
    a_request: Make, a_task: Make
) -> None:
    error = refused(a_request(tasks=[a_task(walltimes={"wlt_HG": 60}, extra={"hrt-q": "1:00"})]))
    assert error.where == "conf/tasks_runtime.csv:7"
    assert (error.expected, error.nearest) == ("a value in the column hrt_q", "hrt-q")


@pytest.mark.parametrize("seconds", [86400, 61])
def test_a_walltime_at_the_limit_is_allowed(
    a_task: Make, a_node: Make, a_service: Make, seconds: int
) -> None:
    task = a_task(walltimes={"hrt_q": seconds})
    assert walltime(task, a_node(), a_service(walltime_max=86400, end_margin=60)) == seconds


@pytest.mark.parametrize(("seconds", "limit"), [(86401, "at most 24:00:00"), (60, "more than")])
def test_a_walltime_beyond_the_services_limits_is_refused(
    a_request: Make, a_task: Make, a_service: Make, seconds: int, limit: str
) -> None:
    error = refused(
        a_request(
            tasks=[a_task(walltimes={"hrt_q": seconds})],
            service=a_service(walltime_max=86400, end_margin=60),
        )
    )
    assert error.where == "conf/tasks_runtime.csv:7, column hrt_q"
    assert str(error.expected).startswith(limit)


# ---- Priority and devices ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "given", "priority"),
    [
        (("-5", "-4"), None, "-5"),
        (("-5", "-4"), "-4", "-4"),
        ((), None, ""),
        ((), "7", "7"),
        ((), "-7", "-7"),
    ],
)
def test_a_priority_is_the_services(
    a_request: Make, a_service: Make, allowed: tuple[str, ...], given: str | None, priority: str
) -> None:
    request = a_request(service=a_service(priorities=allowed), queueing=Queueing(priority=given))
    assert planned(request).priority == priority


@pytest.mark.parametrize(
    ("allowed", "given"), [(("-5", "-4"), "-6"), ((), "high"), ((), ""), ((), "1.5"), ((), "1\n")]
)
def test_another_priority_is_refused(
    a_request: Make, a_service: Make, allowed: tuple[str, ...], given: str
) -> None:
    error = refused(
        a_request(service=a_service(priorities=allowed), queueing=Queueing(priority=given))
    )
    assert error.where == "--priority"


def test_devices_are_kept(a_request: Make) -> None:
    assert planned(a_request(queueing=Queueing(devices=("3",)))).devices == ("3",)


def test_devices_are_refused_where_the_scheduler_gives_them_out(
    a_request: Make, a_service: Make
) -> None:
    request = a_request(service=a_service(scheduler="slurm"), queueing=Queueing(devices=("0",)))
    assert refused(request).where == "--cuda-visible-devices"


@pytest.mark.parametrize(("gpus", "devices"), [(1, ("0", "1")), (2, ("0",)), (0, ("0",))])
def test_devices_are_as_many_as_the_node_has(
    a_request: Make, a_node: Make, gpus: int, devices: tuple[str, ...]
) -> None:
    error = refused(a_request(node=a_node(gpus=gpus), queueing=Queueing(devices=devices)))
    assert str(error.expected).startswith(f"{gpus} device(s)")


# ---- Provider and settings -----------------------------------------------------------------------


def test_a_job_knows_where_its_results_go_and_under_which_names(a_request: Make) -> None:
    job = planned(a_request())
    assert job.result_prefix == "hosted_vllm"
    assert job.model_names == ("org/model", "hosted_vllm/org/model")


def test_weights_must_be_named_where_the_provider_needs_them(
    a_request: Make, a_provider: Make
) -> None:
    request = a_request(provider=a_provider(name="llamacpp", server="llamacpp", needs_weights=True))
    assert "which weights" in refused(request).what
    with_weights = dataclasses.replace(MINE, values={"weights": "a.gguf"})
    assert planned(request, settings=with_weights).tasks[0].settings["weights"] == "a.gguf"


def test_the_models_settings_come_before_the_tasks(a_request: Make) -> None:
    of_task = {"script_of_ja_gpqa": {"temperature": 0.0, "top_p": 0.9}, "other": {"seed": 1}}
    job = planned(a_request(task_settings=of_task))
    assert job.tasks[0].settings == {"temperature": 0.5, "top_p": 0.9}


def test_a_job_keeps_what_its_settings_were(a_request: Make) -> None:
    job = planned(a_request())
    assert (job.settings_name, job.settings_version, job.settings_path) == (
        ("mine", "1", "generation_settings/x.yaml")
    )


def test_a_setting_without_effect_is_refused_by_the_settings_file(
    a_request: Make, a_task: Make
) -> None:
    settings = dataclasses.replace(MINE, values={"max_n": 8})
    error = refused(a_request(tasks=[a_task(framework="lm_eval")]), settings=settings)
    assert error.where == "generation_settings/x.yaml"
    assert "max_n has no effect in lm_eval" in error.what
