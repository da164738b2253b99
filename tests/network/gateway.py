"""QEMU's user networking on a switch: another TCP, of the BSD family, that leads from the host to a guest.

A QEMU without a machine joins the two by a hub. What the host sends to `Gateway.port` goes as
TCP from 10.0.2.2 over the switch, and has its weather; DHCP and DNS are there as well.
"""

from __future__ import annotations

import json
import subprocess
from types import TracebackType
from typing import IO, Any, Self

from osvlab.vm.network import Forward, forwarded
from tests.network.switch import Switch

__all__ = ["GUEST", "HOST", "Gateway"]

GUEST, HOST = "10.0.2.15", "10.0.2.2"


class Gateway:
    """User networking that is plugged into a switch, from ``with`` to the end of the block.

    Parameters
    ----------
    switch
        Where it is plugged in.
    guest_port
        The guest's port that `port` leads to.
    """

    def __init__(self, switch: Switch, guest_port: int) -> None:
        self._forward = Forward(guest_port)
        rule = f"hostfwd=tcp:127.0.0.1:0-{GUEST}:{guest_port}"
        self._argv = [
            *("qemu-system-x86_64", "-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"),
            *("-netdev", f"user,id=world,ipv6=off,{rule}", *switch.netdev("cable")),
            *("-netdev", "hubport,id=one,hubid=1,netdev=world"),
            *("-netdev", "hubport,id=other,hubid=1,netdev=cable"),
        ]

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self._argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in: IO[str] = self._process.stdin
        self._out: IO[str] = self._process.stdout
        self._out.readline()  # the greeting
        self._ask("qmp_capabilities", {})
        text = self._ask("human-monitor-command", {"command-line": "info usernet"})
        port = forwarded(text, "world", [self._forward])[0].host
        assert port is not None, text
        self.port = port
        return self

    def _ask(self, command: str, arguments: dict[str, Any]) -> Any:
        self._in.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._in.flush()
        while True:
            answer = json.loads(self._out.readline())
            if "event" not in answer:
                return answer["return"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()
