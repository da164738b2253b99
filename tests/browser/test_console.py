"""The console widget in JupyterLab, with real guests."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab

# Cells: a tiny guest of the tests, in a machine, as the last value of a cell.
START = """
from pathlib import Path
import tempfile
from osvlab.vm.machine import Machine
from osvlab.vm.vm import VM
from tests.vm.guests import Guest
folder = Path(tempfile.mkdtemp())
def start(guest):
    return VM(Machine(kind="microvm", kernel=guest.assemble(folder), memory=16 << 20))
"""
ASK = r'vm = start(Guest().say("What is your name? ").echo_line().say("\r\nGood bye.\r\n").exit(0)); vm'

pytestmark = pytest.mark.qemu


def test_the_console_is_live_and_takes_typing(lab: Lab, page: Page) -> None:
    lab.open(page, lab.write("typing.ipynb", START, ASK))
    lab.start_all()
    console = lab.console()
    expect(console.get_by_role("log")).to_contain_text("What is your name?")
    expect(console.get_by_role("status")).to_have_text("running")
    field = console.get_by_role("textbox")
    field.fill("Ada")
    field.press("Enter")
    expect(console.get_by_role("log")).to_contain_text("What is your name? Ada")
    expect(console.get_by_role("log")).to_contain_text("Good bye.")
    expect(console.get_by_role("status")).to_have_text("exited with status 0")
    expect(field).to_be_hidden()
    lab.finish_all()


def test_output_appears_while_the_cell_is_busy(lab: Lab, page: Page) -> None:
    busy = "from IPython.display import display\ndisplay(vm)\noutcome = vm.wait()"
    lab.open(page, lab.write("busy.ipynb", START, ASK.removesuffix("; vm"), busy, "vm.boot is None"))
    lab.start_all()
    console = lab.console()
    expect(console.get_by_role("log")).to_contain_text("What is your name?")
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='busy']").wait_for()
    # The kernel cannot hear what is typed now; stopping the cell lets it.
    page.get_by_role("button", name="Interrupt the kernel").click()
    console.get_by_role("textbox").fill("later")
    console.get_by_role("textbox").press("Enter")
    expect(console.get_by_role("log")).to_contain_text("Good bye.")


def test_the_text_is_there_again_after_a_reload(lab: Lab, page: Page) -> None:
    name = lab.write("reload.ipynb", START, ASK)
    lab.open(page, name)
    lab.start_all()
    expect(lab.console().get_by_role("log")).to_contain_text("What is your name?")
    lab.finish_all()
    lab.save()
    lab.open(page, name)
    console = lab.console()
    expect(console.get_by_role("log")).to_contain_text("What is your name?")
    console.get_by_role("textbox").fill("Ada again")
    console.get_by_role("textbox").press("Enter")
    expect(console.locator(".line")).to_have_text(["What is your name? Ada again", "", "Good bye.", ""])


def test_a_flood_arrives_whole(lab: Lab, page: Page) -> None:
    flood = r'Guest().say("0123456789 " * 7 + "\r\n", times=20000).say("end of flood\r\n").exit(0)'
    lab.open(page, lab.write("flood.ipynb", START, f"vm = start({flood}); vm"))
    lab.start_all()
    console = lab.console()
    expect(console.get_by_role("status")).to_have_text("exited with status 0", timeout=60_000)
    expect(console.get_by_role("log")).to_contain_text("end of flood", timeout=20_000)
    expect(console.get_by_role("log")).to_contain_text("earlier lines")
    assert console.locator(".line").count() <= 2000
    lines = console.locator(".line").all_inner_texts()
    assert set(lines[:-2]) == {("0123456789 " * 7)}


def test_a_console_shown_twice_is_the_same_console(lab: Lab, page: Page) -> None:
    lab.open(page, lab.write("twice.ipynb", START, ASK, "vm"))
    lab.start_all()
    for number in range(2):
        expect(lab.console(number).get_by_role("log")).to_contain_text("What is your name?")
    lab.console(0).get_by_role("textbox").fill("both")
    lab.console(0).get_by_role("textbox").press("Enter")
    for number in range(2):
        expect(lab.console(number).get_by_role("log")).to_contain_text("Good bye.")


def test_closing_takes_the_console_out_of_the_page(lab: Lab, page: Page) -> None:
    close = "from osvlab.widgets.display import console_widget; console_widget(vm).close(); vm.stop()"
    lab.open(page, lab.write("close.ipynb", START, ASK))
    lab.start_all()
    expect(lab.console()).to_be_visible()
    lab.finish_all()
    lab.append(close)
    lab.run_cell(2)
    expect(page.locator(".osvlab-console")).to_have_count(0)


def test_the_keyboard_gets_in_and_out(lab: Lab, page: Page) -> None:
    lab.open(page, lab.write("keys.ipynb", START, ASK))
    lab.start_all()
    console = lab.console()
    field = console.get_by_role("textbox")
    expect(field).to_be_visible()
    lab.finish_all()
    cells = page.locator(".jp-CodeCell").count()
    field.focus()
    # Letters that are commands to the notebook are only letters here.
    field.press_sequentially("abdd")
    expect(field).to_have_value("abdd")
    assert page.locator(".jp-CodeCell").count() == cells
    expect(console.get_by_role("log")).to_have_attribute("aria-live", "polite")
    field.press("Escape")
    expect(console.get_by_role("log")).to_be_focused()
    expect(console.get_by_role("log")).to_have_attribute("aria-live", "off")
    page.keyboard.press("Tab")
    expect(field).to_be_focused()
    field.fill("Ada")
    field.press("Enter")
    # The field goes with the guest, and the focus must be somewhere.
    expect(console.get_by_role("status")).to_have_text("exited with status 0")
    expect(console.get_by_role("log")).to_be_focused()


def test_everything_has_a_name_and_a_role(lab: Lab, page: Page) -> None:
    lab.open(page, lab.write("names.ipynb", START, ASK))
    lab.start_all()
    expect(lab.console()).to_match_aria_snapshot("""
        - group /guest-/:
          - status: running
          - 'log /what the guest prints/': What is your name?
          - textbox "Type a line to the guest; Escape leaves"
          - button "Send"
          - button "Ctrl-C"
          - button "Ctrl-D"
    """)
