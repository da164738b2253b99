"""Debian's cloud kernel with a busybox initramfs: what a small Linux guest costs in the same QEMU."""

from __future__ import annotations

import stat
import subprocess
import tempfile
from pathlib import Path

from benchmarks.qemu import command
from osvlab.demo import static_busybox
from osvlab.errors import OsvlabError
from osvlab.paths import cache_dir, replacing

__all__ = ["boot_command", "initramfs", "kernel"]

PACKAGE = "linux-image-cloud-amd64"


def kernel() -> Path:
    """Return Debian's kernel for virtual machines, fetched with apt and unpacked, not installed.

    Raises
    ------
    OsvlabError
        apt does not have it.
    """
    kept = cache_dir("benchmarks") / "vmlinuz-cloud"
    if kept.exists():
        return kept
    # The package only depends on the one that holds the kernel of the day.
    depends = _said("apt-cache", "depends", PACKAGE)
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise OsvlabError(f"apt knows no {PACKAGE}", hint="apt-get update, on Debian.")
    with tempfile.TemporaryDirectory() as folder:
        _said("apt-get", "download", names[0], cwd=folder)
        (package,) = Path(folder).glob("*.deb")
        _said("dpkg-deb", "-x", str(package), folder)
        (found,) = Path(folder, "boot").glob("vmlinuz-*")
        with replacing(kept) as temporary:
            temporary.write_bytes(found.read_bytes())
    return kept


def initramfs(script: str, programs: dict[str, Path] | None = None) -> bytes:
    """Return a cpio archive (newc) with busybox, an `/init` that runs `script`, and more programs."""
    executable = stat.S_IFREG | 0o755
    busybox = static_busybox().read_bytes()
    entries = {
        **dict.fromkeys(("bin", "dev", "proc", "sys"), (stat.S_IFDIR | 493, b"")),
        "bin/busybox": (executable, busybox),
        "init": (executable, b"#!/bin/busybox sh\n" + script.encode() + b"\n"),
        **{name: (executable, path.read_bytes()) for name, path in (programs or {}).items()},
    }
    records = [_record(name, mode, data) for name, (mode, data) in entries.items()]
    # Without a console device the kernel has nowhere to print what init says.
    records.append(_record("dev/console", stat.S_IFCHR | 0o600, b"", device=(5, 1)))
    return b"".join([*records, _record("TRAILER!!!", 0, b"")])


def boot_command(archive: Path) -> list[str]:
    """Return a command that boots this Linux on microvm with an initramfs, as quietly and quickly as it can.

    It needs more memory than the lab kernel, option ROMs to be loaded at all, and the PIC for its console.
    """
    line = "console=ttyS0 quiet reboot=t panic=-1 no_timer_check tsc=reliable mitigations=off"
    board = "microvm,acpi=off,pit=on,pic=on,rtc=on,auto-kernel-cmdline=on"
    return command(kernel(), "-initrd", str(archive), "-append", line, board=board, memory="128M")


def _record(name: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> bytes:
    raw = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def _said(*words: str, cwd: str | None = None) -> str:
    try:
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise OsvlabError(f"no {words[0]}: this baseline needs Debian") from None
    except subprocess.CalledProcessError as error:
        raise OsvlabError(f"{' '.join(words)}: {error.stderr.strip()}") from None
