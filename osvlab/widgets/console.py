"""The console of a guest, live under a cell."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any

import anywidget
import traitlets

from osvlab.errors import OsvlabError
from osvlab.vm.console import Console
from osvlab.vm.owner import owner
from osvlab.widgets.sender import Sender

__all__ = ["ConsoleWidget"]

MIRROR = 64 << 10
"""Bytes of the console that the widget's own state holds."""

LINE = 64 << 10
"""Characters that a page may type at once."""

TWIN = 200
"""Lines of the console in the widget's text form."""


def _static(name: str) -> str:
    # Text, not a path: anywidget keeps a widget whose code is a file alive for ever.
    return files("osvlab").joinpath("static", name).read_text(encoding="utf-8")


class ConsoleWidget(anywidget.AnyWidget):
    r"""What a guest prints, as it prints it, with a line to type to it.

    A widget may be shown in several cells, and is the same console in all. It is live
    as long as the guest runs, also while a cell is busy; what is typed meanwhile waits
    for the cell. `close` takes it out of the page and frees it.

    Parameters
    ----------
    console
        What to show.
    title
        What stands above it.

    Notes
    -----
    Messages from the page: ``{"type": "hello"}``, ``{"type": "ack", "at": position}``,
    ``{"type": "resend", "from": position}``, ``{"type": "input", "text": ...}``.
    To the page: ``{"type": "output", "at": position, "lost": bytes, "fresh": bool}`` with
    the bytes as a buffer; ``lost`` bytes before ``at`` exist no more, and ``fresh`` tells
    the page to start over.

    The page's messages arrive in whatever thread this version of ipykernel runs
    callbacks in. They are only handed on, to the owner's thread, which does all the work.

    Examples
    --------
    >>> console = Console()
    >>> widget = ConsoleWidget(console, title="hello")
    >>> console.feed(b"Booted up in 8.12 ms\r\n")
    >>> print(widget.text())
    Booted up in 8.12 ms
    >>> widget.close()
    """

    _esm = _static("screen.js") + _static("console.js")
    _css = _static("console.css")

    title = traitlets.Unicode("console").tag(sync=True)
    status = traitlets.Unicode("running").tag(sync=True)
    running = traitlets.Bool(True).tag(sync=True)
    mirror = traitlets.Dict().tag(sync=True)

    def __init__(self, console: Console, title: str = "console") -> None:
        self._console = console
        self._typed: asyncio.Queue[str] = asyncio.Queue()
        self._typist: asyncio.Task[None] | None = None
        ended = console.ended
        mirror = self._mirrored()
        super().__init__(title=title, status=ended or "running", running=ended is None, mirror=mirror)
        self.on_msg(self._heard)
        self._sender = Sender(
            console,
            owner().loop,
            self._say,
            self._settle,
            start=mirror["at"] + len(mirror["data"]),
        )

    def text(self, lines: int = TWIN) -> str:
        """Return the console's last lines, for those who read instead of look."""
        kept = self._console.text.splitlines()
        hidden = len(kept) - lines
        head = [f"[... {hidden} earlier lines ...]"] if hidden > 0 else []
        return "\n".join([*head, *kept[-lines:]])

    def close(self) -> None:
        """Take the console out of the page, and let go of everything."""
        if not self.comm:  # closed already, or Python is ending
            return
        self._sender.close()
        owner().loop.call_soon_threadsafe(self._stop_typing)
        self.on_msg(self._heard, remove=True)
        layout = self.layout  # a widget of its own, which ipywidgets would keep for ever
        super().close()
        layout.close()

    # What the owner's thread does

    def _say(self, message: dict[str, Any], data: bytes) -> None:
        if self.comm:
            self.send(message, [data])

    def _settle(self) -> None:
        """Bring the widget's state up to date: what a saved notebook and a late page see."""
        if not self.comm:
            return
        ended = self._console.ended
        with self.hold_sync():
            self.mirror = self._mirrored()
            if ended is not None:
                self.running = False
                self.status = ended

    def _mirrored(self) -> dict[str, Any]:
        at, data = self._console.since(max(0, self._console.position - MIRROR), MIRROR)
        return {"at": at, "data": data}

    def _type(self, text: str) -> None:
        self._typed.put_nowait(text)
        if self._typist is None:
            self._typist = asyncio.get_running_loop().create_task(self._type_on())

    async def _type_on(self) -> None:
        """Type what is asked for, in order, in a thread: a guest that does not read makes it wait."""
        while True:
            text = await self._typed.get()
            try:
                # A page may send half of a surrogate pair, which is no character.
                await asyncio.to_thread(self._console.write, text.encode("utf-8", "replace"))
            except OsvlabError as error:
                if self._console.ended is None:
                    self.status = error.message

    def _stop_typing(self) -> None:
        if self._typist is not None:
            self._typist.cancel()

    # What any thread does

    def _heard(self, _: object, message: object, buffers: object) -> None:
        """Hand a page's message on to the owner; what makes no sense, from a page of any age, is ignored."""
        match message:
            case {"type": "hello"}:
                self._sender.hello()
            case {"type": "ack", "at": int(position)} if position >= 0:
                self._sender.acknowledge(position)
            case {"type": "resend", "from": int(position)} if position >= 0:
                self._sender.resend(position)
            case {"type": "input", "text": str(text)} if 0 < len(text) <= LINE:
                owner().loop.call_soon_threadsafe(self._type, text)

    def __repr__(self) -> str:
        return f"<ConsoleWidget {self.title}: {self.status}>"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        shown = super()._repr_mimebundle_(**options)
        if shown is None:
            return None
        data, metadata = shown
        return {**data, "text/plain": f"{self!r}\n{self.text()}"}, metadata
