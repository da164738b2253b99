"""Where ld.so finds libraries that nobody gave a folder for: its cache, configuration and folders.

Nothing is run for this. The cache is a file like any other, so nothing in it is
believed before it is checked.

Sources: ldconfig(8), glibc's `dl-cache.h` and `ldconfig.c`; for musl, the chapter on
dynamic linking of its manual.
"""

from __future__ import annotations

import glob
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osvlab.errors import OsvlabError

__all__ = ["CacheEntry", "CacheError", "default_folders", "musl_folders", "read_cache", "read_configuration"]

_OLD_MAGIC, _MAGIC = b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1"
_OLD_COUNT, _OLD_ENTRY_SIZE = 12, 12
_HEADER = struct.Struct("<20sIIB3xI12x")
_ENTRY = struct.Struct("<iIIIQ")
_EXTENSIONS, _SECTION = struct.Struct("<II"), struct.Struct("<IIII")
_EXTENSION_MAGIC, _TAG_HWCAPS = 0xEAA42174, 1
_BIG_ENDIAN = 3
_X86_64 = 0x0303  # FLAG_X8664_LIB64 | FLAG_ELF_LIBC6
_NAMES_A_FOLDER = 1 << 62
# Real ones have some hundred kilobytes and a handful of files.
_LARGEST = 64 << 20
_MOST_FILES = 256


class CacheError(OsvlabError, ValueError):
    """The host's cache of libraries is damaged, or of a kind nobody has seen."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A library in the cache of ld.so.

    Attributes
    ----------
    name
        What it is needed as.
    path
        Where it is.
    hwcaps
        The folder of `glibc-hwcaps` it is in, such as ``x86-64-v3``; None for one that every CPU runs.
    """

    name: bytes
    path: bytes
    hwcaps: bytes | None = None


def read_cache(path: str | os.PathLike[str] = "/etc/ld.so.cache") -> list[CacheEntry] | None:
    """Return what the cache has for x86-64, in its order; None if there is no cache.

    Entries for CPU features in the form that glibc gave up in version 2.37 are passed over.

    Raises
    ------
    CacheError
        It is damaged, or cannot be read.

    Examples
    --------
    >>> cache = read_cache() or []
    >>> all(entry.path.startswith(b"/") for entry in cache)
    True
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CacheError(f"cannot read {path}: {error.strerror}", hint="Check its permissions.") from error
    try:
        return list(_entries(data))
    except (struct.error, ValueError) as error:
        raise CacheError(
            f"{os.fspath(path)} is damaged, or no cache of ld.so: {error}", hint="Make it again: ldconfig"
        ) from error


def _entries(data: bytes) -> Iterator[CacheEntry]:
    start = 0
    if data.startswith(_OLD_MAGIC[:-1]):
        (count,) = struct.unpack_from("<I", data, _OLD_COUNT)
        start = -(-(_OLD_COUNT + 4 + count * _OLD_ENTRY_SIZE) // 8) * 8
    magic, count, _, endian, extensions = _HEADER.unpack_from(data, start)
    if len(data) > _LARGEST or magic != _MAGIC or endian & 3 == _BIG_ENDIAN:
        raise ValueError(f"byte {start} starts {magic!r}")
    if start + _HEADER.size + count * _ENTRY.size > len(data):
        raise ValueError(f"{count} entries do not fit into {len(data)} bytes")
    folders = _hwcaps_folders(data, start, extensions) if extensions else []
    for flags, key, value, _, hwcap in _ENTRY.iter_unpack(
        data[start + _HEADER.size : start + _HEADER.size + count * _ENTRY.size]
    ):
        if flags != _X86_64 or (hwcap and not hwcap & _NAMES_A_FOLDER):
            continue
        folder = None
        if hwcap:
            index = hwcap & 0xFFFFFFFF
            if index >= len(folders):
                raise ValueError(f"an entry is for folder {index} of {len(folders)}")
            folder = folders[index]
        yield CacheEntry(_text(data, start + key), _text(data, start + value), folder)


def _hwcaps_folders(data: bytes, texts: int, offset: int) -> list[bytes]:
    """Return the names of the folders below `glibc-hwcaps`, which entries name by their numbers."""
    magic, count = _EXTENSIONS.unpack_from(data, offset)
    if magic != _EXTENSION_MAGIC or offset + _EXTENSIONS.size + count * _SECTION.size > len(data):
        raise ValueError(f"no extensions at byte {offset}")
    for index in range(count):
        tag, _, start, size = _SECTION.unpack_from(data, offset + _EXTENSIONS.size + index * _SECTION.size)
        if tag == _TAG_HWCAPS:
            if start + size > len(data):
                raise ValueError(f"{size} bytes of folder names at byte {start} of {len(data)}")
            return [
                _text(data, texts + at) for (at,) in struct.iter_unpack("<I", data[start : start + size])
            ]
    return []


def _text(data: bytes, offset: int) -> bytes:
    end = data.find(b"\0", offset, offset + 4096)
    if not offset < end:
        raise ValueError(f"there is no text at byte {offset}")
    return data[offset:end]


def read_configuration(path: str | os.PathLike[str] = "/etc/ld.so.conf") -> list[bytes]:
    r"""Return the folders that `ld.so.conf` names, with what it includes, in order and each once.

    ld.so itself reads the cache that `ldconfig` makes of them; they count where there is none.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "main").write_text("/opt/lib  # ours\ninclude *.conf\n")
    ...     _ = Path(folder, "one.conf").write_text("hwcap 1 nosegneg\n/srv/lib\n")
    ...     read_configuration(Path(folder, "main"))
    [b'/opt/lib', b'/srv/lib']
    """
    return list(dict.fromkeys(_configured(os.fspath(path), set())))


def _configured(path: str, seen: set[str]) -> Iterator[bytes]:
    if path in seen or len(seen) >= _MOST_FILES:
        return
    seen.add(path)
    for line in _lines(path):
        word, _, rest = line.partition(" ")
        if word == "include":
            for pattern in rest.split():
                for included in sorted(glob.glob(os.path.join(os.path.dirname(path), pattern))):
                    yield from _configured(included, seen)
        elif line.startswith("/"):
            yield os.fsencode(line.partition("=")[0].strip().rstrip("/") or "/")


def _lines(path: str) -> list[str]:
    """Return the lines of a configuration without comments; none if it is not there, as ldconfig does."""
    try:
        with open(path, "rb") as stream:
            text = os.fsdecode(stream.read(1 << 20))
    except OSError:
        return []
    lines = (line.partition("#")[0].replace("\t", " ").strip() for line in text.splitlines())
    return [line for line in lines if line]


def default_folders(interpreter: str | None = None) -> list[bytes]:
    """Return where ld.so looks last, which differs between distributions.

    Those that put ld.so itself into a folder of the architecture (Debian, Ubuntu) have libraries
    there; the others have them in `lib64`.

    Examples
    --------
    >>> default_folders("/no/such/ld.so")
    [b'/lib/x86_64-linux-gnu', b'/usr/lib/x86_64-linux-gnu', b'/lib', b'/usr/lib']
    """
    real = os.path.realpath(interpreter or "/lib64/ld-linux-x86-64.so.2")
    if os.path.basename(os.path.dirname(real)) == "lib64":
        return [b"/lib64", b"/usr/lib64"]
    return [b"/lib/x86_64-linux-gnu", b"/usr/lib/x86_64-linux-gnu", b"/lib", b"/usr/lib"]


def musl_folders(path: str | os.PathLike[str] = "/etc/ld-musl-x86_64.path") -> list[bytes]:
    """Return where musl's dynamic linker looks: the folders of its configuration, or else of its manual."""
    try:
        text = Path(path).read_bytes()[: 1 << 20]
    except OSError:
        return [b"/lib", b"/usr/local/lib", b"/usr/lib"]
    return [folder for folder in text.replace(b"\n", b":").split(b":") if folder]
