"""What tests of every part share: guests of a few bytes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osvlab.vm.machine import Machine
from osvlab.vm.vm import VM
from tests.vm.guests import Guest


def pytest_configure() -> None:
    """Take signals that tests send as they come from a terminal, also below `nohup` or a shell's ``&``.

    These leave them ignored, and so would be every program that a test starts and then interrupts.
    """
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def guest_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guests")


@pytest.fixture
def boot(guest_folder: Path) -> Iterator[Callable[..., VM]]:
    """Boot a tiny guest; whatever still runs when the test ends is stopped."""
    running: list[VM] = []

    def boot(guest: Guest, *, machine: str = "microvm", memory: int = 16 << 20, **options: object) -> VM:
        described = Machine(kind=machine, kernel=guest.assemble(guest_folder), memory=memory)  # type: ignore[arg-type]
        vm = VM(described, **options)  # type: ignore[arg-type]
        running.append(vm)
        return vm

    yield boot
    for vm in running:
        vm.stop()
