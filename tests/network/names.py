"""A name server (RFC 1035) on the switch: as much of one as a stub resolver asks for."""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from tests.network.peer import IPV4, UDP, Datagram, Frame, Peer, ipv4, udp
from tests.network.switch import Switch

__all__ = ["NameServer"]

PORT = 53
A = 1
NO_SUCH_NAME = 3


class NameServer:
    """Answers questions for addresses, from ``with`` to the end of the block.

    Parameters
    ----------
    switch
        Where it is plugged in.
    address
        Its own address.
    names
        The addresses of names; the others do not exist.
    silent
        So many questions at first it does not answer.
    """

    def __init__(self, switch: Switch, address: str, names: Mapping[str, str], silent: int = 0) -> None:
        self._peer = Peer(switch.port(), address, mac=b"\2\0\0\0\0\x35")
        self._names = names
        self._silent = silent
        self.asked: list[str] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            try:
                frame = self._peer.frame(lambda frame: frame.kind == IPV4, timeout=0.1)
            except TimeoutError:
                continue
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        packet = Datagram.parse(frame.payload)
        if packet.destination != self._peer.address or packet.protocol != UDP:
            return
        source, destination = struct.unpack(">HH", packet.payload[:4])
        if destination != PORT:
            return
        question = packet.payload[8:]
        name, end = _name(question, 12)
        self.asked.append(name)
        if len(self.asked) <= self._silent:
            return
        there = (packet.source, source)
        reply = udp((self._peer.address, PORT), there, self._answer(question[: end + 4], name))
        self._peer.send(ipv4(self._peer.address, packet.source, UDP, reply), packet.source)

    def _answer(self, question: bytes, name: str) -> bytes:
        """Return the message: the question, and an address if that was asked for."""
        kind = int.from_bytes(question[-4:-2], "big")
        address = self._names.get(name.lower())
        found = kind == A and address is not None
        flags = 0x8180 | (0 if address is not None else NO_SUCH_NAME)
        head = question[:2] + struct.pack(">HHHHH", flags, 1, int(found), 0, 0)
        body = question[12:]
        if found:
            body += struct.pack(">HHHIH", 0xC00C, A, 1, 60, 4) + IPv4Address(address).packed
        return head + body


def _name(message: bytes, at: int) -> tuple[str, int]:
    labels = []
    while size := message[at]:
        labels.append(message[at + 1 : at + 1 + size].decode("ascii"))
        at += 1 + size
    return ".".join(labels), at + 1
