from __future__ import annotations

import os
from pathlib import Path

import pytest

from osvlab.filesystems.tree import Directory, HostFile, Symlink
from osvlab.image.collection import Collection, RecipeError, why
from osvlab.image.sources.program.data import Data, Exclusion, add_data
from osvlab.image.sources.program.host_tree import HostTree
from osvlab.paths import PathNotFoundError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in ("a.conf", "b.conf", "sub/c.conf", "sub/__pycache__/c.pyc", "sub/empty.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "none").mkdir()
    return folder


def added(data: Data, *exclude: str) -> tuple[HostTree, set[str]]:
    """Add data, check that what is said of files is true; return the tree and the places of all files."""
    tree = HostTree(Collection())
    for place, path in add_data(tree, data, Exclusion(exclude)):
        found = tree.files.tree.resolve(place)
        assert found is not None
        assert found[1] == HostFile.at(os.path.realpath(path))
    files = {os.fsdecode(path) for path, node in tree.files.tree.walk() if isinstance(node, HostFile)}
    return tree, files


def names(files: set[str], folder: Path) -> set[str]:
    return {os.path.relpath(path, f"/host{folder}") for path in files}


def test_a_file_a_folder_and_a_pattern(folder: Path) -> None:
    _, files = added([folder / "sub", str(folder / "*.conf")])
    assert names(files, folder) == {
        "a.conf",
        "b.conf",
        "sub/c.conf",
        "sub/__pycache__/c.pyc",
        "sub/empty.txt",
    }
    tree, files = added([folder / "none", f"{folder}/**/*.conf"])
    assert names(files, folder) == {"a.conf", "b.conf", "sub/c.conf"}
    none = tree.files.tree.find(b"/host" + bytes(folder / "none"))
    assert none == Directory(
        mode=0o755 & (folder / "none").stat().st_mode, mtime=(folder / "none").stat().st_mtime_ns
    )
    reason = why(tree.files.tree, tree.files.reasons, f"/host{folder}/a.conf")
    assert f"is asked for as data: {folder}/**/*.conf" in reason


def test_what_is_excluded(folder: Path) -> None:
    os.mkfifo(folder / "sub/secret")
    _, files = added([folder], "__pycache__", "secret", f"{folder}/*.conf")
    assert names(files, folder) == {"sub/empty.txt"}
    _, files = added([f"{folder}/*.conf"], "a.*")
    assert names(files, folder) == {"b.conf"}


def test_places_in_the_guest(folder: Path, tmp_path: Path) -> None:
    (folder / "sub/up").symlink_to("../a.conf")
    (folder / "sub/here").symlink_to("c.conf")
    tree, files = added({"/etc/app": folder / "sub", "/etc/one.conf": folder / "b.conf"})
    assert {path for path in files if not path.startswith("/host")} == {
        "/etc/app/c.conf", "/etc/app/__pycache__/c.pyc", "/etc/app/empty.txt", "/etc/one.conf"
    }  # fmt: skip
    here, up = (tree.files.tree.find(b"/etc/app/" + name) for name in (b"here", b"up"))
    assert isinstance(here, Symlink)
    assert here.target == b"c.conf"
    assert isinstance(up, Symlink)
    assert up.target == b"/host" + bytes(folder / "a.conf")
    tree, files = added([folder / "a.conf", ("/b", folder / "b.conf")])
    assert files == {f"/host{folder}/a.conf", "/b"}
    with pytest.raises(RecipeError, match=r"'etc/app' is no place in the guest"):
        added({"etc/app": folder})


def test_files_behind_links_come_along_folders_do_not(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("x")
    (folder / "file").symlink_to("../elsewhere/file")
    (folder / "folder").symlink_to("../elsewhere")
    (folder / "dangling").symlink_to("/no/such/file")
    tree, files = added([folder], "*.conf", "sub")
    assert files == {f"/host{tmp_path}/elsewhere/file"}
    found = tree.files.tree.find(b"/host" + bytes(folder / "dangling"))
    assert isinstance(found, Symlink)
    assert found.target == b"/no/such/file"
    _, files = added([folder], "*.conf", "sub", f"{tmp_path}/elsewhere/*")
    assert files == set()


def test_a_link_to_a_folder_is_a_folder_with_another_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("data")
    tree, files = added([tmp_path / "link"])
    assert f"/host{folder}/a.conf" in files
    assert tree.files.tree.resolve(b"/host" + bytes(tmp_path / "link/a.conf")) is not None


@pytest.mark.parametrize("asked", ["absent", "absent/*.conf", ""])
def test_what_is_not_there(folder: Path, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(PathNotFoundError, match=r"no such file or folder|nothing matches the pattern"):
        added([asked])


@pytest.mark.parametrize("asked", ["/", "/proc/cpuinfo", "/sys", "/tmp/.."])
def test_what_is_no_data(asked: str) -> None:
    with pytest.raises(RecipeError, match=r"is all of this host|is what this host's kernel says of itself"):
        added([asked])


def test_a_name_that_looks_like_a_pattern(folder: Path) -> None:
    (folder / "[a].conf").write_text("x")
    _, files = added([folder / "[a].conf"])
    assert names(files, folder) == {"[a].conf"}


def test_all_that_an_image_cannot_hold_is_listed(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    os.mkfifo(folder / "sub/fifo")
    with pytest.raises(RecipeError) as caught:
        added([folder])
    assert "/fifo: a pipe\n  /sub/fifo: a pipe" in caught.value.message
    assert "exclude=" in str(caught.value)


def test_a_text_is_no_list(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"data is a list of paths, not"):
        added(str(folder))
