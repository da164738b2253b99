"""A neighbour in Python that speaks raw frames: Ethernet, ARP, IPv4, ICMP, UDP.

It answers ARP for its own address, keeps what a test waits for, and can say things that no
honest host would say.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from tests.network.switch import Port

__all__ = ["ARP", "BROADCAST", "ICMP", "IPV4", "TCP", "UDP", "Datagram", "Frame", "Peer", "arp", "checksum",
           "ethernet", "icmp", "ipv4", "udp"]  # fmt: skip

IPV4, ARP = 0x0800, 0x0806
ICMP, TCP, UDP = 1, 6, 17
BROADCAST = b"\xff" * 6
REQUEST, REPLY = 1, 2


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of some bytes; 0 if they contain a right one."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(destination: bytes, source: bytes, kind: int, payload: bytes) -> bytes:
    """Return a frame, padded to the 60 bytes that a real card would send."""
    return (destination + source + struct.pack(">H", kind) + payload).ljust(60, b"\0")


def arp(operation: int, mac: bytes, address: IPv4Address, target_mac: bytes, target: IPv4Address) -> bytes:
    """Return an ARP message (RFC 826)."""
    return (
        struct.pack(">HHBBH", 1, IPV4, 6, 4, operation) + mac + address.packed + target_mac + target.packed
    )


def ipv4(
    source: IPv4Address,
    destination: IPv4Address,
    protocol: int,
    payload: bytes,
    *,
    identification: int = 0,
    fragment: int = 0,
    time_to_live: int = 64,
    options: bytes = b"",
) -> bytes:
    """Return a packet. `fragment` is the field of flags and offset."""
    words = 5 + len(options) // 4
    length = words * 4 + len(payload)
    fields = (0x40 | words, 0, length, identification, fragment, time_to_live, protocol)
    header = struct.pack(">BBHHHBBH", *fields, 0) + source.packed + destination.packed + options
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def icmp(kind: int, code: int, rest: bytes) -> bytes:
    """Return a message: type, code, and what follows the checksum."""
    message = struct.pack(">BBH", kind, code, 0) + rest
    return message[:2] + struct.pack(">H", checksum(message)) + message[4:]


def udp(source: tuple[IPv4Address, int], destination: tuple[IPv4Address, int], payload: bytes) -> bytes:
    """Return a datagram with its checksum."""
    length = 8 + len(payload)
    datagram = struct.pack(">HHHH", source[1], destination[1], length, 0) + payload
    pseudo = source[0].packed + destination[0].packed + struct.pack(">HH", UDP, length)
    return datagram[:6] + struct.pack(">H", checksum(pseudo + datagram) or 0xFFFF) + datagram[8:]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame taken apart."""

    destination: bytes
    source: bytes
    kind: int
    payload: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Frame:
        return cls(raw[:6], raw[6:12], int.from_bytes(raw[12:14], "big"), raw[14:])


@dataclass(frozen=True, slots=True)
class Datagram:
    """An IPv4 packet taken apart; its header has been checked."""

    source: IPv4Address
    destination: IPv4Address
    protocol: int
    identification: int
    fragment: int
    time_to_live: int
    payload: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Datagram:
        size, total = (raw[0] & 15) * 4, int.from_bytes(raw[2:4], "big")
        assert raw[0] >> 4 == 4, raw.hex()
        assert 20 <= size <= total <= len(raw), raw.hex()
        assert checksum(raw[:size]) == 0, raw.hex()
        identification, fragment, time_to_live, protocol = struct.unpack(">HHBB", raw[4:10])
        source, destination = IPv4Address(raw[12:16]), IPv4Address(raw[16:20])
        payload = raw[size:total]
        return cls(source, destination, protocol, identification, fragment, time_to_live, payload)


class Peer:
    """A host on the switch, with one address.

    Parameters
    ----------
    port
        Where it is plugged in.
    address
        Its IPv4 address.
    mac
        Its hardware address.
    """

    def __init__(self, port: Port, address: str, mac: bytes = b"\x02\0\0\0\0\x01") -> None:
        self.port = port
        self.address = IPv4Address(address)
        self.mac = mac
        self.neighbours: dict[IPv4Address, bytes] = {}

    def frame(self, wanted: Callable[[Frame], bool], timeout: float = 10) -> Frame:
        """Return the next frame that is wanted. Raises TimeoutError when none comes."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            raw = self.port.receive(left)
            if raw is not None:
                frame = Frame.parse(raw)
                self._answer_arp(frame)
                if wanted(frame):
                    return frame
        raise TimeoutError(f"no such frame in {timeout:g} s")

    def datagram(self, wanted: Callable[[Datagram], bool], timeout: float = 10) -> Datagram:
        """Return the next IPv4 packet that is wanted. Raises TimeoutError when none comes."""

        def is_wanted(frame: Frame) -> bool:
            return frame.kind == IPV4 and wanted(Datagram.parse(frame.payload))

        return Datagram.parse(self.frame(is_wanted, timeout).payload)

    def resolve(self, address: str | IPv4Address, timeout: float = 10) -> bytes:
        """Ask by ARP, once a second, for a hardware address."""
        wanted = IPv4Address(address)
        deadline = time.monotonic() + timeout
        while wanted not in self.neighbours:
            question = arp(REQUEST, self.mac, self.address, bytes(6), wanted)
            self.port.send(ethernet(BROADCAST, self.mac, ARP, question))
            try:
                self.frame(lambda frame: wanted in self.neighbours, timeout=1)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise
        return self.neighbours[wanted]

    def send(self, packet: bytes, to: str | IPv4Address) -> None:
        """Send an IPv4 packet to a neighbour."""
        self.port.send(ethernet(self.resolve(to), self.mac, IPV4, packet))

    def ping(self, address: str, payload: bytes = b"ping", number: int = 1, timeout: float = 10) -> bytes:
        """Send an echo request and return what the reply carries."""
        there = IPv4Address(address)
        request = icmp(8, 0, struct.pack(">HH", 77, number) + payload)
        self.send(ipv4(self.address, there, ICMP, request), there)

        def is_reply(packet: Datagram) -> bool:
            return packet.protocol == ICMP and packet.payload[0] == 0 and packet.payload[6:8] == request[6:8]

        reply = self.datagram(is_reply, timeout)
        assert checksum(reply.payload) == 0
        assert (reply.source, reply.destination) == (there, self.address)
        return reply.payload[8:]

    def _answer_arp(self, frame: Frame) -> None:
        if frame.kind != ARP or len(frame.payload) < 28:
            return
        operation = int.from_bytes(frame.payload[6:8], "big")
        mac, sender = frame.payload[8:14], IPv4Address(frame.payload[14:18])
        self.neighbours[sender] = mac
        if operation == REQUEST and IPv4Address(frame.payload[24:28]) == self.address:
            answer = arp(REPLY, self.mac, self.address, mac, sender)
            self.port.send(ethernet(mac, self.mac, ARP, answer))
