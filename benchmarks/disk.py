"""What files on a disk cost in a guest: ZFS of the lab kernel, against ext4 of Debian's in the same QEMU.

One static C program writes, creates and reads, and takes the time inside the guest. Both disks are
fresh, of the same size, in the same folder, and QEMU treats them alike. Reading is done after another
boot, so that nothing comes from the guest's memory.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import osvlab
from benchmarks import linux
from benchmarks.harness import Bound, Measured, measures
from benchmarks.qemu import until_line
from osvlab.errors import OsvlabError
from osvlab.vm.outcome import Exited

SOURCE = Path(__file__).parent / "programs" / "files.c"
SIZE = 512 << 20
MEMORY = "256M"
ROUNDS = 3
TITLES = {
    "write": "guest: 64 MiB written to ZFS until durable",
    "create": "guest: 10,000 files created on ZFS until durable",
    "read": "guest: 64 MiB read from ZFS after a boot",
}

Figures = dict[str, float]


def figures(text: str) -> Figures:
    """Read what the program printed: `<name> <milliseconds>` lines."""
    return {name: float(value) for name, value in re.findall(r"^(\w+) ([0-9.]+)\s*$", text, re.MULTILINE)}


def on_linux(program: Path, folder: Path) -> Figures:
    """Run it on ext4; a second boot reads."""
    disk = folder / "ext4.img"
    disk.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True, capture_output=True)
    found: Figures = {}
    for steps in (("write", "create"), ("read",)):
        calls = "; ".join(f"/files {step} /mnt" for step in steps)
        script = f"{linux.DISK_UP}; {calls}; busybox umount /mnt; echo it ran; exec busybox sleep 60"
        archive = folder / "initramfs"
        archive.write_bytes(linux.initramfs(script, linux.modules() | {"files": program}))
        words = linux.boot_command(
            archive,
            *("-global", "virtio-mmio.force-legacy=off"),
            *("-drive", f"if=none,id=disk,file={disk},format=raw"),
            *("-device", "virtio-blk-device,drive=disk"),
            memory=MEMORY,
        )
        found |= figures(until_line(words, b"it ran")[0].decode(errors="replace"))
    return found


def on_lab_kernel(program: Path, folder: Path) -> Figures:
    """Run it on ZFS; a second boot reads."""
    tree, image = folder / "tree", folder / "zfs.img"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    shutil.copy(program, tree / "files")
    osvlab.build(tree, "/files read /", fs="zfs", size=SIZE, output=image)
    found: Figures = {}
    for command in ("/files write /; /files create /", "/files read /"):
        with osvlab.run(image, command, memory=MEMORY, timeout=120, persist=True) as vm:
            outcome, text = vm.wait(), vm.console.text
        if outcome != Exited(0):
            raise OsvlabError(f"the benchmark did not end well: {outcome}", hint=text[-500:])
        found |= figures(text)
    return found


@measures("disk")
def disk() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Run the same file on both, in turns."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        program = folder / "files"
        subprocess.run(["gcc", "-O2", "-static", "-o", str(program), str(SOURCE)], check=True)
        runs = [(on_lab_kernel(program, folder), on_linux(program, folder)) for _ in range(ROUNDS)]
    for figure, title in TITLES.items():
        mine, theirs = (min(run[side][figure] for run in runs) for side in (0, 1))
        raw = {"lab kernel, ms": mine, "linux, ms": theirs}
        bound = Bound(0.7, 1.2, more_is_better=True)
        yield f"{title}: Linux with ext4 / lab kernel", "x", bound, Measured(theirs / mine, raw)
