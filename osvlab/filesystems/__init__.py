"""Formats on disk, read and written without mounting anything.

>>> import osvlab.filesystems
>>> fs = osvlab.filesystems.open("hello.img")  # doctest: +SKIP
>>> (fs / "etc/hosts").read_text()  # doctest: +SKIP
'127.0.0.1 localhost'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from osvlab.filesystems.opening import open
    from osvlab.filesystems.overview import check, explain

__all__ = ["check", "explain", "open"]

_HOME = {
    "check": "osvlab.filesystems.overview",
    "explain": "osvlab.filesystems.overview",
    "open": "osvlab.filesystems.opening",
}


def __getattr__(name: str) -> object:
    """Load what opens images when it is used: it knows all formats, and most who come here want one."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
