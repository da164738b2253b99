"""What the targets of libFuzzer begin with: small inputs that are right, from the project's own writers."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.cpio import write_cpio
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.tree import Content, Directory, Symlink
from osvlab.guest.cloud_config import CloudConfig
from tests.kernel import zfs


def small_tree() -> Directory:
    few = Directory({b"f%d" % number: Content(b"data" * number) for number in range(4)})
    inner = Directory({b"big": Content(b"x" * 1500)})
    return Directory({b"d": few, b"l": Symlink(b"d/f1"), b"e": Directory({b"e": inner})})


def written(write: Callable[[Directory, io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(small_tree(), stream)
    return stream.getvalue()


def pool_labels(images: Sequence[Path]) -> list[bytes]:
    """The configuration and the uberblock of pools, as the target `label` wants them."""
    found = []
    for image in images:
        with image.open("rb") as file:
            label = file.read(zfs.LABEL)
        config = label[zfs.CONFIG : zfs.CONFIG + 2048].rstrip(b"\0") + bytes(8)
        _, at = zfs.uberblocks(image)[0]
        found.append(len(config).to_bytes(2, "little") + config + label[at : at + 512])
    return found


REQUESTS = (
    b"POST /x?op=PUT&a=%20b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: a/b\r\n\r\n",
    b"http://host/file//tmp/x/?op=PUT&a=%20b+c",
    b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b'\0--b-b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhello\r\n--b-b--\r\n',
    b'[{"method": "GET", "uri": "/os/\\u00e9"}, {"a": true, "b": 1.5e3}]',
)


def configuration() -> bytes:
    """A disk with a configuration, from its first descriptor on, without the sectors that are empty."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "iso")
        CloudConfig.make(hostname="web").write_iso(path)
        image = path.read_bytes()
    found = [sector for sector in range(16, len(image) // 2048) if any(image[sector * 2048 :][:2048])]
    packed = b"".join(image[sector * 2048 :][:2048] for sector in found)
    for here, sector in enumerate(found, 16):  # numbers of sectors are there twice, in both byte orders
        packed = packed.replace(struct.pack("<I", sector) + struct.pack(">I", sector),
                                struct.pack("<I", here) + struct.pack(">I", here))  # fmt: skip
    return packed


LIST, READ, WRITE, RESIZE, MAKE, REMOVE, MOVE, POOL, FAIL = range(8, 17)  # see pool_fuzz.c
MANY, SYNC, REOPEN, PIECES, TRUNCATE = 0x10, 4, 0xBC, 4, 1  # how
assert REOPEN % 5 == 3


def step(what: int, how: int = 0, block: int = 0, at: int = 0, other: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBHHHQ", what, how, block, at, other, value)


def pool_scripts(which: int) -> list[bytes]:
    """Calls on a pool without damage: each kind alone, and what makes tables grow and blocks fall apart."""
    last = step(READ, other=which)
    single = [
        step(LIST, block=number) + step(what, how, number, 300, 60_000, 7) + last
        for what in range(LIST, FAIL + 1)
        for how in (0, 1, 3)
        for number in (0, 5)
    ]
    many = step(MAKE, MANY, at=399) + step(POOL, SYNC) + step(MAKE, MANY, at=399, other=1)
    apart = (
        step(FAIL, PIECES, value=8)
        + step(MAKE, 0, 0, 9, 9)
        + step(WRITE, 0, 1, 0, 60_000)
        + step(POOL, SYNC)
    )
    again = step(POOL, REOPEN) + step(LIST, block=1) + step(RESIZE, TRUNCATE, 1) + step(REMOVE, block=2)
    return [*single, many + last, many + again + last, apart + last, apart + again + step(POOL, SYNC) + last]


def seeds(target: str, images: Sequence[Path]) -> list[bytes]:
    """Return some inputs that are whole; of pools, steps that damage nothing."""
    if target == "label":
        return pool_labels(images)
    if target == "pool":
        return [script for which in range(len(images)) for script in pool_scripts(which)]
    return {
        "codec": [bytes([kind, 0, 1]) + b"some words and some words " * 9 for kind in range(6)],
        "disk": [bytes(2) + written(write_rofs), bytes(2) + written(write_bootfs)],
        "archive": [written(write_cpio)],
        "iso": [configuration()],
        "request": [bytes([kind]) + request for kind, request in enumerate(REQUESTS)],
    }[target]
