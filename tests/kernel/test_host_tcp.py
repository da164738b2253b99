"""TCP on the host under the sanitizers, in virtual time: states, data, weather, hostility, speed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.kernel import host
from tests.kernel.test_host_network import LAYERS

FLAGS = ["-I.", "-Itests/host", "-iquote", "files"]
WRAPPED = ["-Wl,--wrap=kzalloc,--wrap=kfree,--wrap=packet_allocate"]
SHIM = [f"tests/host/{name}.c" for name in ("network_shim", "packet_exact", "tcp_shim", "tcp_script")]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the network once; the programs link with it."""
    folder = tmp_path_factory.mktemp("tcp")
    tcp = sorted(str(p.relative_to(host.KERNEL)) for p in (host.KERNEL / "network").glob("tcp_*.c"))
    flags = [*FLAGS, "-D_GNU_SOURCE", "-Iinclude", *host.SANITIZERS, "-g", "-O1", "-std=gnu11"]
    # What is missing is taken in its place by the linker, in an archive perhaps too late.
    for source in [*tcp, *LAYERS, *SHIM]:
        target = folder / (source.replace("/", "_") + ".o")
        subprocess.run(["gcc", *flags, "-c", source, "-o", target], cwd=host.KERNEL, check=True)
    whole = folder / "network.o"
    subprocess.run(["ld", "-r", "-o", whole, *folder.glob("*.o")], check=True)
    return whole


def program(library: Path, name: str) -> Path:
    return host.build(library.parent / name, [f"tests/host/{name}.c", str(library)], [*FLAGS, *WRAPPED])


def test_every_transition_of_the_states(library: Path) -> None:
    assert host.run(program(library, "tcp_states_test")) == "ok\n"


@pytest.mark.parametrize("name", ["tcp_data_test", "tcp_loss_test", "tcp_calls_test"])
def test_windows_recovery_and_timers(library: Path, name: str) -> None:
    assert host.run(program(library, name)) == "ok\n"


@pytest.mark.parametrize(
    ("seeds", "size", "failing"),
    [((1, 120), 300_000, 0), ((1000, 10), 3_000_000, 0), ((2000, 60), 200_000, 50)],
    ids=["many", "long", "without-memory"],
)
def test_every_byte_arrives(library: Path, seeds: tuple[int, int], size: int, failing: int) -> None:
    arguments = map(str, [*seeds, size, failing])
    assert host.run(program(library, "tcp_transfer_test"), *arguments) == "ok\n"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hostile_segments_leave_nothing_behind(library: Path, seed: int) -> None:
    assert host.run(program(library, "tcp_fuzz_test"), str(seed), "70000") == "ok\n"


def test_a_clean_line_is_full(library: Path) -> None:
    assert host.run(program(library, "tcp_speed_test")).endswith("ok\n")
