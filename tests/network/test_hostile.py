"""Mutants of real frames, by the thousand: nothing breaks, nothing is lost, honest requests are answered."""

from __future__ import annotations

import http.client
import json
import random
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

import osvlab
from osvlab.image.image import Image
from osvlab.vm.network import Network
from osvlab.vm.vm import VM
from tests.network.gateway import GUEST, HOST, Gateway
from tests.network.hostile import Tap, mutant
from tests.network.inside import counts
from tests.network.peer import ARP as ARP_FRAME
from tests.network.peer import ICMP, REPLY, UDP, Peer, arp, ethernet, icmp, ipv4, udp
from tests.network.switch import Switch

pytestmark = pytest.mark.qemu

PEER = "10.0.2.77"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("hostile")
    source = Path(__file__).parent.parent / "kernel" / "guest" / "network" / "udp_echo.c"
    subprocess.run(["gcc", "-O1", source, "-o", tree / "udp_echo"], check=True)
    command = "/udp_echo 9"
    return osvlab.build(tree, command, modules=["httpserver"], output=tree.parent / "hostile.img")


class Town:
    """A guest with a REST server, the host behind a gateway, a neighbour who says everything, and a tap."""

    def __init__(self, vm: VM, switch: Switch, gateway: Gateway) -> None:
        self.vm = vm
        self.gateway = gateway
        self.peer = Peer(switch.port(), PEER)
        self.mac = self.peer.resolve(GUEST)
        self.enemy = switch.port(only_to=self.mac)  # the gateway is not what is tried
        self.open: list[http.client.HTTPConnection] = []

    def ask(self, connection: http.client.HTTPConnection | None = None) -> int:
        """Send an honest request; return the free memory, in bytes."""
        new = connection or http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)
        new.request("GET", "/os/memory/free")
        answer = json.loads(new.getresponse().read())
        if connection is None:
            new.close()
        return int(answer)

    def until_there(self, seconds: float = 60) -> None:
        """Ask the guest for an echo until it answers: all frames before that have been looked at."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.peer.ping(GUEST, b"are you there?", timeout=1)
                return
            except (
                TimeoutError,
                AssertionError,
                IndexError,
                struct.error,
            ):  # frames of the enemy come here, too
                assert time.monotonic() < deadline, "the guest is silent"
                self.correct_lies()

    def talk(self) -> None:
        """Say everything that a mutant may be made of: ARP, echoes, fragments, UDP, TCP, DHCP."""
        there = IPv4Address(GUEST)
        self.peer.ping(GUEST, b"honest" * 10)
        message = icmp(8, 0, struct.pack(">HH", 1, 1) + bytes(3000))
        for at in range(0, len(message), 1480):
            more = 0x2000 if at + 1480 < len(message) else 0
            piece = message[at : at + 1480]
            packet = ipv4(self.peer.address, there, ICMP, piece, identification=5, fragment=at // 8 | more)
            self.peer.send(packet, there)
        for port in (9, 10):  # one of them is closed
            datagram = udp((self.peer.address, 1000), (there, port), b"x" * 100)
            self.peer.send(ipv4(self.peer.address, there, UDP, datagram), there)
        quoted = ipv4(there, self.peer.address, UDP, udp((there, 9), (self.peer.address, 1), b"12345678"))
        error = icmp(3, 3, bytes(4) + quoted[:28])
        self.peer.send(ipv4(self.peer.address, there, ICMP, error), there)

    def use_live_connections(self) -> None:
        """Keep some connections busy that enemies may take for targets; they may break."""
        while len(self.open) < 4:
            self.open.append(http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=0.5))
        for connection in list(self.open):
            try:
                self.ask(connection)
            except (OSError, http.client.HTTPException, ValueError, TypeError):
                connection.close()
                self.open.remove(connection)

    def correct_lies(self) -> None:
        """Let those who really have the addresses say so, as they do when they next ask."""
        for address, mac in ((HOST, b"\x52\x55\x0a\0\2\2"), (PEER, self.peer.mac)):
            answer = arp(REPLY, mac, IPv4Address(address), self.mac, IPv4Address(GUEST))
            self.enemy.send(ethernet(self.mac, mac, ARP_FRAME, answer))


@pytest.fixture
def town(image: Image) -> Iterator[tuple[Town, Tap]]:
    with Switch() as switch, Gateway(switch, 8000) as gateway:
        tap = Tap(switch.port())
        card = Network(switch=switch.path)
        with osvlab.run(image, network=card, memory="64M", timeout=3000) as vm:
            vm.wait_for("running on port 8000", 60)
            town = Town(vm, switch, gateway)
            yield town, tap
            for connection in town.open:
                connection.close()


def storm(town: Town, tap: Tap, chance: random.Random, frames: int) -> None:
    for number in range(frames):
        if number % 250 == 0:
            town.until_there()
            town.use_live_connections()
            tap.listen()
        town.enemy.send(mutant(tap, chance, town.mac))
    for connection in town.open:
        connection.close()
    town.open.clear()
    town.correct_lies()


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def survive(town: Town, tap: Tap, seed: int, frames: int) -> None:
    town.talk()
    tap.listen()
    storm(town, tap, random.Random(seed), frames)
    assert town.ask() > 0
    assert town.vm.running


def test_mutants_of_real_frames(town: tuple[Town, Tap]) -> None:
    survive(*town, seed=1, frames=5000)
    assert set(town[1].kinds) >= {"arp", "fragment", "icmp", "udp", "tcp", "dhcp"}


BOUNDED = 400 << 10
"""Bytes that stay for good: 256 neighbours, the pool of packets, pages that the heap keeps for later."""


LAZY = 32 + 128
"""Packets that the driver posts for receiving, or has sent and not freed, some time after it might."""


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", [1, 2])
def test_two_hundred_thousand_mutants_take_no_memory(town: tuple[Town, Tap], seed: int) -> None:
    town_itself, _ = town
    vm = town_itself.vm
    survive(*town, seed=1000 + seed, frames=3000)
    until(lambda: counts(vm).connections == 1, 400)  # the one that listens
    time.sleep(35)  # fragments are given up after 30
    before = counts(vm)
    survive(*town, seed=seed, frames=200_000)
    until(lambda: counts(vm).connections == 1, 400)
    time.sleep(35)
    after = counts(vm)
    print(f"before {before}, after {after}; {town_itself.vm.console.text[-300:]}")
    assert after.packets - before.packets <= LAZY
    assert (before.free_pages - after.free_pages) * 4096 < BOUNDED
    assert town_itself.ask() > 0
