from __future__ import annotations

import pytest

from osvlab.filesystems.tree import Content, Directory, Symlink, TreeError, check_name, check_target


def test_adding_makes_the_directories_on_the_way() -> None:
    root = Directory()
    root.add(b"/usr/lib/x", Content(b"1"))
    root.add(b"usr/bin/y", Symlink(b"../lib/x"))
    assert [path for path, _ in root.walk()] == [
        b"/",
        b"/usr",
        b"/usr/bin",
        b"/usr/bin/y",
        b"/usr/lib",
        b"/usr/lib/x",
    ]
    assert root.find(b"/usr/lib/x") == Content(b"1")
    assert root.find(b"/usr/lib/x/y") is None
    assert root.find(b"/") is root


def test_a_file_on_the_way_is_refused() -> None:
    root = Directory({b"dev": Content(b"")})
    with pytest.raises(TreeError, match=r"/dev/null needs dev to be a directory"):
        root.add(b"/dev/null", Content(b""))


@pytest.mark.parametrize("path", [b"", b"/", b"a/../b", b"./a", b"a\0b"])
def test_unusable_paths_are_refused(path: bytes) -> None:
    with pytest.raises(TreeError, match=r"not a file name"):
        Directory().add(path, Content(b""))


def test_limits() -> None:
    check_name(b"x" * 255, b"/" + b"x" * 255)
    with pytest.raises(TreeError, match=r"name too long .256 bytes"):
        check_name(b"x" * 256, b"/" + b"x" * 256)
    with pytest.raises(TreeError, match=r"path too long .4096 bytes"):
        check_name(b"x", b"/" * 4096)
    check_target(b"x" * 4095, b"/l")
    with pytest.raises(TreeError, match=r"/l has a target of 4096 bytes"):
        check_target(b"x" * 4096, b"/l")


def test_a_very_deep_tree_is_walked() -> None:
    root = Directory()
    root.add(b"/d" * 2000, Content(b""))
    assert len(list(root.walk())) == 2001
