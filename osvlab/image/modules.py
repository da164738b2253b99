"""Modules: parts of the guest that an image includes by name, such as the REST server.

What a module brings along is told by its `module.toml`, in a folder of its own below
`osvlab/kernel/modules`; the README there says what it may hold.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.filesystems.tree import Content, HostFile, Node, Symlink
from osvlab.image.collection import Collection
from osvlab.kernel_build import SOURCES, built_module

__all__ = ["HOST_LIBRARIES", "Module", "ModuleError", "available_modules", "chosen_modules"]

HOST_LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu"),
    Path("/lib/x86_64-linux-gnu"),
    Path("/usr/lib64"),
    Path("/usr/lib"),
)
"""Where this host has its shared libraries."""


class ModuleError(OsvlabError, ValueError):
    """A module cannot be put into an image."""


@dataclass(frozen=True, slots=True)
class Module:
    """A part of the guest that an image may include.

    Attributes
    ----------
    name
        What it is asked for by.
    about
        What it does, in one line.
    program
        Path in the guest of its program.
    links, files, init
        Symbolic links, small files, and commands that run before the application's: path or name, and
        target, text or command.
    requires
        Other modules that it needs.
    libraries
        Shared libraries of the host that it needs; they go to ``/usr/lib``.
    """

    name: str
    about: str
    program: str
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    init: dict[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Module:
        """Read a module's description from its folder."""
        told = tomllib.loads((folder / "module.toml").read_text())
        return cls(
            folder.name,
            told["about"],
            told["program"],
            told.get("links", {}),
            told.get("files", {}),
            told.get("init", {}),
            tuple(told.get("requires", ())),
            tuple(told.get("libraries", ())),
        )

    def nodes(self) -> dict[bytes, Node]:
        """Return its files by their paths in the guest, compiling the module first if need be.

        Raises
        ------
        KernelBuildError
            It has to be compiled, and that failed.
        ModuleError
            The host lacks a library.
        """
        found: dict[str, Node] = {self.program: _host_file(built_module(self.name))}
        found |= {f"/usr/lib/{name}": _host_file(_library(name, self.name)) for name in self.libraries}
        found |= {path: Symlink(os.fsencode(target)) for path, target in self.links.items()}
        found |= {path: Content(text.encode()) for path, text in self.files.items()}
        found |= {f"/init/{name}": Content(f"{command}\n".encode()) for name, command in self.init.items()}
        return {os.fsencode(path): node for path, node in found.items()}


def available_modules() -> dict[str, Module]:
    """Return all modules by name.

    Examples
    --------
    >>> available_modules()["httpserver"].program
    '/usr/lib/libhttpserver-api.so'
    """
    folders = sorted(path.parent for path in (SOURCES / "modules").glob("*/module.toml"))
    return {folder.name: Module.read(folder) for folder in folders}


def chosen_modules(names: Iterable[str]) -> tuple[Module, ...]:
    """Return the modules of these names and those that they need, each once, what is needed first.

    Raises
    ------
    ModuleError
        There is no module of a name; those that exist are listed.

    Examples
    --------
    >>> [module.name for module in chosen_modules(["httpserver", "httpserver"])]
    ['httpserver']
    """
    if isinstance(names, str):
        raise ModuleError(f"modules are a list of names, not {names!r}", hint=f"Write modules=[{names!r}].")
    known = available_modules()
    chosen: dict[str, Module] = {}

    def choose(name: str) -> None:
        if name in chosen:
            return
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"Did you mean {close[0]}? " if close else ""
            raise ModuleError(f"no such module: {name}", hint=f"{meant}There are: {', '.join(known)}.")
        for needed in known[name].requires:
            choose(needed)
        chosen[name] = known[name]

    for name in names:
        choose(name)
    return tuple(chosen.values())


def add_modules(files: Collection, modules: Iterable[Module]) -> None:
    """Add the files of modules to what is there, which counts more."""
    for module in modules:
        for path, node in module.nodes().items():
            if files.find(path) is None:
                files.add(path, node, f"belongs to the module {module.name}")


def _host_file(path: Path) -> HostFile:
    # When and under which umask it was compiled or installed must not make another image.
    return replace(HostFile.at(path), mode=0o755, mtime=0, inode=None)


def _library(name: str, module: str) -> Path:
    for folder in HOST_LIBRARIES:
        if (folder / name).is_file():
            return (folder / name).resolve()
    raise ModuleError(
        f"the module {module} needs {name}, which is not on this host",
        hint="Install the Debian package that has it (binder/apt.txt lists what the lab needs).",
    )
