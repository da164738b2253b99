"""Copying and filling memory, on the host."""

from __future__ import annotations

from pathlib import Path

from tests.kernel import host


def test_all_small_sizes_and_alignments(tmp_path: Path) -> None:
    sources = ["tests/host/copy_test.c", "arch/copy.S", "runtime/copy.S"]
    flags = ["-fno-builtin", "-Dmemcpy=lab_memcpy", "-Dmemset=lab_memset"]
    assert host.run(host.build(tmp_path / "copy_test", sources, flags)) == "ok\n"
