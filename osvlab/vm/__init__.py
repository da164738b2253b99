"""Starting and steering virtual machines."""

from __future__ import annotations
