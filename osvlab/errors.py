"""The one family of errors.

Everything the lab raises on purpose is an `OsvlabError`: a sentence that names
what went wrong with the value that caused it, and at most one thing to do next.
"""

from __future__ import annotations

__all__ = ["OsvlabError"]


class OsvlabError(Exception):
    """Something went wrong, said in one sentence, with one thing to do next.

    Parameters
    ----------
    message
        What went wrong, naming the culprit: a path, a symbol, an option.
    hint
        One thing the reader can do about it, as an imperative sentence.

    Examples
    --------
    >>> error = OsvlabError("no such directory: apps/hello", hint="Check the path.")
    >>> print(error)
    no such directory: apps/hello
    hint: Check the path.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"
