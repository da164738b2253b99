"""What the kernel reads, under libFuzzer and the sanitizers: inputs are found by what they reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osvlab.filesystems.tree import Content, Directory, Symlink
from tests.filesystems.zfs.writer.pools import write_pool
from tests.kernel import fuzz, fuzz_seeds, test_zfs_fuzz, zfs
from tests.soak.conftest import SECONDS, corpus_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


@pytest.fixture(scope="module", autouse=True)
def clang(tmp_path_factory: pytest.TempPathFactory) -> None:
    if not fuzz.is_there(tmp_path_factory.mktemp("clang")):
        pytest.skip("no clang with libFuzzer: make soak, or the packages marked so in binder/apt.txt")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pools of the module itself, and of the writer in Python: old attributes, gzip, other checksums."""
    folder = tmp_path_factory.mktemp("pools")
    ours = test_zfs_fuzz.make_pool(zfs.build(folder, "zfs_tool"), folder)
    tree = Directory(
        {
            b"d": Directory({b"file %d" % number: Content(b"%d" % number * 99) for number in range(60)}),
            b"large": Content(bytes(range(256)) * 2000),
            b"short": Symlink(b"large"),
            b"long": Symlink(b"x" * 900),
        }
    )
    variants = {"old": {"compat": "v23", "compression": "gzip-1"}, "new": {"compression": None}}
    return [ours, *(write_pool(tree, folder / name, name="p", **how) for name, how in variants.items())]


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_no_input_breaks_it(name: str, pools: list[Path], tmp_path: Path) -> None:
    target = fuzz.TARGETS[name]
    program = fuzz.build(tmp_path, target)
    corpus = corpus_of(f"kernel-{name}", tmp_path, fuzz_seeds.seeds(name, pools))
    fuzz.run([program], corpus, target.longest, SECONDS, {"POOLS": os.pathsep.join(map(str, pools))})
