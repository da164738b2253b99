"""What IPython gets for a VM and a timeline, in a kernel and elsewhere."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osvlab.vm.machine import Machine, MachineKind
from osvlab.vm.timeline import BootTimeline
from osvlab.vm.vm import VM
from osvlab.widgets import display
from osvlab.widgets.display import console_widget, timeline_bundle, vm_bundle
from tests.vm.guests import Guest
from tests.widgets.test_timeline import PLOTLY, STEPS

WIDGET = "application/vnd.jupyter.widget-view+json"
Boot = Callable[..., VM]


@pytest.fixture
def notebook(comms: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend to be a kernel; widgets made here are closed."""
    monkeypatch.setattr(display, "in_notebook", lambda: True)
    yield
    for widget in list(display._widgets.values()):
        widget.close()


@pytest.mark.qemu
def test_a_vm_shows_its_console_in_a_notebook(boot: Boot, notebook: None) -> None:
    vm = boot(Guest().say("hello\r\n").exit(0))
    vm.wait()
    data, _ = vm_bundle(vm)
    assert data[WIDGET]["model_id"] == console_widget(vm).model_id
    assert data["text/plain"] == f"{vm!r}\nhello"


@pytest.mark.qemu
def test_a_vm_shown_twice_has_one_console(boot: Boot, notebook: None) -> None:
    vm = boot(Guest().exit(0))
    first = console_widget(vm)
    assert console_widget(vm) is first
    first.close()
    assert console_widget(vm) is not first


@pytest.mark.qemu
def test_a_vm_shows_text_elsewhere(boot: Boot) -> None:
    vm = boot(Guest().say("hello\r\n").exit(3))
    vm.wait()
    assert vm._repr_mimebundle_() == {"text/plain": f"{vm!r}\nhello"}
    assert "exited with status 3" in repr(vm)


@pytest.mark.qemu
def test_a_widget_does_not_keep_its_vm(guest_folder: Path, notebook: None) -> None:
    vm = VM(
        Machine(kind=MachineKind.MICROVM, kernel=Guest().exit(0).assemble(guest_folder), memory=16 << 20)
    )
    vm.wait()
    console_widget(vm)
    gone = weakref.ref(vm)
    del vm
    gc.collect()
    assert gone() is None


@pytest.mark.qemu
def test_what_fails_is_said_and_the_text_remains(
    boot: Boot, notebook: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: VM) -> None:
        raise ValueError("no comm")

    monkeypatch.setattr(display, "console_widget", broken)
    vm = boot(Guest().exit(0))
    with pytest.warns(RuntimeWarning, match="no comm"):
        assert list(vm_bundle(vm)) == ["text/plain"]


def test_a_timeline_is_a_figure_with_its_numbers(notebook: None) -> None:
    timeline = BootTimeline(STEPS)
    bundle = timeline._repr_mimebundle_()
    assert set(bundle) == {PLOTLY, "text/plain"}
    assert bundle["text/plain"] == str(timeline)


def test_a_timeline_is_text_elsewhere() -> None:
    assert timeline_bundle(BootTimeline(STEPS)) == {"text/plain": str(BootTimeline(STEPS))}


def test_asking_loads_neither_ipython_nor_widgets() -> None:
    code = (
        "import sys, osvlab.widgets.display as display; display.in_notebook();"
        "print(*[name for name in ('IPython', 'ipywidgets', 'anywidget', 'plotly') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
