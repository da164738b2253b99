"""Sockets on the host under the sanitizers: random operations, after which nothing may be left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import host

# All but what gives interfaces their addresses, and shows them.
OTHERS = {f"network/{name}.c" for name in ("configure", "dhcp", "dhcp_message", "procfs", "procfs_sockets")}
SHIM = ["tests/host/files_shim.c", "tests/host/threads_shim.c", "boot/print.c"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = [*host.KERNEL.glob("files/*.c"), *host.KERNEL.glob("network/*.c")]
    parts = {str(p.relative_to(host.KERNEL)) for p in found} - OTHERS
    sources = ["tests/host/sockets_test.c", *sorted(parts), *SHIM]
    flags = ["-I.", "-iquote", "files", "-pthread"]
    return host.build(tmp_path_factory.mktemp("sockets") / "sockets_test", sources, flags)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_random_operations_leave_nothing_behind(seed: str, program: Path) -> None:
    assert host.run(program, seed) == "ok\n"
