"""A JupyterLab server of the tests' own, and a Chromium that may talk to nobody else."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.lab import Lab

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
START_DEADLINE = 60
PATIENCE = 20_000  # milliseconds: the host may be busy with other tests
SETTINGS = {
    # A notebook that the tests look at is all there, not only the cells in sight.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = pytest.mark.skip(reason=f"needs {CHROMIUM}: apt-get install chromium")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")
            if not CHROMIUM.exists():
                item.add_marker(missing)


@pytest.fixture(scope="session")
def chromium() -> Iterator[sync_api.Browser]:
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: sync_api.Browser) -> Iterator[sync_api.Page]:
    """A page of a new profile; the test fails if it asks for anything that is not on this host."""
    context = chromium.new_context(viewport={"width": 1100, "height": 900})
    elsewhere: list[str] = []

    def only_here(route: sync_api.Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("data", "blob", "about") or address.hostname in ("localhost", "127.0.0.1"):
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    context.route("**/*", only_here)
    yield context.new_page()
    context.close()
    assert elsewhere == []


@pytest.fixture
def lab(server: Lab) -> Iterator[Lab]:
    """A JupyterLab in which no kernel runs yet, and none is left."""
    yield server
    server.shut_down()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab with nothing of the user's in it: settings, runtime files, notebooks."""
    home = tmp_path_factory.mktemp("lab")
    notebooks = home / "notebooks"
    notebooks.mkdir()
    for plugin, values in SETTINGS.items():
        path = home / "settings" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    token = secrets.token_hex(16)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--LabApp.news_url=None"),
        *("--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", f"--IdentityProvider.token={token}"),
        *(f"--ServerApp.root_dir={notebooks}", "--LabApp.expose_app_in_browser=True"),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    environment = {
        **os.environ,
        "HOME": str(home),
        # What was built stays built.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        # Kernels find the tests' own guests, and perhaps another ipykernel to be tried.
        "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)])),
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=home
        )
    try:
        yield Lab(_address(process, home), token, notebooks)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _address(process: subprocess.Popen[bytes], home: Path) -> str:
    """Wait until the server says on which port it listens."""
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        for found in (home / "runtime").glob("jpserver-*.json"):
            try:
                return str(json.loads(found.read_text())["url"])
            except ValueError:  # half written
                continue
        time.sleep(0.05)
    raise RuntimeError(f"JupyterLab did not start:\n{(home / 'log').read_text()}")
