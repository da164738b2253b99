"""The first notebook, as a person meets it: opened in JupyterLab, Run All, looked at, typed to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab

QUICKSTART = Path(__file__).parents[2] / "notebooks/00_quickstart.ipynb"
SLOW = 60_000  # plotly alone is 5 MB of script

pytestmark = [pytest.mark.qemu, pytest.mark.slow]


def test_the_quickstart_runs_and_shows_what_it_promises(lab: Lab, page: Page) -> None:
    lab.open_copy(page, QUICKSTART)
    lab.start_all()
    lab.finish_all()
    assert lab.errors() == []
    for theme in lab.themes():
        expect(lab.console(0).get_by_role("log")).to_contain_text("Hello, world")
        expect(lab.console(0).get_by_role("status")).to_have_text("exited with status 0")
        expect(page.get_by_role("img", name="Layout of the disk")).to_be_visible()
        expect(page.locator(".jp-RenderedPlotly")).to_contain_text("QEMU and firmware", timeout=SLOW)
        expect(lab.console(1).get_by_role("log")).to_contain_text(re.compile("[0-9a-f]{64}  /hello"))
        expect(lab.console(2).get_by_role("log")).to_contain_text("six times seven is 42")
        expect(lab.console(2).get_by_role("status")).to_have_text("exited with status 3")
        expect(lab.console(3).get_by_role("log")).to_contain_text("Hello from a library")
        lab.pictures(f"quickstart-{theme}")


def test_the_shell_of_the_quickstart_listens_to_a_person(lab: Lab, page: Page) -> None:
    lab.open_copy(page, QUICKSTART)
    lab.run_above("shell = osvlab.run(tools)")
    lab.finish_all()
    assert lab.errors() == []
    console = lab.console(2)
    expect(console.get_by_role("log")).to_contain_text("/ #")
    field = console.get_by_role("textbox")
    field.fill("echo $((6 * 7))")
    field.press("Enter")
    expect(console.locator(".line").filter(has_text=re.compile("^42$"))).to_be_visible()
    field.press("Control+d")
    expect(console.get_by_role("status")).to_have_text("exited with status 0")
