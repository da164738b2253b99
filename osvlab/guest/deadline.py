"""One deadline for a piece of work of many steps."""

from __future__ import annotations

import time

from osvlab.guest.address import GuestTimeoutError

__all__ = ["Deadline"]


class Deadline:
    """A moment by which something has to be done.

    Parameters
    ----------
    seconds
        From now.

    Examples
    --------
    >>> Deadline(60).left("answer") > 59
    True
    >>> Deadline(0).left("answer from 127.0.0.1:8000")
    Traceback (most recent call last):
    osvlab.guest.address.GuestTimeoutError: no answer from 127.0.0.1:8000 within 0 s
    hint: Give it longer with timeout=, or look at the guest's console.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self._end

    def left(self, what: str) -> float:
        """Return the seconds that are left, above 0.

        Raises
        ------
        GuestTimeoutError
            None are. The message says "no `what` within ... s".
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise GuestTimeoutError(
                f"no {what} within {self.seconds:g} s",
                hint="Give it longer with timeout=, or look at the guest's console.",
            )
        return left
