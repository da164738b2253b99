"""Hints for people who type: what errors call ``packages=[...]`` is the option ``--packages`` in a shell."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["in_shell"]

# A name and what it shall be: some text, a list of one, something, or nothing.
_KEYWORD = re.compile(
    r"\b([a-z]+(?:_[a-z]+)*)=(?:\[?'([^']*)'\]?|\[\.\.\.\]|\{\.\.\.\}|\.\.\.|(?=[;,)]|\.?(?:\s|$)))"
)
_OTHERWISE = {"variables": "define"}


def in_shell(hint: str, options: Mapping[str, str]) -> str:
    """Return a hint with options in the place of Python's keyword arguments.

    Parameters
    ----------
    hint
        What to do; where it calls functions, it stays as it is.
    options
        The options of the command that was typed, and what their values are called.

    Examples
    --------
    >>> in_shell("Choose with boot=[...], or use fs='zfs'.", {"--boot": "NAME", "--fs": "FS"})
    'Choose with --boot NAME, or use --fs zfs.'
    >>> in_shell("Give it more, with size=, or build(size='1G').", {"--size": "SIZE"})
    "Give it more, with size=, or build(size='1G')."
    """

    def option(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        for word in (_OTHERWISE.get(name, name), name.removesuffix("s"), name.removesuffix("ies") + "y"):
            option = f"--{word.replace('_', '-')}"
            if option in options:
                return f"{option} {options[option] if value is None else value}"
        return match[0]

    return hint if re.search(r"\w\(", hint) else _KEYWORD.sub(option, hint)
