"""The demo's application, and the demo."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from osvlab.cli import main
from osvlab.demo import DATA_SIZE, compile_example, make_demo, static_busybox
from osvlab.elf.program import Program, ProgramKind
from osvlab.errors import OsvlabError


def test_the_application_is_real(tmp_path: Path) -> None:
    demo = make_demo(tmp_path)
    data = (tmp_path / "data" / "20mb").read_bytes()
    assert len(data) == DATA_SIZE
    assert hashlib.sha256(data).hexdigest() == demo.sha256
    assert Program.open(tmp_path / "hello").kind is ProgramKind.PIE
    assert Program.open(tmp_path / "bin" / "busybox").kind.is_static
    assert (tmp_path / "bin" / "busybox").read_bytes() == static_busybox().read_bytes()


def test_the_example_is_an_ordinary_linux_program(tmp_path: Path) -> None:
    hello = compile_example("hello", tmp_path / "hello")
    said = subprocess.run([hello, "reader"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Hello, reader, from Linux ")


def test_an_unknown_example_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(OsvlabError, match="no such example: nothing") as caught:
        compile_example("nothing", tmp_path / "nothing")
    assert "hello" in str(caught.value.hint)


def test_without_a_compiler_the_fix_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OsvlabError, match="no gcc"):
        compile_example("hello", tmp_path / "hello")


@pytest.mark.qemu
@pytest.mark.slow
def test_the_demo_does_the_main_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["demo"]) == 0
    said = capfdbinary.readouterr().out.decode()
    assert "Hello, world, from " in said
    assert "20mb" in said
    assert "the same: " in said
    assert "What to try next" in said
