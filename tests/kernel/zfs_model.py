"""What a tree of files must be like after any operation, in a few lines of Python."""

from __future__ import annotations

import errno
import stat
from dataclasses import dataclass, field


@dataclass(eq=False)
class Node:
    """A file of any kind."""

    mode: int
    links: int = 1
    data: bytearray = field(default_factory=bytearray)
    target: bytes = b""
    entries: dict[bytes, Node] = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class Model:
    """The tree, with the errors that the module must return."""

    def __init__(self) -> None:
        self.root = Node(0o40755, 2)

    def find(self, path: bytes) -> Node:
        node = self.root
        for name in path.split(b"/"):
            if name:
                if not node.is_directory:
                    raise OSError(errno.ENOTDIR, "")
                if name not in node.entries:
                    raise OSError(errno.ENOENT, "")
                node = node.entries[name]
        return node

    def place(self, path: bytes) -> tuple[Node, bytes]:
        folder, _, name = path.rpartition(b"/")
        directory = self.find(folder)
        if not directory.is_directory:
            raise OSError(errno.ENOTDIR, "")
        return directory, name

    def directories(self) -> list[bytes]:
        return [b"", *(path for path, node in self.walk() if node.is_directory)]

    def walk(self, node: Node | None = None, path: bytes = b"") -> list[tuple[bytes, Node]]:
        found = []
        for name, child in (node or self.root).entries.items():
            found.append((path + b"/" + name, child))
            if child.is_directory:
                found += self.walk(child, path + b"/" + name)
        return found

    def make(self, path: bytes, mode: int, target: bytes = b"") -> None:
        directory, name = self.place(path)
        if name in directory.entries:
            raise OSError(errno.EEXIST, "")
        node = Node(mode, 2 if stat.S_ISDIR(mode) else 1, target=target)
        directory.entries[name] = node
        directory.links += node.is_directory

    def link(self, path: bytes, new: bytes) -> None:
        node = self.find(path)
        directory, name = self.place(new)
        if node.is_directory:
            raise OSError(errno.EPERM, "")
        if name in directory.entries:
            raise OSError(errno.EEXIST, "")
        directory.entries[name] = node
        node.links += 1

    def remove(self, path: bytes) -> Node:
        directory, name = self.place(path)
        if name not in directory.entries:
            raise OSError(errno.ENOENT, "")
        node = directory.entries[name]
        if node.entries:
            raise OSError(errno.ENOTEMPTY, "")
        del directory.entries[name]
        directory.links -= node.is_directory
        node.links = 0 if node.is_directory else node.links - 1
        return node

    def rename(self, old: bytes, new: bytes) -> None:
        source, old_name = self.place(old)
        target, new_name = self.place(new)
        if old_name not in source.entries:
            raise OSError(errno.ENOENT, "")
        node, replaced = source.entries[old_name], target.entries.get(new_name)
        if replaced is node:
            return
        if node.is_directory and (target is node or target in [n for _, n in self.walk(node)]):
            raise OSError(errno.EINVAL, "")
        if replaced is not None:
            if node.is_directory != replaced.is_directory:
                raise OSError(errno.ENOTDIR if node.is_directory else errno.EISDIR, "")
            if replaced.entries:
                raise OSError(errno.ENOTEMPTY, "")
            self.remove(new)
        del source.entries[old_name]
        target.entries[new_name] = node
        source.links -= node.is_directory
        target.links += node.is_directory

    def write(self, path: bytes, data: bytes, offset: int) -> None:
        node = self.find(path)
        if len(node.data) < offset:
            node.data += bytes(offset - len(node.data))
        node.data[offset : offset + len(data)] = data

    def truncate(self, path: bytes, size: int) -> None:
        node = self.find(path)
        if size < len(node.data):
            del node.data[size:]
        else:
            node.data += bytes(size - len(node.data))
