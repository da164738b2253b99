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


def seeds(target: str, images: Sequence[Path]) -> list[bytes]:
    """Return some inputs that are whole; of pools, steps that damage nothing."""
    if target == "label":
        return pool_labels(images)
    if target == "pool":
        calls = [
            bytes([what, how]) + number.to_bytes(2, "little") + bytes([1, 0, which, 1]) + bytes(8)
            for what in range(8, 17)
            for how in range(5)
            for number in range(0, 12, 3)
            for which in range(len(images))
        ]
        return [bytes([8, 0]) + number.to_bytes(2, "little") + bytes(12) + call
                for number in range(4) for call in calls]  # fmt: skip
    return {
        "codec": [bytes([kind, 0, 1]) + b"some words and some words " * 9 for kind in range(6)],
        "disk": [bytes(2) + written(write_rofs), bytes(2) + written(write_bootfs)],
        "archive": [written(write_cpio)],
        "iso": [configuration()],
        "request": [bytes([kind]) + request for kind, request in enumerate(REQUESTS)],
    }[target]
