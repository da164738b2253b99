"""Sockets on the host under the sanitizers: random operations, after which nothing may be left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import host

LAYERS = "interface loopback ethernet arp ipv4 fragments icmp checksum timer packet network absent"
PATTERNS = ["files/*.c", "network/socket*.c", "network/udp*.c", "network/unix*.c"]
OTHERS = ["network/message.c", "network/control.c", "boot/print.c"]
SHIM = ["tests/host/files_shim.c", "tests/host/threads_shim.c"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = [p.relative_to(host.KERNEL) for pattern in PATTERNS for p in host.KERNEL.glob(pattern)]
    layers = [f"network/{name}.c" for name in LAYERS.split()]
    sources = ["tests/host/sockets_test.c", *map(str, found), *layers, *OTHERS, *SHIM]
    flags = ["-I.", "-iquote", "files", "-pthread"]
    return host.build(tmp_path_factory.mktemp("sockets") / "sockets_test", sources, flags)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_random_operations_leave_nothing_behind(seed: str, program: Path) -> None:
    assert host.run(program, seed) == "ok\n"
