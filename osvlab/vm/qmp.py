"""The monitor: QEMU's machine protocol (QMP), spoken by the owner over a socket pair.

The protocol is `qemu.qmp`'s. This file adds what that cannot know: QEMU may be gone
before Python has said its first word, and still its last event (why it shut down)
shall be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

from qemu.qmp import (
    EventListener,
    ExecInterruptedError,
    ExecuteError,
    QMPClient,
    QMPError,
    Runstate,
    StateError,
)

from osvlab.vm.qemu import QemuError

__all__ = ["HELLO", "Monitor", "MonitorError"]

HELLO = b'{"execute": "qmp_capabilities", "id": "hello"}\n'
"""Written into the socket before QEMU starts, so that QEMU tells events from its first moment on."""

# The library logs each connection that ends as an error; here, every QEMU ends.
logging.getLogger("qemu.qmp.protocol.osvlab").setLevel(logging.CRITICAL)


class MonitorError(QemuError):
    """QEMU refused a command, or is gone."""


class Monitor:
    """A connection to QEMU's monitor; all methods run on the owner's loop."""

    def __init__(self) -> None:
        self._client = QMPClient("osvlab")
        self._client.negotiate = False  # HELLO did that
        self._shutdowns = EventListener(names=["SHUTDOWN"])
        self._client.register_listener(self._shutdowns)

    async def connect(self, connection: socket.socket) -> None:
        """Read QEMU's greeting. Raises MonitorError when QEMU is gone."""
        try:
            await self._client.connect(connection)
        except (QMPError, OSError, EOFError, AssertionError) as error:
            # The library asserts that the connection is still there, and a guest may end faster than that.
            raise MonitorError(f"QEMU's monitor does not answer: {error}") from error

    async def execute(self, command: str, arguments: dict[str, Any]) -> Any:
        """Run a command and return its value.

        Raises
        ------
        MonitorError
            QEMU refused it (the message is QEMU's own), or ended first.
        """
        try:
            return await self._client.execute(command, arguments)
        except ExecuteError as error:
            raise MonitorError(
                f"QEMU refused {command}: {error}",
                hint="The commands of this QEMU: vm.qmp('query-commands').",
            ) from error
        except (ExecInterruptedError, StateError) as error:
            raise MonitorError(f"the virtual machine ended before it answered {command}") from error

    @property
    def shutdown_reason(self) -> str | None:
        """Why QEMU shut down, in QEMU's words (``guest-shutdown``, ``guest-reset``), if it said so."""
        for event in self._shutdowns.history:
            data = event.get("data")
            if isinstance(data, dict):
                return str(data.get("reason"))
        return None

    async def close(self) -> None:
        """Read what QEMU left behind when it ended, and let go."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while self._client.runstate is Runstate.RUNNING:
                    await self._client.runstate_changed()
        with contextlib.suppress(QMPError, OSError, EOFError):
            await self._client.disconnect()
