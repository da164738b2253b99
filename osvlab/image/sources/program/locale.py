"""The files of a locale: what glibc's `setlocale` reads, and messages in its language.

Sources: locale(5) and setlocale(3) for glibc's folders and the spelling of names there;
the manual of gettext, "How to determine the language", for those of catalogs.
"""

from __future__ import annotations

import difflib
import mmap
import os
import re
from collections.abc import Iterable, Iterator

from osvlab.image.collection import RecipeError
from osvlab.image.sources.program.host_tree import HostTree

__all__ = ["add_locale"]

_COMPILED = "/usr/lib/locale"
_ARCHIVE = f"{_COMPILED}/locale-archive"
_CATALOGS = "/usr/share/locale"
_NAME = re.compile(r"([a-zA-Z]+(?:_[A-Z]+)?)(?:\.([\w-]+))?(?:@(\w+))?")
# Linkers let a text share the end of a longer one: "tar" may stand only in "/usr/sbin/tar".
_WORD = re.compile(rb"(?<![\w.+%-])[\w.+-]{1,64}(?=\0)")
_GETTEXT = (b"bindtextdomain", b"textdomain", b"libintl_bindtextdomain", b"libintl_textdomain")
_BUILT_IN = ("C", "POSIX")


def add_locale(tree: HostTree, locale: str, programs: Iterable[bytes]) -> None:
    """Add a locale to an image.

    Parameters
    ----------
    tree
        What it is added to.
    locale
        Its name, such as ``de_DE.UTF-8``.
    programs
        Programs and libraries on this host: of the catalogs of messages those come along whose names
        stand in one of these files.

    Raises
    ------
    RecipeError
        This host does not have the locale.
    """
    if locale in _BUILT_IN:
        return
    match = _NAME.fullmatch(locale)
    if match is None:
        raise RecipeError(f"not the name of a locale: {locale!r}", hint="Write it like de_DE.UTF-8.")
    language, codeset, modifier = match[1], match[2] or "", match[3]
    spelled = [f"{language}.{code}" for code in (codeset, _plain(codeset)) if code] or [language]
    names = [f"{name}@{modifier}" for name in spelled] if modifier else spelled
    reason = f"is asked for as locale {locale}"
    compiled = [*_compiled(names)]
    for path in compiled:
        tree.add(path, reason)
        if os.path.isdir(path):
            _add_all(tree, path, reason)
    catalogs = [*_catalogs(language, [*names, *spelled])]
    if not compiled and not catalogs:
        known = _known()
        close = difflib.get_close_matches(locale, known, n=1)
        raise RecipeError(
            f"this host does not have the locale {locale}",
            hint=f"Did you mean {close[0]}?"
            if close
            else "Make it with localedef (Debian: package locales).",
        )
    _add_catalogs(tree, catalogs, locale, programs)


def _plain(codeset: str) -> str:
    """Spell a codeset as glibc's folders do."""
    return re.sub(r"[^a-z0-9]", "", codeset.lower())


def _compiled(names: list[str]) -> Iterator[bytes]:
    """Yield where glibc has the locale: a folder, or else the archive that holds many."""
    for name in names:
        if os.path.isdir(f"{_COMPILED}/{name}"):
            yield os.fsencode(f"{_COMPILED}/{name}")
            return
    try:
        with open(_ARCHIVE, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if any(data.find(b"\0" + os.fsencode(name) + b"\0") >= 0 for name in names):
                yield os.fsencode(_ARCHIVE)
    except (OSError, ValueError):  # there is none, or it is empty: then it holds nothing
        return


def _add_all(tree: HostTree, folder: bytes, reason: str) -> None:
    for here, _, files in os.walk(folder):
        for name in files:
            tree.add(os.path.join(here, name), reason)


def _catalogs(language: str, names: list[str]) -> Iterator[bytes]:
    """Yield the folders with messages that gettext would look into."""
    for name in dict.fromkeys([*names, language, language.partition("_")[0]]):
        folder = f"{_CATALOGS}/{name}/LC_MESSAGES"
        if os.path.isdir(folder):
            yield os.fsencode(folder)


def _add_catalogs(tree: HostTree, folders: list[bytes], locale: str, programs: Iterable[bytes]) -> None:
    wanted: dict[bytes, list[bytes]] = {}
    for folder in folders:
        for name in sorted(os.listdir(folder)):
            if name.endswith(b".mo"):
                wanted.setdefault(name.removesuffix(b".mo"), []).append(os.path.join(folder, name))
    for program in programs if wanted else ():
        for domain in sorted(wanted.keys() & _words(program)):
            for path in wanted[domain]:
                tree.add(path, f"is asked for as locale {locale}; {os.fsdecode(program)} names its messages")


def _words(path: bytes) -> set[bytes]:
    """Return what may be the name of the catalog of a file that asks for messages.

    That is each word that a text in it ends with, and its own name.
    """
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = set(_WORD.findall(data))
        asks = not found.isdisjoint(_GETTEXT) or data.find(b"/share/locale\0") >= 0
        return found | {os.path.basename(path)} if asks else set()


def _known() -> list[str]:
    found: set[str] = set()
    for folder in (_COMPILED, _CATALOGS):
        if os.path.isdir(folder):
            found |= {name for name in os.listdir(folder) if os.path.isdir(f"{folder}/{name}")}
    return sorted(found)
