"""ROFS, OSv's read-only filesystem: see `format` for how it lies on disk."""

from __future__ import annotations

from osvlab.filesystems.rofs.reader import RofsReader
from osvlab.filesystems.rofs.writer import RofsPlan, plan_rofs, write_rofs

__all__ = ["RofsPlan", "RofsReader", "plan_rofs", "write_rofs"]
