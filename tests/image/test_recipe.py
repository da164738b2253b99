from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from osvlab.elf.recognise import NotAProgramError
from osvlab.errors import OsvlabError
from osvlab.filesystems.tree import Content, Directory, HostFile, Symlink
from osvlab.image.recipe import Filesystem, Recipe, RecipeError
from tests.image.conftest import Compile


def target_of(tree: Directory, path: bytes) -> bytes:
    node = tree.find(path)
    assert isinstance(node, Symlink)
    return node.target


OTHER = "int main(void) { return 0; }"


def test_a_directory_becomes_a_root(app: Path) -> None:
    recipe = Recipe.from_directory(app)
    assert recipe.command == "/hello"
    assert recipe.filesystem is Filesystem.ROFS
    assert recipe.tree.find(b"/hello") == HostFile.at(app / "hello")
    assert target_of(recipe.tree, b"/link") == b"/etc/motd"
    assert isinstance(recipe.tree.find(b"/etc/motd"), HostFile)


def test_the_guest_gets_what_it_must_have(app: Path) -> None:
    tree = Recipe.from_directory(app).tree
    for name in (b"/dev", b"/proc", b"/sys", b"/tmp"):
        assert tree.find(name) == Directory()
    assert target_of(tree, b"/etc/mnttab") == b"/proc/mounts"
    assert target_of(tree, b"/etc/resolv.conf") == b"/proc/net/pnp"
    fstab = tree.find(b"/etc/fstab")
    assert isinstance(fstab, Content)
    assert b"/dev/vblk0.1 /          rofs" in fstab.data
    assert b"none         /tmp       ramfs" in fstab.data


def test_what_the_user_brings_counts_more(app: Path) -> None:
    (app / "etc/fstab").write_text("mine")
    (app / "dev").mkdir()
    (app / "dev/x").write_text("")
    (app / "tmp").symlink_to("var")
    tree = Recipe.from_directory(app).tree
    assert isinstance(tree.find(b"/etc/fstab"), HostFile)
    assert isinstance(tree.find(b"/dev/x"), HostFile)
    assert target_of(tree, b"/tmp") == b"var"


def test_an_etc_that_is_a_link_is_left_alone(app: Path) -> None:
    shutil.rmtree(app / "etc")
    (app / "etc").symlink_to("conf")
    assert target_of(Recipe.from_directory(app).tree, b"/etc") == b"conf"


def test_ramfs_needs_no_other_place_to_write(app: Path) -> None:
    fstab = Recipe.from_directory(app, fs="ramfs").tree.find(b"/etc/fstab")
    assert isinstance(fstab, Content)
    assert b"/tmp" not in fstab.data


def test_names_that_are_not_utf8(app: Path) -> None:
    (app / os.fsdecode(b"caf\xe9")).write_text("x")
    assert isinstance(Recipe.from_directory(app).tree.find(b"/caf\xe9"), HostFile)


# --- the directory -----------------------------------------------------------------------------------


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such directory: .*absent"):
        Recipe.from_directory(tmp_path / "absent")


def test_a_file_is_no_directory(app: Path) -> None:
    with pytest.raises(RecipeError, match=r"not a directory: .*hello"):
        Recipe.from_directory(app / "hello")


def test_a_path_through_a_file(app: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read .*hello/x: Not a directory"):
        Recipe.from_directory(app / "hello/x")


def test_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"the directory is empty: .*") as caught:
        Recipe.from_directory(tmp_path, command="/hello")
    assert "gcc -o" in str(caught.value)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path, because the address of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="osvlab") as folder:
        yield Path(folder)


def test_everything_an_image_cannot_hold_is_listed_at_once(short_folder: Path) -> None:
    (short_folder / "run").mkdir()
    (short_folder / "deep").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(short_folder / "run/app.sock"))
    os.mkfifo(short_folder / "deep/fifo")
    with pytest.raises(RecipeError) as caught:
        Recipe.from_directory(short_folder, command="/hello")
    assert "  /deep/fifo: a pipe" in caught.value.message.splitlines()
    assert "  /run/app.sock: a socket" in caught.value.message.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device(app: Path) -> None:
    try:
        os.mknod(app / "null", 0o20666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this container cannot make devices")
    with pytest.raises(RecipeError, match=r"/null: a character device"):
        Recipe.from_directory(app)


def test_files_and_folders_that_cannot_be_read(app: Path) -> None:
    (app / "secret").write_text("")
    (app / "secret").chmod(0)
    (app / "closed").mkdir(mode=0)
    user = os.geteuid()
    if user == 0:  # root may read everything: be somebody else for a moment
        for folder in app.parents:
            if os.fspath(folder).startswith(tempfile.gettempdir() + "/"):
                folder.chmod(folder.stat().st_mode | 0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(RecipeError) as caught:
            Recipe.from_directory(app, command="/hello")
    finally:
        os.seteuid(user)
        (app / "closed").chmod(0o700)
    assert "/secret: cannot be read (Permission denied)" in caught.value.message
    assert "/closed/: cannot be read (Permission denied)" in caught.value.message


def test_a_long_list_is_cut(short_folder: Path) -> None:
    for number in range(30):
        os.mkfifo(short_folder / f"{number:02}")
    with pytest.raises(RecipeError, match=r"/19: a pipe\n  and 10 more\n"):
        Recipe.from_directory(short_folder)


def test_a_path_that_is_too_long_for_a_guest(app: Path) -> None:
    """Names over 255 bytes cannot exist on Linux; paths over 4095 can, one step at a time."""
    here = os.open(app, os.O_RDONLY)
    name = "d" * 250
    opened = [here]
    for _ in range(17):
        os.mkdir(name, dir_fd=here)
        here = os.open(name, os.O_RDONLY, dir_fd=here)
        opened.append(here)
    try:
        with pytest.raises(RecipeError, match=r"path too long|File name too long"):
            Recipe.from_directory(app)
    finally:
        for parent, child in zip(opened[-2::-1], opened[:0:-1], strict=True):
            os.rmdir(name, dir_fd=parent)
            os.close(child)
        os.close(opened[0])


def test_a_file_where_a_mount_point_must_be(app: Path) -> None:
    (app / "proc").write_text("")
    with pytest.raises(RecipeError, match=r"/proc is a file"):
        Recipe.from_directory(app)


def test_an_unknown_filesystem(app: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown filesystem: 'ntfs'") as caught:
        Recipe.from_directory(app, fs="ntfs")
    assert "rofs, ramfs" in str(caught.value)


# --- the command -------------------------------------------------------------------------------------


def test_an_empty_command(app: Path) -> None:
    with pytest.raises(RecipeError, match=r"command is empty"):
        Recipe.from_directory(app, command=" ; ")


def test_the_only_program_may_have_a_strange_name(app: Path) -> None:
    (app / "hello").rename(app / "my hello")
    assert Recipe.from_directory(app).command == '"/my hello"'


def test_libraries_are_no_candidates(app: Path, compile: Compile) -> None:
    compile(app / "libx.so", "int x;", "-shared")
    assert Recipe.from_directory(app).command == "/hello"


def test_two_programs_are_listed(app: Path, compile: Compile) -> None:
    compile(app / "another", OTHER)
    with pytest.raises(RecipeError, match=r"more than one program at the top of .*: /another, /hello"):
        Recipe.from_directory(app)


def test_no_program(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("hello")
    with pytest.raises(RecipeError, match=r"no program at the top"):
        Recipe.from_directory(tmp_path)


def test_only_a_script(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    with pytest.raises(NotAProgramError, match=r"run.sh is a script for /bin/sh"):
        Recipe.from_directory(tmp_path)


def test_only_a_program_for_another_machine(tmp_path: Path, app: Path) -> None:
    data = bytearray((app / "hello").read_bytes())
    data[18] = 183
    (tmp_path / "other").mkdir()
    (tmp_path / "other/prog").write_bytes(data)
    with pytest.raises(OsvlabError, match=r"prog is a program for 64-bit ARM"):
        Recipe.from_directory(tmp_path / "other")
