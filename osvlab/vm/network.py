"""Networks: what a machine's cards are plugged into, and how the host reaches the guest.

By default a card is plugged into QEMU's user networking: a small world inside QEMU in
which the guest gets the address 10.0.2.15 by DHCP, and from which it comes out, if at
all, as the user that runs QEMU. The host reaches the guest through forwarded ports only.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from osvlab.errors import OsvlabError

__all__ = ["Forward", "Network", "NetworkError", "Protocol"]

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = "0.0.0.0"
MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


class NetworkError(OsvlabError, ValueError):
    """A network that cannot be: no such port, one that is in use, two wishes that exclude each other."""


class Protocol(StrEnum):
    """What a forwarded port speaks."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of the host that leads to one of the guest.

    Parameters
    ----------
    guest
        The guest's port.
    host
        The host's port, or None: one that is free.
    address
        The host's address to listen on. Anything but the loopback address lets other
        machines reach the guest.
    protocol
        ``tcp`` or ``udp``.

    Raises
    ------
    NetworkError
        When there can be no such port or address.

    Examples
    --------
    >>> print(Forward(8000, 8080))
    127.0.0.1:8080 -> 8000/tcp
    """

    guest: int
    host: int | None = None
    address: str = LOOPBACK
    protocol: Protocol = Protocol.TCP

    def __post_init__(self) -> None:
        for port in (self.guest, self.host):
            if port is not None and (type(port) is not int or not 1 <= port <= 65535):
                raise NetworkError(f"there is no port {port!r}", hint="Ports are 1 to 65535.")
        try:
            object.__setattr__(self, "address", str(IPv4Address(self.address)))
            object.__setattr__(self, "protocol", Protocol(self.protocol))
        except AddressValueError as error:
            raise NetworkError(
                f"not an IPv4 address to listen on: {self.address}",
                hint="Give an address of this host, such as 127.0.0.1.",
            ) from error
        except ValueError as error:
            raise NetworkError(f"no such protocol: {self.protocol}", hint="There are: tcp, udp.") from error

    @property
    def rule(self) -> str:
        """The forward as QEMU's ``hostfwd`` wants it; port 0 is a free one."""
        return f"{self.protocol}:{self.address}:{self.host or 0}-:{self.guest}"

    @property
    def reached_at(self) -> str:
        """``address:port`` for a client on this host."""
        return f"{LOOPBACK if self.address == EVERY_ADDRESS else self.address}:{self.host}"

    def __str__(self) -> str:
        return f"{self.address}:{self.host or 'free'} -> {self.guest}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Network:
    """A network card of a machine, and what it is plugged into.

    Parameters
    ----------
    forwards
        Ports of the host that lead to the guest.
    outbound
        Whether the guest may open connections: to the internet, and to this host's own
        services at 10.0.2.2. Without it the guest can only answer.
    switch
        A Unix socket to plug the card into instead of user networking: a stream of
        frames, each behind its length in 4 bytes, big-endian (QEMU's ``-netdev stream``).
    capture
        A file to write all frames to, in the pcap format.
    mac
        The card's hardware address; None leaves it to QEMU.

    Raises
    ------
    NetworkError
        When such a network cannot be.

    Examples
    --------
    >>> Network.of({8000: 8080, 22: None}).forwards[0].host
    8080
    """

    forwards: tuple[Forward, ...] = ()
    outbound: bool = False
    switch: Path | None = None
    capture: Path | None = None
    mac: str | None = None

    def __post_init__(self) -> None:
        if self.switch is not None and (self.forwards or self.outbound):
            raise NetworkError(
                "a card that is plugged into a switch has neither forwarded ports nor outbound connections",
                hint="Leave out the switch, or the others.",
            )
        if self.mac is not None and (not MAC.fullmatch(self.mac) or int(self.mac[:2], 16) & 1):
            raise NetworkError(f"not a card's hardware address: {self.mac}", hint="Like 52:54:00:12:34:56.")
        for name in ("guest", "host"):
            taken = [(forward.protocol, getattr(forward, name)) for forward in self.forwards]
            twice = [port for port in taken if port[1] is not None and taken.count(port) > 1]
            if twice:
                raise NetworkError(
                    f"port {twice[0][1]} of the {name} is forwarded twice", hint="Name each port once."
                )

    @classmethod
    def of(
        cls,
        ports: Mapping[int, int | None] | Iterable[int] | None = None,
        network: bool | Network | None = None,
        capture: Path | None = None,
    ) -> Network | None:
        """Return the network that the arguments of `osvlab.run` describe; None for none.

        Raises
        ------
        NetworkError
            They exclude each other, or a port cannot be.
        """
        pairs = ports.items() if isinstance(ports, Mapping) else ((port, None) for port in ports or ())
        forwards = tuple(Forward(guest, host) for guest, host in pairs)
        if network is False and (forwards or capture is not None):
            raise NetworkError("ports and a capture need a network", hint="Leave out network=False.")
        if not isinstance(network, Network):
            if not (forwards or network or capture is not None):
                return None
            network = cls(outbound=network is True)
        return replace(network, forwards=(*network.forwards, *forwards), capture=capture or network.capture)


def forwarded(text: str, name: str, forwards: Iterable[Forward]) -> tuple[Forward, ...]:
    r"""Fill in the ports that QEMU has chosen, from the text of its monitor's ``info usernet``.

    Seen in QEMU 7.2: for each network a line ``Hub -1 (NAME):``, then its connections.

    Examples
    --------
    >>> text = '''Hub -1 (net0):
    ...   Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
    ...   TCP[HOST_FORWARD]   8       127.0.0.1 33803       10.0.2.15  8000     0     0'''
    >>> print(*forwarded(text, "net0", [Forward(8000)]))
    127.0.0.1:33803 -> 8000/tcp
    """
    here = re.search(
        rf"\({re.escape(name)}\):(.*?)(^\S|\Z)", text.replace("\r", ""), re.DOTALL | re.MULTILINE
    )
    listening: dict[tuple[str, int], int] = {}
    for line in here[1].splitlines() if here else ():
        words = line.split()
        if len(words) >= 6 and words[0].endswith("[HOST_FORWARD]"):
            protocol = words[0].partition("[")[0].lower()
            listening[protocol, int(words[5])] = int(words[3])
    return tuple(
        replace(forward, host=listening.get((forward.protocol, forward.guest), forward.host))
        for forward in forwards
    )


def refusal(message: str, forwards: Iterable[Forward]) -> NetworkError | None:
    """Return the error behind QEMU's message, if that is of a port that could not be forwarded."""
    for forward in forwards:
        if f"Could not set up host forwarding rule '{forward.rule}'" in message:
            return NetworkError(
                f"cannot listen on port {forward.host} of {forward.address}: {_why_not(forward)}",
                hint=f"Choose another port, or let a free one be chosen: ports={{{forward.guest}: None}}.",
            )
    return None


def _why_not(forward: Forward) -> str:
    """Say what the system has against listening there, by trying."""
    kind = socket.SOCK_STREAM if forward.protocol is Protocol.TCP else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((forward.address, forward.host or 0))
            if forward.protocol is Protocol.TCP:
                probe.listen()
        except OSError as error:
            return (error.strerror or str(error)).lower()
    return "it was in use a moment ago"
