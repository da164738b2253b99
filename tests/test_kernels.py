"""Kernel files are recognised by what is in them; what is none of them is named for what it is."""

from __future__ import annotations

import os
import re
import shutil
import struct
from pathlib import Path

import pytest

import osvlab
from osvlab.filesystems.disk import write_command_line
from osvlab.kernels import Boot, Capability, Kernel, KernelError, KernelKind, KernelNotFoundError, Verdict
from tests.vm.guests import Guest

OSV = os.environ.get("OSVLAB_OSV_KERNEL")
needs_osv = pytest.mark.skipif(not OSV, reason="OSVLAB_OSV_KERNEL names no OSv kernel")


@pytest.fixture
def tiny(guest_folder: Path) -> Path:
    return Guest().hang().assemble(guest_folder)


def damaged(path: Path, folder: Path, offset: int, data: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    copy = folder / "damaged"
    copy.write_bytes(content)
    return copy


# What a file is


def test_a_lab_kernel_by_its_note(tiny: Path) -> None:
    kernel = Kernel.open(tiny)
    assert (kernel.kind, kernel.boot, kernel.version) == (KernelKind.LAB, Boot.PVH, "tiny")
    assert kernel.size == tiny.stat().st_size
    assert kernel.can(Capability.REPORTS_EXIT_STATUS)
    assert "tiny" in repr(kernel)


def test_the_lab_kernel() -> None:
    kernel = Kernel.lab()
    assert (kernel.kind, kernel.boot) == (KernelKind.LAB, Boot.PVH)
    assert kernel.exports is not None
    assert {"printf", "malloc", "pthread_create", "__libc_start_main"} <= kernel.exports
    assert {
        "libc.so.6",
        "libm.so.6",
        "libpthread.so.0",
        "libdl.so.2",
        "librt.so.1",
    } <= kernel.supplies_libraries
    start = kernel.disk_start()
    assert start is not None
    assert (len(start.boot_sector), start.offset, start.size) == (512, 0, kernel.size)


def test_another_kernel_in_the_environment(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSVLAB_KERNEL", str(tiny))
    assert Kernel.lab().path == tiny


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(KernelNotFoundError, match="no/such") as caught:
        Kernel.open("/no/such/kernel")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(KernelError, match="directory"):
        Kernel.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither an ELF file nor a bootable disk"),
        (b"#!/bin/sh\n", "neither an ELF file nor a bootable disk"),
        (b"\x7fELF", "64-bit"),
        (b"\x7fELF\x01\x01\x01" + bytes(100), "64-bit"),
        (b"\x7fELF\x02\x02\x01" + bytes(100), "little-endian"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "another architecture"),
        (bytes(510) + b"\x55\xaa", "does not begin with an OSv kernel"),
        (bytes(510) + b"\x55\xaa" + bytes(1 << 17), "does not begin with an OSv kernel"),
    ],
)
def test_no_kernel(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "some file"
    path.write_bytes(content)
    with pytest.raises(KernelError, match=said) as caught:
        Kernel.open(path)
    assert "some file" in str(caught.value)


def test_an_application_is_no_kernel() -> None:
    program = shutil.which("true")
    assert program is not None
    with pytest.raises(KernelError, match="no PVH entry"):
        Kernel.open(program)


def test_another_machine(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"another architecture.*183"):
        Kernel.open(damaged(tiny, tmp_path, 18, struct.pack("<H", 183)))


@pytest.mark.parametrize("count", [0, 9999])
def test_damaged_program_headers(tiny: Path, tmp_path: Path, count: int) -> None:
    with pytest.raises(KernelError, match="damaged"):
        Kernel.open(damaged(tiny, tmp_path, 56, struct.pack("<H", count)))


@pytest.mark.parametrize("size", [64, 100, 300, 4096])
def test_truncated(tiny: Path, tmp_path: Path, size: int) -> None:
    copy = tmp_path / "short"
    copy.write_bytes(tiny.read_bytes()[:size])
    with pytest.raises(KernelError, match="truncated"):
        Kernel.open(copy)


def test_damaged_anywhere_is_an_error_or_a_kernel(tiny: Path, tmp_path: Path) -> None:
    size = min(tiny.stat().st_size, 512)
    for offset in range(0, size, 3):
        try:
            kernel = Kernel.open(damaged(tiny, tmp_path, offset, b"\xff\xff\xff"))
            assert kernel.exports is None or isinstance(kernel.exports, frozenset)
        except KernelError:
            pass


def test_disks_and_the_kernels_on_them(tmp_path: Path) -> None:
    # The marks of OSv's loader.img: boot sector with its signature, 32-bit ELF at 64 KiB.
    loader = tmp_path / "loader.img"
    head = bytearray(1 << 17)
    head[510:512] = b"\x55\xaa"
    head[0x1B8:0x1BB] = b"VSO"
    head[1 << 16 : (1 << 16) + 5] = b"\x7fELF\x01"
    loader.write_bytes(head)
    kernel = Kernel.open(loader)
    assert (kernel.kind, kernel.boot, kernel.version, kernel.exports) == (
        KernelKind.OSV,
        Boot.DISK,
        None,
        None,
    )
    assert not kernel.can(Capability.REPORTS_EXIT_STATUS)
    assert not kernel.can(Capability.BOOTS_MICROVM_WITHOUT_KVM)
    disk = tmp_path / "disk"
    shutil.copy(loader, disk)
    write_command_line(disk, "/hello")
    assert kernel.is_on(disk)
    assert Kernel.of_disk(disk) is not None
    with disk.open("r+b") as file:
        file.seek((1 << 16) + 100)
        file.write(b"other")
    assert not kernel.is_on(disk)
    start = kernel.disk_start()
    assert start is not None
    assert start.offset + start.size == len(head)


def test_a_disk_without_a_kernel_of_its_own(tiny: Path) -> None:
    assert Kernel.of_disk(tiny) is None


# What a kernel is told


def told(kind: KernelKind, command: str, **options: object) -> str:
    return Kernel(Path("k"), kind, Boot.PVH, None).command_line(command, **options)  # type: ignore[arg-type]


def test_command_line() -> None:
    assert told(KernelKind.LAB, "/hello") == "/hello"
    assert told(KernelKind.LAB, "", verbose=True) == "--verbose"
    assert (
        told(KernelKind.LAB, "/a; /b &", rootfs="rofs", verbose=True, cwd="/my dir")
        == r"--verbose --rootfs=rofs --cwd=/my\ dir /a; /b &"
    )


def test_osv_is_told_not_to_halt_for_ever() -> None:
    assert told(KernelKind.OSV, "/hello") == "--power-off-on-abort /hello"
    assert told(KernelKind.OSV, "--power-off-on-abort /x") == "--power-off-on-abort /x"


def test_environment_is_escaped() -> None:
    line = told(KernelKind.LAB, "/x", env={"A": "b c", "PATH": "\\tmp", "EMPTY": ""})
    assert line == r"--env=A=b\ c --env=PATH=\\tmp --env=EMPTY= /x"


def test_options_in_the_command_count_more() -> None:
    assert told(KernelKind.LAB, "--rootfs=zfs /x", rootfs="rofs") == "--rootfs=zfs /x"
    assert (
        told(KernelKind.LAB, "--verbose /x --cwd=/a", verbose=True, cwd="/b")
        == "--cwd=/b --verbose /x --cwd=/a"
    )
    assert told(KernelKind.LAB, "--env=A=1 /x", env={"B": "2"}) == "--env=B=2 --env=A=1 /x"


@pytest.mark.parametrize("name", ["", "A=B"])
def test_bad_names_of_variables(name: str) -> None:
    with pytest.raises(KernelError, match="name"):
        told(KernelKind.LAB, "/x", env={name: "v"})


def test_nul_in_a_value() -> None:
    with pytest.raises(KernelError, match="NUL"):
        told(KernelKind.LAB, "/x", env={"A": "\0"})


def test_application_line() -> None:
    pattern = Kernel(Path("k"), KernelKind.LAB, Boot.PVH, None).application_line
    assert pattern.search(b"OSv 1\r\nCmdline: /hello\r\nHello\r\n")
    assert not pattern.search(b"OSv 1\r\nCmdline: /hello\r\nHel")
    assert not pattern.search(b"say Cmdline: x\r\nHello\r\n")


# What OSv's console tells

HEAD = "SeaBIOS\nOSv v0.57.0-398-g0e34e4dc\nBooted up in 0.00 ms\nCmdline: /x\n"
TRACE = "[backtrace]\n0x0000100000001179 <???+4473>\n0x00000000403806c7 <thread_main_c+39>\n"


def verdict(console: str) -> Verdict | None:
    return Kernel(Path("k"), KernelKind.OSV, Boot.PVH, None).verdict(console)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("Hello from C code\n", None),
        ("x\nPowering off.\n", 0),
        ("program /x returned 3\nVFS: unmounting /\nPowering off.\n", 3),
        ("program exited with status 3\nPowering off.\n", 3),
        ("program /x returned -1\nPowering off.\n", 255),
        ("program /x returned 1\nprogram /y returned 2\nPowering off.\n", 2),
        ("Failed to load object: /x. Powering off.\n", 127),
        ("This image has an empty command line. Nothing to run.\n", 127),
        ("Failed to parse command line.\n", 127),
        ("unrecognized option: assign-net\nOSv options:\n", 127),
        ("the application says: Aborted\nAborted\n[backtrace]\nno, it goes on\n", None),
    ],
)
def test_status_from_the_console(said: str, status: int | None) -> None:
    assert verdict(HEAD + said) == Verdict(status=status)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("abrt: about to abort()\nAborted\n\n" + TRACE, "Aborted"),
        ("/x: failed looking up symbol f\n\n" + TRACE, "/x: failed looking up symbol f"),
        ("Assertion failed: a < b (x.c: f: 3)\n\n" + TRACE, "Assertion failed: a < b (x.c: f: 3)"),
        ("some new way to die\n" + TRACE, "some new way to die"),
    ],
)
def test_crash_from_the_console(said: str, fault: str) -> None:
    found = verdict(HEAD + said)
    assert found is not None
    assert found.fault == fault
    assert found.backtrace == ((0x100000001179, None, 0), (0x403806C7, "thread_main_c", 39))


def test_a_halt_before_threads_exist() -> None:
    found = verdict("OSv v0.57.0\nNeither paravirtual clock nor HPET is available.\nHalting.\n")
    assert found is not None
    assert found.fault == "Neither paravirtual clock nor HPET is available."


def test_nothing_follows_from_a_console_without_osv() -> None:
    assert verdict("SeaBIOS\nNo bootable device.\n") is None
    assert Kernel(Path("k"), KernelKind.LAB, Boot.PVH, None).verdict(HEAD) is None


@needs_osv
def test_a_real_osv() -> None:
    kernel = Kernel.open(str(OSV))
    assert kernel.kind is KernelKind.OSV
    if kernel.boot is Boot.PVH:
        assert kernel.version is not None
        assert kernel.version.startswith("v")
        assert kernel.exports is not None
        assert "printf" in kernel.exports
        assert kernel.disk_start() is None


def test_libraries_and_folders_are_those_of_the_kernels_linker() -> None:
    source = Path(osvlab.__file__).parent / "kernel" / "runtime" / "linker" / "search.c"

    def listed(name: str) -> tuple[str, ...]:
        found = re.search(rf"{name}\[\] = \{{(.*?)\}}", source.read_text(), re.DOTALL)
        assert found is not None
        return tuple(re.findall(r'"([^"]+)"', found[1]))

    kernel = Kernel(Path("k"), KernelKind.LAB, Boot.PVH, None)
    assert sorted(listed("kernel_names")) == sorted(kernel.supplies_libraries)
    assert listed("program_directories") == kernel.program_folders
    assert listed("default_directories") == kernel.library_folders


def test_only_the_lab_kernel_takes_control_d_for_the_end() -> None:
    # OSv's line discipline knows no end of file: it would echo the byte.
    kernels = [Kernel(Path("k"), kind, Boot.PVH, None) for kind in (KernelKind.LAB, KernelKind.OSV)]
    assert [kernel.can(Capability.ENDS_INPUT_AT_CONTROL_D) for kernel in kernels] == [True, False]


def test_a_pipe_is_no_kernel(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(KernelError, match="it is a pipe"):
        Kernel.open(tmp_path / "pipe")
