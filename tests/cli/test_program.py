"""`osvlab build` and `osvlab run` with a program of this host."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from osvlab.image.image import Image
from tests.cli.conftest import Lab

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="compiles the kernel")


@pytest.mark.qemu
def test_a_program_runs_with_its_arguments_and_data(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "greeting").write_text("hello from the host\n")
    ended = lab(
        *("run", "--program", "cat", "--data", f"{tmp_path}/greeting:/etc/motd", "--data", "/etc/passwd"),
        *("--timeout", "60", "--", "/etc/motd", "/etc/passwd"),
    )
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.partition("Cmdline: ")[2].partition("\n")[2]
    assert said.replace("\r", "") == f"hello from the host\n{Path('/etc/passwd').read_text()}"
    assert "collect the program" in ended.stderr


def test_an_image_is_named_after_its_program(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = lab("build", "--quiet", "--json", "--program", "/bin/cat", "--fs", "ramfs", "--", "two words")
    assert ended.returncode == 0, ended.stderr
    image = Image.open(tmp_path / "cat.img")
    assert json.loads(ended.stdout)["command"] == image.command == '/usr/bin/cat "two words"'
    assert image.filesystem == "ramfs"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "nothing to run"),
        (["run", "/bin/cat"], "/bin/cat is a program, not an image"),
        (["build", "/bin/cat"], "/bin/cat is a program, not a directory with one"),
        (["build", "--program", "cat", "--boot", "x"], "--boot does not go with --program"),
        (["build", "app", "--program", "cat"], "both --program cat and app"),
        (["run", "app", "--library-path", "/x"], "--library-path does not go without --program"),
        (["build", "--program", "/"], "/ is a folder, not a program"),
        (["run", "--program", "no-such-program"], "no such program in $PATH: no-such-program"),
        (["build", "--program", "cat", "--library", "libno.so"], "missing library: libno.so, asked for"),
        (["build", "--program", "cat", "--", "$HOME"], "'$HOME' would be in the guest's command"),
    ],
)
def test_what_cannot_be(lab: Lab, tmp_path: Path, arguments: list[str], said: str) -> None:
    ended = lab(*arguments)
    assert ended.returncode == (125 if arguments[0] == "run" else 1)
    assert ended.stderr.startswith(f"osvlab: {said}"), ended.stderr
    assert "hint: " in ended.stderr
    assert not [*tmp_path.glob("*.img")]
