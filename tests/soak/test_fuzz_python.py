"""What is read and parsed in Python, under atheris: inputs are found by what they reach in the code."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from osvlab.filesystems.disk import Partition, make_boot_sector
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.zfs.compression import compress
from tests.filesystems.packing import elf, loader
from tests.filesystems.zfs.writer.pools import write_pool
from tests.kernel import fuzz, host, zfs
from tests.soak.conftest import SECONDS, corpus_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


@pytest.fixture(autouse=True)
def atheris() -> None:
    pytest.importorskip("atheris", reason="no atheris: make soak, or pip install osvlab[soak]")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pools")
    variants = {"new": {"checksum": "fletcher4"}, "old": {"compat": "v23", "compression": "gzip-1"}}
    return [
        write_pool(fuzz.small_tree(), folder / name, name="p", free=0, **how)
        for name, how in variants.items()
    ]


@pytest.fixture(scope="module")
def decoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the kernel's module, as a library."""
    library = tmp_path_factory.mktemp("codecs") / "codecs.so"
    parts = [f"{zfs.MODULE}/{name}.c" for name in ("lz4", "lzjb", "zle", "inflate")]
    argv = ["gcc", "-std=gnu11", "-O2", "-shared", "-fPIC", "-iquote", zfs.MODULE, *parts, "-o", library]
    subprocess.run(argv, cwd=host.KERNEL, check=True)
    return library


def disk() -> bytes:
    root = fuzz.written(write_rofs)
    sector = make_boot_sector(None, 0, [Partition(2, 0x83, 4096, len(root))])
    return sector.ljust(4096, b"\0") + root


def package() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in {
            "/meta/package.yaml": PACKAGE,
            "/meta/run.yaml": RUN,
            "/etc/hosts": b"127.0.0.1 localhost\n",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


PACKAGE = b"name: my.app\ntitle: My app\nauthor: Me\nrequire: [osv.bootstrap]\n"
RUN = (
    b"runtime: native\nconfig_set:\n  default:\n    bootcmd: /hello one\n    env: {A: 1}\n"
    b"config_set_default: default\n"
)
CAPSTANFILE = b"base: cloudius/osv-base\ncmdline: /hello\nfiles:\n  /hello: Capstanfile\nrootfs: .\n"
MANIFEST = b"[manifest]\n# hosts\n/etc/hosts: %(A)s/hosts\n/link: ->/etc/hosts\n/x/&/hosts: ${A}/&\n"
LINE = b'--env=A=1 --cwd=/ /hello \'a b\' "c\\"d"; /other & runscript /run/default !'


def seeds() -> dict[str, Callable[[], list[bytes]]]:
    texts = b"some words and some words " * 20
    small = elf(texts)
    label = (host.KERNEL / zfs.MODULE / "README.md").read_bytes()
    return {
        "lists": list,
        "packed": lambda: [
            bytes([kind]) + struct.pack("<H", len(texts)) + compress(kind, texts) for kind in (5, 15)
        ],
        "packed_again": lambda: [texts, label[:2000]],
        "kernels": list,
        "leaves": list,
        "dnodes": list,
        "turned": list,
        "programs": lambda: [small],
        "caches": lambda: [Path("/etc/ld.so.cache").read_bytes()[:2000]],
        "rofs": lambda: [fuzz.written(write_rofs)],
        "bootfs": lambda: fuzz.seeds("disk", [])[1:],
        "cpio": lambda: fuzz.seeds("archive", []),
        "osv_kernel": lambda: [small, loader(small, "--rootfs=rofs /hello")],
        "disks": lambda: [disk(), fuzz.written(write_rofs), small],
        "pool": lambda: [b""],
        "manifests": lambda: [MANIFEST],
        "capstanfiles": lambda: [CAPSTANFILE],
        "package_texts": lambda: [PACKAGE + b"\0" + RUN + b"\0/build/*\n/**/*.o\n"],
        "archives": lambda: [package()],
        "commands": lambda: [LINE],
    }


LONGEST = {"osv_kernel": 80_000, "disks": 16_384, "archives": 12_000, "pool": 32 * 16}


@pytest.mark.parametrize("target", seeds())
def test_no_input_breaks_it(target: str, pools: list[Path], decoders: Path, tmp_path: Path) -> None:
    corpus = corpus_of(f"python-{target}", tmp_path, seeds()[target]())
    environment = {"POOLS": os.pathsep.join(map(str, pools)), "CODECS": str(decoders)}
    command = [sys.executable, "-m", "tests.soak.fuzz", target]
    fuzz.run(command, corpus, LONGEST.get(target, 5000), SECONDS, environment, quiet=False)
