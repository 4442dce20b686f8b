"""Logs, markers and verdict together: the root before what it led to, and only what counts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hpcjobs.diagnosis.cause import Again
from hpcjobs.diagnosis.diagnose import Diagnosis, diagnose
from hpcjobs.diagnosis.scan import Numbered
from hpcjobs.diagnosis.table import CAUSES
from hpcjobs.markers import Marker, Markers, TaskMarkers
from hpcjobs.model import JobState, Reason, Verdict

OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
ENGINE = "RuntimeError: Engine core initialization failed. See root cause above."
REFUSED = "litellm.InternalServerError: Hosted_vllmException - [Errno 111] Connection refused"
PORT = "OSError: [Errno 98] Address already in use"
ABORTED = "INFO 11-21 08:00:00 [async_llm.py:922] Aborted request(s) chatcmpl-1."
TIMEOUT = "litellm.Timeout: APITimeoutError - Request timed out."


def marker(value: str) -> Marker:
    return Marker(value, 1.0)


READY = marker("20000")


def logs(**texts: str) -> dict[str, list[Numbered]]:
    """`server`, `job`, `scheduler`, or a task's key."""
    names = {"scheduler": "scheduler.out"}
    return {
        names.get(name, f"{name}.log"): list(enumerate(text.split("\n"), 1))
        for name, text in texts.items()
    }


def failed(reason: Reason = Reason.EXIT_CODE, detail: str = "") -> Verdict:
    return Verdict(JobState.FAILED, reason, detail)


def ids(diagnosis: Diagnosis) -> list[str]:
    return [finding.cause.id for finding in diagnosis.findings]


def test_memory_at_the_start_explains_what_it_led_to() -> None:
    found = diagnose(
        logs(
            job="2026-11-21T08:00:00Z failed, server_ended: the server ended while it started",
            server=f"INFO start\n{OOM}\n{ENGINE}",
            ja_x=REFUSED,
        ),
        failed(Reason.SERVER_FAILED, "server ended"),
        Markers(failure=marker("server_ended")),
    )
    assert ids(found) == ["gpu_memory_start"]
    assert str(found.findings[0].lines[0]) == "server.log:2"
    assert found.unexplained == ()


def test_memory_later_is_another_cause_than_at_the_start() -> None:
    found = diagnose(
        logs(server=f"{OOM}\nEngineDeadError", ja_x=REFUSED),
        failed(Reason.SERVER_FAILED, "server died"),
        Markers(ready=READY, failure=marker("server_died")),
    )
    assert ids(found) == ["gpu_memory_later"]


def test_a_port_that_was_taken_is_no_cause_when_the_next_one_was_free() -> None:
    task = {"ja_x": TaskMarkers(exit_code=marker("1"))}
    markers = Markers(ready=READY, exit_code=marker("1"), tasks=task)
    found = diagnose(
        logs(server=PORT, ja_x="ModuleNotFoundError: No module named 'x'"), failed(), markers
    )
    assert ids(found) == ["missing_module"]


def test_what_the_second_try_died_of_comes_before_the_port_of_the_first() -> None:
    markers = Markers(failure=marker("server_ended"))
    found = diagnose(logs(server=f"{PORT}\n{OOM}"), failed(Reason.SERVER_FAILED), markers)
    assert ids(found) == ["gpu_memory_start", "port_in_use"]
    assert [finding.certain for finding in found.findings] == [True, False]


def test_an_evaluator_that_only_felt_the_servers_death_is_not_the_cause() -> None:
    found = diagnose(
        logs(server="INFO fine", ja_x=f"{TIMEOUT}\n{REFUSED}"),
        failed(Reason.SERVER_FAILED, "server died"),
        Markers(ready=READY, failure=marker("server_died")),
    )
    assert ids(found) == ["server_died", "server_unreachable"]
    assert found.cause is not None
    assert "fine" in found.unexplained[0].text


def test_a_task_that_ended_well_is_not_the_cause() -> None:
    done = TaskMarkers(exit_code=marker("0"))
    bad = TaskMarkers(exit_code=marker("1"))
    found = diagnose(
        logs(ja_a="PermissionError: [Errno 13] x", ja_b="OSError: [Errno 122] x"),
        failed(),
        Markers(ready=READY, tasks={"ja_a": done, "ja_b": bad}),
    )
    assert ids(found) == ["disk_quota"]


def test_the_walltime_comes_first_and_what_was_slow_after_it() -> None:
    found = diagnose(
        logs(ja_x=TIMEOUT, job="Z failed, deadline: not finished 60 s before the walltime"),
        failed(Reason.TIMEOUT, "it ended itself just before the walltime"),
        Markers(ready=READY, failure=marker("deadline")),
    )
    assert ids(found) == ["walltime", "request_timeout"]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (Reason.TIMEOUT, "walltime"),
        (Reason.OUT_OF_MEMORY, "host_memory"),
        (Reason.NODE_FAILURE, "node_failure"),
        (Reason.PREEMPTED, "preempted"),
        (Reason.SCHEDULER_ERROR, "scheduler_error"),
        (Reason.SUBMIT_FAILED, "submit_failed"),
        (Reason.VANISHED, "vanished"),
        (Reason.NO_RESULT, "no_result"),
    ],
)
def test_what_only_the_scheduler_knows_is_taken_from_the_verdict(
    reason: Reason, cause: str
) -> None:
    [finding] = diagnose({}, failed(reason, "said so")).findings
    assert (finding.cause.id, finding.lines[0].text, finding.count) == (cause, "said so", 0)


@pytest.mark.parametrize(
    "word",
    [
        "no_directory",
        "command_not_found",
        "no_key",
        "no_port",
        "deadline",
        "server_ended",
        "server_not_ready",
        "server_not_ours",
        "server_unprotected",
        "server_died",
        "no_reasoning_parser",
        "unknown_reasoning_parser",
        "no_loglikelihood",
        "no_context_length",
        "unknown_lighteval",
    ],
)
def test_every_word_of_the_job_script_is_known(word: str) -> None:
    found = diagnose({}, failed(), Markers(failure=marker(word)))
    assert len(found.findings) == 1
    assert found.findings[0].lines[0].text == word


def test_every_reason_but_the_bare_ones_has_a_cause() -> None:
    named = {reason for cause in CAUSES for reason in cause.reasons}
    bare = {Reason.EXIT_CODE, Reason.SERVER_FAILED}  # the logs and markers must say more
    assert named == {reason.value for reason in Reason} - {reason.value for reason in bare}


def test_an_unknown_error_is_not_given_a_cause() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\n'
        "ZeroDivisionError: division by zero\n"
        "\n"
        "During handling of the above exception, another exception occurred:\n"
        "\n"
        "Traceback (most recent call last):\n"
        "RuntimeError: it did not work\n"
        "the end"
    )
    found = diagnose(logs(ja_x=text, job="Z exit code 1"), failed())
    assert found.cause is None
    assert found.again is None
    assert [str(line) + " " + line.text for line in found.unexplained] == [
        "ja_x.log:3 ZeroDivisionError: division by zero",
        "job.log:1 Z exit code 1",
    ]


def test_of_a_job_that_succeeded_only_what_warns_is_told() -> None:
    texts = logs(server=f"{ABORTED}\n{OOM}", ja_x="WARNING x, Returning empty response")
    found = diagnose(texts, Verdict(JobState.SUCCEEDED), Markers(ready=READY))
    assert ids(found) == ["request_timeout", "lost_answers"]


def test_requests_that_a_stopped_server_aborted_are_no_timeouts() -> None:
    stopped = Markers(ready=READY, signal=marker("TERM"))
    assert diagnose(logs(server=ABORTED), failed(), stopped).cause is None
    felt = diagnose(logs(server=ABORTED, ja_x=TIMEOUT), failed(), stopped)
    assert ids(felt) == ["request_timeout"]


@pytest.mark.parametrize(
    ("line", "again"),
    [
        ("Loglikelihood is not supported for chat completions", Again.NEVER),
        ("OSError: [Errno 122] x", Again.CHANGED),
        ("429 Too Many Requests: you have reached your 'api' rate limit.", Again.ITSELF),
    ],
)
def test_it_says_whether_repeating_can_help(line: str, again: Again) -> None:
    assert diagnose(logs(ja_x=line), failed()).again is again


def figures(minutes: float, each: Mapping[str, float]) -> str:
    """So many minutes of vLLM's figures."""
    lines = []
    for step in range(int(minutes * 6)):
        hour, second = divmod(step * 10, 3600)
        when = f"11-21 {8 + hour:02d}:{second // 60:02d}:{second % 60:02d}"
        lines.append(
            f"(APIServer pid=1) INFO {when} [loggers.py:335] Engine 000: "
            f"Avg prompt throughput: {each['prompt']} tokens/s, "
            f"Avg generation throughput: {each['generation']} tokens/s, "
            f"Running: {each['running']} reqs, Waiting: {each['waiting']} reqs, "
            f"GPU KV cache usage: {each['usage']}%, Prefix cache hit rate: 1.0%"
        )
    return "\n".join(lines)


IDLE = {"prompt": 50.0, "generation": 400.0, "running": 4, "waiting": 0, "usage": 2.5}
WELL_USED = {"prompt": 900.0, "generation": 4000.0, "running": 200, "waiting": 0, "usage": 80.0}
FULL = {"prompt": 50.0, "generation": 900.0, "running": 55, "waiting": 42, "usage": 99.4}
ENDLESS = {"prompt": 0.0, "generation": 120.0, "running": 2, "waiting": 0, "usage": 60.0}


@pytest.mark.parametrize(
    ("each", "minutes", "found"),
    [
        (IDLE, 10, ["low_gpu_use"]),
        (IDLE, 3, []),
        (WELL_USED, 10, []),
        (FULL, 10, ["kv_cache_full"]),
        (ENDLESS, 60, ["endless_answers"]),
        (ENDLESS, 5, []),
    ],
)
def test_the_servers_figures_are_read(
    each: dict[str, float], minutes: float, found: list[str]
) -> None:
    texts = logs(server=figures(minutes, each))
    for verdict in (Verdict(JobState.SUCCEEDED), failed(Reason.TIMEOUT)):
        told = ids(diagnose(texts, verdict, Markers(ready=READY)))
        assert [one for one in told if one != "walltime"] == found


def test_a_long_tail_in_which_requests_end_is_not_endless() -> None:
    tail = "\n".join(
        figures(8, {**ENDLESS, "running": left, "generation": 30.0 * left})
        for left in (5, 4, 3, 2, 1)
    )
    found = diagnose(logs(server=tail), Verdict(JobState.SUCCEEDED), Markers(ready=READY))
    assert ids(found) == []
