"""QEMU by hand, for the baselines: the same options for every kernel that is compared."""

from __future__ import annotations

import struct
import subprocess
import threading
import time
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.vm.qemu import die_with_python, find_qemu

__all__ = ["MICROVM", "bare_kernel", "command", "seconds_to_end", "seconds_to_line", "until_line"]

TIMEOUT = 120.0
MICROVM = "microvm,x-option-roms=off,acpi=off,pit=on,pic=off,rtc=on,auto-kernel-cmdline=on"


def command(kernel: Path, *options: str, board: str = MICROVM, memory: str = "64M") -> list[str]:
    """Return a command that boots a kernel, its serial console on stdout."""
    return [
        *die_with_python(),
        str(find_qemu()),
        *("-M", board, "-accel", "tcg,tb-size=64", "-cpu", "max", "-m", memory),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        *("-kernel", str(kernel), *options),
    ]


def seconds_to_end(words: list[str]) -> float:
    """Run a command until it ends by itself; return how long that took."""
    began = time.perf_counter()
    subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=TIMEOUT)
    return time.perf_counter() - began


def seconds_to_line(words: list[str], line: bytes) -> float:
    """Run a command until it prints a line that contains `line`; return how long that took, and end it."""
    return until_line(words, line)[1]


def until_line(words: list[str], line: bytes) -> tuple[bytes, float]:
    """Run a command until it prints a line that contains `line`, and end it.

    Returns
    -------
    tuple of bytes and float
        All that it printed up to there, and the seconds that took.

    Raises
    ------
    OsvlabError
        It never printed that, or not within `TIMEOUT` seconds.
    """
    began = time.perf_counter()
    said = b""
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        deadline = threading.Timer(TIMEOUT, process.kill)
        deadline.start()
        try:
            for text in process.stdout:
                said += text
                if line in text:
                    return said, time.perf_counter() - began
        finally:
            deadline.cancel()
            process.kill()
    raise OsvlabError(f"{line!r} was not printed; the end of what was: {said[-500:]!r}")


def bare_kernel(path: Path) -> Path:
    """Write a PVH kernel of a few bytes that only ends QEMU, through isa-debug-exit."""
    base, headers = 0x100000, 64 + 2 * 56
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", base + headers + 20)  # XEN_ELFNOTE_PHYS32_ENTRY
    code = bytes.fromhex("b001e6f4f4")  # mov al, 1; out 0xf4, al; hlt
    size = headers + len(note) + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\2\1\1", 2, 62, 1, base + headers + 20, 64, 0, 0, 64, 56, 2, 0, 0, 0),
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    notes = struct.pack("<IIQQQQQQ", 4, 4, headers, base + headers, base + headers, 20, 20, 4)
    path.write_bytes(header + load + notes + note + code)
    return path
