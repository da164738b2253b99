"""How an image shows itself: as text, and as a table with a picture of its layout."""

from __future__ import annotations

import itertools
import os
from html import escape
from typing import TYPE_CHECKING

from osvlab.filesystems.base import show
from osvlab.paths import format_size

if TYPE_CHECKING:
    from osvlab.image.image import Image, Region

__all__ = ["as_html", "as_svg", "as_text"]

_WIDTH, _HEIGHT = 720, 64
_LETTER = 6.2  # width of a letter of a name, at most
# Colour-blind safe (Okabe and Ito), dark enough for white text or light enough for black.
_COLOURS = {
    "boot sector": ("#0072b2", "#fff"),
    "command line": ("#e69f00", "#000"),
    "kernel": ("#d55e00", "#000"),
    "unused": ("transparent", "currentColor"),
}
_FILESYSTEM = ("#009e73", "#000")


def _printable(text: str) -> str:
    """Make a text fit for any terminal: what came from names that are not UTF-8 could not be printed."""
    return show(os.fsencode(text))


def as_text(image: Image) -> str:
    """Return a few lines that say what the image is."""
    lines = [
        f"{_printable(str(image.path))}: {format_size(image.size)}, {format_size(image.allocated)} on disk",
        f"  command  {_printable(image.command) or '(none)'}",
    ]
    lines += [
        f"  {region.offset:>#11x}  {format_size(region.size):>9}  {region.name}" for region in image.layout
    ]
    return "\n".join(lines)


def as_html(image: Image) -> str:
    """Return the same facts as HTML: a picture and a table, without scripts."""
    rows = "".join(
        f'<tr><th scope="row">{escape(region.name)}</th><td>{region.offset:#x}</td>'
        f'<td>{format_size(region.size)}</td><td style="text-align:left">{escape(region.about)}</td></tr>'
        for region in image.layout
    )
    runs = f"runs <code>{escape(_printable(image.command))}</code>" if image.command else "runs nothing"
    return (
        '<div class="osvlab-image" style="color: var(--jp-ui-font-color1, inherit)">'
        f"{as_svg(image.layout)}"
        f"<table><caption>{escape(_printable(image.path.name))}: {format_size(image.size)}, "
        f"{format_size(image.allocated)} on disk; {runs}</caption>"
        '<thead><tr><th scope="col">region</th><th scope="col">starts at byte</th><th scope="col">size</th>'
        f'<th scope="col" style="text-align:left">what</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def as_svg(layout: tuple[Region, ...]) -> str:
    """Draw the regions of a disk in their order, with a description for those who cannot see it."""
    said = "; ".join(f"{region.name} at {region.offset:#x}, {format_size(region.size)}" for region in layout)
    widths = _widths(layout)
    starts = itertools.accumulate(widths, initial=0.0)
    boxes = "".join(
        _box(region, start, width) for region, start, width in zip(layout, starts, widths, strict=False)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'style="max-width: {_WIDTH}px; width: 100%" font-family="sans-serif" font-size="11">'
        f"<title>Layout of the disk, not to scale</title><desc>{escape(said)}</desc>{boxes}</svg>"
    )


def _widths(layout: tuple[Region, ...]) -> list[float]:
    """Share the width: each region gets room for its name, the rest goes by the square root of its size."""
    names = [_LETTER * len(region.name) + 8 for region in layout]
    rest = max(0.0, _WIDTH - sum(names))
    roots = [region.size**0.5 for region in layout]
    total = sum(roots) or 1.0
    return [name + rest * root / total for name, root in zip(names, roots, strict=True)]


def _box(region: Region, start: float, width: float) -> str:
    fill, ink = _COLOURS.get(region.name, _FILESYSTEM)
    dash = ' stroke-dasharray="3 3"' if region.name == "unused" else ""
    name = escape(region.name)
    return (
        f"<g><title>{name}: {format_size(region.size)} from byte {region.offset:#x}</title>"
        f'<rect x="{start + 0.5:.1f}" y="0.5" width="{width - 1:.1f}" height="40" fill="{fill}" '
        f'stroke="currentColor"{dash}/>'
        f'<text x="{start + width / 2:.1f}" y="25" text-anchor="middle" fill="{ink}">{name}</text>'
        f'<text x="{start + 1:.1f}" y="56" fill="currentColor" font-size="9">{region.offset:#x}</text></g>'
    )
