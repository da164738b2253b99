"""What README and CONTRIBUTING say is there, is there, and what they show runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from osvlab.cli import main
from osvlab.cli.entry import command_parser
from osvlab.demo import compile_example

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CONTRIBUTING.md"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_all_notebooks_are_told_of() -> None:
    told = re.findall(
        r"^\| \[(\w+)\]\(notebooks/\1\.ipynb\)", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert told == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert named
    assert named <= targets


def test_make_lists_its_targets() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target}" in said for target in ("demo", "test", "lab", "bench", "soak"))


def test_shell_lines_are_understood() -> None:
    lines = [line for block in blocks("README.md", "sh") for line in block.splitlines()]
    commands = [shlex.split(line.partition("  #")[0]) for line in lines if line.startswith("osvlab ")]
    assert commands
    for words in commands:
        end = words.index("--") if "--" in words else len(words)
        command_parser().parse_args(words[1:end])


@pytest.mark.qemu
@pytest.mark.skipif(not Path("/usr/bin/sqlite3").exists(), reason="needs sqlite3")
def test_the_first_example_prints_what_it_says(capfd: pytest.CaptureFixture[str]) -> None:
    command, *lines = blocks("README.md", "console")[0].splitlines()
    assert main(shlex.split(command)[2:]) == 0
    said = re.sub(r"[\d.]+ ms", "N ms", capfd.readouterr().out).splitlines()
    assert said == [re.sub(r"[\d.]+ ms", "N ms", line) for line in lines]


def section(title: str) -> list[str]:
    """Return the shell lines of a section that are ours, comments left out."""
    text = (ROOT / "README.md").read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line.partition("  #")[0] for block in found for line in block.splitlines()]


@pytest.mark.qemu
@pytest.mark.parametrize(
    "title", ["From a directory to a running guest", "ZFS by an empty VM", "Images inside and out"]
)
def test_the_shell_lines_run_one_after_the_other(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for those that name what only a build of OSv or Capstan has, or run until they are stopped."""
    (tmp_path / "apps" / "hello").mkdir(parents=True)
    compile_example("hello", tmp_path / "apps" / "hello" / "hello")
    monkeypatch.chdir(tmp_path)
    lines = [words for line in section(title) if (words := shlex.split(line))[0] == "osvlab"]
    foreign = re.compile(r"loader|usr\.manifest|\.mpm|--port|--network|--data|redis|sqlite")
    ran = [words for words in lines if len(words) > 2 and not foreign.search(" ".join(words))]
    ran = [words for words in ran if words[1] not in ("top", "exec", "curl") and ":/etc/hosts" not in words]
    assert ran
    for words in ran:
        assert main(words[1:]) == 0, f"{shlex.join(words)}: {capsys.readouterr().err}"


@pytest.mark.qemu
def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "apps" / "hello").mkdir(parents=True)
    compile_example("hello", tmp_path / "apps" / "hello" / "hello")
    monkeypatch.chdir(tmp_path)
    for block in blocks("README.md", "python"):
        exec(compile(block, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "Hello, world" in said
    assert "exited with status 0" in said


def test_the_kernel_is_as_long_as_it_says() -> None:
    kernel = ROOT / "osvlab" / "kernel"
    lines = {"": 0, "network": 0}
    for path in kernel.rglob("*.[chS]"):
        folder = path.relative_to(kernel).parts[0]
        if folder not in ("tests", "modules", "build"):
            lines[""] += len(path.read_bytes().splitlines())
            lines["network"] += len(path.read_bytes().splitlines()) * (folder == "network")
    said = re.search(r"([\d,]+) lines of C", (ROOT / "README.md").read_text())
    assert said is not None
    assert abs(int(said[1].replace(",", "")) / lines[""] - 1) < 0.1, lines
    assert abs(lines["network"] / lines[""] - 1 / 4) < 0.05, lines  # "a quarter of them"
    more = re.search(r"([\d,]+) lines more", (ROOT / "README.md").read_text())
    assert more is not None
    modules = sum(len(path.read_bytes().splitlines()) for path in kernel.glob("modules/**/*.[chS]"))
    assert abs(int(more[1].replace(",", "")) / modules - 1) < 0.1, modules
