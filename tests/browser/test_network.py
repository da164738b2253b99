"""The notebook of the network, as a person meets it, and its live chart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab

NOTEBOOK = Path(__file__).parents[2] / "notebooks/09_network_and_rest.ipynb"

pytestmark = [pytest.mark.qemu, pytest.mark.slow]


def test_the_notebook_runs_and_shows_what_it_promises(lab: Lab, page: Page) -> None:
    lab.open_copy(page, NOTEBOOK)
    lab.start_all()
    chart, last = page.locator(".osvlab-live").nth(0), page.locator(".osvlab-live").nth(1)
    # While the cell that starts the load is busy, the chart moves.
    expect(chart.get_by_role("status")).to_have_text("running", timeout=60_000)
    expect(chart.get_by_role("img")).to_have_accessible_name(re.compile("Threads: (9|1[0-9])"))
    lab.finish_all()
    assert lab.errors() == []
    for theme in lab.themes():
        expect(chart.get_by_role("status")).to_have_text("stopped watching")
        expect(last.get_by_role("status")).to_contain_text("crashed: out of memory")
        expect(page.get_by_role("table", name="Packets up to")).to_contain_text("TCP SYN ACK")
        expect(page.get_by_role("table", name="The guest's threads")).to_contain_text("network")
        expect(lab.console(0).get_by_role("log")).to_contain_text("visit 1: GET / HTTP/1.1")
        lab.pictures(f"network-{theme}")
