"""ZFS: pools read, checked, explained and written. See `format` for how it lies on disk."""
