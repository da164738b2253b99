"""Formats on disk, read and written without mounting anything."""
