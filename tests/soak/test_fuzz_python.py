"""What is read and parsed in Python, under atheris: inputs are found by what they reach in the code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.filesystems.zfs.writer.pools import write_pool
from tests.kernel import fuzz, fuzz_seeds, host, zfs
from tests.soak.conftest import SECONDS, corpus_of
from tests.soak.fuzz import seeds

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


@pytest.fixture(autouse=True)
def atheris() -> None:
    pytest.importorskip("atheris", reason="no atheris: make soak, or pip install osvlab[soak]")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pools")
    variants = {"new": {"checksum": "fletcher4"}, "old": {"compat": "v23", "compression": "gzip-1"}}
    return [
        write_pool(fuzz_seeds.small_tree(), folder / name, name="p", free=0, **how)
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


LONGEST = {"osv_kernel": 80_000, "disks": 16_384, "archives": 12_000, "pool": 32 * 16}


@pytest.mark.parametrize("target", seeds.of_python([]))
def test_no_input_breaks_it(target: str, pools: list[Path], decoders: Path, tmp_path: Path) -> None:
    corpus = corpus_of(f"python-{target}", tmp_path, seeds.of_python(pools)[target]())
    environment = {"POOLS": os.pathsep.join(map(str, pools)), "CODECS": str(decoders)}
    command = [sys.executable, "-m", "tests.soak.fuzz", target]
    fuzz.run(command, corpus, LONGEST.get(target, 5000), SECONDS, environment, quiet=False)
