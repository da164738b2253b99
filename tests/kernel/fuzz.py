"""Targets of libFuzzer in `osvlab/kernel/tests/fuzz`: how they are built and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.kernel import host, zfs

FOLDER = "tests/fuzz"
COMPILER = shutil.which("clang-14") or shutil.which("clang")
FLAGS = ["-std=gnu11", "-g", "-O1", "-D_GNU_SOURCE", "-pthread", "-Iinclude", "-iquote", FOLDER]
FLAGS += ["-iquote", "tests/host", "-Wall", "-Wextra", "-Werror", "-Wno-sign-compare"]
FLAGS += ["-fno-sanitize-recover=all"]

# The quarantine of freed memory is small: a pool takes a megabyte, and fresh pages cost more than the rest.
SANITIZERS = {"ASAN_OPTIONS": "quarantine_size_mb=8:malloc_context_size=8"}

CHUNK = 300
"""Seconds after which a fuzzer starts anew with what it found: those in Python come to need more memory."""


def wrapped(*names: str) -> list[str]:
    """The linker's options that put functions of a target in front of those."""
    return [f"-Wl,--wrap={name}" for name in names]


# What checksums say is of no interest there: see damaged_pool.h.
POOL = wrapped("block_read", "config_parse", "label_candidate", "checksum_equal", "checksum_embedded_right")
POOL += wrapped("checksum_compute", "checksum_sha256", "space_allocate")


def sources(folder: str) -> list[str]:
    """The parts of the kernel in a folder that also compile on the host."""
    found = (path for path in (host.KERNEL / folder).glob("*.c") if not path.name.startswith("guest_"))
    return sorted(os.fspath(path.relative_to(host.KERNEL)) for path in found)


@dataclass(frozen=True, slots=True)
class Target:
    """A program that libFuzzer drives: its sources, and how long its inputs are at most."""

    name: str
    includes: str
    parts: Sequence[str]
    longest: int
    flags: Sequence[str] = ()


def zfs_target(name: str, longest: int, parts: Sequence[str] = (), flags: Sequence[str] = ()) -> Target:
    return Target(name, zfs.MODULE, [*sources(zfs.MODULE), "tests/host/zfs_shim.c", *parts], longest, flags)


SHIM = ["boot/print.c", "tests/host/files_shim.c", "tests/host/threads_shim.c"]
REQUEST = [f"modules/httpserver/{name}.c" for name in ("head", "uri", "chunked", "multipart", "json_read")]
ARCHIVE = [f"modules/cpiod/{name}.c" for name in ("archive", "input", "later", "place", "unpack")]
TARGETS = {
    target.name: target
    for target in (
        zfs_target("codec", 600),
        zfs_target("label", 4096, flags=wrapped("checksum_embedded_right", "checksum_sha256")),
        zfs_target("pool", 48 * 16, [f"{FOLDER}/damaged_pool.c", f"{FOLDER}/steps.c"], POOL),
        Target("disk", "files", [*sources("files"), *SHIM], 9000),
        Target("iso", "modules/cloud-init", ["modules/cloud-init/source_iso.c"], 24_000),
        Target("request", "modules/httpserver", REQUEST, 2000),
        Target("archive", "modules/cpiod", ARCHIVE, 1200, wrapped("syncfs", "read")),
    )
}


def is_there(folder: Path) -> bool:
    """Whether there is a clang, and its libFuzzer, which is a package of its own."""
    if COMPILER is None:
        return False
    source = folder / "empty.c"
    source.write_text("int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }")
    argv = [COMPILER, "-fsanitize=fuzzer,address,undefined", source, "-o", folder / "empty"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def build(folder: Path, target: Target) -> Path:
    """Compile a target and what it drives, all of it instrumented."""
    assert COMPILER is not None
    flags = [*FLAGS, "-iquote", target.includes]

    def compiled(source: str) -> Path:
        output = folder / (source.replace("/", "_") + ".o")
        if not output.exists():
            kind = "-fsanitize=fuzzer-no-link,address,undefined"
            subprocess.run([COMPILER, *flags, kind, "-c", source, "-o", output], cwd=host.KERNEL, check=True)
        return output

    with ThreadPoolExecutor(2) as workers:
        objects = list(workers.map(compiled, [f"{FOLDER}/{target.name}_fuzz.c", *target.parts]))
    program = folder / target.name
    link = ["-fsanitize=fuzzer,address,undefined", "-pthread", *target.flags]
    subprocess.run([COMPILER, *link, *objects, "-o", program], cwd=host.KERNEL, check=True)
    return program


def run(
    command: Sequence[str | os.PathLike[str]],
    corpus: Path,
    longest: int,
    seconds: float,
    environment: dict[str, str] | None = None,
    quiet: bool = True,
) -> None:
    """Let libFuzzer go on for so long; what breaks the target fails the test and is shown to be repeated.

    `quiet`: what the target prints is of no interest. Python tells there what broke it.
    """
    limits = [
        f"-max_len={longest}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={corpus.parent}/",
    ]
    while seconds > 0:
        now = min(seconds, CHUNK)
        seconds -= now
        ended = subprocess.run(
            [*command, *limits, f"-max_total_time={max(1, round(now))}", corpus],
            stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else subprocess.STDOUT,
            env={**os.environ, **SANITIZERS, **(environment or {})},
            check=False,
        )
        told = (ended.stderr if quiet else ended.stdout).decode(errors="replace")
        lines = [line for line in told.splitlines() if not re.match(r"#\d+\s+(NEW|REDUCE|pulse) ", line)]
        told = "\n".join(lines)
        assert ended.returncode == 0, f"{told[-6000:]}\nto repeat this: {' '.join(map(str, command))} FILE"
        print([line for line in lines if re.match(r"#\d+\s+DONE ", line)][-1])
