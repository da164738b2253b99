"""Frames as an enemy on the same network sends them: real ones, with something changed.

A `Tap` keeps the latest real frames of each kind, so that mutants carry the numbers of connections
that live. A mutant is damaged anywhere, or gets a wild number where a field is. Most are then given right
checksums, so that they get past the first look.
"""

from __future__ import annotations

import random
import struct
from collections import defaultdict, deque

from tests.network.peer import ARP, ICMP, IPV4, TCP, UDP, checksum
from tests.network.switch import Port

__all__ = ["Tap", "honest_checksums", "mutant"]

# What numbers are when they are wrong.
WILD = (
    0,
    1,
    2,
    7,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x5DC,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
ETHERNET = 14
SHORTEST, LONGEST = 14, 1514


class Tap:
    """The frames that passed a port, by kind; of each kind the latest so many.

    Parameters
    ----------
    port
        Where to listen.
    keep
        How many of each kind.
    """

    def __init__(self, port: Port, keep: int = 64) -> None:
        self._port = port
        self.kinds: dict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=keep))

    def listen(self) -> None:
        """Take in what has passed since the last time."""
        while (frame := self._port.receive(0)) is not None:
            self.kinds[kind_of(frame)].append(frame)


def kind_of(frame: bytes) -> str:
    """Name what a frame carries."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind != IPV4 or len(frame) < ETHERNET + 20:
        return "arp" if kind == ARP else "other"
    if int.from_bytes(frame[20:22], "big") & 0x3FFF:
        return "fragment"
    if frame[23] == UDP and frame[ETHERNET + 20 : ETHERNET + 24] in (b"\0\x43\0\x44", b"\0\x44\0\x43"):
        return "dhcp"
    return {ICMP: "icmp", TCP: "tcp", UDP: "udp"}.get(frame[23], "other")


def honest_checksums(frame: bytearray) -> None:
    """Make the checksums right, as far as there are fields for them."""
    if frame[12:14] != b"\x08\0" or len(frame) < ETHERNET + 20:
        return
    header = (frame[ETHERNET] & 15) * 4
    if not 20 <= header <= len(frame) - ETHERNET:
        return
    start, total = ETHERNET + header, int.from_bytes(frame[16:18], "big")
    frame[24:26] = b"\0\0"
    frame[24:26] = struct.pack(">H", checksum(bytes(frame[ETHERNET:start])))
    end = min(len(frame), ETHERNET + total)
    field = {ICMP: 2, TCP: 16, UDP: 6}.get(frame[23])
    if field is None or end < start + field + 2:
        return
    frame[start + field : start + field + 2] = b"\0\0"
    data = bytes(frame[start:end])
    if frame[23] != ICMP:
        data = bytes(frame[26:34]) + struct.pack(">HH", frame[23], end - start) + data
    frame[start + field : start + field + 2] = struct.pack(">H", checksum(data))


def mutant(tap: Tap, chance: random.Random, mac: bytes) -> bytes:
    """Return a frame for a hardware address, made of one that the tap has heard from anybody."""
    kind = chance.choice(sorted(tap.kinds))
    frame = bytearray(chance.choice(tap.kinds[kind]))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 6))):
        _damage(frame, chance, tap)
    if chance.random() < 0.9 and len(frame) >= 6:
        frame[:6] = mac if chance.random() < 0.9 else b"\xff" * 6
    if chance.random() < 0.75:
        honest_checksums(frame)
    return bytes(frame[:LONGEST]).ljust(SHORTEST, b"\0")


def _damage(frame: bytearray, chance: random.Random, tap: Tap) -> None:
    headers = min(len(frame), 78)
    at = chance.randrange(6, headers) if chance.random() < 0.8 else chance.randrange(len(frame))
    match chance.randrange(8):
        case 0:
            frame[at] ^= 1 << chance.randrange(8)
        case 1:
            frame[at] = chance.randrange(256)
        case 2 | 3:
            at, width = at & ~1, chance.choice((1, 2, 2, 4))
            value = chance.choice(WILD) & ((1 << 8 * width) - 1)
            frame[at : at + width] = value.to_bytes(width, "big")
        case 4:  # near what it was
            at &= ~1
            value = int.from_bytes(frame[at : at + 4].ljust(4, b"\0"), "big")
            value += chance.choice((-1, 1, -2, 2, 1448, -1448, 65535, 1 << 31))
            frame[at : at + 4] = (value & 0xFFFFFFFF).to_bytes(4, "big")
        case 5:
            del frame[chance.randrange(SHORTEST, len(frame) + 1) :]
        case 6:
            frame += chance.randbytes(chance.choice((1, 7, 64, 1000)))
        case _:
            other = chance.choice(tap.kinds[chance.choice(sorted(tap.kinds))])
            frame[at:] = other[at:] or frame[at:]
    if len(frame) < SHORTEST:
        frame += bytes(SHORTEST - len(frame))
