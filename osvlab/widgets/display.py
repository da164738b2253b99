"""What a VM, a watch and a boot timeline hand to IPython when it shows them.

In a notebook that is a picture and its text, everywhere else the text alone. The text
always comes along: for a terminal, a log, a search, and a screen reader.
"""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from osvlab.vm.owner import owner
from osvlab.vm.timeline import BootTimeline
from osvlab.vm.vm import VM

if TYPE_CHECKING:
    from osvlab.guest.watch import Watch
    from osvlab.widgets.console import ConsoleWidget
    from osvlab.widgets.live import LiveChart
    from osvlab.widgets.stream import StreamWidget

__all__ = ["chart_widget", "console_widget", "in_notebook", "show_watch", "timeline_bundle", "vm_bundle"]

# One widget a VM: shown again, it is the same console, not a copy.
_widgets: weakref.WeakKeyDictionary[VM, ConsoleWidget] = weakref.WeakKeyDictionary()

# One chart a watch, by its id. A chart holds its watch, so no other gets that id as long as it is here.
_charts: weakref.WeakValueDictionary[int, LiveChart] = weakref.WeakValueDictionary()

Bundle: TypeAlias = dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]


def in_notebook() -> bool:
    """Whether this Python is a Jupyter kernel, to which a page may be connected.

    Examples
    --------
    >>> in_notebook()
    False
    """
    # Whoever runs in a kernel has IPython loaded; nobody else shall load it for this question.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def console_widget(vm: VM) -> ConsoleWidget:
    """Return the console widget of a VM; the same one each time, unless it was closed."""
    from osvlab.widgets.console import ConsoleWidget

    widget = _widgets.get(vm)
    if widget is None or not widget.comm:
        widget = _widgets[vm] = ConsoleWidget(vm.console, title=_title(vm))
    return widget


def _title(vm: VM) -> str:
    """Return what the guest runs, or else what boots."""
    from osvlab.image.command import split_command_line

    told = vm.machine.command_line or (vm.image.command_line if vm.image is not None else "")
    command = split_command_line(told)[1]
    return command or (vm.machine.kernel.name if vm.machine.kernel is not None else "console")


def chart_widget(watch: Watch) -> LiveChart:
    """Return the live chart of a watch; the same one each time, unless it was closed."""
    from osvlab.widgets.live import LiveChart

    chart = _charts.get(id(watch))
    if chart is None or not chart.comm:
        chart = _charts[id(watch)] = LiveChart(watch)
    return chart


def vm_bundle(vm: VM) -> Bundle:
    """Return a VM's MIME bundle: its console as a widget, and as text."""
    text = f"{vm!r}\n{vm.console.tail(200)}".rstrip()
    return _with_widget(text, lambda: console_widget(vm), "the console")


def show_watch(watch: Watch) -> None:
    """Show a watch: its chart as a widget, and as text, which is brought up to date at its end.

    So a saved notebook tells the whole course, also to those who have no kernel for the widget.
    """
    from IPython.display import display

    def shown() -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = _with_widget(str(watch), lambda: chart_widget(watch), "the live chart")
        return bundle if isinstance(bundle, tuple) else (bundle, {})

    data, metadata = shown()
    handle = display(data, metadata=metadata, raw=True, display_id=True)  # type: ignore[no-untyped-call]
    if watch.running and in_notebook():

        def finish() -> None:
            data, metadata = shown()
            handle.update(data, metadata=metadata, raw=True)

        watch.subscribe(lambda _: None, lambda _: owner().loop.call_soon_threadsafe(finish))


def _with_widget(text: str, widget: Callable[[], StreamWidget], what: str) -> Bundle:
    if in_notebook():
        try:
            shown: tuple[dict[str, Any], dict[str, Any]] | None = widget()._repr_mimebundle_()
        except Exception as error:  # noqa: BLE001 - IPython would swallow it and say nothing of the reason
            warnings.warn(f"cannot show {what} as a widget: {error!r}", RuntimeWarning, stacklevel=3)
        else:
            if shown is not None:
                return {**shown[0], "text/plain": text}, shown[1]
    return {"text/plain": text}


def timeline_bundle(timeline: BootTimeline) -> dict[str, Any]:
    """Return a boot timeline's MIME bundle: a plotly figure, and its numbers as text."""
    text = {"text/plain": str(timeline)}
    if not in_notebook():
        return text
    try:
        from osvlab.widgets.timeline import boot_figure

        return {**boot_figure(timeline)._repr_mimebundle_(), **text}
    except Exception as error:  # noqa: BLE001 - IPython would swallow it and say nothing of the reason
        warnings.warn(f"cannot draw the boot timeline: {error!r}", RuntimeWarning, stacklevel=2)
        return text
