"""The lab kernel, compiled when it is needed.

In a source checkout it is compiled in place (`osvlab/kernel/build`), and again when a
source is newer. An installed package brings it along; if it was built on a machine
without a compiler, it is compiled at first use, into the cache, under a name made
from the sources' contents.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.events import step
from osvlab.paths import cache_dir, one_at_a_time

__all__ = ["KernelBuildError", "boot_sector", "built_kernel", "built_module", "core_modules"]

SOURCES = Path(__file__).parent / "kernel"
STRIPPED, BOOT_SECTOR = "lab-kernel-stripped.elf", "boot.bin"
SUFFIXES = (".c", ".h", ".S", ".ld", ".list", ".py", ".txt")
TOOLS = {"make": "make", "gcc": "gcc", "ld": "binutils", "objcopy": "binutils"}
LIBRARIES = {
    Path("/usr/lib/x86_64-linux-musl/libc.a"): "musl-dev",
    Path("/usr/include/yaml.h"): "libyaml-dev",
}


class KernelBuildError(OsvlabError, RuntimeError):
    """The lab kernel could not be compiled."""


def built_kernel() -> Path:
    """Return the lab kernel's file, compiling it first if need be.

    Raises
    ------
    KernelBuildError
        A tool is missing, or the compiler refused; the message ends with what it said.
    """
    return _built() / STRIPPED


def boot_sector() -> Path:
    """Return the file with the lab kernel's boot sector, compiling it first if need be."""
    return _built() / BOOT_SECTOR


def built_module(name: str) -> Path:
    """Return the file of a module of the lab kernel, compiling it first if need be."""
    return _built() / "modules" / f"{name}.so"


def products() -> tuple[str, ...]:
    """Return what a build makes and the package uses, as paths in the build's folder."""
    return (STRIPPED, BOOT_SECTOR, *(f"modules/{name}.so" for name in sorted(_modules() | core_modules())))


def core_modules() -> set[str]:
    """Return the names of the modules of the core: filesystems that the kernel loads before its root.

    Examples
    --------
    >>> "zfs" in core_modules()
    True
    """
    return {path.parent.name for path in (SOURCES / "modules").glob("*/guest_module.c")}


def _modules() -> set[str]:
    return {path.parent.name for path in (SOURCES / "modules").glob("*/module.toml")}


def _built() -> Path:
    place = SOURCES / "build"
    if _is_checkout():
        if not _current(place):
            _make(place)
        return place
    if _complete(place):
        return place
    place = cache_dir("kernel") / _fingerprint()
    if not _complete(place):
        _make(place)
    return place


def _complete(place: Path) -> bool:
    return all((place / name).is_file() for name in products())


def _is_checkout() -> bool:
    return (SOURCES.parent.parent / "pyproject.toml").is_file() and os.access(SOURCES, os.W_OK)


def _current(place: Path) -> bool:
    """Whether all products are there and no source is newer; what `make` would find, in a millisecond."""
    try:
        built = min((place / name).stat().st_mtime_ns for name in products())
    except FileNotFoundError:
        return False
    return all(os.stat(path).st_mtime_ns <= built for path in _sources())


def _sources() -> Iterator[str]:
    # Plain strings, as every run comes through here.
    for folder, folders, files in os.walk(SOURCES):
        # Tests are no part of the kernel, and the build's own files are newer by nature.
        folders[:] = sorted(set(folders) - {"build", "tests"})
        for name in sorted(files):
            if name == "Makefile" or name.endswith(SUFFIXES):
                yield os.path.join(folder, name)


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in _sources():
        name = os.path.relpath(path, SOURCES)
        digest.update(os.fsencode(name) + b"\0" + Path(path).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _make(place: Path) -> None:
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    missing += [package for path, package in LIBRARIES.items() if not path.is_file()]
    if missing:
        raise KernelBuildError(
            f"the lab kernel must be compiled, and this host lacks {', '.join(missing)}",
            hint=f"Install them: sudo apt-get install {' '.join(missing)}",
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(place), step("compile the lab kernel") as running:
            _run_make(place)
            running.bytes = (place / STRIPPED).stat().st_size
    except OSError as error:
        if isinstance(error, OsvlabError):
            raise
        raise KernelBuildError(
            f"cannot compile the lab kernel in {place}: {error.strerror}",
            hint=f"Was it compiled by another user? Remove it: sudo rm -r {shlex.quote(str(place))}",
        ) from error


def _run_make(place: Path) -> None:
    """Have the kernel compiled. The second of two Pythons that come at once finds nothing to do."""
    with _without_spaces(place) as output:
        command = ["make", "-C", str(SOURCES), f"O={output}", f"PYTHON={sys.executable}"]
        made = subprocess.run(
            [*command, f"-j{os.cpu_count() or 1}"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
        )
    if made.returncode != 0 or not _complete(place):
        raise KernelBuildError(
            f"the lab kernel does not compile (make ended with status {made.returncode}):\n"
            + "\n".join((made.stdout + made.stderr).splitlines()[-20:]),
            hint=f"See all of it: {shlex.join(command)}",
        )
    # Make leaves a product alone that came out the same; touching it says that it was looked at.
    for name in products():
        os.utime(place / name)


@contextlib.contextmanager
def _without_spaces(place: Path) -> Iterator[str]:
    """Yield a name for a folder that make can use: it takes a space for the end of a name."""
    if place == SOURCES / "build":
        yield "build"  # it runs there
    elif not re.search(r"\s", str(place)):
        yield str(place)
    else:
        with tempfile.TemporaryDirectory(prefix="osvlab-make-") as folder:
            os.symlink(place, f"{folder}/build")
            yield f"{folder}/build"
