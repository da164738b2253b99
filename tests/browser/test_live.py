"""The live chart in JupyterLab: drawn, reloaded, stopped, saved, closed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Lab

# A watch whose guest says what the test wants, as the last value of a cell.
START = """
from osvlab.widgets.display import chart_widget
from tests.guest.scripted import ScriptedRest, scripted_watch, until
rest = ScriptedRest([(120, 5), (90, 8), (30, 12), (60, 9)])
watch = scripted_watch(rest)
until(watch, 4)
"""
FREE = re.compile("Free memory: 60.0 of 128 MiB, least 30, most 120. Threads: 9, least 5, most 12.")


def chart(page: Page, number: int = 0) -> Locator:
    return page.locator(".osvlab-live").nth(number)


def picture(page: Page) -> Locator:
    return chart(page).get_by_role("img")


def test_samples_are_drawn_as_they_come(lab: Lab, page: Page) -> None:
    lab.open(page, lab.write("live.ipynb", START, "watch", "rest.more((70, 10))"))
    lab.start_all()
    lab.finish_all()
    expect(picture(page)).to_have_accessible_name(
        re.compile("Free memory: 70.0 .* Threads: 10, .* 5 samples")
    )
    for kind in ("memory", "threads"):
        line = chart(page).locator(f"path.line.{kind}").get_attribute("d") or ""
        assert re.fullmatch(r"M[\d. L]+", line)
        assert line.count("L") >= 4
    expect(chart(page).locator("text.name")).to_have_text(["Free memory (MiB)", "Threads"])
    expect(chart(page).locator("text.value")).to_have_text(["70.0 of 128 MiB", "10"])
    expect(chart(page)).to_contain_text("seconds since the watch began")


def test_a_pause_is_a_gap_in_the_line(lab: Lab, page: Page) -> None:
    late = """
import time
from types import SimpleNamespace
from osvlab.guest import watch as module
module.time = SimpleNamespace(monotonic=lambda: time.monotonic() + 5)  # it is later now
rest.more((70, 10), (71, 10))
until(watch, 6)
"""
    lab.open(page, lab.write("gap.ipynb", START, "watch", late))
    lab.start_all()
    lab.finish_all()
    expect(picture(page)).to_have_accessible_name(re.compile("6 samples"))
    line = chart(page).locator("path.line.memory").get_attribute("d") or ""
    assert line.count("M") == 2


def test_a_reloaded_page_shows_it_all_and_goes_on(lab: Lab, page: Page) -> None:
    name = lab.write("again.ipynb", START, "watch")
    lab.open(page, name)
    lab.start_all()
    expect(picture(page)).to_have_accessible_name(FREE)
    lab.finish_all()
    lab.save()
    lab.open(page, name)
    expect(picture(page)).to_have_accessible_name(FREE)
    lab.append("rest.more((10, 20))")
    lab.run_cell(2)
    expect(picture(page)).to_have_accessible_name(
        re.compile("Free memory: 10.0 .* Threads: 20, .* 5 samples")
    )


def test_stopping_it_by_keyboard_leaves_the_focus_somewhere(lab: Lab, page: Page) -> None:
    lab.open(page, lab.write("stop.ipynb", START, "watch"))
    lab.start_all()
    expect(chart(page)).to_match_aria_snapshot("""
        - group "Memory and threads of 127.0.0.1:8000":
          - status: running
          - button "Stop"
          - img /Free memory/
    """)
    lab.finish_all()
    chart(page).get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    expect(chart(page).get_by_role("status")).to_have_text("stopped watching")
    expect(chart(page).get_by_role("button")).to_have_count(0)
    expect(picture(page)).to_have_accessible_name(FREE)


def test_the_saved_notebook_tells_the_end(lab: Lab, page: Page) -> None:
    lab.open(
        page,
        lab.write("saved.ipynb", START, "watch", "rest.more((70, 10)); until(watch, 5)", "watch.stop()"),
    )
    lab.start_all()
    lab.finish_all()
    expect(chart(page).get_by_role("status")).to_have_text("stopped watching")
    expect(picture(page)).to_have_accessible_name(re.compile("5 samples"))
    (output,) = lab.saved()["cells"][1]["outputs"]
    text = "".join(output["data"]["text/plain"])
    assert "5 samples, stopped watching" in text
    assert "free memory: 70.0 of 128.0 MiB (30.0 to 120.0)" in text


def test_what_ends_the_watch_is_said_in_the_chart(lab: Lab, page: Page) -> None:
    end = "rest.ended = 'crashed: page fault'; rest.more(RuntimeError('the connection is gone'))"
    lab.open(page, lab.write("crash.ipynb", START, "watch", end))
    lab.start_all()
    expect(chart(page).get_by_role("status")).to_have_text("crashed: page fault")
    lab.finish_all()
    assert lab.errors() == []


def test_closing_takes_the_chart_out_of_the_page(lab: Lab, page: Page) -> None:
    lab.open(page, lab.write("close-live.ipynb", START, "watch"))
    lab.start_all()
    expect(chart(page)).to_be_visible()
    lab.finish_all()
    lab.append("chart_widget(watch).close()")
    lab.run_cell(2)
    expect(page.locator(".osvlab-live")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_long_watch_is_drawn(lab: Lab, page: Page, theme: str) -> None:
    long = """
import math
rest = ScriptedRest([(90 + 30 * math.sin(n / 200), 5 + n // 100 % 7) for n in range(3000)])
watch = scripted_watch(rest)
until(watch, 3000)
"""
    lab.open(page, lab.write(f"long-{theme}.ipynb", START, long, "watch"), dark=theme == "dark")
    lab.start_all()
    lab.finish_all()
    expect(picture(page)).to_have_accessible_name(re.compile("2048 samples"))
    if folder := os.environ.get("OSVLAB_PICTURES"):
        page.screenshot(path=Path(folder) / f"live-{theme}.png")
