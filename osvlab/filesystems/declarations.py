"""Types of structures on disk, declared as C text, and what the comments behind their fields say."""

from __future__ import annotations

import re
from functools import cached_property

from dissect.cstruct import cstruct

__all__ = ["Declarations", "declare"]

_STRUCT = re.compile(
    r"^\s*(?:typedef\s+)?(?:struct|union)\s+(\w+)\s*\{(.*?)^\s*\}", re.MULTILINE | re.DOTALL
)
_FIELD = re.compile(r"(\w+)(?:\[[^\]]*\])*(?:\s*:\s*\d+)?\s*;[ \t]*/\*(.*?)\*/", re.DOTALL)
_PREPROCESSOR = re.compile(r"^#(?!define).*$", re.MULTILINE)


class Declarations:
    """Types declared in C text, which is read when one of them is first asked for.

    A program that only writes ZFS need not wait for what qcow2 and ROFS are made of.

    Parameters
    ----------
    text, endian
        As of `declare`.
    """

    def __init__(self, text: str, endian: str) -> None:
        self._text = text
        self._endian = endian

    @cached_property
    def types(self) -> cstruct:
        """The types, by attribute: ``declarations.types.boot_sector``."""
        # Compiling a type takes longer than reading a hundred structures of it.
        return cstruct(endian=self._endian).load(_PREPROCESSOR.sub("", self._text), compiled=False)

    @cached_property
    def meanings(self) -> dict[str, dict[str, str]]:
        """What the comments behind the fields say, by structure and field."""
        text = self._text if "\n" in self._text else self._text.replace("}", "\n}")
        return {
            name: {found: " ".join(comment.split()) for found, comment in _FIELD.findall(body)}
            for name, body in _STRUCT.findall(text)
        }


def declare(text: str, *, endian: str = "<") -> Declarations:
    """Read C declarations; the comment behind a field is its meaning.

    Parameters
    ----------
    text
        Structures of fixed-width integers, characters and arrays of them. It may be a header that
        a C compiler reads too: lines of the preprocessor other than definitions count for nothing.
    endian
        ``<`` for little-endian, ``>`` for big-endian.

    Examples
    --------
    >>> c = declare("struct point { uint16 x; /* millimetres */ uint16 y; };")
    >>> len(c.types.point), c.meanings["point"]["x"]
    (4, 'millimetres')
    """
    return Declarations(text, endian)
