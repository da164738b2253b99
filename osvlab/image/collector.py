"""Python's garbage collector, which has nothing to find while a tree grows.

It looks at all objects again and again as they become more, and a tree of 10,000 files, with what is
planned for each, is nothing but objects that are needed: that took a twentieth of a build.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_collection"]


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no garbage in cycles for a while. What is in none goes at once, as always.

    Builds in several threads may overlap: the first that ends lets it be collected again.

    Examples
    --------
    >>> with no_collection():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    if not gc.isenabled():  # by somebody else, who will know when to go on
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
