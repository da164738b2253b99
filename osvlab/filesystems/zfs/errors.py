"""What goes wrong with pools."""

from __future__ import annotations

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import DamagedError

__all__ = ["FORMAT", "PoolError", "UnsupportedPoolError", "damaged"]

FORMAT = "ZFS"


class PoolError(OsvlabError):
    """The files given are no pool, not all of a pool, or more than one."""


class UnsupportedPoolError(PoolError):
    """A pool uses a feature that is not read here; the error names it."""


def damaged(structure: str, offset: int, problem: str) -> DamagedError:
    """Make the error about a structure that cannot be right; `offset` is its byte in the opened file."""
    return DamagedError(FORMAT, structure, offset, problem)
