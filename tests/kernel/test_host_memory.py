"""The page allocator, the heap and the tree of areas, on the host under sanitizers."""

from __future__ import annotations

from pathlib import Path

from tests.kernel import host


def test_allocators_and_area_tree_keep_their_invariants(tmp_path: Path) -> None:
    program = host.build(
        tmp_path / "memory_test",
        ["tests/host/memory_test.c", "memory/pages.c", "memory/heap.c", "memory/area_tree.c"],
    )
    assert host.run(program) == "ok\n"
