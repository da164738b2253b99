"""What a thread, a context switch, a system call and a libc call cost, against Linux in the same QEMU.

One C program, compiled once statically and once dynamically by the host's gcc; both files run in both
guests. QEMU's translator gives a guest the host's time stamp counter, so both count the same cycles.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import osvlab
from benchmarks import linux
from benchmarks.harness import Bound, Measured, measures
from benchmarks.qemu import until_line
from osvlab.errors import OsvlabError
from osvlab.image.image import Image
from osvlab.vm.outcome import Exited

SOURCE = Path(__file__).parent / "programs" / "cycles.c"
PROGRAMS = {"static": ("-static",), "dynamic": ()}
ROUNDS = 5

TITLES = {  # name of the figure: which of the programs gives it, and what it is
    "thread": ("dynamic", "create and join a thread"),
    "futex": ("dynamic", "a context switch, by futex"),
    "pipe": ("dynamic", "a context switch, through a pipe"),
    "syscall": ("static", "a system call from a static program"),
    "strlen": ("dynamic", "a libc call: strlen"),
    "clock": ("dynamic", "a libc call: clock_gettime"),
    "getppid": ("dynamic", "a libc call: getppid"),
    "malloc": ("dynamic", "a libc call: malloc and free"),
}

Figures = dict[str, dict[str, float]]


def figures(text: str) -> Figures:
    """Read what the programs printed one after the other: `<name> <cycles>` lines, then `done`."""
    parts = text.split("done")
    lines = [re.findall(r"^(\w+) ([0-9.]+)\s*$", part, re.MULTILINE) for part in parts]
    found = {
        program: {name: float(value) for name, value in own}
        for program, own in zip(PROGRAMS, lines, strict=False)
    }
    if len(parts) <= len(PROGRAMS) or any(values.keys() != TITLES.keys() for values in found.values()):
        raise OsvlabError(f"the benchmark did not run to its end; it said: {text[-500:]!r}")
    return found


def compile_programs(folder: Path) -> None:
    """Compile the program twice, and do not let gcc turn libc calls into something cheaper."""
    folder.mkdir()
    for program, options in PROGRAMS.items():
        words = ["gcc", "-O2", "-fno-builtin", "-pthread", *options, "-o", program, str(SOURCE)]
        subprocess.run(words, cwd=folder, check=True, capture_output=True)


def on_lab_kernel(image: Image) -> Figures:
    """Run both in a guest of the lab."""
    with osvlab.run(image, memory="128M", timeout=60) as vm:
        outcome, text = vm.wait(), vm.console.text
    if outcome != Exited(0):
        raise OsvlabError(f"the benchmark did not end well: {outcome}")
    return figures(text)


def on_linux(words: list[str]) -> Figures:
    """Run both as the only children of init on Debian's kernel."""
    return figures(until_line(words, b"both ran")[0].decode(errors="replace"))


def best(runs: list[Figures]) -> Figures:
    """Return the least of each figure: what disturbs, only adds."""
    return {
        program: {name: min(run[program][name] for run in runs) for name in TITLES} for program in PROGRAMS
    }


@measures("cycles")
def cycles() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Run the same files on both, in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "programs")
        compile_programs(folder)
        command = "; ".join(f"/{program}" for program in PROGRAMS)
        image = osvlab.build(folder, command=command, output=Path(name, "cycles.img"))
        files = {program: folder / program for program in PROGRAMS} | linux.libraries(folder / "dynamic")
        archive = Path(name, "initramfs")
        archive.write_bytes(linux.initramfs(f"{command}; echo both ran; exec /bin/busybox sleep 60", files))
        words = linux.boot_command(archive)
        runs = [(on_lab_kernel(image), on_linux(words)) for _ in range(ROUNDS)]
    lab, theirs = best([mine for mine, _ in runs]), best([other for _, other in runs])
    for figure, (program, title) in TITLES.items():
        mine, other = lab[program][figure], theirs[program][figure]
        raw = {"lab kernel, cycles": mine, "linux, cycles": other}
        bound = Bound(1.0, 3.0, more_is_better=True)
        yield f"{title}: Linux / lab kernel, in cycles", "x", bound, Measured(other / mine, raw)
