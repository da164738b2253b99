"""Why things are in an image, and what happens when two sources want the same path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osvlab.filesystems.base import GuestPathNotFoundError
from osvlab.filesystems.tree import Content, Directory, Symlink, TreeError
from osvlab.image.collection import Collection, RecipeError, why
from osvlab.image.modules import chosen_modules
from osvlab.image.recipe import Recipe


def told(files: Collection, path: str | bytes) -> str:
    return why(files.tree, files.reasons, path)


def test_every_path_of_a_directory_says_where_it_is_from(app: Path) -> None:
    recipe = Recipe.from_directory(app)
    assert recipe.why("/hello") == f"/hello comes from the directory {app}"
    assert recipe.why("etc/motd") == f"/etc/motd comes from the directory {app}"
    assert recipe.why("/link") == f"/link (a link to /etc/motd) comes from the directory {app}"
    assert recipe.why("/etc/hosts") == "/etc/hosts is part of every image that brings none of its own"
    assert "mounts a filesystem of its own" in recipe.why("/proc")


def test_modules_and_the_directories_they_make_say_so(app: Path) -> None:
    recipe = Recipe.from_directory(app).with_modules(chosen_modules(["httpserver"]))
    assert recipe.why("/usr/lib/libhttpserver-api.so").endswith("belongs to the module httpserver")
    assert recipe.why("/usr/lib").startswith(
        "/usr/lib is on the way to /usr/lib/libhttpserver-api.so, which"
    )
    assert recipe.why("/hello") == f"/hello comes from the directory {app}"


def test_with_modules_leaves_the_recipe_it_was_asked_of_alone(app: Path) -> None:
    recipe = Recipe.from_directory(app)
    recipe.with_modules(chosen_modules(["httpserver"]))
    assert recipe.tree.find(b"/usr") is None
    with pytest.raises(GuestPathNotFoundError):
        recipe.why("/usr/lib")


@pytest.mark.parametrize(
    ("asked", "meant"), [("/etc/mtod", "/etc/motd"), ("/bin/hello", "/hello"), (b"/caf\xe9s", r"/caf\xe9")]
)
def test_what_is_not_there_has_a_close_match(app: Path, asked: str | bytes, meant: str) -> None:
    (app / os.fsdecode(b"caf\xe9")).write_text("")
    with pytest.raises(FileNotFoundError) as caught:
        Recipe.from_directory(app).why(asked)
    assert f"Did you mean {meant}?" in str(caught.value)


def test_a_tree_of_which_nothing_is_known() -> None:
    recipe = Recipe(Directory({b"a": Content(b"")}), "/a")
    assert recipe.why("/a") == "/a was in the tree that the recipe was made with"


def test_links_to_directories_are_followed_as_a_guest_would() -> None:
    files = Collection()
    files.add(b"lib64", Symlink(b"/usr/../lib"), "is first")
    files.add(b"/lib64/ld.so", Content(b"x"), "is second")
    assert files.tree.find(b"/lib/ld.so") == Content(b"x")
    assert told(files, "/lib64/ld.so") == "/lib/ld.so is second"
    assert told(files, "/lib") == "/lib is on the way to /lib64/ld.so, which is second"
    files.add(b"/lib64", Directory({b"more": Content(b"")}), "is third")
    assert files.tree.find(b"/lib64") == Symlink(b"/usr/../lib")
    assert files.tree.find(b"/lib/more") == Content(b"")


def test_links_in_a_circle_are_named() -> None:
    files = Collection()
    files.add(b"/a", Symlink(b"b"), "is first")
    files.add(b"/b", Symlink(b"a"), "is second")
    with pytest.raises(RecipeError, match=r"/a/x is third, and symbolic links on the way lead in a circle"):
        files.add(b"/a/x", Content(b""), "is third")
    assert files.find(b"/a/x") is None


def test_a_file_does_not_take_a_directorys_place_nor_the_other_way_round() -> None:
    files = Collection()
    files.add(b"/a/b", Content(b""), "is line 1")
    with pytest.raises(
        RecipeError, match=r"^/a is on the way to /a/b, .*as a directory; and something else is line 2"
    ):
        files.add(b"/a", Content(b""), "is line 2")
    with pytest.raises(
        RecipeError, match=r"^/a/b is line 1, as a file; and something else is line 3, as a directory"
    ):
        files.add(b"/a/b", Directory(), "is line 3")
    with pytest.raises(RecipeError, match=r"^/a/b/c is line 4, and needs /a/b to be a directory"):
        files.add(b"/a/b/c", Content(b""), "is line 4")
    with pytest.raises(RecipeError, match=r"^/ is line 5, and is no directory"):
        files.add(b"/", Content(b""), "is line 5")


def test_the_later_file_wins_and_directories_join() -> None:
    files = Collection()
    files.add(b"/a", Directory({b"x": Content(b"1"), b"y": Content(b"1")}, mode=0o700), "is first")
    files.add(b"/a", Directory({b"y": Content(b"2"), b"z": Content(b"2")}, mode=0o711), "is second")
    assert files.tree.find(b"/a") == Directory(
        {b"x": Content(b"1"), b"y": Content(b"2"), b"z": Content(b"2")}, mode=0o711
    )
    assert told(files, "/a/x") == "/a/x is first"
    assert told(files, "/a/y") == "/a/y is second"


def test_merging_keeps_attributes_and_asks_for_each_reason() -> None:
    tree = Directory({b"d": Directory({b"f": Content(b"", mode=0o600)}, mode=0o750)}, mode=0o711)
    files = Collection()
    files.merge(tree, lambda path: f"is {path.decode()} there", at=b"/top")
    assert files.tree.find(b"/top") == tree
    assert told(files, "/top/d/f") == "/top/d/f is /d/f there"
    assert told(files, "/top") == "/top is / there"
    whole = Collection()
    whole.merge(tree, lambda path: "is whole")
    assert whole.tree == tree


@pytest.mark.parametrize("path", [b"/a/../b", b"/" + b"n" * 300, b"/a\0b"])
def test_a_name_that_no_guest_can_hold(path: bytes) -> None:
    files = Collection()
    with pytest.raises(TreeError):
        files.add(path, Content(b""), "is here")
    assert files.tree == Directory()


def test_trees_deeper_than_pythons_stack(tmp_path: Path) -> None:
    deep = Directory({b"f": Content(b"")})
    for _ in range(2000):
        deep = Directory({b"d": deep})
    files = Collection()
    files.add(b"/x", deep, "is deep")
    assert told(files, b"/x" + b"/d" * 2000 + b"/f").endswith("/f is deep")
    copied = Collection.of(files.tree, files.reasons)
    copied.add(b"/x" + b"/d" * 2000 + b"/g", Content(b""), "is new")
    assert files.tree.find(b"/x" + b"/d" * 2000 + b"/g") is None


def test_a_recipe_shows_itself_on_one_line(app: Path) -> None:
    (app / "big").write_bytes(bytes(1 << 20))
    shown = repr(Recipe.from_directory(app, "/hello x"))
    assert shown.startswith("<Recipe of 5 files, 1 MiB, as rofs: /hello x>")
