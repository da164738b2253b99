"""Debian's cloud kernel with a busybox initramfs: what a small Linux guest costs in the same QEMU.

It boots in the fastest way that QEMU has for it: the same board as the lab kernel, unpacked, through PVH.
With a network card, it takes the drivers that Debian has as modules from the same package.
"""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from benchmarks.bzimage import vmlinux
from benchmarks.qemu import MICROVM, command
from osvlab.demo import static_busybox
from osvlab.errors import OsvlabError
from osvlab.paths import cache_dir

__all__ = ["DISK_UP", "NETWORK_UP", "boot_command", "initramfs", "kernel", "libraries", "modules"]

PACKAGE = "linux-image-cloud-amd64"
MODULES = (  # what a virtio network card on microvm needs, each after what it needs itself
    *("drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_mmio"),
    *("net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net"),
)
BUS = MODULES[:3]
DISK = "drivers/block/virtio_blk"  # and for a virtio disk; ext4 is built in

DISK_UP = "; ".join(
    [
        "export PATH=/bin; busybox mount -t proc proc /proc; busybox mount -t devtmpfs dev /dev",
        *(f"busybox insmod /modules/{Path(module).name}.ko" for module in (*BUS, DISK)),
        "busybox mkdir /mnt; busybox mount -t ext4 /dev/vda /mnt",
    ]
)

# The address that QEMU's user networking would give; not asking for it saves Linux a second.
NETWORK_UP = "; ".join(
    [
        "export PATH=/bin; busybox mount -t proc proc /proc; busybox mount -t devtmpfs dev /dev",
        *(f"busybox insmod /modules/{Path(module).name}.ko" for module in MODULES),
        "busybox ip link set lo up; busybox ip addr add 10.0.2.15/24 dev eth0",
        "busybox ip link set eth0 up; busybox ip route add default via 10.0.2.2",
    ]
)

# All in Linux's favour: no chatter, no calibration, none of the detours against speculative execution.
COMMAND_LINE = "console=ttyS0 quiet reboot=t panic=-1 no_timer_check tsc=reliable mitigations=off"


def kernel() -> Path:
    """Return Debian's kernel for virtual machines as an ELF file.

    Raises
    ------
    OsvlabError
        apt does not have it.
    """
    return _package() / "vmlinux"


def modules() -> dict[str, Path]:
    """Return the modules that `NETWORK_UP` and `DISK_UP` load, by their names in an initramfs."""
    names = [f"{Path(module).name}.ko" for module in (*MODULES, DISK)]
    return {f"modules/{name}": _package() / name for name in names}


def _package() -> Path:
    """Fetch the package with apt, without installing it; keep the kernel and the modules in a folder."""
    # The package only depends on the one that holds the kernel of the day.
    depends = _said("apt-cache", "depends", PACKAGE)
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise OsvlabError(f"apt knows no {PACKAGE}", hint="apt-get update, on Debian.")
    kept = cache_dir("benchmarks") / f"{names[0]}-with-disk"
    if kept.is_dir():
        return kept
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        _said("apt-get", "download", names[0], cwd=folder)
        (package,) = Path(folder).glob("*.deb")
        _said("dpkg-deb", "-x", str(package), folder)
        (found,) = Path(folder, "boot").glob("vmlinuz-*")
        (tree,) = Path(folder, "lib/modules").glob("*/kernel")
        whole = Path(folder, "whole")
        whole.mkdir()
        (whole / "vmlinux").write_bytes(vmlinux(found.read_bytes()))
        for module in (*MODULES, DISK):
            shutil.copy(tree / f"{module}.ko", whole)
        whole.rename(kept)
    return kept


def initramfs(script: str, programs: dict[str, Path] | None = None) -> bytes:
    """Return a cpio archive (newc) with busybox, an `/init` that runs `script`, and more programs."""
    executable, directory = stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755
    programs = programs or {}
    folders = {str(parent) for name in programs for parent in Path(name).parents} - {"."}
    busybox = static_busybox().read_bytes()
    entries = {
        # Each folder before what is in it.
        **dict.fromkeys(sorted(folders | {"bin", "dev", "proc", "sys"}), (directory, b"")),
        "bin/busybox": (executable, busybox),
        "init": (executable, b"#!/bin/busybox sh\n" + script.encode() + b"\n"),
        **{name: (executable, path.read_bytes()) for name, path in programs.items()},
    }
    records = [_record(name, mode, data) for name, (mode, data) in entries.items()]
    # Without a console device the kernel has nowhere to print what init says.
    records.append(_record("dev/console", stat.S_IFCHR | 0o600, b"", device=(5, 1)))
    return b"".join([*records, _record("TRAILER!!!", 0, b"")])


def libraries(program: Path) -> dict[str, Path]:
    """Return what a dynamic program of this host needs, by the names under which it looks for them."""
    said = _said("ldd", str(program))
    paths = re.findall(r"(?:^\s*|=> )(/\S+) \(0x", said, re.MULTILINE)
    return {path.lstrip("/"): Path(path) for path in paths}


def boot_command(archive: Path, *options: str, memory: str = "128M") -> list[str]:
    """Return a command that boots this Linux on microvm with an initramfs, as quietly and quickly as it can.

    It needs more memory than the lab kernel, and the PIC for its console. With `options` that make
    devices it needs ACPI to find them.
    """
    board = MICROVM.replace("pic=off", "pic=on")
    if options:
        board = board.replace("acpi=off", "acpi=on")
    line = f"{COMMAND_LINE} {_counter_rate()}"
    words = ("-initrd", str(archive), "-append", line, *options)
    return command(kernel(), *words, board=board, memory=memory)


def _counter_rate() -> str:
    """Tell Linux the rate of the time stamp counter, nearly.

    On a busy host it fails to measure it now and then, and then reads the clock at seven times the cost.
    """
    found = re.search(r"^cpu MHz\s*: (\d+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"tsc_early_khz={found[1]}000" if found else ""


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
