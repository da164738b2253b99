"""The ZFS module as a program on the host: a pool in an image file, worked on by commands."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Stat(NamedTuple):
    """What the tool tells of a file."""

    object: int
    mode: int
    owner: int
    group: int
    links: int
    size: int
    modified: int
    stored: int
    record: int
    parent: int


class Entry(NamedTuple):
    object: int
    type: int
    name: bytes


class ZfsTool:
    """A running tool. A command that fails raises the `OSError` that the module returned."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.messages = folder / "messages"
        with self.messages.open("ab") as messages:
            self._process = subprocess.Popen(
                [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages
            )
        self._file = folder / "content"

    def run(self, *words: bytes | str | int) -> list[bytes]:
        """Run one command and return the lines it answers."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        line = b"\t".join(word if isinstance(word, bytes) else str(word).encode() for word in words)
        stdin.write(line + b"\n")
        stdin.flush()
        lines: list[bytes] = []
        for line in stdout:
            line = line[:-1]
            if line == b"ok":
                return lines
            if line.startswith(b"error "):
                number = int(line[6:])
                raise OSError(number, f"{os.strerror(number)}: {words}")
            lines.append(line)
        raise AssertionError(f"the tool died of {words}: {self.messages.read_text()[-3000:]}")

    def insist(self, *words: bytes | str | int) -> None:
        """Run a command as the kernel does: once more after a sync when space ran out."""
        try:
            self.run(*words)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.run("sync")
            self.run(*words)

    def close(self) -> None:
        """End it; it must have given all memory back."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0, self.messages.read_text()[-3000:]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    # --- Pools

    def format(self, image: Path, name: str, ashift: int = 9, compression: int = 15) -> None:
        self.run("format", os.fspath(image), name, ashift, compression)

    def open(self, image: Path, dataset: str, read_only: bool = False) -> None:
        self.run("open", os.fspath(image), int(read_only))
        self.run("dataset", dataset)

    def export(self) -> None:
        self.run("export")

    # --- Files

    def put(self, path: bytes, data: bytes, offset: int = 0) -> None:
        self._file.write_bytes(data)
        self.run("put", path, os.fspath(self._file), offset)

    def get(self, path: bytes) -> bytes:
        self.run("get", path, os.fspath(self._file))
        return self._file.read_bytes()

    def stat(self, path: bytes) -> Stat:
        words = self.run("stat", path)[0].split()
        return Stat(int(words[0]), int(words[1], 8), *map(int, words[2:]))

    def ls(self, path: bytes) -> list[Entry]:
        return [entry(line) for line in self.run("ls", path)]

    def ls_part(self, path: bytes, count: int, position: int) -> tuple[list[Entry], int]:
        *lines, position_line = self.run("ls", path, count, position)
        return [entry(line) for line in lines], int(position_line)

    def walk(self, path: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        for found in self.ls(path):
            child = path + b"/" + found.name
            yield child, found
            if found.type == 4:
                yield from self.walk(child)

    def tree(self, top: bytes = b"") -> dict[bytes, tuple[object, ...]]:
        """Everything in a directory, comparable with `host_tree` of the same files."""
        tree: dict[bytes, tuple[object, ...]] = {}
        for path, found in self.walk(top):
            stat = self.stat(path)
            assert stat.mode >> 12 == found.type
            tree[path[len(top) :]] = (stat.mode, self.content(path, stat))
        return tree

    def load(self, source: Path, path: bytes) -> None:
        """Make a directory with what a folder of this host has in it, hard links and holes too."""
        seen: dict[int, bytes] = {}
        self.run("make", path, "40755")
        top = os.fsencode(source)
        for folder, folders, files in os.walk(top):
            for name in folders + files:
                host = os.path.join(folder, name)
                info, target = os.lstat(host), path + host[len(top) :]
                if info.st_ino in seen:
                    self.run("link", seen[info.st_ino], target)
                    continue
                kind = info.st_mode >> 12
                link = [os.readlink(host)] if kind == 0o12 else []
                self.run("make", target, f"{info.st_mode:o}", *link)
                if kind == 0o10:
                    self.load_file(host, target)
                    seen[info.st_ino] = target

    def load_file(self, host: bytes, path: bytes) -> None:
        with open(host, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.run("truncate", path, size)
            offset = 0
            while part := file.read(1 << 17):
                if any(part):
                    self.put(path, part, offset)
                offset += len(part)

    def content(self, path: bytes, stat: Stat) -> object:
        if stat.mode >> 12 == 0o04:
            return stat.size - 2
        if stat.mode >> 12 == 0o12:
            return b"\n".join(self.run("readlink", path))
        data = self.get(path)
        assert len(data) == stat.size
        return stat.size, stat.links, hashlib.sha256(data).hexdigest()


def blank_disk(folder: Path, size: int) -> Path:
    """Make an empty disk in a folder of its own, which is what OpenZFS's tools want."""
    folder.mkdir()
    path = folder / "disk.img"
    with path.open("wb") as file:
        file.truncate(size)
    return path


def entry(line: bytes) -> Entry:
    number, kind, name = line.split(b"\t", 2)
    return Entry(int(number), int(kind, 8), name)


def host_tree(root: Path) -> dict[bytes, tuple[object, ...]]:
    """The same of a folder on this host."""
    top = os.fsencode(root)
    tree: dict[bytes, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if info.st_mode >> 12 == 0o12:
                content: object = os.readlink(path)
            elif info.st_mode >> 12 == 0o04:
                content = len(os.listdir(path))
            else:
                with open(path, "rb") as file:
                    data = file.read()
                content = info.st_size, info.st_nlink, hashlib.sha256(data).hexdigest()
            tree[path[len(top) :]] = (info.st_mode, content)
    return tree
