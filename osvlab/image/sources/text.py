"""Reading the small texts that describe images."""

from __future__ import annotations

import os

from osvlab.image.collection import RecipeError
from osvlab.paths import PathNotFoundError, format_size, open_bytes

__all__ = ["LARGEST", "LARGEST_YAML", "decoded", "read_text"]

LARGEST = 16 << 20
"""Bytes of a list of files. Those of OSv's largest images have less than one MiB."""
LARGEST_YAML = 1 << 20
"""Bytes of a description."""


def read_text(path: str | os.PathLike[str], what: str, limit: int = LARGEST_YAML) -> str:
    """Return the text of a file. Bytes that are not UTF-8 become surrogates, as in names of files.

    Raises
    ------
    PathNotFoundError
        There is no such file; `what` says what it should have been.
    RecipeError
        It cannot be read, or is too large to be such a text.
    """
    try:
        with open(open_bytes(path), "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise PathNotFoundError(f"no such {what}: {os.fspath(path)}", hint="Check the path.") from None
    except OSError as error:
        raise RecipeError(
            f"cannot read the {what} {os.fspath(path)}: {error.strerror}", hint="Check path and permissions."
        ) from error
    return decoded(data, os.fspath(path), what, limit)


def decoded(data: bytes, source: str, what: str, limit: int = LARGEST_YAML) -> str:
    """Return bytes as text, if they can be one.

    Raises
    ------
    RecipeError
        They are too many, or hold what no text holds.
    """
    if len(data) > limit:
        raise RecipeError(
            f"{source} is no {what}: it has more than {format_size(limit)}", hint="Check the path."
        )
    return data.decode("utf-8", "surrogateescape")
