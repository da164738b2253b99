"""A switch in Python between QEMUs and peers, in whose cables frames get lost, late, twice or damaged.

QEMU's ``-netdev stream`` connects to a Unix socket and puts a 4-byte big-endian length
before each frame (QEMU, `net/stream.c`). A peer of the test's own is a `Port`. What comes in
by one goes out by all others, through the `Weather`: by a seed, so that a run that failed
fails again.

Examples
--------
>>> with Switch() as switch:
...     one, other = switch.port(), switch.port()
...     one.send(b"a frame")
...     other.receive(timeout=5)
b'a frame'
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
import random
import selectors
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Port", "Switch", "Weather"]

LARGEST_FRAME = 1 << 17


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to frames: probabilities from 0 to 1, and seconds.

    Parameters
    ----------
    drop, duplicate, corrupt
        How likely it is that a frame is lost, comes twice, or has one bit flipped.
    reorder
        How likely it is that a frame waits for `late` seconds, so that others overtake it.
    late
        That time.
    delay, jitter
        Seconds that every frame takes, and that it may take longer.
    seed
        Where the chances come from.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    late: float = 0.01
    delay: float = 0.0
    jitter: float = 0.0
    seed: int = 0


class Port:
    """A peer's end of a cable. Frames come in order of their arrival.

    What is sent goes to everybody, or only to the machine behind whose cable a hardware address was heard.
    """

    def __init__(self, switch: Switch, only_to: bytes | None = None) -> None:
        self._switch = switch
        self.only_to = only_to
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def send(self, frame: bytes) -> None:
        """Put a frame into the cable."""
        self._switch._call(lambda: self._switch._forward(self, frame))

    def receive(self, timeout: float) -> bytes | None:
        """Return the next frame, or None when none comes in so many seconds."""
        with contextlib.suppress(queue.Empty):
            return self._frames.get(timeout=timeout)
        return None

    def deliver(self, frame: bytes) -> None:
        self._frames.put(frame)


@dataclass(eq=False, slots=True)
class _Cable:
    """A connected QEMU."""

    socket: socket.socket
    incoming: bytearray = field(default_factory=bytearray)
    outgoing: bytearray = field(default_factory=bytearray)

    def deliver(self, frame: bytes) -> None:
        self.outgoing += len(frame).to_bytes(4, "big") + frame
        self.flush()

    def flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.outgoing:
                del self.outgoing[: self.socket.send(self.outgoing)]

    def frames(self) -> list[bytes]:
        """Take the complete frames off what has come in."""
        frames = []
        while len(self.incoming) >= 4:
            size = int.from_bytes(self.incoming[:4], "big")
            assert size <= LARGEST_FRAME, f"QEMU sent a frame of {size} bytes"
            if len(self.incoming) < 4 + size:
                break
            frames.append(bytes(self.incoming[4 : 4 + size]))
            del self.incoming[: 4 + size]
        return frames


class Switch:
    """A switch that runs on a thread of its own, from ``with`` to the end of the block.

    Parameters
    ----------
    weather
        May be changed at any time by assigning `weather`.
    """

    def __init__(self, weather: Weather | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="switch-"))
        self.path = self._folder / "socket"
        self.frames = 0
        """Frames that came in so far."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._waker, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for each in (self._listener, self._woken):
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ)
        self._calls: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._ends: list[Port | _Cable] = []
        self._behind: dict[bytes, _Cable] = {}
        self._late: list[tuple[float, int, Port | _Cable, bytes]] = []
        self._numbers = itertools.count()
        self._stopping = False
        self._set_weather(weather or Weather())
        self._thread = threading.Thread(target=self._run, name="switch", daemon=True)

    @property
    def weather(self) -> Weather:
        """What happens to frames from now on."""
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._call(lambda: self._set_weather(weather))

    def netdev(self, name: str = "n") -> list[str]:
        """Return QEMU's words for a network back end that is plugged in here."""
        return ["-netdev", f"stream,id={name},server=off,addr.type=unix,addr.path={self.path}"]

    def port(self, only_to: bytes | None = None) -> Port:
        """Plug a peer in."""
        port = Port(self, only_to)
        self._call(lambda: self._ends.append(port))
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._waker.send(b"x")
        self._thread.join()
        for end in self._ends:
            if isinstance(end, _Cable):
                end.socket.close()
        for each in (self._listener, self._waker, self._woken, self._selector):
            each.close()
        shutil.rmtree(self._folder)

    # On the switch's thread

    def _set_weather(self, weather: Weather) -> None:
        self._weather = weather
        self._random = random.Random(weather.seed)

    def _call(self, function: object) -> None:
        self._calls.put(function)
        self._waker.send(b"x")

    def _run(self) -> None:
        while not self._stopping:
            pause = self._late[0][0] - time.monotonic() if self._late else None
            for key, events in self._selector.select(None if pause is None else max(0.0, pause)):
                self._serve(key, events)
            self._deliver_what_is_due()

    def _serve(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fileobj is self._woken:
            self._woken.recv(4096)
            while not self._calls.empty():
                self._calls.get()()  # type: ignore[operator]
        elif key.fileobj is self._listener:
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            cable = _Cable(connection)
            self._ends.append(cable)
            self._selector.register(connection, selectors.EVENT_READ, cable)
        else:
            self._serve_cable(key.data, events)

    def _serve_cable(self, cable: _Cable, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                cable.flush()
            data = cable.socket.recv(1 << 18) if events & selectors.EVENT_READ else None
        except OSError:
            data = b""
        if data == b"":
            self._unplug(cable)
            return
        cable.incoming += data or b""
        for frame in cable.frames():
            self._forward(cable, frame)
        self._watch(cable)

    def _watch(self, cable: _Cable) -> None:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if cable.outgoing else 0)
        if self._selector.get_key(cable.socket).events != wanted:
            self._selector.modify(cable.socket, wanted, cable)

    def _unplug(self, cable: _Cable) -> None:
        self._selector.unregister(cable.socket)
        cable.socket.close()
        self._ends.remove(cable)

    def _forward(self, source: Port | _Cable, frame: bytes) -> None:
        self.frames += 1
        only_to = None
        if isinstance(source, _Cable):
            self._behind[frame[6:12]] = source
        elif source.only_to is not None:
            only_to = self._behind[source.only_to]
        for end in self._ends:
            if end is not source and only_to in (None, end):
                self._expose(end, frame)

    def _expose(self, end: Port | _Cable, frame: bytes) -> None:
        """Let the weather have its way with one frame for one end."""
        weather, chance = self._weather, self._random.random
        if chance() < weather.drop:
            return
        for _ in range(2 if chance() < weather.duplicate else 1):
            due = weather.delay + weather.jitter * chance() if weather.delay or weather.jitter else 0.0
            if chance() < weather.reorder:
                due += weather.late
            copy = self._corrupted(frame) if chance() < weather.corrupt else frame
            if due:
                heapq.heappush(self._late, (time.monotonic() + due, next(self._numbers), end, copy))
            else:
                self._deliver(end, copy)

    def _corrupted(self, frame: bytes) -> bytes:
        """Flip one bit, never two: they might cancel out in the Internet checksum."""
        flipped = bytearray(frame)
        flipped[self._random.randrange(len(flipped))] ^= 1 << self._random.randrange(8)
        return bytes(flipped)

    def _deliver(self, end: Port | _Cable, frame: bytes) -> None:
        if end not in self._ends:
            return  # unplugged meanwhile
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # noticed when it is read
            end.deliver(frame)
        if isinstance(end, _Cable):
            self._watch(end)

    def _deliver_what_is_due(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            _, _, end, frame = heapq.heappop(self._late)
            self._deliver(end, frame)
