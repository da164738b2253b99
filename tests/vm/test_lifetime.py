"""Nothing outlives its Python: not after its end, not after Ctrl-C, not after kill -9."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osvlab.vm.folder import Folder, sweep
from osvlab.vm.outcome import Exited, Lost
from osvlab.vm.qemu import QemuError
from osvlab.vm.vm import VM, stop_all
from tests.vm.guests import Guest

pytestmark = pytest.mark.qemu

SCRIPT = """
import os, sys
from pathlib import Path
from osvlab.vm.machine import Machine
from osvlab.vm.vm import VM
vm = VM(Machine(kernel=Path(sys.argv[1]), memory=16 << 20))
print(vm.pid, vm.folder, flush=True)
exec(sys.argv[2])
"""


class Child:
    """A Python that has started a guest, and then does what the test says."""

    def __init__(self, kernel: Path, then: str, runtime: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, kernel, then],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": os.getcwd()},
            start_new_session=True,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        pid, folder = line.split()
        try:
            self.qemu: int | None = os.pidfd_open(int(pid))
        except ProcessLookupError:  # it ended together with its Python before we could look
            self.qemu = None
        self.folder = Path(folder)

    def qemu_ended(self, seconds: float = 20) -> bool:
        return self.qemu is None or bool(select.select([self.qemu], [], [], seconds)[0])


@pytest.fixture
def child(guest_folder: Path, tmp_path: Path) -> Iterator[Callable[[str], Child]]:
    children: list[Child] = []
    kernel = Guest().say("up\r\n").hang().assemble(guest_folder)

    def start(then: str) -> Child:
        children.append(Child(kernel, then, tmp_path))
        return children[-1]

    yield start
    for child in children:
        child.process.kill()
        child.process.communicate()
        if child.qemu is not None:
            os.close(child.qemu)


def test_a_python_that_is_killed_takes_its_guests_along(
    child: Callable[[str], Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = child("input()")
    assert python.folder.is_dir()
    assert not python.qemu_ended(0)
    os.kill(python.process.pid, signal.SIGKILL)
    assert python.qemu_ended()
    # The folder is left over, and the next Python removes it; not this test's own.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    mine = Folder()
    python.process.wait(20)
    assert python.folder in sweep()
    assert not python.folder.exists()
    assert mine.path.exists()
    mine.remove()


def test_the_first_guest_sweeps(child: Callable[[str], Child], tmp_path: Path) -> None:
    dead = child("input()")
    os.kill(dead.process.pid, signal.SIGKILL)
    dead.process.wait(20)
    second = child("vm.stop()")
    assert second.process.wait(20) == 0
    assert not dead.folder.exists()


def test_a_python_that_ends(child: Callable[[str], Child]) -> None:
    python = child("pass")
    assert python.process.wait(20) == 0
    assert python.qemu_ended(0)
    assert not python.folder.exists()


def test_a_python_that_fails(child: Callable[[str], Child]) -> None:
    python = child("1 / 0")
    assert python.process.wait(20) == 1
    assert python.qemu_ended(0)
    assert not python.folder.exists()


@pytest.mark.parametrize(
    "waiting", ["vm.wait()", "vm.wait_for('never', None)", "vm.write(b'x' * 10_000_000)"]
)
def test_ctrl_c_ends_the_guest(child: Callable[[str], Child], waiting: str) -> None:
    python = child(f"with vm:\n vm.wait_for('up')\n print('waiting', flush=True)\n {waiting}")
    assert python.process.stdout is not None
    assert python.process.stdout.readline() == "waiting\n"
    # As a terminal does it: to everybody in the group.
    os.killpg(python.process.pid, signal.SIGINT)
    _, errors = python.process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert python.qemu_ended(0)
    assert not python.folder.exists()


def test_a_terminals_ctrl_c_does_not_reach_qemu(boot: Callable[..., VM]) -> None:
    vm = boot(Guest().hang())
    assert os.getsid(vm.pid) != os.getsid(0)


def test_a_folder_that_nobody_has_yet_goes_with_its_python(child: Callable[[str], Child]) -> None:
    python = child("from osvlab.vm.folder import Folder; vm.stop(); print(Folder().path)")
    output, _ = python.process.communicate(timeout=20)
    assert output.strip().rpartition("/")[2].startswith("vm-")
    assert not Path(output.strip()).exists()


def test_a_forked_child_leaves_the_guests_alone(child: Callable[[str], Child]) -> None:
    python = child(
        "if os.fork() == 0:\n"
        " from osvlab.vm.vm import stop_all; stop_all(); sys.exit(0)\n"  # and its atexit
        "print(os.waitstatus_to_exitcode(os.wait()[1]), vm.qmp('query-status')['running'])"
    )
    output, errors = python.process.communicate(timeout=20)
    assert output == "0 True\n", errors


def test_a_stray_qemu_is_killed_by_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is left when Python dies between starting QEMU and QEMU's asking to die with it.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "osvlab" / "vms" / "vm-left"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    stray = subprocess.Popen(["sleep", "60"], cwd=folder)
    (folder / "qemu.pid").write_text(f"{stray.pid}\n")
    assert folder in sweep()
    assert stray.wait(20) == -signal.SIGKILL


def test_the_sweep_kills_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "osvlab" / "vms" / "vm-left"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "qemu.pid").write_text(f"{os.getpid()}\n")  # the number was given to another process
    assert folder in sweep()


@pytest.fixture
def mute_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A QEMU that starts and never says a word; the file with its process id."""
    pid = tmp_path / "pid"
    program = tmp_path / "qemu"
    program.write_text(f"#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("OSVLAB_QEMU", str(program))
    monkeypatch.setenv("OSVLAB_ACCELERATOR", "tcg")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return pid


def ended(pid: int) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with open(handle, "rb") as process:
        return bool(select.select([process], [], [], 20)[0])


def test_ctrl_c_during_the_start(boot: Callable[..., VM], mute_qemu: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def when_it_runs() -> None:
        while not mute_qemu.exists():
            stop.wait(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    stop = threading.Event()
    try:
        threading.Thread(target=when_it_runs).start()
        with pytest.raises(KeyboardInterrupt):
            boot(Guest().hang())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended(int(mute_qemu.read_text()))


def test_a_qemu_that_does_not_answer(
    boot: Callable[..., VM], mute_qemu: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("osvlab.vm.session.START_DEADLINE", 0.5)
    with pytest.raises(QemuError, match=r"did not answer.*0.5 s"):
        boot(Guest().hang())
    assert ended(int(mute_qemu.read_text()))
    stop_all()
    assert not list((tmp_path / "osvlab" / "vms").iterdir())


def test_leaks_no_descriptor_and_no_thread(boot: Callable[..., VM]) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    assert boot(Guest().exit(0)).wait(20) == Exited(0)
    before = open_files()
    for _ in range(3):
        assert boot(Guest().exit(0)).wait(20) == Exited(0)
        assert isinstance(boot(Guest().hang()).stop(), Lost)
    assert open_files() <= before
