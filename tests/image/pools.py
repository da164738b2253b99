"""Pools in images: what is in them, and whether they are whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from osvlab.filesystems.base import ByteRange, Kind
from osvlab.filesystems.zfs import ZfsFilesystem, open_zfs
from osvlab.image.image import Image


class Fact(NamedTuple):
    """What can be seen of a file."""

    kind: Kind
    size: int
    permissions: int
    links: int
    modified: int
    owner: tuple[int, int]
    content: bytes


def pool_of(image: Image, dataset: str | None = None) -> ZfsFilesystem:
    root = image.root_partition
    return open_zfs([ByteRange(image.path, root.offset, root.size)], dataset)


def facts(files: ZfsFilesystem) -> dict[bytes, Fact]:
    """Read everything."""
    found = {}
    for entry in files.walk():
        content = b""
        if entry.kind is Kind.SYMLINK:
            content = files.target(entry)
        elif entry.kind is Kind.FILE:
            content = hashlib.sha256(files.read(entry)).digest()
        owner = entry.owner, entry.group
        assert entry.permissions is not None
        assert entry.modified is not None
        told = entry.kind, entry.size, entry.permissions, entry.links, entry.modified, owner, content
        found[entry.path] = Fact(*told)
    return found


def judge(image: Image, folder: Path) -> None:
    """Check a pool with all that is here to check it: our reader, and OpenZFS where OSVLAB_ZDB names it."""
    with pool_of(image) as files:
        assert files.check().ok, str(files.check())
    program = os.environ.get("OSVLAB_ZDB")
    if not program:
        return
    root = image.root_partition
    cut = folder / "cut"
    shutil.rmtree(cut, ignore_errors=True)
    cut.mkdir()
    with open(image.path, "rb") as whole, open(cut / "pool.img", "wb") as part:
        os.sendfile(part.fileno(), whole.fileno(), root.offset, root.size)
    ended = subprocess.run(
        [program, "-e", "-p", cut, "-bcc", "osv"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "No leaks" in ended.stdout
