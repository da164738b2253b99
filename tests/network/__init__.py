"""The network: a switch with a will of its own, a peer that speaks raw frames, and guests behind it."""
