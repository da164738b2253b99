"""How it looks in both themes; OSVLAB_PICTURES=folder keeps the pictures, for a person to look at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab
from tests.browser.test_console import START

COLOURS = r"""
looks = {1: "bold", 2: "dim", 3: "italic", 4: "underlined", 7: "inverse"}
text = "".join(f"\x1b[{number}m{look}\x1b[0m " for number, look in looks.items()) + "\r\n"
text += "".join(f"\x1b[{30 + n}m ink{n} \x1b[0m" for n in range(8)) + "\r\n"
text += "".join(f"\x1b[{90 + n}m ink{8 + n} \x1b[0m" for n in range(8)) + "\r\n"
vm = start(Guest().say(text).say("login: ").echo_line().exit(0)); vm
"""
TIMELINE = """
from osvlab.vm.timeline import BootStep, BootTimeline
BootTimeline((
    BootStep("QEMU and firmware", 0.0, 0.0975), BootStep("page tables", 0.0975, 0.0005),
    BootStep("drivers", 0.098, 0.0015), BootStep("application to its first line", 0.0995, 0.01),
))
"""


@pytest.mark.qemu
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_console_and_timeline_are_drawn(lab: Lab, page: Page, theme: str) -> None:
    name = lab.write(f"look-{theme}.ipynb", START, COLOURS, TIMELINE)
    lab.open(page, name, dark=theme == "dark")
    lab.start_all()
    expect(lab.console().get_by_role("log")).to_contain_text("login:")
    expect(page.locator(".jp-RenderedPlotly")).to_contain_text("page tables", timeout=60_000)
    lab.finish_all()
    if folder := os.environ.get("OSVLAB_PICTURES"):
        page.screenshot(path=Path(folder) / f"look-{theme}.png")
    lab.append("vm.stop()")
    lab.run_cell(3)
    expect(lab.console().get_by_role("status")).to_contain_text("stopped on request")
