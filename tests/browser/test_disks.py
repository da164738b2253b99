"""The notebooks about disks, as a person meets them: an empty VM that fills one, and what lies on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# How much wider a table is than what it is shown in, and whether the rest can be scrolled to.
OVERHANG = """(node) => {
    const area = node.closest(".jp-OutputArea-output");
    return [area.scrollWidth - area.clientWidth, getComputedStyle(area).overflowX];
}"""
SLOW = 60_000  # plotly alone is 5 MB of script

pytestmark = [pytest.mark.qemu, pytest.mark.slow]


def run(lab: Lab, page: Page, notebook: str) -> None:
    lab.open_copy(page, NOTEBOOKS / f"{notebook}.ipynb")
    lab.start_all()
    lab.finish_all()
    assert lab.errors() == []


def test_an_empty_vm_formats_and_is_filled(lab: Lab, page: Page) -> None:
    run(lab, page, "03_building_inside_an_empty_vm")
    console = lab.console(0)
    for theme in lab.themes():
        expect(console.get_by_role("log")).to_contain_text("Running mkfs...")
        expect(console.get_by_role("log")).to_contain_text("Adding /etc/motd...")
        expect(console.get_by_role("status")).to_have_text("exited with status 0")
        expect(page.get_by_role("img", name="Layout of the disk")).to_have_count(2)
        expect(page.get_by_role("table", name="Before and after")).to_contain_text("filled by hand")
        expect(page.get_by_role("table", name="Three ways").get_by_role("row")).to_have_count(4)
        expect(page.get_by_role("table", name="The header of /bin")).to_contain_text("000041ED")
        expect(page.get_by_role("table", name="Milliseconds").get_by_role("row")).to_have_count(7)
        expect(page.locator(".jp-RenderedPlotly")).to_contain_text("filled: ", timeout=SLOW)
        lab.pictures(f"empty-vm-{theme}")
    answer = page.locator("details", has_text="Such a file is called").first
    expect(answer.get_by_text("Such a file is called")).to_be_hidden()
    answer.locator("summary").click()
    expect(answer.get_by_text("Such a file is called")).to_be_visible()


def test_a_pool_is_walked_changed_and_damaged(lab: Lab, page: Page) -> None:
    run(lab, page, "04_filesystems_on_disk")
    for theme in lab.themes():
        label = page.locator(".osvlab-structure").filter(has_text="label 0 of pool osv").first
        expect(label.get_by_role("row", name=re.compile("uberblocks"))).to_contain_text("1 of 128 hold one")
        expect(page.get_by_role("table", name="From the label to the letter")).to_contain_text(
            "entry letter.txt"
        )
        history = page.get_by_role("table", name="One file, five times")
        expect(history.get_by_role("row")).to_have_count(6)
        expect(history).to_contain_text("Dear Clara")
        shared = page.get_by_role("table", name="Copy on write")
        expect(shared.get_by_role("row", name="novel 0x")).to_contain_text("(0x")
        expect(shared.get_by_role("row", name="letter 0x")).not_to_contain_text("(0x")
        for number, row in enumerate(("tables: 1 piece", "labels: 2 pieces, 1 MiB")):
            expect(page.locator(".jp-RenderedPlotly").nth(number)).to_contain_text(row, timeout=SLOW)
        lab.pictures(f"on-disk-{theme}")
    assert shared.evaluate(OVERHANG)[0] <= 0
    page.set_viewport_size({"width": 800, "height": 900})
    assert shared.evaluate(OVERHANG)[1] == "auto"
