"""TCP between two guests through bad weather: every byte arrives, and connections outlive a cut cable."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import osvlab
from osvlab.image.image import Image
from osvlab.vm.network import Network
from osvlab.vm.vm import VM
from tests.network.switch import Switch, Weather

pytestmark = pytest.mark.qemu

PROGRAM = Path(__file__).parent.parent / "kernel" / "guest" / "network" / "transfer.c"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("transfer")
    argv = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", PROGRAM, "-o", tree / "transfer"]
    subprocess.run(argv, check=True)
    return osvlab.build(tree, "/transfer", output=tree.parent / "transfer.img")


@pytest.fixture
def guests() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def boot(guests: ExitStack, image: Image, switch: Switch, host: int, arguments: str) -> VM:
    command = f"--ip=eth0,10.9.0.{host},255.255.255.0 /transfer {arguments}"
    card = Network(switch=switch.path, mac=f"02:00:00:00:00:{host:02x}")
    return guests.enter_context(osvlab.run(image, command, network=card, memory="64M", timeout=240))


def said(vm: VM, words: str, seconds: float) -> None:
    vm.console.wait_for(words, timeout=seconds)


def transfer(guests: ExitStack, image: Image, switch: Switch, size: int) -> tuple[VM, VM]:
    server = boot(guests, image, switch, 1, f"listen 5000 {size}")
    said(server, "listening", 30)
    client = boot(guests, image, switch, 2, f"10.9.0.1 5000 {size}")
    return server, client


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_byte_arrives_through_bad_weather(image: Image, guests: ExitStack, seed: int) -> None:
    weather = Weather(drop=0.05, duplicate=0.02, corrupt=0.01, reorder=0.1, late=0.003, seed=seed)
    with Switch(weather=weather) as switch:
        for vm in transfer(guests, image, switch, 4_000_000):
            said(vm, "transfer: ok", 200)
        guests.close()


def test_a_connection_outlives_a_cut_of_three_seconds(image: Image, guests: ExitStack) -> None:
    with Switch() as switch:
        server, client = transfer(guests, image, switch, 60_000_000)
        said(client, "connected", 30)
        begun = switch.frames
        while switch.frames < begun + 2000:
            time.sleep(0.001)
        switch.weather = Weather(drop=1.0)
        time.sleep(3)  # the cut itself
        assert "ok" not in client.console.text
        switch.weather = Weather()
        for vm in (server, client):
            said(vm, "transfer: ok", 200)
        guests.close()
