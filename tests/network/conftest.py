"""A guest with busybox, and switches to plug it into."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import osvlab
from osvlab.image.image import Image
from osvlab.vm.network import Network
from osvlab.vm.vm import VM
from tests.network.switch import Switch


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("network-guest")
    shutil.copy("/bin/busybox", tree)
    return osvlab.build(tree, "/busybox true", output=tree.parent / "network-guest.img")


@pytest.fixture
def switch() -> Iterator[Switch]:
    with Switch() as switch:
        yield switch


@pytest.fixture
def start(image: Image) -> Iterator[Callable[..., VM]]:
    """Boot a guest; whatever still runs when the test ends is stopped."""
    running: list[VM] = []

    def start(
        command: str, *, options: str = "", network: Network | bool | None = None, machine: str = "microvm"
    ) -> VM:
        told = f"{options} {command}".strip()
        vm = osvlab.run(image, told, network=network, machine=machine, timeout=60)
        running.append(vm)
        return vm

    yield start
    for vm in running:
        vm.stop()


@pytest.fixture(params=["microvm", "pc"])
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


FOREVER = "/busybox sleep 1000"


def plugged(switch: Switch, capture: Path | None = None) -> Network:
    """Return a card that is plugged into a switch."""
    return Network(switch=switch.path, capture=capture)
