"""JupyterLab as a person uses it: open a notebook, run it, look at what is under the cells."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

IDLE = ".jp-Notebook-ExecutionIndicator[data-status='idle']"


class Lab:
    """A server, and a page on it.

    Parameters
    ----------
    address, token
        Where the server is, and what it asks for.
    folder
        Where its notebooks are.
    """

    def __init__(self, address: str, token: str, folder: Path) -> None:
        self._address = address
        self._token = token
        self.folder = folder
        self.page: Page

    def write(self, name: str, *sources: str) -> str:
        """Make a notebook of these cells."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in sources],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(notebook, self.folder / name)
        return name

    def open(self, page: Page, name: str, *, dark: bool = False) -> None:
        """Open a notebook in a page, and wait for its kernel."""
        self.page = page
        page.goto(f"{self._address}lab/tree/{name}?token={self._token}&reset")
        page.locator(IDLE).wait_for(timeout=60_000)
        # The indicator is idle from the start; the kernel has to be connected too.
        page.wait_for_function(
            """() => {
                const session = window.jupyterapp?.shell.currentWidget?.sessionContext;
                return session?.isReady && session.session?.kernel?.connectionStatus === "connected";
            }""",
            timeout=60_000,
        )
        # Also a light one has to be asked for: the server remembers what the test before chose.
        self.choose_theme(dark=dark)

    def choose_theme(self, *, dark: bool) -> None:
        """Show everything in dark colours, or in light ones."""
        theme = "Dark" if dark else "Light"
        self._command("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
        light = "false" if dark else "true"
        self.page.locator(f"body[data-jp-theme-light='{light}']").wait_for(state="attached")

    def shut_down(self) -> None:
        """End all kernels, and with them their guests: some of these would be busy until the last test."""
        for session in self._ask("GET", "api/sessions"):
            self._ask("DELETE", f"api/sessions/{session['id']}")

    def _ask(self, method: str, path: str) -> Any:
        head = {"Authorization": f"token {self._token}"}
        request = urllib.request.Request(f"{self._address}{path}", method=method, headers=head)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def _command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        self.page.evaluate(
            "([name, arguments]) => window.jupyterapp.commands.execute(name, arguments)",
            [name, arguments or {}],
        )

    def open_copy(self, page: Page, notebook: Path) -> None:
        """Open a copy of one of the project's notebooks."""
        (self.folder / notebook.name).write_bytes(notebook.read_bytes())
        self.open(page, notebook.name)

    def start_all(self) -> None:
        """Choose Run All Cells, and come back at once."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()

    def finish_all(self, seconds: float = 120) -> None:
        """Wait until the kernel has nothing more to do."""
        self.page.wait_for_function(
            """() => {
                const cells = window.jupyterapp.shell.currentWidget.content.model.cells;
                const codes = Array.from(cells).filter((cell) => cell.type === "code");
                return codes.every((cell) => cell.executionState === "idle");
            }""",
            timeout=seconds * 1000,
        )
        self.page.locator(IDLE).wait_for(timeout=seconds * 1000)

    def saved(self) -> dict[str, Any]:
        """Return the notebook as it would be saved, outputs and all."""
        content: dict[str, Any] = self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.context.model.toJSON()"
        )
        return content

    def errors(self) -> list[str]:
        """Return what went wrong in cells."""
        outputs = [output for cell in self.saved()["cells"] for output in cell.get("outputs", [])]
        return [output["evalue"] for output in outputs if output["output_type"] == "error"]

    def save(self) -> None:
        """Save the notebook to its file."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def append(self, source: str) -> None:
        """Add a code cell at the end."""
        self.page.evaluate(
            """(source) => window.jupyterapp.shell.currentWidget.content.model.sharedModel.addCell(
                { cell_type: "code", source })""",
            source,
        )

    def run_cell(self, number: int) -> None:
        """Click into a code cell and press Ctrl-Enter; come back at once."""
        cell = self.page.locator(".jp-CodeCell").nth(number)
        cell.locator(".cm-content").first.click()
        self.page.keyboard.press("Control+Enter")

    def run_above(self, source: str) -> None:
        """Run a notebook from its top to the cell that contains some text, and no further."""
        self.page.evaluate(
            """async (source) => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                const texts = Array.from(notebook.model.cells, (cell) => cell.sharedModel.getSource());
                notebook.activeCellIndex = texts.findIndex((text) => text.includes(source));
                await window.jupyterapp.commands.execute("notebook:run-all-above");
                await window.jupyterapp.commands.execute("notebook:run-cell");
            }""",
            source,
        )

    def themes(self) -> Iterator[str]:
        """Show the notebook in light colours, then in dark ones: everything has to be there in both."""
        for theme in ("light", "dark"):
            self.choose_theme(dark=theme == "dark")
            yield theme

    def pictures(self, name: str) -> None:
        """Take pictures of the whole notebook, a screen each, if `$OSVLAB_PICTURES` names a folder."""
        if not (folder := os.environ.get("OSVLAB_PICTURES")):
            return
        scroller = self.page.locator(".jp-NotebookPanel-notebook .jp-WindowedPanel-outer")
        height = int(scroller.evaluate("(node) => node.scrollHeight"))
        step = int(scroller.evaluate("(node) => node.clientHeight")) - 40
        for number, top in enumerate(range(0, height, step)):
            scroller.evaluate("(node, top) => { node.scrollTop = top; }", top)
            self.page.screenshot(path=Path(folder) / f"{name}-{number}.png")

    def console(self, number: int = 0) -> Locator:
        """Return a console widget on the page, counted from the top."""
        return self.page.locator(".osvlab-console").nth(number)
