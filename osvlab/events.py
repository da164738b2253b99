"""One stream of events: long work tells what it does, and whoever cares listens.

Build steps, progress and the life of virtual machines are published here.
Progress bars, logs and widgets only subscribe, so the work itself never knows
whether it runs under a notebook, a shell or a test.

A listener runs in the thread that publishes, and must be quick. It cannot hurt
the publisher: what it raises is warned about once, and the next listener runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Event",
    "Listener",
    "Note",
    "Step",
    "StepFailed",
    "StepFinished",
    "StepProgress",
    "StepStarted",
    "listening",
    "publish",
    "step",
    "subscribe",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Subclasses add what there is to say about it.

    Attributes
    ----------
    time_ns
        When, in nanoseconds of the monotonic clock.

    Examples
    --------
    >>> StepStarted("write files", time_ns=5).name
    'StepStarted'
    >>> StepStarted("write files", time_ns=5).data
    {'step': 'write files'}
    """

    time_ns: int = field(default_factory=time.monotonic_ns, kw_only=True, compare=False)

    @property
    def name(self) -> str:
        """The kind of event: the name of its class."""
        return type(self).__name__

    @property
    def data(self) -> dict[str, Any]:
        """Everything the event says except its time, by field name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "time_ns"}


@dataclass(frozen=True, slots=True)
class Note(Event):
    """Something was decided that the caller should know, in a sentence without a capital and a stop."""

    text: str


@dataclass(frozen=True, slots=True)
class StepStarted(Event):
    """A named piece of long work began."""

    step: str


@dataclass(frozen=True, slots=True)
class StepProgress(Event):
    """A piece of long work got further: `done` of `total`, in bytes or items."""

    step: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class StepFinished(Event):
    """A piece of long work ended well, after `seconds`, having written `bytes` (0 if it writes none)."""

    step: str
    seconds: float
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class StepFailed(Event):
    """A piece of long work ended with an error, after `seconds`."""

    step: str
    seconds: float
    error: str


Listener = Callable[[Event], object]

_lock = threading.Lock()
_listeners: dict[object, Listener] = {}
_warned: set[object] = set()


def publish(event: Event) -> None:
    """Tell every listener about an event, in the order in which they subscribed.

    Examples
    --------
    >>> with listening(lambda event: print(event.name, event.data)):
    ...     publish(StepProgress("copy", done=1, total=2))
    StepProgress {'step': 'copy', 'done': 1, 'total': 2}
    """
    with _lock:
        listeners = list(_listeners.items())
    for key, listener in listeners:
        try:
            listener(event)
        except Exception as error:  # noqa: BLE001 - not ours, and it must not hurt the publisher
            _warn_once(key, listener, error)


def _warn_once(key: object, listener: Listener, error: Exception) -> None:
    with _lock:
        if key in _warned:
            return
        _warned.add(key)
    warnings.warn(
        f"an event listener failed and is kept: {listener!r}: {type(error).__name__}: {error}",
        RuntimeWarning,
        stacklevel=3,
    )


def subscribe(listener: Listener) -> Callable[[], None]:
    """Call `listener` with every event from now on, until the returned function is called.

    Examples
    --------
    >>> seen = []
    >>> unsubscribe = subscribe(seen.append)
    >>> publish(StepStarted("compile"))
    >>> unsubscribe()
    >>> publish(StepStarted("not heard"))
    >>> [event.step for event in seen]
    ['compile']
    """
    key = object()  # one listener may subscribe twice, and each subscription ends on its own
    with _lock:
        _listeners[key] = listener

    def unsubscribe() -> None:
        with _lock:
            _listeners.pop(key, None)
            _warned.discard(key)

    return unsubscribe


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Subscribe for the length of a `with` block."""
    unsubscribe = subscribe(listener)
    try:
        yield
    finally:
        unsubscribe()


class Step:
    """A running step, handed out by `step`: its worker says how far it is and what it wrote."""

    # Listeners redraw; ten times a second is as fast as anybody reads.
    _INTERVAL_NS = 100_000_000

    def __init__(self, name: str) -> None:
        self.name = name
        self.bytes = 0
        self._next_ns = 0

    def progress(self, done: int, total: int) -> None:
        """Publish progress, at most ten times a second and always at the end."""
        now = time.monotonic_ns()
        if now >= self._next_ns or done >= total:
            self._next_ns = now + self._INTERVAL_NS
            publish(StepProgress(self.name, done, total, time_ns=now))


@contextlib.contextmanager
def step(name: str) -> Iterator[Step]:
    """Publish that a step starts, and how it ended.

    Examples
    --------
    >>> with listening(lambda event: print(event.name)):
    ...     with step("compile the kernel") as running:
    ...         running.bytes = 4096
    StepStarted
    StepFinished
    """
    running = Step(name)
    began = time.perf_counter()
    publish(StepStarted(name))
    try:
        yield running
    except BaseException as error:
        publish(StepFailed(name, time.perf_counter() - began, f"{type(error).__name__}: {error}"))
        raise
    publish(StepFinished(name, time.perf_counter() - began, running.bytes))
