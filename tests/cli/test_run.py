"""`osvlab run`: how a run ends, and that nothing is left behind."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from osvlab.demo import static_busybox
from tests.cli.conftest import Lab
from tests.vm.guests import Guest

pytestmark = pytest.mark.qemu

Running = Callable[..., subprocess.Popen[bytes]]


def test_the_exit_status_is_the_guests(lab: Lab) -> None:
    ended = lab("run", *lab.image(Guest().say("hello\r\n").exit(3)))
    assert ended.returncode == 3
    assert ended.stdout == "hello\n"
    assert "exited with status 3" in ended.stderr


def test_quiet_leaves_stderr_empty(lab: Lab) -> None:
    ended = lab("run", "--quiet", *lab.image(Guest().say("hello\n").exit(0)))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_json_tells_what_happened(lab: Lab) -> None:
    ended = lab("run", "--json", *lab.image(Guest().exit(7)))
    last = json.loads(ended.stderr.splitlines()[-1])
    assert last["event"] == "ended"
    assert (last["outcome"], last["status"]) == ("Exited", 7)


def test_a_crash_has_a_status_of_its_own(lab: Lab) -> None:
    crash = Guest().report("crashed", fault="read of unmapped address 0x10", thread="main").leave(0x7E)
    ended = lab("run", *lab.image(crash))
    assert ended.returncode == 134
    assert "read of unmapped address 0x10" in ended.stderr


def test_a_lost_machine_has_a_status_of_its_own(lab: Lab) -> None:
    ended = lab("run", *lab.image(Guest().say("so far so good\n").triple_fault()))
    assert ended.returncode == 137
    assert ended.stdout == "so far so good\n"


def test_a_guest_that_hangs_is_ended_in_time(lab: Lab) -> None:
    ended = lab("run", "--timeout", "0.5", *lab.image(Guest().hang()))
    assert ended.returncode == 124
    assert not lab.guests()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_guest_too(lab: Lab, running: Running, number: int, status: int) -> None:
    process = running()
    assert lab.guests()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == status
    assert b"Traceback" not in errors
    assert not lab.guests()
    assert not [path for path in lab.runtime.rglob("*") if path.name == "memory"]


def test_a_kill_ends_the_guest_too(lab: Lab, running: Running) -> None:
    process = running()
    (guest,) = lab.guests()
    process.kill()
    process.wait(timeout=20)
    # The host's kernel kills it when our process ends, and takes a moment to do so.
    process.communicate(timeout=20)
    wait_until_gone(guest)


def wait_until_gone(pid: int) -> None:
    """Wait for a process that is no child of ours."""
    import os
    import select

    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 20)[0], f"process {pid} still runs"
    finally:
        os.close(handle)


def test_a_reader_that_has_seen_enough_ends_the_guest(lab: Lab, running: Running) -> None:
    process = running(Guest().say("ready\n").say("and so on\n", times=1_000_000_000).hang())
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=20) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert not lab.guests()


def test_stdin_goes_to_the_console(lab: Lab) -> None:
    guest = Guest().say("name? ").echo_line().exit(0)
    ended = lab("run", "--quiet", *lab.image(guest), stdin="Ada\n")
    assert ended.stdout == "name? Ada\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/no/such/place"], "/no/such/place"),
        (["/etc/passwd"], "/etc/passwd"),
        (["--kernel", "/no/kernel", "."], "/no/kernel"),
        (["--memory", "lots", "."], "lots"),
        (["--env", "NAME", "."], "NAME"),
        (["--timeout", "0", "."], "--timeout"),
        (["--timeout", "soon", "."], "not a number of seconds above 0: soon"),
        (["--memory", "9" * 5000, "."], "not a size"),
        (["--memory", "9" * 40 + "T", "--kernel", "/no/kernel", "."], "/no/kernel"),
        ([""], "no such image or directory: ''"),
        (["--kernel", "/dev/tty0", "."], "/dev/tty0"),
        (["--machine", "toaster", "."], "toaster"),
        (["--no-such-option", "."], "--no-such-option"),
        (["."], "empty"),
    ],
)
def test_what_cannot_run_is_named(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    ended = lab("run", *arguments)
    assert ended.returncode == 125
    assert ended.stdout == ""
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(empty.iterdir())


def test_without_qemu_the_fix_is_named(lab: Lab) -> None:
    ended = lab("run", *lab.image(Guest().exit(0)), env={"OSVLAB_QEMU": "/no/qemu"})
    assert ended.returncode == 125
    assert "/no/qemu" in ended.stderr
    assert "hint:" in ended.stderr


@pytest.mark.parametrize("text", ["", "five\n", "a line without its end", "one\ntwo\nthr"])
def test_a_program_gets_all_of_a_pipe_and_its_end(lab: Lab, tmp_path: Path, text: str) -> None:
    app = tmp_path / "counting"
    app.mkdir()
    (app / "busybox").write_bytes(static_busybox().read_bytes())
    ended = lab("run", "--quiet", "--timeout", "30", app, "--", "/busybox wc -c", stdin=text)
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.endswith(f"{len(text)}\n")  # after the echo of a last line without its end
