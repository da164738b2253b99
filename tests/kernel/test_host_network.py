"""The network's logic on the host under the sanitizers, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import host

FLAGS = ["-I.", "-Itests/host"]
SHIM = ["tests/host/network_shim.c"]
LAYERS = [
    f"network/{name}.c"
    for name in (
        *("interface", "loopback", "ethernet", "arp", "ipv4", "fragments", "icmp", "checksum", "timer"),
        *("dhcp", "dhcp_message", "absent"),
    )
]


def test_checksums_timers_and_the_packet_pool(tmp_path: Path) -> None:
    sources = ["tests/host/network_parts_test.c", *SHIM, *LAYERS, "network/packet.c"]
    program = host.build(tmp_path / "parts", sources, FLAGS)
    assert host.run(program) == "ok\n"


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = ["tests/host/network_layers_test.c", "tests/host/packet_exact.c", *SHIM, *LAYERS]
    return host.build(tmp_path_factory.mktemp("network") / "layers", sources, FLAGS)


def test_arp_ipv4_fragments_icmp(layers: Path) -> None:
    assert host.run(layers) == "ok\n"


@pytest.mark.parametrize("seed", range(2, 6))
def test_hostile_frames(layers: Path, seed: int) -> None:
    assert host.run(layers, "50000", str(seed)) == "ok\n"
