"""Directive lines and what they make of a job's options."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcjobs.errors import InputError
from hpcjobs.local.options import Options, read_options


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "job.sh"


def test_a_script_without_directives_asks_for_nothing(script: Path) -> None:
    script.write_text("echo\n")
    assert read_options(script, {}) == Options()


def test_directives_may_stand_on_several_lines_among_comments(script: Path) -> None:
    script.write_text(
        "#!/bin/bash\n# a comment\n\n#HPCJOBS --name 'eval-1+x' --gpus 2\n# more\n"
        "#HPCJOBS --devices 3,1,2 --walltime 01:30:00 --grace 2.5\n"
        "#HPCJOBS\t--priority -4 --cpu-slots 3 --output 'o ut.log'\ntrue\n"
    )
    assert read_options(script, {}) == Options(
        name="eval-1+x",
        gpus=2,
        devices=(3, 1, 2),
        cpu_slots=3,
        walltime=5400,
        grace=2.5,
        priority=-4,
        output=str(script.parent / "o ut.log"),
    )


def test_directives_after_the_first_command_are_no_directives(script: Path) -> None:
    script.write_text("true\n#HPCJOBS --nonsense\n")
    assert read_options(script, {}) == Options()


def test_the_command_line_wins(script: Path) -> None:
    script.write_text("#HPCJOBS --name a --priority 1\n")
    options = read_options(script, {"name": "b", "script": script, "ignored": 1})
    assert (options.name, options.priority) == ("b", 1)


@pytest.mark.parametrize(
    "text",
    [
        " --gpu 1",  # no abbreviations
        " --nmae x",
        " stray",
        " --name",
        " --name 'a",
        " --name a/b",
        " --name ''",
        f" --name {'n' * 101}",
        " --gpus -1",
        " --gpus 1.5",
        " --devices 0,,1",
        " --devices 0,0",
        " --devices GPU-1234",
        " --cpu-slots 0",
        " --walltime 90",
        " --walltime 00:00:00",
        " --grace -1",
        " --grace nan",
        " --grace inf",
        " --priority high",
        " --output ''",
        "--name x",
    ],
)
def test_a_wrong_directive_is_refused_with_file_and_line(script: Path, text: str) -> None:
    script.write_text(f"#!/bin/bash\n#HPCJOBS{text}\n")
    with pytest.raises(InputError) as caught:
        read_options(script, {})
    assert str(caught.value).startswith(f"{script}:2: ")
    assert caught.value.exit_code == 2


def test_an_unknown_option_names_the_nearest(script: Path) -> None:
    script.write_text("#HPCJOBS --wall-time 01:00:00\n")
    with pytest.raises(InputError) as caught:
        read_options(script, {})
    assert caught.value.nearest == "--walltime"


def test_more_gpus_than_devices_are_refused(script: Path) -> None:
    script.write_text("#HPCJOBS --gpus 2 --devices 0\n")
    with pytest.raises(InputError, match="--gpus 2"):
        read_options(script, {})


def test_a_script_that_cannot_be_read_is_refused(script: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_options(script, {})


def test_a_script_in_another_encoding_is_read(script: Path) -> None:
    script.write_bytes(b"# caf\xe9\n#HPCJOBS --name a\n")
    assert read_options(script, {}).name == "a"
