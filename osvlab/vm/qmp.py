r"""The monitor: QEMU's machine protocol (QMP), spoken by the owner over a socket pair.

JSON, one object per line. QEMU greets (``QMP``), wants to hear ``qmp_capabilities``
once, then answers each command (``return`` or ``error``, with the command's ``id``)
and tells ``event``\\ s in between. Source: QEMU, `docs/interop/qmp-spec.rst`.

Spoken here without a library, because the hard part is not the protocol but its end: a
guest may be gone before Python has said its first word. QEMU's last event must be read
all the same, and whoever waits for an answer must be told, once it is known that QEMU
has ended and not when a connection seems to close.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable
from itertools import count
from typing import Any

from osvlab.vm.qemu import QemuError

__all__ = ["HELLO", "Monitor", "MonitorError"]

HELLO = b'{"execute": "qmp_capabilities", "id": 0}\n'
"""Written into the socket before QEMU starts, so that QEMU tells events from its first moment on."""


NOT_AN_ANSWER = -1
"""What stands for the number that greetings and events do not carry."""


AGAIN = "Boot it again; vm.outcome says how it ended."


class MonitorError(QemuError):
    """QEMU refused a command, or is gone."""


class Monitor:
    """A connection to QEMU's monitor; everything runs on the owner's loop.

    Parameters
    ----------
    connection
        One end of a socket pair, not blocking; QEMU has the other. It is the monitor's from now on.
    on_shutdown
        Called when QEMU says that it shuts down, which is before its process ends.
    on_disk_full
        Called when the host had no room for what the guest wrote to its disk.
    """

    def __init__(
        self,
        connection: socket.socket,
        on_shutdown: Callable[[], object],
        on_disk_full: Callable[[], object] = lambda: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._rest = b""
        self._on_shutdown = on_shutdown
        self._on_disk_full = on_disk_full
        self._numbers = count(1)
        self._hello: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._waiting = {0: self._hello}
        self._speaking = asyncio.Lock()
        self._open = True
        self.shutdown_reason: str | None = None
        """Why QEMU shut down, in QEMU's words (``guest-shutdown``, ``guest-reset``), once it said so."""
        connection.send(HELLO)
        self._loop.add_reader(connection, self._read)

    async def until_ready(self) -> None:
        """Wait until the machine is complete. Raises MonitorError when QEMU ends first."""
        await self._hello
        # A command of no interest, but one that QEMU refuses until it has made the machine.
        while True:
            try:
                await self.execute("query-uuid", {})
                return
            except MonitorError:
                if not self._open:
                    raise
                await asyncio.sleep(0.005)

    async def execute(self, command: str, arguments: dict[str, Any]) -> Any:
        """Run a command and return its value.

        Raises
        ------
        MonitorError
            QEMU refused it (the message is QEMU's own), or ended first.
        """
        if not self._open:
            raise MonitorError(f"the virtual machine has ended: it takes no {command}", hint=AGAIN)
        number = next(self._numbers)
        try:
            line = json.dumps({"execute": command, "arguments": arguments, "id": number})
        except (TypeError, ValueError) as error:
            raise MonitorError(
                f"the arguments of {command} cannot be written as JSON: {error}",
                hint="Use numbers, texts, lists and dictionaries.",
            ) from error
        answer = self._waiting[number] = self._loop.create_future()
        try:
            async with self._speaking:
                # A QEMU that is gone is noticed below, by everybody at once.
                with contextlib.suppress(OSError):
                    await self._loop.sock_sendall(self._connection, line.encode() + b"\n")
            message = await answer
        finally:
            self._waiting.pop(number, None)
        if "error" in message:
            raise MonitorError(
                f"QEMU refused {command}: {message['error'].get('desc', 'without a reason')}",
                hint="The commands of this QEMU: vm.qmp('query-commands').",
            )
        return message.get("return")

    def close(self) -> None:
        """Read what QEMU left behind, once its process has ended, and tell those who wait."""
        if not self._open:
            return
        while self._read():
            pass
        self._loop.remove_reader(self._connection)
        self._connection.close()
        self._open = False
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(
                    MonitorError("the virtual machine ended before its monitor answered", hint=AGAIN)
                )
                answer.exception()  # perhaps nobody asks any more, which is no mistake

    def _read(self) -> bool:
        """Read once, and return whether there may be more."""
        try:
            data = self._connection.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._connection)  # the session will notice that QEMU has ended
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        return True

    def _take(self, message: dict[str, Any]) -> None:
        answer = self._waiting.get(message.get("id", NOT_AN_ANSWER))
        if answer is not None and not answer.done():
            answer.set_result(message)
        elif message.get("event") == "SHUTDOWN":
            self.shutdown_reason = str(message.get("data", {}).get("reason"))
            self._on_shutdown()
        elif message.get("event") == "BLOCK_IO_ERROR" and _says_full(message.get("data", {})):
            self._on_disk_full()


def _says_full(data: dict[str, Any]) -> bool:
    """Whether a disk's error is that there is no room; of quotas and limits QEMU has only the text."""
    reasons = {os.strerror(number) for number in (errno.EDQUOT, errno.EFBIG)}
    return bool(data.get("nospace")) or data.get("reason") in reasons
