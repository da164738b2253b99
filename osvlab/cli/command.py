"""The words after `--`, as the command line of a guest."""

from __future__ import annotations

from collections.abc import Sequence

from osvlab.errors import OsvlabError

__all__ = ["guest_command"]

_BETWEEN_QUOTES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_NEED_QUOTES = set(" ;&!'") | set(_BETWEEN_QUOTES)


def guest_command(words: Sequence[str]) -> str | None:
    r"""Join words to a command as an OSv kernel reads it.

    One word is a whole command line, passed on as it is: several programs with their own arguments,
    separated by `;` and `&`. Several words are one program and its arguments, each of which reaches it
    unchanged. None without words.

    Raises
    ------
    OsvlabError
        An argument holds a `$`, which OSv's grammar cannot quote.

    Examples
    --------
    >>> guest_command(["/hello; /bin/busybox ls -l /"])
    '/hello; /bin/busybox ls -l /'
    >>> print(guest_command(["/hello", "two words", 'a "quote"']))
    /hello "two words" "a \"quote\""
    """
    if not words:
        return None
    if len(words) == 1:
        return words[0]
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if "$" in word:
        raise OsvlabError(
            f"the argument {word!r} holds a $, which the guest would expand and nothing can quote",
            hint="Write the whole command as one argument if you want a variable of the guest.",
        )
    if word and not _NEED_QUOTES & set(word):
        return word
    return '"' + "".join(_BETWEEN_QUOTES.get(character, character) for character in word) + '"'
