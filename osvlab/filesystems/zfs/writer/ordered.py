"""Work that threads do ahead while its results are taken in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

__all__ = ["in_order"]

_THREADS = min(4, len(os.sched_getaffinity(0)))
Result = TypeVar("Result")


class _Task(Generic[Result]):
    __slots__ = ("call", "result")

    def __init__(self, call: Callable[[], Result]) -> None:
        self.call = call
        # An interrupted wait on a condition or future may leave it locked; this one is safe.
        self.result: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def run(self) -> None:
        try:
            self.result.put((self.call(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised again where the result is waited for
            self.result.put((None, error))


def in_order(calls: Iterator[Callable[[], Result]]) -> Iterator[Result]:
    """Yield what calls return, in their order, while threads work some way ahead.

    What a call raises is raised in its place; what follows is not done.

    Examples
    --------
    >>> from functools import partial
    >>> list(in_order(partial(pow, n, 2) for n in range(5)))
    [0, 1, 4, 9, 16]
    """
    tasks: SimpleQueue[_Task[Result] | None] = SimpleQueue()
    threads = [threading.Thread(target=_work, args=(tasks,), daemon=True) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    ahead: deque[_Task[Result]] = deque()
    try:
        more = True
        while more or ahead:
            while more and len(ahead) < 2 * _THREADS + 2:
                call = next(calls, None)
                more = call is not None
                if call is not None:
                    ahead.append(_Task(call))
                    tasks.put(ahead[-1])
            if ahead:
                found, error = ahead.popleft().result.get()
                if error is not None:
                    raise error
                yield found  # type: ignore[misc]  # it is one when there is no error
    finally:
        while not tasks.empty():
            tasks.get()
        for _ in threads:
            tasks.put(None)


def _work(tasks: SimpleQueue[_Task[Result] | None]) -> None:
    while (task := tasks.get()) is not None:
        task.run()
