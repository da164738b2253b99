"""Every kind of network card that QEMU has for us, legacy ones too, with small and large frames."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from osvlab.image.image import Image
from osvlab.kernels import Kernel
from tests.network.conftest import FOREVER
from tests.network.peer import ICMP, Peer, icmp, ipv4
from tests.network.switch import Switch
from tests.network.test_guest import GUEST, PEER, STATIC

pytestmark = pytest.mark.qemu

MICROVM = "microvm,x-option-roms=off,pit=on,pic=off,rtc=on,acpi=off,auto-kernel-cmdline=on"
LEGACY_PCI = "disable-modern=on,disable-legacy=off"

CARDS = {
    "mmio": "",
    "mmio no event index": "event_idx=off",
    "mmio no merging": "mrg_rxbuf=off",
    "mmio large frames": "host_mtu=9000",
    "mmio large frames no merging": "host_mtu=9000,mrg_rxbuf=off",
    "mmio no status": "status=off",
    "mmio legacy": "",
    "mmio legacy no merging": "mrg_rxbuf=off",
    "mmio legacy header apart": "any_layout=off,mrg_rxbuf=off",
    "mmio legacy header apart merging": "any_layout=off,event_idx=off",
    "pci": "",
    "pci large frames": "host_mtu=9000",
    "pci modern only": "disable-legacy=on",
    "pci legacy": LEGACY_PCI,
    "pci legacy large frames": f"{LEGACY_PCI},host_mtu=4000",
    "pci interrupt line": "vectors=0",
    "pci legacy interrupt line": f"vectors=0,{LEGACY_PCI}",
    "pci one vector": "vectors=1",
    "pci largest queue": "rx_queue_size=1024",
}


class Run:
    """One QEMU, started by hand, because these cards are stranger than `osvlab.Network` makes them."""

    def __init__(self, name: str, image: Path, switch: Switch, command: str) -> None:
        mmio = name.startswith("mmio")
        legacy = "on" if "legacy" in name else "off"
        model = "virtio-net-device" if mmio else "virtio-net-pci,romfile="
        options = f",{CARDS[name]}" if CARDS[name] else ""
        argv: list[str | Path] = ["qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-m", "64"]
        argv += ["-M", MICROVM if mmio else "pc", "-global", f"virtio-mmio.force-legacy={legacy}"]
        argv += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]
        argv += ["-kernel", Kernel.lab().path, "-append", f"--verbose {command}"]
        argv += ["-drive", f"file={image},if=none,id=d,format=raw,snapshot=on"]
        argv += ["-device", "virtio-blk-device,drive=d" if mmio else "virtio-blk-pci,drive=d"]
        argv += ["-netdev", f"stream,id=n,server=off,addr.type=unix,addr.path={switch.path}"]
        argv += ["-device", f"{model},netdev=n{options}"]
        self.qemu = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.said = ""

    def wait_for(self, text: str) -> None:
        """Read the console up to a line that contains a text."""
        assert self.qemu.stdout is not None
        for line in self.qemu.stdout:
            self.said += line.decode()
            if text in line.decode():
                return
        raise AssertionError(self.said)

    def end(self) -> None:
        self.qemu.kill()
        self.qemu.communicate()


@pytest.fixture(params=CARDS)
def card(request: pytest.FixtureRequest, image: Image, switch: Switch) -> Iterator[tuple[str, Run]]:
    run = Run(request.param, image.path, switch, f"{STATIC} {FOREVER}")
    yield request.param, run
    run.end()


def test_echoes_of_every_size(card: tuple[str, Run], switch: Switch) -> None:
    name, run = card
    peer = Peer(switch.port(), PEER)
    run.wait_for(f"eth0: {GUEST}")
    largest = 9000 if "9000" in CARDS[name] else 4000 if "4000" in CARDS[name] else 1500
    for size in (
        0,
        1,
        56,
        1471,
        1472,
        largest - 28,
        *random.Random(name).choices(range(largest - 28), k=60),
    ):
        payload = random.Random(size).randbytes(size)
        assert peer.ping(GUEST, payload, size) == payload
    there = IPv4Address(GUEST)
    for number in range(300):  # more than there are buffers
        request = icmp(8, 0, struct.pack(">HH", 78, number) + bytes(largest - 28))
        peer.send(ipv4(peer.address, there, ICMP, request), there)
    answered = [peer.datagram(lambda packet: packet.payload[4:6] == b"\0\x4e") for _ in range(300)]
    assert [int.from_bytes(packet.payload[6:8], "big") for packet in answered] == list(range(300))
