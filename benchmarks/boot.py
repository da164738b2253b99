"""How long a boot takes, and how little memory it takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import osvlab
from benchmarks import linux
from benchmarks.harness import Bound, Measured, measures, median_seconds
from benchmarks.qemu import bare_kernel, command, seconds_to_end, seconds_to_line
from osvlab.demo import compile_example
from osvlab.errors import OsvlabError
from osvlab.image.image import Image
from osvlab.vm.machine import MachineError
from osvlab.vm.outcome import Exited
from osvlab.vm.qemu import QemuError


def hello_image(folder: Path) -> Image:
    """Build the smallest useful image: one dynamic program on ROFS."""
    tree = folder / "app"
    tree.mkdir()
    compile_example("hello", tree / "hello")
    return osvlab.build(tree, command="/hello", output=folder / "hello.img")


def seconds_to_first_line(image: Image) -> float:
    """Boot an image the way a user does, and return QEMU's start to the application's first line."""
    with osvlab.run(image, memory="64M", timeout=60) as vm:
        outcome = vm.wait()
        boot = vm.boot
    if outcome != Exited(0) or boot is None or boot.application_output is None:
        raise OsvlabError(f"hello did not run: {outcome}")
    return boot.application_output


@measures("boot")
def boot() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Compare hello on the lab kernel with a kernel that does nothing."""
    with tempfile.TemporaryDirectory() as name:
        image = hello_image(Path(name))
        nothing = command(bare_kernel(Path(name, "bare.elf")))
        lab, bare = median_seconds(
            lambda: seconds_to_first_line(image), lambda: seconds_to_end(nothing), times=21
        )
    raw = {"lab kernel, seconds": lab, "bare kernel, seconds": bare}
    yield (
        "boot to first line / a kernel that only powers off",
        "x",
        Bound(2.0, 1.3),
        Measured(lab / bare, raw),
    )


@measures("linux")
def against_linux() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Compare hello on the lab kernel with hello on Debian's cloud kernel."""
    with tempfile.TemporaryDirectory() as name:
        image = hello_image(Path(name))
        archive = Path(name, "initramfs")
        archive.write_bytes(linux.initramfs("echo hello from linux; exec /bin/busybox sleep 60"))
        words = linux.boot_command(archive)
        lab, theirs = median_seconds(
            lambda: seconds_to_first_line(image),
            lambda: seconds_to_line(words, b"hello from linux"),
            times=5,
        )
    raw = {"lab kernel, seconds": lab, "linux, seconds": theirs}
    bound = Bound(8, 15, more_is_better=True)
    yield "Debian's cloud kernel to first line / lab kernel", "x", bound, Measured(theirs / lab, raw)


@measures("memory")
def smallest_memory() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Find the smallest memory in which hello runs and ends well, by halving the interval."""
    with tempfile.TemporaryDirectory() as name:
        image = hello_image(Path(name))

        def runs(mebibytes: int) -> bool:
            try:
                with osvlab.run(image, memory=f"{mebibytes}M", timeout=30) as vm:
                    return vm.wait() == Exited(0)
            except (MachineError, QemuError):  # there is not even room to load the kernel
                return False

        too_little, enough = 1, 64
        if not runs(enough):
            raise OsvlabError("hello does not even run in 64 MiB")
        while enough - too_little > 1:
            middle = (too_little + enough) // 2
            if runs(middle):
                enough = middle
            else:
                too_little = middle
    yield "smallest memory in which hello runs", "MiB", Bound(16, 8), Measured(enough)
