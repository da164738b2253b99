from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from osvlab.filesystems.tree import Directory, HostFile, Symlink
from osvlab.image.collection import Collection, RecipeError, why
from osvlab.image.sources.program.host_tree import HostTree
from osvlab.paths import PathNotFoundError


@pytest.fixture
def tree() -> HostTree:
    return HostTree(Collection())


def said(tree: HostTree, path: str) -> str:
    return why(tree.files.tree, tree.files.reasons, path)


def test_files_are_where_they_are_on_the_host(tree: HostTree) -> None:
    assert tree.add(b"/etc/passwd", "is asked for") == b"/etc/passwd"
    assert tree.files.find(b"/etc/passwd") == HostFile.at("/etc/passwd")
    assert said(tree, "/etc/passwd") == "/etc/passwd is asked for"
    assert tree.files.find(b"/etc") == Directory({b"passwd": HostFile.at("/etc/passwd")})


def test_what_the_guest_would_hide_moves_and_says_so(tree: HostTree, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    place = tree.add(bytes(tmp_path / "file"), "is asked for")
    assert place == b"/host" + bytes(tmp_path / "file")
    assert tree.files.find(bytes(tmp_path / "file")) is None
    assert f"is asked for (on this host {tmp_path}/file, where the guest mounts" in said(
        tree, os.fsdecode(place)
    )
    assert tree.place(b"/tmpfile") == b"/tmpfile"
    assert tree.place(b"/tmp") == b"/host/tmp"


def test_every_link_on_the_way_comes_along_and_leads_to_the_same_file(
    tree: HostTree, tmp_path: Path
) -> None:
    (tmp_path / "versions/2/bin").mkdir(parents=True)
    (tmp_path / "versions/2/bin/tool-2").write_text("x")
    (tmp_path / "versions/2/bin/tool").symlink_to("tool-2")
    (tmp_path / "versions/current").symlink_to("2")
    (tmp_path / "current").symlink_to(tmp_path / "versions/current")
    (tmp_path / "tool").symlink_to("current/bin/../bin/tool")
    top = b"/host" + bytes(tmp_path)
    assert tree.add(bytes(tmp_path / "tool"), "is the program") == top + b"/tool"
    assert tree.files.tree.resolve(top + b"/tool") == (
        top + b"/versions/2/bin/tool-2",
        HostFile.at(tmp_path / "versions/2/bin/tool-2"),
    )
    find = tree.files.tree.find
    kept, absolute = find(top + b"/versions/current"), find(top + b"/current")
    assert isinstance(kept, Symlink)
    assert kept.target == b"2"
    assert isinstance(absolute, Symlink)
    assert absolute.target == top + b"/versions/2"
    assert "is on the way to" in said(tree, os.fsdecode(top + b"/current"))
    assert "is what " in said(tree, os.fsdecode(top + b"/versions/2/bin/tool-2"))


def test_links_out_of_a_folder_that_moves_are_written_anew(tree: HostTree, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/".join([".."] * len(tmp_path.parts) + ["etc/passwd"]))
    tree.add(bytes(tmp_path / "out"), "is asked for")
    assert tree.files.tree.resolve(b"/host" + bytes(tmp_path / "out")) == (
        b"/etc/passwd",
        HostFile.at("/etc/passwd"),
    )


def test_links_within_a_folder_that_is_placed_elsewhere(tree: HostTree, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "relative").symlink_to("file")
    (tmp_path / "absolute").symlink_to(tmp_path / "file")
    tree.move(bytes(tmp_path), b"/srv/app")
    for name in (b"/relative", b"/absolute"):
        assert tree.add(bytes(tmp_path) + name, "is asked for") == b"/srv/app" + name
        assert tree.files.tree.resolve(b"/srv/app" + name) == (
            b"/srv/app/file",
            HostFile.at(tmp_path / "file"),
        )


def test_the_first_reason_counts(tree: HostTree) -> None:
    tree.add(b"/etc/passwd", "came first")
    tree.add(b"/etc/passwd", "came later")
    assert said(tree, "/etc/passwd") == "/etc/passwd came first"


def test_links_that_lead_nowhere_or_in_a_circle(tree: HostTree, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("absent")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(PathNotFoundError, match=r"no such file: .*dangling \(there is no .*absent\)"):
        tree.add(bytes(tmp_path / "dangling"), "")
    with pytest.raises(RecipeError, match=r"links lead in a circle: .*/circle"):
        tree.add(bytes(tmp_path / "circle"), "")
    with pytest.raises(PathNotFoundError, match=r"no such file: .*/absent\n"):
        tree.add(bytes(tmp_path / "absent"), "")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path, because the address of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="osvlab") as folder:
        yield Path(folder)


def test_what_is_no_file(tree: HostTree, short_folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"/dev/null is a character device"):
        tree.add(b"/dev/null", "")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(short_folder / "s"))
        with pytest.raises(RecipeError, match=r"/s is a socket"):
            tree.add(bytes(short_folder / "s"), "")
    (short_folder / "file").write_text("x")
    with pytest.raises(RecipeError, match=r"cannot read .*file/x: Not a directory"):
        tree.add(bytes(short_folder / "file/x"), "")


def test_what_may_not_be_read(tree: HostTree, short_folder: Path) -> None:
    (short_folder / "secret").write_text("x")
    (short_folder / "secret").chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything: be somebody else for a moment
        short_folder.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(RecipeError, match=r"cannot read .*secret: Permission denied"):
            tree.add(bytes(short_folder / "secret"), "")
    finally:
        os.seteuid(user)
