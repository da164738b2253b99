"""Which programs a guest starts, as far as it can be known before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink
from osvlab.image.command import CommandError
from osvlab.image.modules import chosen_modules
from osvlab.image.preflight import preflight
from osvlab.image.recipe import Recipe
from osvlab.image.started import started_programs
from osvlab.kernels import Kernel


def started(command: str, **scripts: str) -> list[str]:
    nodes = {os.fsencode(name): Content(text.encode()) for name, text in scripts.items()}
    return started_programs(Recipe(Directory(dict(nodes)), command))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/a; /b & /c x; /a", ["/a", "/b", "/c"]),
        ("--cwd=/ --env=A=b --maxnic=0 /a -x", ["/a"]),
        ("$WHICH; /a $B", ["/a"]),
        ("runscript /s;runscript /t;", ["/one", "/two", "/three", "/t"]),
        ("runscript", ["runscript"]),
        ("runscript /s more", ["runscript"]),
        ("/a; runscript /gone", ["/a", "/gone"]),
        ("runscript /n", ["runscript"]),  # the kernels do not expand a script in a script
    ],
)
def test_commands_and_scripts(command: str, expected: list[str]) -> None:
    script = "--env=A?=b /one $A; /two\n\n--env=ONLY=options\n/three &\n"
    known = {"s": script, "n": "runscript /s\n"}
    if "/t" not in expected:
        known["t"] = "/one"
    assert started(command, **known) == expected


def test_scripts_of_the_host_and_behind_links(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("/from-the-host")
    tree = Directory({b"real": HostFile.at(tmp_path / "script"), b"link": Symlink(b"real")})
    assert started_programs(Recipe(tree, "runscript link")) == ["/from-the-host"]


def test_a_script_that_cannot_be_understood_is_named(app: Path) -> None:
    with pytest.raises(CommandError, match=r"^/s, line 2: a double quote without its end"):
        started("runscript /s", s='/fine\n/a "open\n')


def test_what_modules_start_counts(app: Path) -> None:
    recipe = Recipe.from_directory(app).with_modules(chosen_modules(["httpserver"]))
    assert started_programs(recipe) == ["/libhttpserver-api.so", "/hello"]


def test_the_programs_of_scripts_are_looked_at(app: Path, kernel: Kernel) -> None:
    (app / "run").mkdir()
    (app / "run/default").write_text("--env=A?=b /hello; /helo")
    found = preflight(Recipe.from_directory(app, "--cwd=/ runscript /run/default"), kernel)
    assert [problem.text for problem in found] == ["no such program in the image: /helo"]
