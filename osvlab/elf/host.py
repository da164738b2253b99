"""Which library of this host its dynamic linker would take, found without running anything.

`ldd` runs the program it is asked about; here files are only read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from osvlab.elf.cache import CacheEntry, default_folders, musl_folders, read_cache, read_configuration
from osvlab.elf.program import Program
from osvlab.elf.recognise import MAGIC
from osvlab.elf.search import LD_SO, Loaded, Place, expand, own_places
from osvlab.errors import OsvlabError
from osvlab.paths import open_bytes

__all__ = ["Found", "HostLinker", "Looked", "told"]

_HWCAPS = b"glibc-hwcaps"
_LEVELS = range(1, 5)
_SHOWN = 20

# Where was looked in vain, and by which rule or what was wrong there.
Looked = list[tuple[str, str]]


def told(looked: Looked) -> str:
    """Say where was looked.

    Examples
    --------
    >>> told([("/opt", "RPATH of x"), ("ld.so.cache", ""), ("/lib", "the end"), ("/usr/lib", "the end")])
    '/opt (RPATH of x), ld.so.cache, /lib, /usr/lib (the end)'
    """
    more = f", and {len(looked) - _SHOWN} more" if len(looked) > _SHOWN else ""
    looked = looked[:_SHOWN]
    groups = [(rule, [place for place, _ in group]) for rule, group in groupby(looked, lambda item: item[1])]
    return ", ".join(", ".join(places) + (f" ({rule})" if rule else "") for rule, places in groups) + more


@dataclass(frozen=True, slots=True)
class Found:
    """A library of the host.

    Attributes
    ----------
    path
        What it would be opened as, links not followed.
    rule
        In words, how it was found.
    everywhere
        Whether that would find it for any program: by the cache or the system's folders, not by what a
        file says of itself.
    """

    path: bytes
    rule: str
    everywhere: bool


class HostLinker:
    """The dynamic linker of this host, for the programs that name it.

    Parameters
    ----------
    interpreter
        The linker that the program names; glibc's if None.
    library_path
        Folders to look in as if `$LD_LIBRARY_PATH` named them.
    level
        Level of x86-64 that the CPU has, from 1 to 4 (psABI): what is in `glibc-hwcaps` for a higher one
        is passed over.
    cache
        What `ldconfig` made.
    configuration
        What counts where there is no cache.

    Raises
    ------
    CacheError
        The cache is damaged.
    OsvlabError
        There is no such level.

    Examples
    --------
    >>> program = Program.open("/usr/bin/env")
    >>> linker = HostLinker(program.interpreter)
    >>> found = linker.find("libc.so.6", linker.loaded(b"/usr/bin/env", program))
    >>> os.path.basename(found.path)
    b'libc.so.6'
    """

    def __init__(
        self,
        interpreter: str | None = None,
        library_path: Iterable[bytes] = (),
        level: int = 1,
        *,
        cache: str | os.PathLike[str] = "/etc/ld.so.cache",
        configuration: str | os.PathLike[str] = "/etc/ld.so.conf",
    ) -> None:
        if level not in _LEVELS:
            raise OsvlabError(f"not a level of x86-64: {level!r}", hint="There are 1, 2, 3 and 4.")
        musl = os.path.basename(interpreter or "").startswith("ld-musl-")
        self._folders = musl_folders() if musl else default_folders(interpreter)
        self._level = 1 if musl else level
        entries = None if musl else read_cache(cache)
        self._cache: dict[bytes, list[CacheEntry]] = {}
        for entry in entries or ():
            self._cache.setdefault(entry.name, []).append(entry)
        self._configured = read_configuration(configuration) if entries is None and not musl else []
        self.library_path = tuple(library_path)
        self.rules = replace(LD_SO, tokens={**LD_SO.tokens, b"LIB": self._folders[0].removeprefix(b"/")})

    def loaded(self, path: bytes, program: Program, loader: Loaded | None = None) -> Loaded:
        """Return a file as this linker loads it. A program is loaded as what its links lead to."""
        status = os.stat(path)
        origin = os.path.dirname(os.path.realpath(path) if loader is None else os.path.abspath(path))
        return Loaded(path, program, (status.st_dev, status.st_ino), origin, loader)

    def find(self, name: str, wanting: Loaded, looked: Looked | None = None) -> Found | None:
        """Look for what a file needs.

        Parameters
        ----------
        name
            Its name; one with a slash is a path.
        wanting
            Who needs it.
        looked
            Gets where it was looked for in vain.
        """
        looked = [] if looked is None else looked
        wanted = os.fsencode(name)
        if "/" in name:
            path = expand(wanted, wanting.origin, self.rules)
            return Found(path, "its own path", False) if _fits(path, looked) else None
        for path, rule, everywhere in self._candidates(wanted, wanting, looked):
            if _fits(path, looked):
                return Found(path, rule, everywhere)
        return None

    def _candidates(self, name: bytes, wanting: Loaded, looked: Looked) -> Iterator[tuple[bytes, str, bool]]:
        """Yield paths to try, in the order of ld.so(8)."""
        for place in own_places(wanting, self.rules, self.library_path):
            yield from self._in(place, name, looked, everywhere=False)
        for entry in sorted(self._cache.get(name, ()), key=lambda entry: self._rank(entry.hwcaps)):
            if self._rank(entry.hwcaps) > 0:
                looked.append((os.fsdecode(entry.path), f"not for CPUs of level {self._level}"))
            elif not (wanting.program.only_own_folders and os.path.dirname(entry.path) in self._folders):
                yield entry.path, "ld.so.cache", True
        if self._cache:
            looked.append(("ld.so.cache", ""))
        for folder in self._configured:
            yield from self._in(Place(folder, "ld.so.conf"), name, looked, everywhere=True)
        if not wanting.program.only_own_folders:
            for folder in self._folders:
                yield from self._in(Place(folder, "the system's folders"), name, looked, everywhere=True)

    def _in(
        self, place: Place, name: bytes, looked: Looked, *, everywhere: bool
    ) -> Iterator[tuple[bytes, str, bool]]:
        for level in range(self._level, 1, -1):
            folder = os.path.join(place.folder, _HWCAPS, b"x86-64-v%d" % level)
            yield os.path.join(folder, name), place.rule, everywhere
        yield os.path.join(place.folder, name), place.rule, everywhere
        looked.append((os.fsdecode(place.folder), place.rule))

    def _rank(self, hwcaps: bytes | None) -> int:
        """Order entries of the cache: the best level first; above 0 is what the CPU does not run."""
        if hwcaps is None:
            return 0
        levels = {b"x86-64-v%d" % level: level for level in _LEVELS}
        level = levels.get(hwcaps, len(_LEVELS) + 1)
        return -level if level <= self._level else 1


def _fits(path: bytes, looked: Looked) -> bool:
    """Say whether a path leads to a file that the linker would take, or stumble over."""
    try:
        with open(open_bytes(path), "rb", buffering=0) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return False
            head = stream.read(20)
    except FileNotFoundError:
        return False
    except OSError as error:
        looked.append((os.fsdecode(path), f"cannot be read: {error.strerror}"))
        return False
    if head[:4] == MAGIC and (head[4:6] != b"\x02\x01" or head[18:20] != b"\x3e\0"):
        looked.append((os.fsdecode(path), "for another machine"))
        return False
    return True
