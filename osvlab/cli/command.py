"""The words after `--`, as the command line of a guest."""

from __future__ import annotations

from collections.abc import Sequence

from osvlab.errors import OsvlabError

__all__ = ["guest_command"]


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
    if len(words) < 2:
        return words[0] if words else None
    from osvlab.image.command import quote

    for word in words:
        if "$" in word:
            raise OsvlabError(
                f"the argument {word!r} holds a $, which the guest would expand and nothing can quote",
                hint="Write the whole command as one argument if you want a variable of the guest.",
            )
    return " ".join(quote(word) for word in words)
