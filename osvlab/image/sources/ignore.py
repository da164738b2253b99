"""What of a package's directory stays out of images: ``.capstanignore``, and what Capstan never takes."""

from __future__ import annotations

import os
import re

from osvlab.image.collection import RecipeError

__all__ = ["ALWAYS", "CAPSTANIGNORE", "Ignore"]

CAPSTANIGNORE = ".capstanignore"
"""What the file is called."""

ALWAYS = ("/meta/*", "/meta", "/mpm-pkg", "/.git", "/.capstanignore", "/.gitignore", "/volumes")
"""Patterns that hold in every package."""

_ANY_DEPTH = "/**/"
_BELOW = "/*"


class Ignore:
    r"""Says which paths are left out; what is below a directory that is left out, is left out too.

    One pattern a line, each with a leading slash: ``*`` is any part of one name, ``/**/`` any number of
    directories, and ``/*`` at the end everything below a directory but not the directory. Lines with a
    ``#`` in front are comments.

    Parameters
    ----------
    text
        The lines.
    source
        Where they are from, for messages.

    Raises
    ------
    RecipeError
        A pattern has no leading slash, is negated, or would leave out ``/meta``; all are listed.

    Examples
    --------
    >>> ignore = Ignore("/**/*.o\n/build/*")
    >>> [path for path in (b"/a.o", b"/src/a.o", b"/build", b"/build/x", b"/.git") if ignore(path)]
    [b'/a.o', b'/src/a.o', b'/build/x', b'/.git']
    """

    def __init__(self, text: str = "", source: str = CAPSTANIGNORE) -> None:
        patterns = []
        problems = []
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            problem = _problem(line)
            if problem:
                problems.append(f"{source}, line {number}: {problem}: {line}")
            else:
                patterns.append(line)
        if problems:
            raise RecipeError("\n".join(problems), hint="Write patterns like /build/* or /**/*.o.")
        expressions = (_expression(pattern) for pattern in (*patterns, *ALWAYS))
        self._expression = re.compile(b"|".join(expressions), re.DOTALL)

    def __call__(self, path: bytes) -> bool:
        """Whether a path, counted from the package's directory, is left out."""
        return self._expression.fullmatch(path) is not None


def _problem(pattern: str) -> str | None:
    if pattern.startswith("!"):
        return "patterns cannot be negated"
    if not pattern.startswith("/"):
        return "a pattern begins with a slash"
    if pattern == "/meta":
        return "the package's description cannot be left out"
    return None


def _expression(pattern: str) -> bytes:
    """Return the regular expression of a pattern.

    Capstan's own makes any number of *characters* of ``/**/``, so that ``/**/file`` also takes
    ``/myfile``; here it means what Capstan's documentation says.
    """
    parts = pattern.split(_ANY_DEPTH)
    below = parts[-1].endswith(_BELOW)
    if below:
        parts[-1] = parts[-1].removesuffix(_BELOW)
    escaped = (re.escape(os.fsencode(part)).replace(rb"\*", b"[^/]*") for part in parts)
    return b"/(?:.*/)?".join(escaped) + (b"/.*" if below else b"")
