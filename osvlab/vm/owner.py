"""The owner: one background thread with one asyncio loop that owns everything alive.

QEMU processes, QMP connections, console and report sockets belong to this thread
and to nobody else. The public API is synchronous: it hands a coroutine to the
owner and waits. That way it does not matter which thread calls (a notebook's main
thread, a widget callback, a subshell), and it matters for one more reason: Linux
delivers the parent-death signal when the *thread* that started a child ends, so
guests must be started by a thread that lives exactly as long as Python does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["Owner", "owner"]

T = TypeVar("T")

TIDYING = 5.0
"""Seconds that work which is cancelled may take to end."""


class Owner:
    """A daemon thread that runs one asyncio loop for the life of the process.

    Examples
    --------
    >>> import asyncio
    >>> owner().call(asyncio.sleep(0, result="done in the owner's thread"))
    "done in the owner's thread"
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="osvlab-owner", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the owner's loop and wait for its value.

        When the wait is interrupted (Ctrl-C, a timeout) the coroutine is cancelled,
        so that nothing goes on working for a caller who has left.

        Parameters
        ----------
        work
            The coroutine to run.
        timeout
            Seconds to wait; None waits for ever.

        Raises
        ------
        TimeoutError
            The coroutine did not finish in time.
        RuntimeError
            Called from the owner's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the owner thread cannot wait for itself; await the coroutine instead")
        # No future of `concurrent`: its lock may stay taken when Ctrl-C comes at the wrong moment, and
        # then the owner would wait for it for ever. A queue in C has no such moment.
        done: queue.SimpleQueue[asyncio.Task[T]] = queue.SimpleQueue()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            tasks.append(self.loop.create_task(work))
            tasks[0].add_done_callback(done.put)

        def cancel() -> None:
            tasks[0].cancel()

        self.loop.call_soon_threadsafe(begin)
        try:
            task = done.get(timeout=None if timeout is None else min(timeout, threading.TIMEOUT_MAX))
        except BaseException as error:
            self.loop.call_soon_threadsafe(cancel)
            # It tidies up behind itself: Python may be about to end, and the owner's thread with it.
            with contextlib.suppress(queue.Empty):
                if not (tasks and tasks[0].done()):  # the queue may have given it away already
                    done.get(timeout=TIDYING)
            if isinstance(error, queue.Empty):
                raise TimeoutError from None
            raise
        return task.result()

    async def awaited(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the owner's loop, awaited on the caller's; a caller that leaves cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))


_lock = threading.Lock()
_owner: Owner | None = None


def owner() -> Owner:
    """Return the process's one owner, starting it at the first call."""
    global _owner
    with _lock:
        if _owner is None:
            _owner = Owner()
        return _owner


def _forget_after_fork() -> None:
    # A fork copies the memory but not the thread: the child starts without an owner
    # (and without VMs), and the parent's guests stay the parent's.
    global _owner, _lock
    _owner = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
