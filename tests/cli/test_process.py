"""What surrounds a command: streams that are closed or full, other encodings, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Lab
from tests.vm.guests import Guest


def shell(lab: Lab, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which $OSVLAB is the command."""
    osvlab = f"{COMMAND[0]} -m osvlab.cli"
    environment = lab.environment | {"OSVLAB": osvlab, "PYTHONPATH": os.getcwd()} | variables
    return subprocess.run(
        ["sh", "-c", line], env=environment, cwd=lab.folder, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def image(lab: Lab) -> str:
    path, option, kernel = lab.image(Guest().say("hello\r\n").exit(3))
    return f"{path} {option} {kernel}"


@pytest.mark.qemu
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_the_null_device(lab: Lab, image: str, closed: str) -> None:
    ended = shell(lab, f"$OSVLAB run --quiet {image} {closed}")
    assert ended.returncode == 3
    assert ended.stdout == ("" if ">&-" in closed.split() else "hello\n")
    assert ended.stderr == ""


@pytest.mark.parametrize("command", ["doctor --json", "inspect app.img"])
def test_a_full_disk_for_the_output_is_said_in_one_line(lab: Lab, image: str, command: str) -> None:
    ended = shell(lab, f"$OSVLAB {command} >/dev/full")
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
    assert "hint:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.qemu
def test_a_full_disk_for_the_console_ends_the_guest(lab: Lab, image: str) -> None:
    ended = shell(lab, f"$OSVLAB run --quiet {image} >/dev/full")
    assert ended.returncode == 125
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not lab.guests()


def test_every_name_can_be_printed_in_every_encoding(lab: Lab) -> None:
    lab.image(Guest().exit(0))
    (lab.folder / "app" / "日本").touch()
    ended = shell(
        lab,
        "$OSVLAB build app --quiet -o it.img --kernel guest*.elf -- '$X' && $OSVLAB inspect it.img",
        PYTHONIOENCODING="ascii",
    )
    assert ended.returncode == 0, ended.stderr
    assert "/\\u65e5\\u672c  0 B" in ended.stdout


def when(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def large(lab: Lab) -> Path:
    """A directory that takes a while to write."""
    app = lab.folder / "large"
    app.mkdir()
    for number in range(3000):
        (app / f"{number}").write_bytes(os.urandom(20_000))
    return app


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_ended_leaves_nothing(lab: Lab, large: Path, number: int) -> None:
    output = lab.folder / "output"
    output.mkdir()
    kernel = lab.image(Guest().exit(0))[2]
    process = lab.start("build", large, "-o", output / "x.img", "--kernel", kernel, "--json", "--", "$X")
    assert process.stderr is not None
    for line in process.stderr:
        if b"StepStarted" in line and b"fill" in line:
            break
    process.send_signal(number)
    assert process.wait(20) in (-number, 128 + number)
    assert list(output.iterdir()) == []


@pytest.mark.qemu
def test_a_terminal_that_goes_away_ends_the_guest_in_order(lab: Lab, running: Callable[..., object]) -> None:
    running()
    (process,) = lab.started
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGHUP
    assert b"Traceback" not in errors
    assert not lab.guests()
    assert not [path for path in lab.runtime.rglob("*") if path.name == "memory"]


@pytest.mark.qemu
def test_nohup_keeps_its_meaning(lab: Lab) -> None:
    guest = Guest().say("ready\n").echo_line().exit(0)
    words = ["run", "--quiet", *map(str, lab.image(guest))]
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "osvlab.cli", *words],
        env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(b"on\n", timeout=20)
    assert output == b"on\n"
    assert process.returncode == 0


EARLY = """
import sys

class Interrupted:
    def find_spec(self, name, *_):
        if name == "osvlab.cli.progress":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
from osvlab.cli import main
sys.exit(main(["ls", "x.img"]))
"""


def test_an_interrupt_before_anything_is_loaded_is_no_traceback() -> None:
    ended = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def ended(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_a_build_command_has_started_ends_with_it(
    lab: Lab, tmp_path: Path, number: signal.Signals
) -> None:
    child = tmp_path / "child"
    (tmp_path / "Capstanfile").write_text(
        f"cmdline: /x\nbuild: sh -c 'sleep 600 & echo $! > {child}.new; mv {child}.new {child}; wait'\n"
    )
    process = lab.start("build", tmp_path / "Capstanfile", "-o", tmp_path / "x.img")
    when(child.exists)
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    when(lambda: ended(int(child.read_text())))
    assert not (tmp_path / "x.img").exists()
