"""`osvlab inspect`: what is in an image."""

from __future__ import annotations
