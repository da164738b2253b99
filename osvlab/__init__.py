"""A Jupyter lab kit for library operating systems."""

from __future__ import annotations

__version__ = "0.1.0"
