"""Which file a dynamic linker takes for a library: the rules of ld.so(8), apart from any filesystem.

The host's ld.so and the guests' kernels look into the same folders of an ELF file
and differ in a few points, which are `Rules`. `Namespace` follows the needs of a
program breadth first, as they all do.

Source of the rules: ld.so(8), and glibc's `elf/dl-load.c` where the manual is silent.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from osvlab.elf.program import Program

__all__ = ["LD_SO", "Loaded", "Namespace", "Need", "Place", "Rules", "expand", "own_places"]

_PATH_MAX = 4096  # nothing longer can be opened, and a hostile file may have megabytes of tokens
# A name without braces ends where no letter, digit or underscore follows.
_TOKEN = re.compile(rb"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")


@dataclass(frozen=True, slots=True)
class Rules:
    """What sets one dynamic linker apart from another.

    Attributes
    ----------
    inherits_rpath
        RPATH also counts for what a library needs, and what that needs, and so on.
    origin_behind_links
        A library that is found through a link has its `$ORIGIN` where the file lies, not where the
        link does.
    tokens
        What the linker puts in place of `LIB` and `PLATFORM`; those that are not here stay as they are.
    """

    inherits_rpath: bool = True
    origin_behind_links: bool = False
    tokens: Mapping[bytes, bytes] = field(default_factory=dict)


LD_SO = Rules(tokens={b"LIB": b"lib/x86_64-linux-gnu", b"PLATFORM": b"x86_64"})


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A program or library in memory.

    Attributes
    ----------
    path
        What it was opened as.
    program
        What is in it.
    file
        Tells which file it is, whatever its name: device and inode, for example.
    origin
        The folder that `$ORIGIN` stands for.
    loader
        Who needed it first; None for the program itself.
    """

    path: bytes
    program: Program
    file: Hashable
    origin: bytes
    loader: Loaded | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to look in, and in words the rule that says so."""

    folder: bytes
    rule: str


def expand(text: bytes, origin: bytes, rules: Rules) -> bytes:
    """Put what they stand for in the place of `$ORIGIN`, `${LIB}` and `$PLATFORM`.

    Examples
    --------
    >>> expand(b"$ORIGIN/../${LIB}", b"/opt/bin", LD_SO)
    b'/opt/bin/../lib/x86_64-linux-gnu'
    >>> expand(b"/opt/$ORIGINAL", b"/opt/bin", LD_SO)
    b'/opt/$ORIGINAL'
    """
    known = {**rules.tokens, b"ORIGIN": origin}
    return _TOKEN.sub(lambda match: known.get(match[1] or match[2], match[0]), text)


def own_places(wanting: Loaded, rules: Rules, library_path: tuple[bytes, ...] = ()) -> list[Place]:
    """Return where to look for what a file needs before the folders that are the same for all files.

    RPATH comes first, of the file and of those that it is there for; then `library_path`
    (`$LD_LIBRARY_PATH`); then RUNPATH, which counts for this file only and sets RPATH aside.
    """
    places: list[Place] = []
    holder: Loaded | None = wanting
    while holder is not None and not wanting.program.runpath:
        places += _places(holder, holder.program.rpath, "RPATH", rules)
        holder = holder.loader if rules.inherits_rpath else None
    places += [Place(folder, "the library path") for folder in library_path]
    return places + _places(wanting, wanting.program.runpath, "RUNPATH", rules)


def _places(holder: Loaded, folders: tuple[str, ...], what: str, rules: Rules) -> list[Place]:
    rule = f"{what} of {holder.program.name}"
    return [
        Place(expand(os.fsencode(folder), holder.origin, rules), rule)
        for folder in folders
        if len(folder) < _PATH_MAX
    ]


@dataclass(frozen=True, slots=True)
class Need:
    """One entry of a file's list of needed libraries, and what was found for it."""

    wanting: Loaded
    name: str
    found: Loaded


class Namespace:
    """What one process has loaded.

    A library is found by name once: who needs the same name later gets the same
    library, wherever its own folders lead.

    Parameters
    ----------
    find
        Looks for a library that somebody needs; None if there is none, which is then its
        business to tell.
    supplied
        Libraries that are there already.
    """

    def __init__(self, find: Callable[[str, Loaded], Loaded | None], supplied: frozenset[str]) -> None:
        self._find = find
        self._supplied = supplied
        self._names: dict[str, Loaded] = {}
        self.loaded: dict[Hashable, Loaded] = {}

    def follow(self, first: Loaded) -> Iterator[Need]:
        """Load a file and all it needs, breadth first; yield every need when it is met."""
        if first.file not in self.loaded:
            self.loaded[first.file] = first
            yield from self._walk(first)

    def need(self, name: str, wanting: Loaded) -> Iterator[Need]:
        """Load a library by its name, as `dlopen` does, and all it needs."""
        before = len(self.loaded)
        found = self._load(name, wanting)
        if found is not None:
            yield Need(wanting, name, found)
            if len(self.loaded) > before:
                yield from self._walk(found)

    def _walk(self, first: Loaded) -> Iterator[Need]:
        pending = deque([first])
        while pending:
            wanting = pending.popleft()
            for name in wanting.program.needed:
                before = len(self.loaded)
                found = self._load(name, wanting)
                if found is not None:
                    yield Need(wanting, name, found)
                    if len(self.loaded) > before:
                        pending.append(found)

    def _load(self, name: str, wanting: Loaded) -> Loaded | None:
        """Return what a name stands for; None if it is supplied, or missing."""
        if name in self._supplied:
            return None
        known = self._names.get(name)
        if known is None:
            found = self._find(name, wanting)
            if found is None:
                return None
            known = self.loaded.setdefault(found.file, found)
            self._names[name] = known
            if known.program.soname is not None:
                self._names.setdefault(known.program.soname, known)
        return known
