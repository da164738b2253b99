"""Two guests that send each other so many bytes at once, and look at each that comes."""

from __future__ import annotations

import random
import subprocess
from contextlib import ExitStack
from pathlib import Path

import osvlab
from osvlab.image.image import Image
from osvlab.vm.network import Network
from osvlab.vm.vm import VM
from tests.network.switch import Switch, Weather

__all__ = ["boot", "build_image", "said", "transfer", "weather_of"]

PROGRAMS = Path(__file__).parent.parent / "kernel" / "guest" / "network"


def build_image(folder: Path) -> Image:
    """Compile the programs for Linux and make an image of them."""
    tree = folder / "transfers"
    tree.mkdir()
    for name in ("transfer", "vanish"):
        argv = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", PROGRAMS / f"{name}.c"]
        subprocess.run([*argv, "-o", tree / name], check=True)
    return osvlab.build(tree, "/transfer", output=folder / "transfers.img")


def weather_of(seed: int) -> Weather:
    """Return bad weather: of all frames 5 % are lost, and more come late, twice or damaged."""
    chance = random.Random(seed)
    return Weather(
        drop=0.05,
        duplicate=chance.uniform(0, 0.05),
        corrupt=chance.uniform(0, 0.02),
        reorder=chance.uniform(0.05, 0.2),
        late=chance.uniform(0.001, 0.01),
        delay=chance.choice((0, 0, 0.001, 0.005)),
        jitter=chance.choice((0, 0, 0.002)),
        seed=seed,
    )


def boot(
    guests: ExitStack, image: Image, switch: Switch, host: int, command: str, machine: str = "microvm"
) -> VM:
    """Run a command in a guest whose address is 10.9.0.`host`."""
    command = f"--ip=eth0,10.9.0.{host},255.255.255.0 {command}"
    card = Network(switch=switch.path, mac=f"02:00:00:00:00:{host:02x}")
    vm = osvlab.run(image, command, network=card, memory="64M", timeout=600, machine=machine)
    return guests.enter_context(vm)


def said(vm: VM, words: str, seconds: float) -> None:
    vm.console.wait_for(words, timeout=seconds)


def transfer(
    guests: ExitStack, image: Image, switch: Switch, size: int, machine: str = "microvm"
) -> tuple[VM, VM]:
    """Boot both guests; they run until `guests` is closed."""
    server = boot(guests, image, switch, 1, f"/transfer listen 5000 {size}", machine)
    said(server, "listening", 60)
    client = boot(guests, image, switch, 2, f"/transfer 10.9.0.1 5000 {size}", machine)
    return server, client
