"""A notebook's Python that is restarted, or shut down, takes its guests along."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.vm.guests import Guest

pytestmark = pytest.mark.qemu

CELL = """
from pathlib import Path
import osvlab
vm = osvlab.VM(osvlab.Machine(kernel=Path({kernel!r}), memory=16 << 20))
print(vm.pid, vm.folder)
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[KernelManager]:
    manager = KernelManager()
    manager.start_kernel(env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": os.getcwd()})
    yield manager
    if manager.is_alive():
        manager.shutdown_kernel(now=True)


def printed(client: BlockingKernelClient, cell: str) -> str:
    """Run a cell and return what it printed."""
    said: list[str] = []

    def hear(message: dict[str, dict[str, str]]) -> None:
        said.append(message["content"].get("text", ""))

    reply = client.execute_interactive(cell, output_hook=hear, timeout=60)
    assert reply["content"]["status"] == "ok", reply
    return "".join(said)


@pytest.mark.parametrize("now", [False, True], ids=["asked", "killed"])
def test_a_restart_ends_the_guests(notebook: KernelManager, guest_folder: Path, now: bool) -> None:
    cell = CELL.format(kernel=str(Guest().say("up\r\n").hang().assemble(guest_folder)))
    client = notebook.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    try:
        pid, name = printed(client, cell).split()
        folder = Path(name)
        with open(os.pidfd_open(int(pid))) as guest:
            notebook.restart_kernel(now=now)
            assert select.select([guest], [], [], 20)[0], "the guest lives on"
        client.wait_for_ready(timeout=60)
        # A Python that was killed leaves its folder to the next one, which sweeps at its first guest.
        assert now or not folder.exists()
        second = Path(printed(client, cell).split()[1])
        printed(client, "vm.stop()")
        assert list(second.parent.iterdir()) == []
    finally:
        client.stop_channels()
