"""Reading in bulk gives what reading one by one gives, also of what cannot be right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from unittest.mock import patch

import pytest

from osvlab.errors import OsvlabError
from osvlab.filesystems.tree import Content, Directory, Symlink
from osvlab.filesystems.zfs import ZfsFilesystem, open_zfs
from osvlab.filesystems.zfs.blocks import Blocks
from osvlab.filesystems.zfs.bulk import entries_of, leaf_numbers
from osvlab.filesystems.zfs.errors import damaged
from osvlab.filesystems.zfs.format import DNODE_SIZE, BlockPointer, C
from osvlab.filesystems.zfs.posix import Files
from osvlab.filesystems.zfs.zap import Leaf, Zap
from tests.filesystems.zfs.writer.pools import bytes_of

BONUS = C.DNODE_CORE_SIZE + 128
LONG = b"a name that is too long for a small table, which has room for forty-nine bytes"
TREE = Directory(
    {
        b"file": Content(b"x" * 600),
        b"a name of 20 bytes..": Content(b""),
        b"directory": Directory(),
        b"short": Symlink(b"file"),
        b"long": Symlink(b"t" * 900),  # in a spill block, or in a block of data
        LONG: Content(b"x" * 300_000),
    }
)


@pytest.fixture(scope="module", params=[None, "v23"])
def files(request: pytest.FixtureRequest) -> Iterator[ZfsFilesystem]:
    with open_zfs([bytes_of(TREE, compression=None, compat=request.param)]) as opened:
        yield opened


def changes(block: bytes, places: Iterable[int]) -> Iterator[tuple[int, int, bytes]]:
    """Yield copies of a block with another byte each, and what that is."""
    for at in places:
        for value in {0, 1, 11, 22, 0xFF, block[at] ^ 1, block[at] ^ 0x80}:
            yield at, value, block[:at] + bytes([value]) + block[at + 1 :]


def told(function: Callable[[], object]) -> object:
    """What a function returns, or that it refuses."""
    try:
        return function()
    except OsvlabError:
        return "damaged"


def both_ways(files: ZfsFilesystem, number: int, what: object) -> object:
    """What is told of a file, the same in bulk as alone."""
    alone = told(lambda: [files._entry(b"/x", number)])
    assert told(lambda: entries_of(files.files, [b"/x"], [number])) == alone, what
    return alone


def test_usual_files_are_not_taken_one_by_one(files: ZfsFilesystem) -> None:
    entries = [entry for entry in files.list(files.root) if entry.name != b"long"]
    with patch.object(Files, "attributes", side_effect=AssertionError):
        found = entries_of(files.files, [one.path for one in entries], [one.number for one in entries])
    assert found == entries


@pytest.mark.parametrize("name", ["file", "short", "long"])
def test_damaged_dnodes(files: ZfsFilesystem, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    number = files.find(name, follow=False).number
    objects = files.files.objects
    index, slot = divmod(number, objects.slots)
    pointer, whole = objects.meta.pointer_to(index), objects.block_of_dnodes(index)
    assert pointer is not None
    assert whole is not None
    now, read, start = whole, Blocks.read, slot * DNODE_SIZE

    def changed(self: Blocks, asked: BlockPointer, what: str) -> bytes:
        return now if asked == pointer else read(self, asked, what)

    monkeypatch.setattr(Blocks, "read", changed)
    places = [*range(start, start + 16), *range(start + 16, start + BONUS, 16)]
    places += range(start + BONUS, start + BONUS + 16)
    places += range(start + BONUS + 16, start + DNODE_SIZE, 3)
    answers = []
    for at, value, block in changes(whole, places):
        now = block
        answers.append(both_ways(files, number, f"byte {at - start} is {value}"))
    assert 20 < answers.count("damaged") < len(answers)


def test_damaged_layouts() -> None:
    """Attributes that are registered with other lengths, are missing, or are there twice."""
    with open_zfs([bytes_of(TREE)]) as files:
        registry = files.files.registry
        assert registry is not None
        number = files.find("short", follow=False).number
        found = set()
        places = [
            (name, layout, at) for name, layout in registry.layouts.items() for at in range(len(layout))
        ]
        for name, layout, at in places:
            attribute = layout[at]
            others = [[attribute._replace(length=length)] for length in (0, 4, 8, 16, 300)]
            for instead in ([], [attribute, attribute], *others):
                layouts = {name: [*layout[:at], *instead, *layout[at + 1 :]]}
                with patch.dict(registry.layouts, layouts), patch.object(registry, "_known", {}):
                    answer = both_ways(files, number, (attribute, instead))
                found.add(answer == "damaged")
    assert found == {True, False}


def test_damaged_leaves(files: ZfsFilesystem) -> None:
    zap = Zap(files.files.objects.dnode(files.root.number))
    whole = zap.leaf(next(zap.leaves()))
    used = [whole.start + 24 * chunk for chunk in range(whole.chunks)]
    used = [at for at in used if whole.block[at] in (C.CHUNK_ENTRY, C.CHUNK_ARRAY)][:12]
    answers = []
    for at, value, block in changes(whole.block, (at + byte for at in used for byte in range(24))):
        leaf = Leaf(block, lambda problem: damaged("leaf", 0, problem))
        alone = told(lambda leaf=leaf: [(one.name, one.number) for one in leaf.entries()])
        answers.append(told(lambda leaf=leaf: list(zip(*leaf_numbers(leaf), strict=True))))
        assert answers[-1] == alone, f"byte {at} is {value}"
    assert 100 < answers.count("damaged") < len(answers)


@pytest.mark.parametrize("device", [1 << 63, 1 << 32 | 1 << 31])
def test_devices_that_cannot_be(files: ZfsFilesystem, device: int) -> None:
    dnode = files.files.objects.dnode(files.find("file").number)
    with pytest.raises(OsvlabError, match=f"is the impossible device {device:#x}"):
        files.files._made(dnode, (0o020644, 0, 4, 1, 0, 0, device, 0, 0), (0, 0))
