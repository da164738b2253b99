"""Widgets without a kernel and without a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import comm
import pytest

from osvlab.vm.console import Console
from osvlab.widgets.console import ConsoleWidget
from tests.widgets.fakes import FakeComm


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every widget talk to a comm that takes notes."""
    monkeypatch.setattr(comm, "create_comm", FakeComm)


@pytest.fixture
def widget(comms: None) -> Iterator[Callable[..., ConsoleWidget]]:
    """Make console widgets, closed when the test ends."""
    made: list[ConsoleWidget] = []

    def widget(console: Console, **options: Any) -> ConsoleWidget:
        made.append(ConsoleWidget(console, **options))
        return made[-1]

    yield widget
    for each in made:
        each.close()
