"""cpio archives in the "new" ASCII format: written for OSv's upload daemon, read wherever they come from."""

from __future__ import annotations

from osvlab.filesystems.cpio.reader import CpioReader
from osvlab.filesystems.cpio.writer import cpio_size, write_cpio

__all__ = ["CpioReader", "cpio_size", "write_cpio"]
