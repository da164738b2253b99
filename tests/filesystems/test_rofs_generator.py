"""ROFS against OSv's own generator, where `OSVLAB_OSV_SOURCE` names a source tree of OSv.

It is run as it is there. It takes entries in the order of its manifest, ours sorts them by name, so the
manifest is sorted; and it counts names in characters, so names are ASCII.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvlab.filesystems.rofs import RofsReader, write_rofs
from osvlab.filesystems.tree import Content, Directory, Node, Symlink
from tests.filesystems.strategies import contents, facts_of_reader, facts_of_tree

SOURCE = os.environ.get("OSVLAB_OSV_SOURCE")
pytestmark = pytest.mark.skipif(SOURCE is None, reason="OSVLAB_OSV_SOURCE names no source of OSv")

# What a manifest can hold: no colons, which end a path there, and no percent signs, which it expands.
names = (
    st.text("abcXYZ019._-+ ,~", min_size=1, max_size=40)
    .map(str.strip)
    .filter(lambda name: name not in ("", ".", ".."))
    .map(str.encode)
)
links = st.text("abc/._-", min_size=1, max_size=80).map(lambda target: Symlink(target.encode()))
nodes: st.SearchStrategy[Node] = st.recursive(
    st.one_of(contents, links),
    lambda inner: st.dictionaries(names, inner, max_size=5).map(Directory),
    max_leaves=20,
)
trees = st.dictionaries(names, nodes, min_size=1, max_size=6).map(Directory)


def generated(tree: Directory, folder: Path) -> bytes:
    """Return what OSv's generator makes of a tree."""
    assert SOURCE is not None
    (folder / "empty").mkdir()
    lines = ["[manifest]"]
    for number, (path, node) in enumerate(tree.walk()):
        match node:
            case Symlink(target):
                lines.append(f"{path.decode()}: ->{target.decode()}")
            case Content(data):
                (folder / f"{number}").write_bytes(data)
                lines.append(f"{path.decode()}: {folder}/{number}")
            case Directory() if path != b"/":
                lines.append(f"{path.decode()}: {folder}/empty")
    (folder / "manifest").write_text("\n".join(lines) + "\n")
    argv = [sys.executable, "gen-rofs-img.py", "-o", str(folder / "image"), "-m", str(folder / "manifest")]
    scripts = Path(SOURCE, "scripts")
    subprocess.run(argv, cwd=scripts, env={"PYTHONDONTWRITEBYTECODE": "1"}, check=True, capture_output=True)
    return (folder / "image").read_bytes()


def ours(tree: Directory) -> bytes:
    stream = io.BytesIO()
    write_rofs(tree, stream)
    return stream.getvalue()


@given(tree=trees)
@settings(deadline=None, max_examples=60)
def test_random_trees_become_the_same_bytes(
    tree: Directory, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = generated(tree, tmp_path_factory.mktemp("generator"))
    assert image == ours(tree)
    assert facts_of_reader(RofsReader(image)) == facts_of_tree(tree)


@pytest.mark.parametrize(("length", "size"), [(391, 1024), (392, 1536), (393, 1536)])
def test_also_where_the_last_block_is_just_full(length: int, size: int, tmp_path: Path) -> None:
    """It then pads by a whole block, which it does not count."""
    tree = Directory({b"l": Symlink(b"x" * length), b"d": Directory()})
    image = generated(tree, tmp_path)
    assert image == ours(tree)
    assert len(image) == size
