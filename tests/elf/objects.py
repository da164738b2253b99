"""Shared objects and programs of a few bytes, linked as a test needs them, and what ld.so makes of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from osvlab.elf.host import HostLinker
from osvlab.elf.program import Program
from osvlab.elf.search import Namespace


@dataclass(frozen=True)
class Objects:
    """Links objects without any code of libraries; a main program has one function."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, source in (("main", "int main(void) { return 0; }"), ("empty", "int nothing;")):
            command = ["gcc", "-x", "c", "-c", "-fPIC", "-", "-o", str(self.folder / f"{name}.o")]
            subprocess.run(command, input=source.encode(), check=True, capture_output=True, timeout=60)

    def library(
        self, path: Path, needs: Iterable[Path] = (), *options: str, soname: str | None = None
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        named = [] if soname == "" else ["-soname", soname or path.name]
        needed = ["--no-as-needed", *map(str, needs)]
        ld = ["ld", "-shared", "-o", str(path), *named, "--allow-shlib-undefined"]
        command = [*ld, str(self.folder / "empty.o"), *options, *needed]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return path

    def program(self, path: Path, needs: Iterable[Path] = (), *options: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        linker = ["-Wl,--no-as-needed,--allow-shlib-undefined,--unresolved-symbols=ignore-all"]
        command = ["gcc", "-o", str(path), str(self.folder / "main.o"), *linker, *options, *map(str, needs)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return path


def by_ld_so(program: Path, environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return what the host's own dynamic linker finds for each name; it prints that and starts nothing."""
    told = subprocess.run(
        [program],
        env={"LD_TRACE_LOADED_OBJECTS": "1", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    ).stdout
    found = re.findall(r"^\t(\S+) => (not found|\S+)", told, re.MULTILINE)
    assert found, told
    return {name: None if path == "not found" else path for name, path in found if "ld-linux" not in name}


def by_osvlab(program: Path, **options: object) -> dict[str, str | None]:
    """Return the same, found by reading."""
    main = Program.open(program)
    linker = HostLinker(main.interpreter, **options)  # type: ignore[arg-type]
    found: dict[str, str | None] = {}

    def find(name: str, wanting: object) -> object:
        seen = linker.find(name, wanting)  # type: ignore[arg-type]
        found[name] = None if seen is None else os.fsdecode(seen.path)
        return (
            None if seen is None else linker.loaded(seen.path, Program.open(seen.path), wanting)  # type: ignore[arg-type]
        )

    namespace = Namespace(find, frozenset({"ld-linux-x86-64.so.2"}))  # type: ignore[arg-type]
    for _ in namespace.follow(linker.loaded(os.fsencode(program), main)):
        pass
    return found
