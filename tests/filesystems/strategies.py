"""Random trees for the writers, and what a reader should find of them."""

from __future__ import annotations

from hypothesis import strategies as st

from osvlab.filesystems.base import Entry, Filesystem, Kind
from osvlab.filesystems.tree import Content, Directory, Node, Symlink

names = (
    st.binary(min_size=1, max_size=255)
    .map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
    .filter(lambda name: name not in (b".", b".."))
)
short_names = st.sampled_from([b"a", b"b", b"lib", b"caf\xe9", "é".encode()])
contents = st.one_of(
    st.binary(max_size=1100),
    st.sampled_from([b"", b"x" * 511, b"y" * 512, b"z" * 513, b"\0" * 1024]),
).map(Content)
links = st.binary(min_size=1, max_size=300).map(lambda t: Symlink(t.replace(b"\0", b"_")))


def trees(names: st.SearchStrategy[bytes] = names) -> st.SearchStrategy[Directory]:
    """Directories with files, links and directories in them."""
    nodes: st.SearchStrategy[Node] = st.recursive(
        st.one_of(contents, links),
        lambda inner: st.dictionaries(names, inner, max_size=5).map(Directory),
        max_leaves=25,
    )
    return st.dictionaries(names, nodes, max_size=6).map(Directory)


Facts = dict[bytes, tuple[Kind, bytes | None]]


def facts_of_tree(tree: Directory) -> Facts:
    found: Facts = {}
    for path, node in tree.walk():
        match node:
            case Directory():
                found[path] = (Kind.DIRECTORY, None)
            case Symlink(target):
                found[path] = (Kind.SYMLINK, target)
            case Content(data):
                found[path] = (Kind.FILE, data)
    return found


def facts_of_reader(reader: Filesystem) -> Facts:
    def fact(entry: Entry) -> tuple[Kind, bytes | None]:
        match entry.kind:
            case Kind.DIRECTORY:
                return entry.kind, None
            case Kind.SYMLINK:
                return entry.kind, reader.target(entry)
            case Kind.FILE:
                return entry.kind, reader.read(entry)

    return {entry.path: fact(entry) for entry in reader.walk()}
