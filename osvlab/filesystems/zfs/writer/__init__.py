"""Writing a fresh pool. `write` is where it begins."""
