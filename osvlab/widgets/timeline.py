"""The boot timeline as a plotly figure."""

from __future__ import annotations

from osvlab.vm.timeline import BootTimeline
from osvlab.widgets.figure import PALETTE, Figure

__all__ = ["boot_figure"]

# Who did the work also stands in the names.
_HOST, _KERNEL, _APPLICATION = PALETTE[:3]


def boot_figure(timeline: BootTimeline) -> Figure:
    """Draw a boot: one bar a step, from where it began to where it ended, in milliseconds.

    Examples
    --------
    >>> from osvlab.vm.timeline import BootStep
    >>> steps = (BootStep("QEMU and firmware", 0, 0.09), BootStep("page tables", 0.09, 0.001))
    >>> figure = boot_figure(BootTimeline(steps))
    >>> [(bar.name, list(bar.y)) for bar in figure.data]
    [('QEMU', ['QEMU and firmware']), ('kernel', ['page tables'])]
    """
    groups: dict[str, tuple[str, list[int]]] = {
        "QEMU": (_HOST, []),
        "kernel": (_KERNEL, []),
        "application": (_APPLICATION, []),
    }
    for number, step in enumerate(timeline.steps):
        groups[_who(number, step.name)][1].append(number)
    figure = Figure()
    for who, (colour, numbers) in groups.items():
        if not numbers:
            continue
        steps = [timeline.steps[number] for number in numbers]
        figure.add_bar(
            name=who,
            orientation="h",
            y=[step.name for step in steps],
            base=[step.start * 1e3 for step in steps],
            x=[step.duration * 1e3 for step in steps],
            text=[f"{step.duration * 1e3:.2f} ms" for step in steps],
            textposition="outside",
            cliponaxis=False,
            marker_color=colour,
            hovertemplate="%{y}: from %{base:.2f} ms, for %{text}<extra></extra>",
        )
    rows = list(dict.fromkeys(step.name for step in timeline.steps))
    total = timeline.total * 1e3
    # There is room for the last label.
    figure.lay_out(f"Boot: {total:.1f} ms from starting QEMU", rows, "milliseconds", total * 1.15)
    return figure


def _who(number: int, name: str) -> str:
    if number == 0:
        return "QEMU"
    return "application" if name.startswith("application") else "kernel"
