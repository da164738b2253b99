"""Guests on a network: addresses from DHCP and from the command line, echoes, and what /proc tells."""

from __future__ import annotations

import random
import re
import struct
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from osvlab.vm.network import Network
from osvlab.vm.vm import VM
from tests.network.conftest import FOREVER, plugged
from tests.network.peer import (
    ARP,
    BROADCAST,
    ICMP,
    IPV4,
    UDP,
    Frame,
    Peer,
    checksum,
    ethernet,
    icmp,
    ipv4,
    udp,
)
from tests.network.switch import Switch, Weather

pytestmark = pytest.mark.qemu

GUEST, PEER = "10.1.0.2", "10.1.0.1"
STATIC = f"--ip=eth0,{GUEST},255.255.255.0 --defaultgw={PEER} --nameserver=10.1.0.3"
Start = Callable[..., VM]


def test_dhcp_from_user_networking(start: Start, machine: str) -> None:
    command = "/busybox echo at $OSV_IP; /busybox cat /etc/resolv.conf /proc/net/route /proc/net/dev"
    vm = start(command, network=True, machine=machine)
    vm.wait()
    lines = vm.console.text.splitlines()
    assert "eth0: 10.0.2.15" in lines
    assert lines.index("eth0: 10.0.2.15") < next(n for n, line in enumerate(lines) if "Booted up" in line)
    assert "nameserver 10.0.2.3" in lines
    assert "at 10.0.2.15" in lines
    assert any(line.startswith("eth0\t00000000\t0202000A\t0003") for line in lines)
    received = next(line.split() for line in lines if re.match(r"\s+eth0: ", line))
    assert int(received[1]) > 0


def test_without_a_card_nothing_is_said_or_waited_for(start: Start) -> None:
    vm = start("/busybox cat /proc/net/dev")
    vm.wait()
    assert "eth0" not in vm.console.text
    assert "lo:" not in vm.console.text  # nobody has asked for a network


def test_static_address_and_echoes(start: Start, switch: Switch, machine: str) -> None:
    peer = Peer(switch.port(), PEER)
    vm = start(FOREVER, options=STATIC, network=plugged(switch), machine=machine)
    vm.wait_for(f"eth0: {GUEST}")
    for size in (0, 1, 56, 1471, 1472):
        payload = random.Random(size).randbytes(size)
        assert peer.ping(GUEST, payload, size) == payload
    for number in range(500):
        peer.ping(GUEST, b"x" * 56, number)


def test_the_address_is_announced(start: Start, switch: Switch) -> None:
    peer = Peer(switch.port(), PEER)
    start(FOREVER, options=STATIC, network=plugged(switch))
    announcement = peer.frame(lambda frame: frame.kind == ARP)
    assert announcement.destination == BROADCAST
    address = IPv4Address(GUEST).packed
    assert announcement.payload[14:18] == address == announcement.payload[24:28]


def test_fragments_both_ways(start: Start, switch: Switch) -> None:
    peer = Peer(switch.port(), PEER)
    start(FOREVER, options=STATIC, network=plugged(switch))
    here, there = IPv4Address(PEER), IPv4Address(GUEST)
    peer.resolve(there)
    chance = random.Random(5)
    for number, size in enumerate((1473, 4000, 20000, 65000)):
        request = icmp(8, 0, struct.pack(">HH", 7, number) + chance.randbytes(size))
        pieces = [(at, request[at : at + 1480]) for at in range(0, len(request), 1480)]
        chance.shuffle(pieces)
        for at, piece in pieces:
            more = 0x2000 if at + 1480 < len(request) else 0
            packet = ipv4(here, there, ICMP, piece, identification=number, fragment=at // 8 | more)
            peer.send(packet, there)
        answer = bytearray(len(request))
        missing = len(request)
        while missing:
            got = peer.datagram(lambda packet: packet.protocol == ICMP)
            at = (got.fragment & 0x1FFF) * 8
            answer[at : at + len(got.payload)] = got.payload
            missing -= len(got.payload)
        assert answer[0] == 0
        assert checksum(bytes(answer)) == 0
        assert answer[4:] == request[4:]


class Lender:
    """A DHCP server that answers as RFC 2131 has it, field by field, when the test says so."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def heard(self, kind: int, timeout: float = 10) -> tuple[bytes, bytes]:
        """Return who sends the next message of a kind, and the message."""

        def is_message(frame: Frame) -> bool:
            to_port = frame.payload[22:24]
            is_dhcp = frame.kind == IPV4 and frame.payload[9] == UDP and to_port == b"\0\x43"
            return is_dhcp and frame.payload[268:271] == bytes([53, 1, kind])

        frame = self.peer.frame(is_message, timeout)
        return frame.source, frame.payload[28:]

    def say(self, kind: int, mac: bytes, question: bytes, address: str = "10.1.2.3") -> None:
        here, everybody = self.peer.address, IPv4Address("255.255.255.255")
        options = (
            bytes([53, 1, kind, 54, 4]) + here.packed + bytes([51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 0, 0])
        )
        options += bytes([3, 4]) + here.packed + bytes([6, 4, 10, 1, 0, 9, 15, 3]) + b"lab" + b"\xff"
        reply = b"\2\1\6\0" + question[4:8] + bytes(8) + IPv4Address(address).packed + bytes(8)
        reply += mac.ljust(16, b"\0") + bytes(192) + b"\x63\x82\x53\x63" + options
        packet = ipv4(here, everybody, UDP, udp((here, 67), (everybody, 68), reply))
        self.peer.port.send(ethernet(mac, self.peer.mac, IPV4, packet))

    def lend(self, address: str = "10.1.2.3") -> bytes:
        """Lend an address to who asks next; return the request."""
        self.say(OFFER, *self.heard(DISCOVER, 40), address)
        mac, request = self.heard(REQUEST)
        assert bytes([50, 4]) + IPv4Address(address).packed in request
        self.say(ACK, mac, request, address)
        return request


DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7


def test_a_dhcp_lease_from_a_server_of_ours(start: Start, switch: Switch) -> None:
    lender = Lender(Peer(switch.port(), PEER))
    vm = start("/busybox cat /proc/net/pnp /proc/net/route", network=plugged(switch))
    lender.lend()
    vm.wait()
    assert "eth0: 10.1.2.3\n" in vm.console.text
    assert "domain lab\nnameserver 10.1.0.9\n" in vm.console.text
    assert "eth0\t00000000\t0100010A" in vm.console.text


def test_a_refused_port_is_answered(start: Start, switch: Switch) -> None:
    peer = Peer(switch.port(), PEER)
    start(FOREVER, options=STATIC, network=plugged(switch))
    here, there = IPv4Address(PEER), IPv4Address(GUEST)
    question = ipv4(here, there, UDP, udp((here, 1000), (there, 999), b"anybody?"))
    peer.send(question, there)
    answer = peer.datagram(lambda packet: packet.protocol == ICMP)
    assert answer.payload[:2] == b"\3\3"  # port unreachable
    assert answer.payload[8:] == question


def test_survives_a_storm_of_nonsense(start: Start, switch: Switch) -> None:
    """Mutated frames at full speed; then an honest question is answered."""
    peer = Peer(switch.port(), PEER)
    vm = start(FOREVER, options=STATIC, network=plugged(switch))
    here, there = IPv4Address(PEER), IPv4Address(GUEST)
    mac = peer.resolve(there)
    chance = random.Random(7)
    for number in range(20000):
        payload = icmp(8, 0, chance.randbytes(8)) if number % 2 else udp((here, 9), (there, 9), b"x")
        packet = ipv4(here, there, ICMP if number % 2 else UDP, payload, fragment=chance.choice((0, 0x2000)))
        frame = bytearray(ethernet(mac, peer.mac, IPV4, packet))
        for _ in range(chance.randrange(4)):
            frame[chance.randrange(12, len(frame))] = chance.randrange(256)
        peer.port.send(bytes(frame))
    assert peer.ping(GUEST, b"still there?") == b"still there?"
    assert vm.running


def test_echoes_through_bad_weather(start: Start, switch: Switch) -> None:
    peer = Peer(switch.port(), PEER)
    start(FOREVER, options=STATIC, network=plugged(switch))
    peer.resolve(GUEST)
    switch.weather = Weather(drop=0.1, duplicate=0.1, corrupt=0.05, reorder=0.2, late=0.005, seed=3)
    answered = 0
    for number in range(300):
        try:
            answered += peer.ping(GUEST, b"y" * 100, number, timeout=0.05) == b"y" * 100
        except (TimeoutError, AssertionError):
            continue
    switch.weather = Weather()
    assert answered > 100
    assert peer.ping(GUEST, b"calm", 999) == b"calm"


def test_what_goes_over_the_wire_is_captured(start: Start, switch: Switch, tmp_path: Path) -> None:
    peer = Peer(switch.port(), PEER)
    capture = tmp_path / "with,comma.pcap"
    vm = start(FOREVER, options=STATIC, network=plugged(switch, capture))
    peer.ping(GUEST, b"to be found")
    vm.stop()
    written = capture.read_bytes()
    assert written[:4] in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4")
    assert written.count(b"to be found") == 2


def test_two_cards(start: Start, switch: Switch, image: object) -> None:
    with Switch() as other:
        from osvlab.vm.boot import plan  # two cards are a matter of the machine, not of `run`

        options = "--ip=eth0,10.1.0.2,255.255.255.0 --ip=eth1,10.2.0.2,255.255.255.0"
        cards = (Network(switch=switch.path), Network(switch=other.path, mac="02:00:00:00:00:09"))
        ready = plan(
            image, f"{options} {FOREVER}", kernel=None, memory="64M", cpus=1, machine=None, env=None,
            modules=(), verbose=False, networks=cards,
        )  # fmt: skip
        with VM(ready.machine, image=ready.image, folder=ready.folder, kernel=ready.kernel):
            first, second = Peer(switch.port(), "10.1.0.1"), Peer(other.port(), "10.2.0.1")
            assert first.ping("10.1.0.2", b"one") == b"one"
            assert second.ping("10.2.0.2", b"two") == b"two"
            assert second.neighbours[IPv4Address("10.2.0.2")] == b"\2\0\0\0\0\x09"


def test_another_network_behind_the_cable(start: Start, switch: Switch, machine: str) -> None:
    lender = Lender(Peer(switch.port(), PEER))
    vm = start(FOREVER, network=plugged(switch), machine=machine)
    lender.lend()
    vm.wait_for("eth0: 10.1.2.3")
    assert lender.peer.ping("10.1.2.3", b"before") == b"before"
    vm.qmp("set_link", name="net0", up=False)
    vm.wait_for("eth0: link down")
    vm.qmp("set_link", name="net0", up=True)
    vm.wait_for("eth0: link up")
    mac, request = lender.heard(REQUEST)
    assert request[12:16] == IPv4Address("10.1.2.3").packed
    lender.say(NAK, mac, request)
    lender.lend("10.1.2.4")
    assert lender.peer.ping("10.1.2.4", b"after") == b"after"


def test_no_answer_to_dhcp_holds_a_boot_for_a_while_only(start: Start, switch: Switch) -> None:
    """The boot goes on after 15 s, and the address comes when there is a server."""
    lender = Lender(Peer(switch.port(), PEER))
    began = time.monotonic()
    vm = start(FOREVER, network=plugged(switch))
    lender.heard(DISCOVER)
    vm.wait_for("eth0: no answer from DHCP; going on without an address", 40)
    assert 14 < time.monotonic() - began < 25
    vm.wait_for("Cmdline:")
    lender.lend()
    assert lender.peer.ping("10.1.2.3", b"late") == b"late"


def test_a_new_host_name_is_told_to_the_dhcp_server(start: Start, switch: Switch) -> None:
    lender = Lender(Peer(switch.port(), PEER))
    start(f"/busybox hostname web; {FOREVER}", network=plugged(switch))
    assert bytes([12, 3]) + b"web" not in lender.lend()
    _, request = lender.heard(REQUEST)
    assert bytes([12, 3]) + b"web" in request
    assert request[12:16] == IPv4Address("10.1.2.3").packed  # the address it has
