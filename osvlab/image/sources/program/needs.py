"""What a program of this host needs: found here, put into an image, and found again as the guest will.

Libraries that the host finds by its cache or in the system's folders go to `/usr/lib`,
where every kernel looks; what a file names a folder for stays where it is on the host.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from osvlab.elf.cache import default_folders
from osvlab.elf.host import Found, HostLinker, Looked, told
from osvlab.elf.program import Program, ProgramKind
from osvlab.elf.recognise import NotAProgramError, is_elf
from osvlab.elf.search import LD_SO, Loaded, Namespace, Need
from osvlab.filesystems.base import show
from osvlab.filesystems.tree import Symlink
from osvlab.image.collection import RecipeError
from osvlab.image.linker import ImageLinker, Supplier
from osvlab.image.sources.program.data import asked_paths
from osvlab.image.sources.program.host_tree import HostTree

__all__ = ["Needs"]

_LIBRARIES = b"/usr/lib"
_SHOWN = 20


@dataclass(slots=True)
class _Process:
    """A program that will run in the guest, and what it loads.

    Attributes
    ----------
    place
        The program in the guest.
    first
        The program on the host.
    namespace
        What it has loaded on the host.
    kernel
        Who loads it in the guest.
    found
        Which file each name stands for on the host.
    names, opened
        What it opens while it runs: names of libraries, and places of files in the guest.
    """

    place: bytes
    first: Loaded
    namespace: Namespace
    kernel: Supplier
    found: dict[str, Hashable] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    opened: list[bytes] = field(default_factory=list)

    def keep(self, needs: Iterable[Need]) -> None:
        """Let the namespace follow needs, and note what it found."""
        for need in needs:
            self.found[need.name] = need.found.file


@dataclass(slots=True)
class _Missing:
    """A library that is not on this host: who needs it, where was looked, whether it is needed at once."""

    who: str
    looked: str
    wanted_by: set[str] = field(default_factory=set)
    at_once: bool = False

    def __str__(self) -> str:
        others = len(self.wanted_by) - 1
        more = f" and {others} more" if others > 0 else ""
        return f"{self.who}{more}; looked in {self.looked or 'no folder'}"


class Needs:
    """Follows the needs of programs and puts what they lead to into an image.

    Parameters
    ----------
    tree
        What it is put into.
    linker
        Finds libraries on the host.
    kernel
        Supplies some of them, and will look for the others.
    path
        The program on this host, which is in the tree already.
    program
        What is in it.
    """

    def __init__(
        self, tree: HostTree, linker: HostLinker, kernel: Supplier, path: bytes, program: Program
    ) -> None:
        self._tree = tree
        self._linker = linker
        self._kernel = kernel
        self._files: dict[bytes, None] = {}
        self._places: dict[Hashable, bytes] = {}
        self._missing: dict[str, _Missing] = {}
        self._sonames: set[str] = set()
        self._later = False
        self._asked: set[str] = set()
        self._processes: list[_Process] = []
        self._main = self._add_process(path, tree.place(tree.real(path)), program)

    @property
    def files(self) -> list[bytes]:
        """All programs and libraries that were read, on this host."""
        return list(self._files)

    def add_library(self, name: str) -> None:
        """Add a library that the program opens with `dlopen`, by name or by path, and what it needs."""
        if "/" in name:
            for path in asked_paths(name):
                self.add_data(self._tree.add(path, f"is asked for as a library: {name}"), path)
            return
        self._asked.add(name)
        self._main.names.append(name)
        self._main.keep(self._main.namespace.need(name, self._main.first))

    def add_data(self, place: bytes, path: bytes) -> None:
        """Add what a file needs that is in the tree already, if it is a program or a library."""
        if not is_elf(path):
            return
        try:
            program = Program.open(path, show(place))
        except NotAProgramError:
            return  # an object file, or a program for another machine: data like other data
        if program.kind in (ProgramKind.LIBRARY, ProgramKind.SHARED):
            loaded = self._linker.loaded(path, program, self._main.first)
            self._sonames |= {program.soname or os.path.basename(program.name)}
            self._files[path] = None
            self._places.setdefault(loaded.file, place)
            self._main.opened.append(place)
            self._later = True
            self._main.keep(self._main.namespace.follow(loaded))
            self._later = False
        elif not program.kind.is_static:
            self._add_process(path, place, program)

    def _add_process(self, path: bytes, place: bytes, program: Program) -> _Process:
        # A static program has a linker of its own, which opens the real libc where the kernel has none.
        kernel = _Static() if program.kind.is_static else self._kernel
        first = self._linker.loaded(path, program)
        process = _Process(place, first, Namespace(self._find, kernel.supplies_libraries), kernel)
        self._files[path] = None
        self._places.setdefault(first.file, place)
        self._processes.append(process)
        process.keep(process.namespace.follow(first))
        return process

    def _find(self, name: str, wanting: Loaded) -> Loaded | None:
        """Find a library on the host and put it into the tree; keep in mind what is missing."""
        looked: Looked = []
        found = self._linker.find(name, wanting, looked)
        asked = name in self._asked
        who = "asked for as a library" if asked else f"needed by {wanting.program.name}"
        if found is None:
            missing = self._missing.setdefault(name, _Missing(who, told(looked)))
            missing.wanted_by.add(wanting.program.name)
            missing.at_once |= not self._later
            return None
        how = f"{'' if asked else ' (DT_NEEDED)'}, found {'in' if found.everywhere else 'by'} {found.rule}"
        place = self._put(found, f"is {who}{how}")
        try:
            program = Program.open(found.path, show(place))
        except NotAProgramError as error:
            raise RecipeError(f"{error.message}; it is {who}", error.hint) from error
        loaded = self._linker.loaded(found.path, program, wanting)
        self._files[found.path] = None
        self._places.setdefault(loaded.file, place)
        return loaded

    def _put(self, found: Found, reason: str) -> bytes:
        """Put a library into the tree; return the place where it will be opened."""
        if not found.everywhere:
            return self._tree.add(found.path, reason)
        real = os.path.realpath(found.path)
        place = os.path.join(_LIBRARIES, os.path.basename(found.path))
        own = os.path.join(_LIBRARIES, os.path.basename(real))
        if place != own:
            link = Symlink(os.path.basename(real), os.lstat(found.path).st_mtime_ns)
            self._tree.files.add(place, link, reason)
            reason = f"is what {show(place)} leads to, which {reason}"
        self._tree.add_as(own, real, reason)
        return place

    def refuse_missing(self) -> None:
        """Raise if a library is missing on this host.

        Raises
        ------
        RecipeError
            All that are missing are named, with who needs them and where they were looked for.
        """
        # What a program opens later may need what it opened before.
        texts = [
            f"{name}, {missing}"
            for name, missing in self._missing.items()
            if missing.at_once or name not in self._sonames
        ]
        if not texts:
            return
        one = f"missing library: {texts[0]}"
        if len(texts) > _SHOWN:
            texts = [*texts[:_SHOWN], f"and {len(texts) - _SHOWN} more"]
        raise RecipeError(
            one if len(texts) == 1 else "missing libraries:\n  " + "\n  ".join(texts),
            hint="Install it, name its folder with library_path=[...], or exclude=[...] what needs it.",
        )

    def check_guest(self) -> None:
        """See that the guest will find each library, and the same one; add links where it would not.

        Raises
        ------
        RecipeError
            It would take another one.
        """
        for process in self._processes:
            _Guest(self._tree, process, self._places).check()


class _Static:
    """The dynamic linker in a static program: glibc's, where the host's cache is not."""

    supplies_libraries = frozenset[str]()
    program_folders = ()
    library_folders = tuple(map(os.fsdecode, default_folders()))
    linker_rules = LD_SO
    exports = None


class _Guest:
    """Loads a program's libraries as the guest will, and compares them with the host's."""

    def __init__(self, tree: HostTree, process: _Process, places: dict[Hashable, bytes]) -> None:
        self.files = tree.files
        self.linker = ImageLinker(tree.files.tree, process.kernel)
        self.process = process
        self.places = places

    def check(self) -> None:
        namespace = Namespace(self._find, self.process.kernel.supplies_libraries)
        first = self.linker.loaded(self.process.place)
        if first is None:
            return
        needs = [*namespace.follow(first)]
        for name in self.process.names:
            needs += namespace.need(name, first)
        for place in self.process.opened:
            opened = self.linker.loaded(place, first)
            needs += () if opened is None else namespace.follow(opened)
        for need in needs:
            self._compare(need)

    def _compare(self, need: Need) -> None:
        here = self.places.get(self.process.found.get(need.name))
        meant = None if here is None else self.files.tree.resolve(here)
        if meant is not None and meant[0] != need.found.file:
            raise RecipeError(
                f"{need.name}, needed by {need.wanting.program.name}, is {show(meant[0])} on this host, and "
                f"the guest would take {show(need.found.path)}",
                hint="Leave out the one that is not needed: exclude=[...].",
            )

    def _find(self, name: str, wanting: Loaded) -> Loaded | None:
        path = self.linker.find(name, wanting)
        here = self.places.get(self.process.found.get(name))
        if path is None and here is not None and "/" not in name:
            path = os.path.join(_LIBRARIES, os.fsencode(name))
            reason = f"is needed by {wanting.program.name}, for which the guest would not find it elsewhere"
            self.files.add(path, Symlink(here), reason)
        return None if path is None else self.linker.loaded(path, wanting)
