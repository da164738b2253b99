"""What happens, on stderr: a line for each step, or a JSON line for programs."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from osvlab.events import Event, Note, StepFailed, StepFinished, StepProgress, StepStarted, listening
from osvlab.paths import format_size

__all__ = ["Progress"]


class Progress:
    """Tells on a stream what happens.

    Parameters
    ----------
    stream
        Where to; stderr when None.
    as_json
        Write one JSON object a line, for programs.
    quiet
        Write nothing at all.

    Examples
    --------
    >>> from osvlab.events import step
    >>> with Progress(sys.stdout, as_json=True).shown():
    ...     with step("write the image"):
    ...         pass
    {"event": "StepStarted", "step": "write the image"}
    {"event": "StepFinished", "step": "write the image", "seconds": ..., "bytes": 0}
    """

    def __init__(self, stream: TextIO | None = None, *, as_json: bool = False, quiet: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._json = as_json
        self._quiet = quiet
        # A line that is overwritten again and again, where somebody can see it being overwritten.
        self._transient = self._stream.isatty() and not as_json
        self._lock = threading.Lock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Listen to the lab's events for the length of a `with` block."""
        with listening(self._event):
            yield

    def say(self, text: str, **data: Any) -> None:
        """Write a line of prose; in JSON the data instead, if there is any."""
        if self._json:
            if data:
                self._write(json.dumps(data) + "\n")
        else:
            self._line(f"osvlab: {text}")

    def _event(self, event: Event) -> None:
        if self._json:
            self._write(json.dumps({"event": event.name, **event.data}, default=str) + "\n")
            return
        match event:
            case StepStarted(step=step):
                self._draft(f"osvlab: {step} ...")
            case StepProgress(step=step, done=done, total=total) if total:
                self._draft(f"osvlab: {step} ... {100 * done // total} %")
            case StepFinished(step=step, seconds=seconds, bytes=size):
                written = f", {format_size(size)}" if size else ""
                self._line(f"osvlab: {step}: {seconds:.2f} s{written}")
            case Note(text=text):
                self._line(f"osvlab: {text}")
            case StepFailed():
                self._draft("")  # the error itself is told by who catches it

    def _draft(self, text: str) -> None:
        if self._transient:
            self._write(f"\r\x1b[K{text[:78]}")

    def _line(self, text: str) -> None:
        self._write(f"\r\x1b[K{text}\n" if self._transient else f"{text}\n")

    def _write(self, text: str) -> None:
        if self._quiet:
            return
        with self._lock:
            self._stream.write(text)
            self._stream.flush()
