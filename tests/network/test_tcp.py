"""TCP between two guests through bad weather: every byte arrives, and connections outlive a cut cable."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from osvlab.image.image import Image
from tests.network.switch import Switch, Weather
from tests.network.transfers import boot, build_image, said, transfer, weather_of

pytestmark = pytest.mark.qemu

SEEDS = range(100, 100 + int(os.environ.get("OSVLAB_SOAK_TRANSFERS", "50")))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build_image(tmp_path_factory.mktemp("transfers"))


@pytest.fixture
def guests() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_every_byte_arrives_through_bad_weather(image: Image, guests: ExitStack) -> None:
    """Three pairs of guests at once, each under a sky of its own."""
    pairs = []
    for seed in (1, 2, 3):
        switch = guests.enter_context(Switch(weather=weather_of(seed)))
        pairs += transfer(guests, image, switch, 2_000_000)
    for vm in pairs:
        said(vm, "transfer: ok", 200)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_twenty_million_bytes_arrive_both_ways(image: Image, guests: ExitStack, seed: int) -> None:
    machine = "pc" if seed % 2 else "microvm"
    weather = weather_of(seed)
    begun = time.monotonic()
    with Switch(weather=weather) as switch:
        server, client = transfer(guests, image, switch, 20_000_000, machine)
        if seed % 5 == 0:
            said(client, "connected", 60)
            cut(switch, 3)
            switch.weather = weather
        try:
            for vm in (server, client):
                said(vm, "transfer: ok", 500)
        finally:
            print(f"{server.console.text}\n{client.console.text}")
        guests.close()
    print(f"{weather} {machine}: {time.monotonic() - begun:.1f} s, {switch.frames} frames")


def cut(switch: Switch, seconds: float) -> None:
    """Cut all cables in the middle of a transfer."""
    begun = switch.frames
    while switch.frames < begun + 2000:
        time.sleep(0.001)
    switch.weather = Weather(drop=1.0)
    time.sleep(seconds)


def test_a_connection_outlives_a_cut_of_three_seconds(image: Image, guests: ExitStack) -> None:
    with Switch() as switch:
        server, client = transfer(guests, image, switch, 60_000_000)
        said(client, "connected", 30)
        cut(switch, 3)
        assert "ok" not in client.console.text
        switch.weather = Weather()
        for vm in (server, client):
            said(vm, "transfer: ok", 200)
        guests.close()


def test_a_peer_that_vanishes_is_noticed(image: Image, guests: ExitStack) -> None:
    """By who waits for bytes, by who sends them, and by who calls."""
    with Switch() as switch:
        server = boot(guests, image, switch, 1, "/vanish listen 7")
        said(server, "listening", 60)
        client = boot(guests, image, switch, 2, "/vanish 10.9.0.1 7")
        said(client, "connected", 60)
        server.stop()
        client.write("\n")
        said(client, "vanish: ok", 60)
        text = client.console.text
        guests.close()
    # Keep-alive: silent for 1 s, then two probes, each with a second's time for an answer. A handshake: one
    # second, and two more for the second attempt; or nobody has the address any more.
    for what, least, most in (("keep-alive", 2.5, 6), ("user timeout", 2.4, 6), ("handshake", 2.4, 6)):
        found = re.search(rf"^{what}: (ETIMEDOUT|EHOSTUNREACH) after ([0-9.]+) s", text, re.MULTILINE)
        assert found, text
        assert least <= float(found[2]) <= most, found[0]
