"""Keys reach the evaluator through its environment, and nothing else ever shows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from running_job import RunningJob

from hpcjobs.workspace import Workspace

Start = Callable[..., RunningJob]

KEYS = {
    "HF_TOKEN": "hf_canary+/=1",
    "OPENAI_API_KEY": "sk-canary $2`x`",
    "DEEPINFRA_API_KEY": "canary'3\\n",
}
FORMS = {
    "plain": "{name}={value}\n",
    "export": "  export  {name}={value}\n",
    "double quotes": '{name}="{value}"\n',
    "single quotes": "{name}='{value}'\n",
    "CRLF": "{name}={value}\r\n",
    "CRLF and quotes": '{name}="{value}"\r\n',
    "no newline at the end": "\n{name}={value}",
    "byte-order mark": "\ufeff{name}={value}\n",
}


def write_env_file(workspace: Workspace, form: str) -> None:
    text = "".join(FORMS[form].format(name=name, value=value) for name, value in KEYS.items())
    workspace.env_file.write_text(f"{text}\nOTHER=x", encoding="utf-8", newline="")
    if form == "no newline at the end":
        workspace.env_file.write_text(text)
    workspace.env_file.chmod(0o600)


def assert_shown_nowhere(job: RunningJob, workspace: Workspace, secrets: list[str]) -> None:
    records = [record for path in ("vllm", "lm_eval") for record in job.records_of(path)]
    places = {
        str(path): path.read_bytes().decode(errors="replace")
        for path in workspace.root.rglob("*")
        if path.is_file() and path != workspace.env_file
    }
    assert any(name.endswith("job.log") for name in places)
    places["argument lists"] = "\n".join(
        line for record in records for line in [*record["argv"], *record["command_lines"]]
    )
    shown = [
        (secret, name) for secret in secrets for name, text in places.items() if secret in text
    ]
    assert not shown


@pytest.mark.parametrize("form", FORMS)
def test_keys_are_read_as_they_are_written(start: Start, workspace: Workspace, form: str) -> None:
    write_env_file(workspace, form)
    job = start(provider="openai", evaluator={"no_question": True})
    assert job.wait() == 0, job.log()
    given = job.records_of("lm_eval")[0]["environ"]
    assert {name: given.get(name) for name in KEYS} == KEYS
    assert_shown_nowhere(job, workspace, list(KEYS.values()))


@pytest.mark.parametrize("bash", [(), ("-x",), ("-xv",)], ids=["plain", "traced", "verbose"])
@pytest.mark.parametrize("provider", ["vllm", "openai"])
def test_no_key_is_shown_anywhere(
    start: Start, workspace: Workspace, provider: str, bash: tuple[str, ...]
) -> None:
    write_env_file(workspace, "plain")
    job = start("demo_sums", provider=provider, bash=bash, evaluator={"no_question": True})
    assert job.wait() == 0, job.log()
    servers = [record["environ"]["VLLM_API_KEY"] for record in job.records_of("vllm")]
    assert len(servers) == (1 if provider == "vllm" else 0)
    assert all(len(key) == 48 for key in servers)
    assert_shown_nowhere(job, workspace, [*KEYS.values(), *servers])


def test_the_evaluator_has_the_servers_key_and_other_keys_too(
    start: Start, workspace: Workspace
) -> None:
    write_env_file(workspace, "plain")
    job = start("demo_sums", "ja_gpqa")
    assert job.wait() == 0, job.log()
    key = job.records_of("vllm")[0]["environ"]["VLLM_API_KEY"]
    lm_eval = job.records_of("lm_eval")[0]["environ"]
    lighteval = job.records_of("lighteval")[0]["environ"]
    assert (lm_eval["OPENAI_API_KEY"], lm_eval["HF_TOKEN"]) == (key, KEYS["HF_TOKEN"])
    assert (lighteval["HOSTED_VLLM_API_KEY"], lighteval["OPENAI_API_KEY"]) == (
        key,
        KEYS["OPENAI_API_KEY"],
    )


def test_a_key_is_not_read_from_a_longer_name(start: Start, workspace: Workspace) -> None:
    workspace.env_file.write_text("MY_HF_TOKEN=a\n#HF_TOKEN=b\nHF_TOKEN_2=c\nHF_TOKEN=\n")
    job = start()
    assert job.wait() == 0
    assert "HF_TOKEN" not in job.records_of("lm_eval")[0]["environ"]


def test_a_server_gets_the_hubs_key_and_no_other(start: Start, workspace: Workspace) -> None:
    write_env_file(workspace, "plain")
    job = start()
    assert job.wait() == 0, job.log()
    given = job.records_of("vllm")[0]["environ"]
    assert {name: given.get(name) for name in KEYS} == {
        "HF_TOKEN": KEYS["HF_TOKEN"],
        "OPENAI_API_KEY": None,
        "DEEPINFRA_API_KEY": None,
    }


def test_a_placeholder_is_no_key(start: Start, workspace: Workspace) -> None:
    workspace.env_file.write_text("HF_TOKEN=<hf_...>\nOPENAI_API_KEY='<sk-...>'\n")
    job = start()
    assert job.wait() == 0, job.log()
    assert "HF_TOKEN" not in job.records_of("lm_eval")[0]["environ"]
    assert "HF_TOKEN" not in job.records_of("vllm")[0]["environ"]
