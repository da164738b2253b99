"""The network's logic on the host under the sanitizers, in virtual time."""

from __future__ import annotations

from pathlib import Path

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
