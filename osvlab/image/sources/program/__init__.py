"""A program of this host as a source: its file, and all it needs that the kernel does not have."""
