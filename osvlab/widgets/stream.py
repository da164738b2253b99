"""A widget that shows a stream: what is common to the console and the live chart."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import anywidget
import traitlets

from osvlab.vm.owner import owner
from osvlab.widgets.sender import Sender, Source

__all__ = ["MIRROR", "StreamWidget", "static"]

MIRROR = 64 << 10
"""Bytes of the stream that the widget's own state holds."""


def static(name: str) -> str:
    """Return a file of the page's part."""
    # Text, not a path: anywidget keeps a widget whose code is a file alive for ever.
    return files("osvlab").joinpath("static", name).read_text(encoding="utf-8")


class StreamWidget(anywidget.AnyWidget):
    """Shows a stream of bytes, live, in any number of cells.

    `close` takes it out of the page and frees it. The page's half is stream.js.

    Parameters
    ----------
    source
        What to show.
    title
        What stands above it.

    Notes
    -----
    Messages from the page: ``{"type": "hello"}``, ``{"type": "ack", "at": position}``,
    ``{"type": "resend", "from": position}``, and what `_asked` knows. To the page:
    ``{"type": "output", "at": position, "lost": bytes, "fresh": bool}`` with the bytes as a
    buffer; ``lost`` bytes before ``at`` exist no more, and ``fresh`` tells the page to start
    over.

    The page's messages arrive in whatever thread this version of ipykernel runs
    callbacks in. They are only handed on, to the owner's thread, which does all the work.
    """

    title = traitlets.Unicode("").tag(sync=True)
    status = traitlets.Unicode("running").tag(sync=True)
    running = traitlets.Bool(True).tag(sync=True)
    mirror = traitlets.Dict().tag(sync=True)

    def __init__(self, source: Source, title: str) -> None:
        self._source = source
        ended = source.ended
        mirror = self._mirrored()
        super().__init__(title=title, status=ended or "running", running=ended is None, mirror=mirror)
        self.on_msg(self._heard)
        self._sender = Sender(
            source,
            owner().loop,
            self._say,
            self._settle,
            start=mirror["at"] + len(mirror["data"]),
        )

    def close(self) -> None:
        """Take it out of the page, and let go of everything."""
        if not self.comm:  # closed already, or Python is ending
            return
        self._sender.close()
        self.on_msg(self._heard, remove=True)
        layout = self.layout  # a widget of its own, which ipywidgets would keep for ever
        super().close()
        layout.close()

    def text(self) -> str:
        """Return what it shows, for those who read instead of look."""
        raise NotImplementedError

    def _asked(self, message: object) -> None:
        """Hand on a message that only this kind of widget knows; called in any thread."""

    # What the owner's thread does

    def _say(self, message: dict[str, Any], data: bytes) -> None:
        if self.comm:
            self.send(message, [data])

    def _settle(self) -> None:
        """Bring the widget's state up to date: what a saved notebook and a late page see."""
        if not self.comm:
            return
        ended = self._source.ended
        with self.hold_sync():
            self.mirror = self._mirrored()
            if ended is not None:
                self.running = False
                self.status = ended

    def _mirrored(self) -> dict[str, Any]:
        at, data = self._source.since(max(0, self._source.position - MIRROR), MIRROR)
        return {"at": at, "data": data}

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
            case _:
                self._asked(message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.title}: {self.status}>"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        shown = super()._repr_mimebundle_(**options)
        if shown is None:
            return None
        data, metadata = shown
        return {**data, "text/plain": f"{self!r}\n{self.text()}"}, metadata
