"""What a thread, a context switch, a system call and a libc call cost, against Linux in the same QEMU."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import osvlab
from benchmarks import linux
from benchmarks.harness import Bound, Measured, measures
from osvlab.errors import OsvlabError
from osvlab.vm.outcome import Exited

SOURCE = Path(__file__).parent / "guest" / "cycles.c"
TITLES = {
    "thread": "create and join a thread",
    "switch": "a context switch",
    "syscall": "a system call from a static program",
    "libc": "a libc call",
}
ROUNDS = 3


def figures(text: str) -> dict[str, float]:
    """Read the program's `<name> <cycles>` lines."""
    found = {name: float(value) for name, value in re.findall(r"^(\w+) ([0-9.]+)\s*$", text, re.MULTILINE)}
    if "done" not in text or found.keys() != TITLES.keys():
        raise OsvlabError(f"the benchmark did not run to its end; it said: {text[-500:]!r}")
    return found


def on_lab_kernel(folder: Path, program: str) -> dict[str, float]:
    """Run it in the guest of the lab."""
    image = osvlab.build(folder / program, command="/cycles", output=folder / f"{program}.img")
    with osvlab.run(image, memory="128M", timeout=120) as vm:
        outcome, text = vm.wait(), vm.console.text
    if outcome != Exited(0):
        raise OsvlabError(f"the benchmark did not end well: {outcome}")
    return figures(text)


def on_linux(folder: Path, program: str) -> dict[str, float]:
    """Run it as init's only child on Debian's kernel."""
    archive = folder / f"{program}.cpio"
    script = "/cycles; exec /bin/busybox poweroff -f"
    archive.write_bytes(linux.initramfs(script, {"cycles": folder / program / "cycles"}))
    words = linux.boot_command(archive)
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.strip() == "done":
                break
        process.kill()
    return figures(text)


@measures("cycles")
def cycles() -> Iterator[tuple[str, str, Bound, Measured]]:
    """Run the same program on both: static for the system call, dynamic on the lab kernel for the rest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program, options in (("static", ["-static"]), ("dynamic", [])):
            (folder / program).mkdir()
            output = folder / program / "cycles"
            # Without builtins the compiler would not turn strlen into nothing, but into a call.
            words = ["gcc", "-O2", "-fno-builtin", *options, "-o", str(output), str(SOURCE), "-lpthread"]
            subprocess.run(words, check=True, capture_output=True)
        runs: dict[str, list[dict[str, float]]] = {"lab static": [], "lab dynamic": [], "linux": []}
        for _ in range(ROUNDS):
            runs["lab static"].append(on_lab_kernel(folder, "static"))
            runs["lab dynamic"].append(on_lab_kernel(folder, "dynamic"))
            runs["linux"].append(on_linux(folder, "static"))
    best = {
        system: {name: min(run[name] for run in taken) for name in TITLES} for system, taken in runs.items()
    }
    for name, title in TITLES.items():
        lab = best["lab static" if name == "syscall" else "lab dynamic"][name]
        raw = {system: values[name] for system, values in best.items()}
        bound = Bound(1.0, 3.0, more_is_better=True)
        yield f"{title}: Linux / lab kernel, in cycles", "x", bound, Measured(best["linux"][name] / lab, raw)
