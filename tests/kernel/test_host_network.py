"""The network's logic on the host under the sanitizers, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import host

FLAGS = ["-I.", "-Itests/host"]
SHIM = ["tests/host/network_shim.c"]
ABSENT = "tests/host/network_absent.c"
LAYERS = [
    f"network/{name}.c"
    for name in (
        *("interface", "loopback", "ethernet", "arp", "ipv4", "fragments", "icmp", "checksum", "timer"),
        *("dhcp", "dhcp_message"),
    )
]


def test_checksums_timers_and_the_packet_pool(tmp_path: Path) -> None:
    sources = ["tests/host/network_parts_test.c", *SHIM, ABSENT, *LAYERS, "network/packet.c"]
    program = host.build(tmp_path / "parts", sources, FLAGS)
    assert host.run(program) == "ok\n"


EXACT = ["tests/host/network_seen.c", "tests/host/packet_exact.c", *SHIM, *LAYERS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("network")


def test_arp_and_ipv4(tmp_path: Path) -> None:
    program = host.build(tmp_path / "layers", ["tests/host/network_layers_test.c", *EXACT], FLAGS)
    assert host.run(program) == "ok\n"


@pytest.fixture(scope="module")
def hostile(folder: Path) -> Path:
    return host.build(folder / "hostile", ["tests/host/network_hostile_test.c", *EXACT], FLAGS)


@pytest.mark.parametrize("seed", range(1, 5))
def test_fragments_icmp_and_hostile_frames(hostile: Path, seed: int) -> None:
    assert host.run(hostile, "50000", str(seed)) == "ok\n"


@pytest.fixture(scope="module")
def dhcp(folder: Path) -> Path:
    return host.build(folder / "dhcp", ["tests/host/network_dhcp_test.c", *EXACT], FLAGS)


@pytest.mark.parametrize("seed", range(1, 4))
def test_dhcp_and_strange_servers(dhcp: Path, seed: int) -> None:
    assert host.run(dhcp, "20000", str(seed)) == "ok\n"


def test_network_cards_that_lie(tmp_path: Path) -> None:
    drivers = [f"drivers/{name}.c" for name in ("virtio_net", "virtio", "virtqueue")]
    sources = ["tests/host/virtio_net_test.c", *drivers, *EXACT]
    program = host.build(tmp_path / "virtio_net", sources, FLAGS)
    assert host.run(program) == "ok\n"
