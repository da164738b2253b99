"""The command line as a whole: help, errors, what belongs to the guest."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from osvlab.cli import main
from tests.cli.conftest import Lab


@pytest.mark.parametrize("command", ["run", "build", "compose", "inspect", "doctor", "demo"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"osvlab {command}" in capsys.readouterr().out


def test_help_lists_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(status in said for status in ("124", "125", "130", "134", "137"))


def test_without_a_command_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "usage: osvlab" in capsys.readouterr().err


def test_a_command_after_dashes_is_refused_where_it_means_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--", "ls"]) == 1
    assert "doctor takes no command" in capsys.readouterr().err


def test_errors_have_a_message_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "/no/such.img"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("osvlab: ")
    assert "/no/such.img" in said.err


def test_a_path_that_the_host_refuses_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "n" * 300]) == 125
    said = capsys.readouterr().err
    assert re.search(r"File name too long: 'n{300}'\nhint: Check path and permissions\.\n$", said)


def test_doctor_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == (0 if report["usable"] else 1)
    assert {finding["name"] for finding in report["findings"]} >= {
        "qemu",
        "acceleration",
        "compiler",
        "memory",
    }


def test_a_closed_stdout_is_no_accident(lab: Lab) -> None:
    process = lab.start("doctor", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) in (1, 141)
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


def test_inspect_shows_text_and_json(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    image = image_of_text(lab)
    assert main(["inspect", str(image)]) == 0
    said = capsys.readouterr().out
    assert "rofs" in said
    assert "/data" in said
    assert main(["inspect", "--json", str(image)]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["command"] == "/data"
    assert {"path": "/data", "kind": "file", "size": 10} in described["files"]
    regions = described["layout"]
    assert sum(region["size"] for region in regions) == described["size"]


def test_inspect_names_what_is_damaged(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    image = image_of_text(lab)
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size - 4096)
    assert main(["inspect", str(image)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_build_leaves_nothing_when_it_fails(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    ended = lab("build", tmp_path / "app", "-o", tmp_path / "app.img")
    assert ended.returncode == 1
    assert "app" in ended.stderr
    assert not (tmp_path / "app.img").exists()


def image_of_text(lab: Lab) -> Path:
    from tests.vm.guests import Guest

    return lab.image(Guest().exit(0))[0]
