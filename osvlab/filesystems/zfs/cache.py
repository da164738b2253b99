"""A cache of blocks that holds so many bytes, or one block."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["BlockCache"]


class BlockCache:
    """Keeps the blocks that were used last.

    Examples
    --------
    >>> cache = BlockCache(limit=8)
    >>> cache.put("a", b"12345678"); cache.put("b", b"1234")
    >>> cache.get("a"), cache.get("b")
    (None, b'1234')
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._blocks: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable) -> bytes | None:
        """Return a block, or None."""
        found = self._blocks.get(key)
        if found is not None:
            self._blocks.move_to_end(key)
        return found

    def put(self, key: Hashable, block: bytes) -> None:
        """Keep a block, in place of others when there are too many; the last one is always kept."""
        before = self._blocks.pop(key, b"")
        self._blocks[key] = block
        self._held += len(block) - len(before)
        while self._held > self._limit and len(self._blocks) > 1:
            self._held -= len(self._blocks.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget all."""
        self._blocks.clear()
        self._held = 0
