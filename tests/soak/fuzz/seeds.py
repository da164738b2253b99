"""What fuzzers begin with: small inputs that are right, from the project's own writers."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.filesystems.cpio import write_cpio
from osvlab.filesystems.disk import Partition, make_boot_sector
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.zfs import Pool
from osvlab.filesystems.zfs.compression import compressor
from osvlab.filesystems.zfs.format import DNODE_SIZE, ObjectType
from osvlab.filesystems.zfs.objects import Dnode
from osvlab.filesystems.zfs.zap import Zap
from tests.filesystems import packing
from tests.kernel import fuzz_seeds

TEXT = b"some words and some words " * 20
PACKAGE = b"name: my.app\ntitle: My app\nauthor: Me\nrequire: [osv.bootstrap]\n"
RUN = (
    b"runtime: native\nconfig_set:\n  default:\n    bootcmd: /hello one\n    env: {A: 1}\n"
    b"  java:\n    base: 'my.app:default'\n    env: {B: two}\nconfig_set_default: default\n"
)
CAPSTANFILE = b"base: cloudius/osv-base\ncmdline: /hello\nfiles:\n  /hello: Capstanfile\nrootfs: .\n"
MANIFEST = b"[manifest]\n# hosts\n/etc/hosts: %(A)s/hosts\n/link: ->/etc/hosts\n/x/&/hosts: ${A}/&\n"
LINE = b'--env=A=1 --cwd=/ /hello \'a b\' "c\\"d"; /other & runscript /run/default !'


def disk() -> bytes:
    root = fuzz_seeds.written(write_rofs)
    sector = make_boot_sector(None, 0, [Partition(2, 0x83, 4096, len(root))])
    return sector.ljust(4096, b"\0") + root


def summed() -> bytes:
    """An archive whose records have sums: those of the data, here, are not right."""
    return fuzz_seeds.written(write_cpio).replace(b"070701", b"070702")


def package(form: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{form}") as tar:
        for name, data in (
            ("/meta/package.yaml", PACKAGE),
            ("/meta/run.yaml", RUN),
            ("/etc/hosts", b"127.0.0.1 localhost\n"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for kind, name, target in (
            (tarfile.SYMTYPE, "/a", "etc/hosts"),
            (tarfile.LNKTYPE, "/b", "/etc/hosts"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return stream.getvalue()


def stored(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + struct.pack("<H", len(TEXT)) + data


def cache() -> bytes:
    """A cache of ld.so with two libraries, one of them for some CPUs only."""
    texts = b"libone.so.1\0/lib/libone.so.1\0x86-64-v3\0"
    start = 48 + 2 * 24
    extensions = start + len(texts)
    entries = struct.pack("<iIIIQ", 0x303, start, start + 12, 0, 0)
    entries += struct.pack("<iIIIQ", 0x303, start, start + 12, 0, 1 << 62)
    head = struct.pack("<20sIIB3xI12x", b"glibc-ld.so.cache1.1", 2, len(texts), 2, extensions)
    section = struct.pack("<II", 0xEAA42174, 1) + struct.pack("<IIII", 1, 0, extensions + 24, 4)
    return head + entries + texts + section + struct.pack("<I", start + 29)


def dnodes(image: Path) -> list[bytes]:
    pool = Pool([image])
    found = [dnode.raw[:DNODE_SIZE] for dnode in pool.mos.dnodes() if not isinstance(dnode, OsvlabError)]
    pool.close()
    return found


def leaves(image: Path) -> list[bytes]:
    """Those of the pool's tables whose values are no single numbers, without what the target adds."""
    found = []
    pool = Pool([image])
    objects = pool.objects(pool.datasets["p"])
    for dnode in objects.dnodes():
        if isinstance(dnode, Dnode) and dnode.kind in (ObjectType.SA_LAYOUTS, ObjectType.SA_REGISTRATION):
            zap = Zap(dnode)
            found += [] if zap.is_micro else [zap.leaf(number).block[28:] for number in zap.leaves()]
    pool.close()
    return found


def of_python(pools: list[Path]) -> dict[str, Callable[[], list[bytes]]]:
    """By target; `pools` are images."""
    small = packing.elf(TEXT)
    return {
        "lists": lambda: [label[6:] for label in fuzz_seeds.pool_labels(pools)],
        "packed": lambda: [
            stored(15, compressor(15)(TEXT)),
            stored(5, zlib.compress(TEXT)),
            *(stored(kind, TEXT) for kind in (2, 3, 4, 14)),
        ],
        "packed_again": lambda: [TEXT],
        "kernels": lambda: [
            struct.pack("<H", len(TEXT)) + packing.compress(TEXT, level) for level in (1, 2)
        ],
        "leaves": lambda: [leaf for image in pools for leaf in leaves(image)],
        "dnodes": lambda: [raw for image in pools for raw in dnodes(image)],
        "turned": lambda: dnodes(pools[0])[:5],
        "programs": lambda: [small],
        "caches": lambda: [cache()],
        "rofs": lambda: [fuzz_seeds.written(write_rofs)],
        "bootfs": lambda: [seed[2:] for seed in fuzz_seeds.seeds("disk", [])[1:]],
        "cpio": lambda: [fuzz_seeds.written(write_cpio), summed()],
        "osv_kernel": lambda: [
            small,
            packing.loader(small, "--rootfs=rofs /hello"),
            packing.lzloader(small),
        ],
        "disks": lambda: [disk(), fuzz_seeds.written(write_rofs), small],
        "pool": lambda: [b""],
        "manifests": lambda: [MANIFEST],
        "capstanfiles": lambda: [CAPSTANFILE],
        "package_texts": lambda: [PACKAGE + b"\0" + RUN + b"\0/build/*\n/**/*.o\n"],
        "archives": lambda: [package("gz"), package("")],
        "commands": lambda: [LINE],
    }
