"""ZFS explained: each structure at its place, with pointers from the label down to one byte of a file."""
