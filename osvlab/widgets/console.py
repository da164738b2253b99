"""The console of a guest, live under a cell."""

from __future__ import annotations

import asyncio

from osvlab.errors import OsvlabError
from osvlab.vm.console import Console
from osvlab.vm.owner import owner
from osvlab.widgets.stream import StreamWidget, static

__all__ = ["ConsoleWidget"]

LINE = 64 << 10
"""Characters that a page may type at once."""

TWIN = 200
"""Lines of the console in the widget's text form."""


class ConsoleWidget(StreamWidget):
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
    Besides the messages of every `StreamWidget` the page sends ``{"type": "input", "text": ...}``.

    Examples
    --------
    >>> console = Console()
    >>> widget = ConsoleWidget(console, title="hello")
    >>> console.feed(b"Booted up in 8.12 ms\r\n")
    >>> print(widget.text())
    Booted up in 8.12 ms
    >>> widget.close()
    """

    _esm = static("screen.js") + static("stream.js") + static("console.js")
    _css = static("console.css")

    def __init__(self, console: Console, title: str = "console") -> None:
        self._console = console
        self._typed: asyncio.Queue[str] = asyncio.Queue()
        self._typist: asyncio.Task[None] | None = None
        super().__init__(console, title)

    def text(self, lines: int = TWIN) -> str:
        """Return the console's last lines, for those who read instead of look."""
        kept = self._console.text.splitlines()
        hidden = len(kept) - lines
        head = [f"[... {hidden} earlier lines ...]"] if hidden > 0 else []
        return "\n".join([*head, *kept[-lines:]])

    def close(self) -> None:
        """Take the console out of the page, and let go of everything."""
        if self.comm:
            owner().loop.call_soon_threadsafe(self._stop_typing)
        super().close()

    def _asked(self, message: object) -> None:
        match message:
            case {"type": "input", "text": str(text)} if 0 < len(text) <= LINE:
                owner().loop.call_soon_threadsafe(self._type, text)

    # What the owner's thread does

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
