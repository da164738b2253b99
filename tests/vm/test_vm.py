"""Real QEMUs with guests of a few instructions: each way a run can end, and the way there."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from osvlab.errors import OsvlabError
from osvlab.events import Event, listening
from osvlab.vm.console import ConsoleEndedError, ConsoleTimeoutError
from osvlab.vm.machine import Disk, DiskAccess, Machine, MachineError, MachineKind
from osvlab.vm.outcome import Crashed, Exited, Lost, TimedOut
from osvlab.vm.owner import owner
from osvlab.vm.qemu import QemuError, QemuMissingError
from osvlab.vm.qmp import MonitorError
from osvlab.vm.session import VmEnded, VmStarted
from osvlab.vm.vm import VM, StillRunningError, stop_all
from tests.vm.guests import Guest

pytestmark = pytest.mark.qemu

Boot = Callable[..., VM]
HELLO = Guest().say("hello\r\n")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.ESRCH
    return False


# The four ends


@pytest.mark.parametrize("status", [0, 1, 3, 255])
def test_exited(boot: Boot, status: int) -> None:
    vm = boot(Guest().say("hello\r\n").exit(status))
    assert vm.wait(20) == Exited(status)
    assert vm.console.text == "hello\n"
    assert vm.outcome == Exited(status)
    assert gone(vm.pid)


def test_the_report_counts_more_than_qemus_status(boot: Boot) -> None:
    assert boot(Guest().report("exited", status=3).leave(5)).wait(20) == Exited(3)


def test_exit_without_a_report_channel(boot: Boot) -> None:
    assert boot(Guest().leave(7)).wait(20) == Exited(7)


def test_exited_but_the_power_stays_on(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osvlab.vm.session.POWER_OFF_GRACE", 0.2)
    assert boot(Guest().report("exited", status=4).hang()).wait(20) == Exited(4)


def test_crashed(boot: Boot) -> None:
    vm = boot(
        Guest()
        .report("crashed", thread="main", fault="read of unmapped address 0x10",
                registers={"rip": "0x100000000123"},
                backtrace=[{"address": "0x100000000123", "symbol": "f", "offset": 3, "object": "/hello"}])
        .leave(0x7E)
    )  # fmt: skip
    outcome = vm.wait(20)
    assert isinstance(outcome, Crashed)
    assert outcome.report.fault == "read of unmapped address 0x10"
    assert outcome.report.registers == {"rip": 0x100000000123}
    assert str(outcome.report.backtrace[0]) == "0x0000100000000123 f+0x3 in /hello"


def test_crashed_after_exit(boot: Boot) -> None:
    guest = Guest().report("exited", status=0).report("crashed", fault="in shutdown").leave(0x7E)
    assert isinstance(boot(guest).wait(20), Crashed)


def test_crashed_without_a_report(boot: Boot) -> None:
    assert isinstance(boot(Guest().leave(0x7E)).wait(20), Crashed)


@pytest.mark.parametrize("guest", [Guest().hang(), Guest().spin()], ids=["halted", "spinning"])
def test_timed_out(boot: Boot, guest: Guest) -> None:
    vm = boot(guest, timeout=0.3)
    assert vm.wait(20) == TimedOut(0.3)
    assert gone(vm.pid)


def test_lost_by_kill_9_of_qemu(boot: Boot) -> None:
    vm = boot(Guest().say("still here\r\n").hang())
    vm.wait_for("here\n")
    os.kill(vm.pid, signal.SIGKILL)
    outcome = vm.wait(20)
    assert isinstance(outcome, Lost)
    assert not outcome.stopped
    assert "SIGKILL" in outcome.reason
    assert "still here" in outcome.reason


def test_lost_by_sigterm_from_somebody_else(boot: Boot) -> None:
    vm = boot(Guest().hang())
    os.kill(vm.pid, signal.SIGTERM)
    outcome = vm.wait(20)
    assert isinstance(outcome, Lost)
    assert "another process" in outcome.reason


def test_lost_by_triple_fault(boot: Boot) -> None:
    outcome = boot(Guest().say("about to fault\r\n").triple_fault()).wait(20)
    assert isinstance(outcome, Lost)
    assert "triple fault" in outcome.reason
    assert "about to fault" in outcome.reason


def test_lost_by_power_off_without_a_report(boot: Boot) -> None:
    outcome = boot(Guest().say("bye\r\n").power_off(), machine="pc").wait(20)
    assert isinstance(outcome, Lost)
    assert "without" in outcome.reason


def test_stopped(boot: Boot) -> None:
    vm = boot(Guest().hang())
    assert vm.running
    assert vm.stop() == Lost("stopped on request", stopped=True)
    assert vm.stop().stopped  # type: ignore[union-attr]
    assert not vm.running
    assert gone(vm.pid)
    assert "stopped" in repr(vm)


def test_leaving_the_block_stops_the_guest(boot: Boot) -> None:
    with boot(Guest().hang()) as vm:
        pid = vm.pid
    assert gone(pid)


def test_stop_all(boot: Boot) -> None:
    vms = [boot(Guest().hang()) for _ in range(2)]
    stop_all()
    assert not any(vm.running for vm in vms)


@pytest.mark.parametrize("machine", ["microvm", "pc", "q35"])
def test_every_machine(boot: Boot, machine: str) -> None:
    assert boot(HELLO, machine=machine, timeout=30).wait_for("hello")
    assert boot(Guest().exit(9), machine=machine).wait(30) == Exited(9)


# Waiting and talking


def test_console_both_ways(boot: Boot) -> None:
    vm = boot(Guest().say("name? ").echo_line().say("thanks\r\n").exit(0))
    vm.wait_for(r"name\? ")
    mark = vm.write("Ada\n")
    assert vm.wait_for("(.*)\nthanks\n", since=mark)[1] == "Ada"
    assert vm.wait(20) == Exited(0)
    with pytest.raises(ConsoleEndedError, match="exited with status 0"):
        vm.write("more\n")


def test_wait_for_sees_what_is_already_there(boot: Boot) -> None:
    vm = boot(Guest().say("first\r\n").exit(0))
    vm.wait(20)
    assert vm.wait_for("first")
    assert vm.wait_for("first")


def test_wait_for_shows_the_last_lines_when_time_is_up(boot: Boot) -> None:
    vm = boot(Guest().say("one\r\ntwo\r\n").hang())
    vm.wait_for("two\n")
    with pytest.raises(ConsoleTimeoutError, match=r"(?s)'three'.*0.05 s.*one\ntwo") as caught:
        vm.wait_for("three", timeout=0.05)
    assert isinstance(caught.value, TimeoutError)


def test_wait_for_says_how_the_guest_ended(boot: Boot) -> None:
    vm = boot(Guest().say("one\r\n").exit(3))
    with pytest.raises(ConsoleEndedError, match="exited with status 3"):
        vm.wait_for("two")


def test_wait_with_too_little_time(boot: Boot) -> None:
    vm = boot(Guest().say("busy\r\n").hang())
    vm.wait_for("busy\n")
    with pytest.raises(StillRunningError, match="busy"):
        vm.wait(0.05)
    assert vm.running


def test_huge_output_is_bounded(boot: Boot) -> None:
    vm = boot(Guest().say(b"x" * 1022 + b"\r\n", times=1280).say("end\r\n").exit(0))
    assert vm.wait(60) == Exited(0)
    assert vm.console.position == 1280 * 1024 + 5
    assert len(vm.console.raw) <= 1 << 20
    assert re.match(r"\[\.\.\. \d+ bytes dropped \.\.\.\]\nx{1022}\n", vm.console.text)
    assert vm.console.text.endswith("x\nend\n")


def test_a_guest_that_does_not_read(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osvlab.vm.pipes.WRITE_DEADLINE", 0.2)
    vm = boot(Guest().hang())
    with pytest.raises(ConsoleEndedError, match="does not read"):
        vm.write(b"x" * (4 << 20))


def test_a_guest_that_ends_while_it_is_written_to(boot: Boot) -> None:
    vm = boot(Guest().say("up\r\n").hang())
    vm.wait_for("up\n")
    stopper = threading.Timer(0.1, vm.stop)
    stopper.start()
    with pytest.raises(ConsoleEndedError, match="has ended"):
        vm.write(b"x" * (4 << 20))
    stopper.join()


def test_subscribers_get_every_byte_once(boot: Boot) -> None:
    vm = boot(Guest().say("name? ").echo_line().say(b"\xff\r\n", times=500).exit(0))
    vm.wait_for(r"name\? ")
    pieces: list[bytes] = []
    vm.console.subscribe(pieces.append)
    vm.write("x\n")
    vm.wait(20)
    assert b"".join(pieces) == vm.console.raw == b"name? x\n" + b"\xff\r\n" * 500


# The monitor


def test_monitor(boot: Boot) -> None:
    vm = boot(Guest().hang())
    assert vm.qmp("query-status")["running"] is True
    assert vm.qmp("query-memory-size-summary")["base-memory"] == 16 << 20
    assert "ds" in vm.qmp("human-monitor-command", command_line="info registers").lower()
    with pytest.raises(MonitorError, match="no-such-command"):
        vm.qmp("no-such-command")
    vm.stop()
    with pytest.raises(MonitorError):
        vm.qmp("query-status")


def test_memory_is_a_file_that_shows_the_running_guest(boot: Boot) -> None:
    vm = boot(Guest().code("movl $0x12345678, 0x300000").say("done\r\n").hang())
    vm.wait_for("done")
    with (vm.folder / "memory").open("rb") as memory:
        memory.seek(0x300000)
        assert memory.read(4) == b"\x78\x56\x34\x12"
    assert (vm.folder / "debugger.sock").is_socket()
    assert vm.folder.stat().st_mode & 0o777 == 0o700


def test_the_folder_goes_when_the_guest_ends(boot: Boot) -> None:
    vm = boot(Guest().exit(0))
    vm.wait(20)
    assert not vm.folder.exists()


# Starting


def test_no_qemu(boot: Boot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("OSVLAB_ACCELERATOR", "tcg")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"")
    with pytest.raises(QemuMissingError, match="apt-get install qemu-system-x86") as caught:
        VM(Machine(kernel=kernel))
    assert isinstance(caught.value, FileNotFoundError)
    assert not list((tmp_path / "osvlab" / "vms").iterdir())


def test_osvlab_qemu_names_no_program(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSVLAB_QEMU", "/no/such/qemu")
    with pytest.raises(QemuMissingError, match="/no/such/qemu"):
        boot(HELLO)


def test_what_qemu_refuses_is_said_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"\x7fELF no kernel at all" * 100)
    with pytest.raises(QemuError, match="kernel"):
        VM(Machine(kernel=kernel))
    assert not list((tmp_path / "osvlab" / "vms").iterdir())


def test_bad_argument_to_qemu(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osvlab.vm.session.arguments", lambda *_: ["-no-such-option"])
    with pytest.raises(QemuError, match="no-such-option"):
        boot(HELLO)


def test_a_kernel_and_a_disk_that_are_not_there(tmp_path: Path, boot: Boot) -> None:
    with pytest.raises(MachineError, match="no/such/kernel"):
        VM(Machine(kernel=Path("/no/such/kernel")))
    with pytest.raises(MachineError, match="no/such/disk"):
        VM(Machine(disks=(Disk(Path("/no/such/disk")),), kind=MachineKind.PC))


def test_names_that_qemus_options_would_choke_on(boot: Boot, guest_folder: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a,b=c \xff"))
    folder.mkdir()
    kernel, disk = folder / "kernel,x", folder / "disk,y"
    kernel.write_bytes(Guest().exit(6).assemble(guest_folder).read_bytes())
    disk.write_bytes(bytes(1 << 16))
    with VM(Machine(kernel=kernel, disks=(Disk(disk),), memory=16 << 20)) as vm:
        assert vm.wait(20) == Exited(6)


@pytest.mark.parametrize("access", DiskAccess)
def test_disks(boot: Boot, guest_folder: Path, tmp_path: Path, access: DiskAccess) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 16))
    machine = Machine(
        kernel=Guest().hang().assemble(guest_folder), disks=(Disk(disk, access),), memory=16 << 20
    )
    with VM(machine) as vm:
        (block,) = vm.qmp("query-block")
        assert block["inserted"]["ro"] is (access is DiskAccess.READ_ONLY)


def test_a_disk_whose_boot_sector_is_run(tmp_path: Path) -> None:
    # mov al, 9; out 0xF4, al: isa-debug-exit from 16-bit code, loaded by the BIOS.
    disk = tmp_path / "disk"
    disk.write_bytes((b"\xb0\x09\xe6\xf4\xf4").ljust(510, b"\0") + b"\x55\xaa" + bytes(2 << 20))
    with VM(Machine(kind=MachineKind.PC, disks=(Disk(disk),))) as vm:
        assert vm.wait(30) == Exited(9)


def test_no_room_for_the_memory(boot: Boot) -> None:
    with pytest.raises(OsvlabError, match="no room"):
        boot(HELLO, memory=1 << 50)


def test_events(boot: Boot) -> None:
    seen: list[Event] = []
    with listening(seen.append):
        vm = boot(Guest().exit(2))
        vm.wait(20)
        vm.stop()  # returns when the owner is done with it
    mine = [event for event in seen if getattr(event, "pid", None) == vm.pid]
    assert {type(event) for event in mine} == {VmStarted, VmEnded}
    assert [event.outcome for event in mine if isinstance(event, VmEnded)] == [Exited(2)]


def test_boot_timeline(boot: Boot) -> None:
    vm = boot(
        Guest()
        .report("kernel", version="1", memory=16 << 20)
        .report("boot", step="page tables", us=100)
        .report("boot", step="drivers", us=300)
        .report("booted", us=400, free=1, total=2)
        .say("Cmdline: /hello\r\nHello\r\n")
        .exit(0)
    )
    vm.wait(20)
    # Only a VM that knows its kernel knows where the application begins.
    assert vm.boot is not None
    assert [step.name for step in vm.boot.steps] == ["QEMU and firmware", "page tables", "drivers", "ready"]
    assert vm.boot.steps[2].duration == pytest.approx(200e-6)
    assert vm.boot.first_output is not None


def test_garbage_on_the_report_channel(boot: Boot) -> None:
    guest = (
        Guest()
        .report_raw(b'not json\n{"event": 5}\n[]\n\xff\xfe\n' + b"[" * 5000 + b"\n")
        .report("exited", status="many")
        .report("exited", status=5)
    )
    assert boot(guest.leave(0)).wait(20) == Exited(5)


# Many


def test_many_at_once(boot: Boot) -> None:
    vms = [boot(Guest().say(f"guest {n}\r\n").exit(n), timeout=60) for n in range(12)]
    assert [vm.wait(60) for vm in vms] == [Exited(n) for n in range(12)]
    assert [vm.console.text for vm in vms] == [f"guest {n}\n" for n in range(12)]


def test_started_and_stopped_from_many_threads(boot: Boot) -> None:
    ends: list[object] = []

    def one(number: int) -> None:
        vm = boot(Guest().say("up\r\n").hang())
        vm.wait_for("up")
        ends.append(vm.stop())

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ends == [Lost("stopped on request", stopped=True)] * 6


def test_starting_costs_little_more_than_qemu_itself(boot: Boot) -> None:
    boot(HELLO).stop()
    spent = []
    for _ in range(3):
        began = time.monotonic()
        vm = boot(HELLO)
        vm.wait_for("hello")
        spent.append(time.monotonic() - began)
        vm.stop()
    assert min(spent) < 1.0  # 0.03 on an idle machine; this is a guard against seconds, not a benchmark


def test_a_qemu_that_stays_when_its_guest_has_gone(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    # QEMU 7.2 now and then waits for itself in its own clean-up; a stopped process stands for it.
    monkeypatch.setattr("osvlab.vm.session.POWER_OFF_GRACE", 0.2)
    vm = boot(Guest().say("up\r\n").echo_line().triple_fault())
    vm.wait_for("up\n")
    session = vm._session
    os.kill(vm.pid, signal.SIGSTOP)
    owner().loop.call_soon_threadsafe(session._shutting_down)
    assert isinstance(vm.wait(20), Lost)
    assert gone(vm.pid)


def test_too_few_descriptors_are_said_and_nothing_is_left(
    boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert boot(HELLO.exit(0)).wait(20) == Exited(0)
    used = len(os.listdir("/proc/self/fd"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    refused: list[OsvlabError] = []
    while len(refused) < 30:  # each time one descriptor more, until they are enough
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + len(refused), before[1]))
        try:
            boot(HELLO).wait(20)
            break
        except OsvlabError as error:
            refused.append(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert 5 < len(refused) < 30
    assert all("Too many open files" in error.message and error.hint for error in refused), refused
    assert len(os.listdir("/proc/self/fd")) <= used
    assert not list((tmp_path / "osvlab" / "vms").iterdir())


def test_more_words_than_the_host_passes_on(boot: Boot, guest_folder: Path) -> None:
    machine = Machine(kernel=HELLO.assemble(guest_folder), memory=16 << 20, command_line="x" * 200_000)
    with pytest.raises(QemuError, match=r"cannot start QEMU: .*Argument list too long"):
        VM(machine)


def test_a_slow_reader_is_waited_for_while_it_reads(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osvlab.vm.pipes.WRITE_DEADLINE", 4.0)
    # QEMU hands a guest some thirty thousand bytes a second; the first 64 KiB fit into the pipe. So all
    # of them take longer than that, and each page of the pipe a tenth of a second.
    guest = Guest().code(
        "mov $210000, %ebx",
        "1: mov $0x3FD, %edx; in (%dx), %al; test $1, %al; jz 1b",
        "mov $0x3F8, %edx; in (%dx), %al",
        "dec %ebx; jnz 1b",
    )
    vm = boot(guest.exit(0))
    vm.write(b"x" * 210_000)
    assert vm.wait(60) == Exited(0)


def test_names_that_are_not_utf8_are_typed_as_they_are(boot: Boot) -> None:
    vm = boot(Guest().say("?").echo_line().exit(0))
    vm.wait_for("[?]")
    vm.write(os.fsdecode(b"caf\xe9\n"))
    vm.wait(20)
    assert vm.console.raw == b"?caf\xe9\n"


def test_a_pipe_is_not_waited_for(boot: Boot, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MachineError, match=r"cannot open the kernel .*pipe: it is a pipe"):
        VM(Machine(kernel=tmp_path / "pipe"))
    with pytest.raises(MachineError, match=r"cannot open the disk .*pipe: it is a pipe"):
        VM(Machine(kind=MachineKind.PC, disks=(Disk(tmp_path / "pipe"),)))
