"""Formats on disk, read and written without mounting anything.

>>> import pathlib
>>> import osvlab.filesystems
>>> from osvlab.filesystems.rofs import write_rofs
>>> from osvlab.filesystems.tree import Content, Directory
>>> with pathlib.Path("hello.img").open("wb") as file:
...     _ = write_rofs(Directory({b"etc": Directory({b"hosts": Content(b"127.0.0.1 localhost")})}), file)
>>> with osvlab.filesystems.open("hello.img") as fs:
...     (fs / "etc/hosts").read_text()
'127.0.0.1 localhost'
>>> print(osvlab.filesystems.explain("hello.img") / "root directory" / "etc" / "inode")
inode 2 at byte ...
>>> print(*osvlab.filesystems.check("hello.img"))
ROFS: 3 inodes, 2 entries, 512 bytes: no problem
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
