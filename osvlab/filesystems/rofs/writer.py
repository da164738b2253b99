"""Write ROFS: number everything first, then stream superblock, contents and tables.

All places follow from the sizes of the files, so the plan is complete before the
first byte is written, the output is written once from front to back, and memory
holds the tables but never the contents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from osvlab.filesystems.output import Output
from osvlab.filesystems.rofs.format import (
    BLOCK,
    C_ROFS,
    ENTRY_HEAD,
    INODE,
    LINK_HEAD,
    MAGIC,
    ROOT,
    VERSION,
    Mode,
    blocks,
)
from osvlab.filesystems.tree import Content, Directory, HostFile, Node, Symlink, check_name, check_target

__all__ = ["RofsPlan", "plan_rofs", "write_rofs"]


@dataclass(slots=True)
class RofsPlan:
    """Where everything of a ROFS will lie.

    Attributes
    ----------
    files
        Files in the order of their contents on disk.
    next_block
        First block after the contents: where the structure area starts.
    """

    files: list[HostFile | Content] = field(default_factory=list)
    next_block: int = 1
    content_bytes: int = 0
    entries: bytearray = field(default_factory=bytearray)
    entry_count: int = 0
    links: bytearray = field(default_factory=bytearray)
    link_count: int = 0
    inodes: bytearray = field(default_factory=bytearray)
    inode_count: int = 0

    @property
    def structure_bytes(self) -> int:
        """Size of the structure area without padding."""
        return len(self.entries) + len(self.links) + len(self.inodes)

    @property
    def size(self) -> int:
        """Size of the whole filesystem in bytes."""
        # A structure area that just fills its last block gets one block more, which the superblock does
        # not count. OSv's generator does that; being equal byte for byte is worth 512 bytes.
        return (self.next_block + self.structure_bytes // BLOCK + 1) * BLOCK

    def superblock(self) -> bytes:
        """Return block 0."""
        fields = C_ROFS.types.rofs_superblock(
            magic=MAGIC,
            version=VERSION,
            block_size=BLOCK,
            structure_info_first_block=self.next_block,
            structure_info_blocks_count=blocks(self.structure_bytes),
            directory_entries_count=self.entry_count,
            symlinks_count=self.link_count,
            inodes_count=self.inode_count,
        )
        return bytes(fields.dumps()).ljust(BLOCK, b"\0")

    def new_inode(self, node: Node, path: bytes) -> int:
        """Add the inode of a node, with its contents or target, and return its number."""
        self.inode_count += 1
        number = self.inode_count
        match node:
            case Directory():
                # Its entries come after those of all directories below it: `close_directory` fills this in.
                fields = (Mode.DIRECTORY, number, 0, 0)
            case Symlink(target):
                check_target(target, path)
                fields = (Mode.SYMLINK, number, self.link_count, 1)
                self.links += LINK_HEAD.pack(len(target)) + target
                self.link_count += 1
            case HostFile() | Content():
                fields = (Mode.FILE, number, self.next_block, node.size)
                self.next_block += blocks(node.size)
                self.content_bytes += node.size
                self.files.append(node)
        self.inodes += INODE.pack(*fields)
        return number

    def close_directory(self, number: int, names: list[tuple[bytes, int]]) -> None:
        """Append a directory's entries and point its inode at them."""
        INODE.pack_into(
            self.inodes, (number - 1) * INODE.size, Mode.DIRECTORY, number, self.entry_count, len(names)
        )
        for name, inode in names:
            self.entries += ENTRY_HEAD.pack(inode, len(name)) + name
        self.entry_count += len(names)


def plan_rofs(tree: Directory) -> RofsPlan:
    """Give every node of a tree its number and its place, in the order of OSv's generator.

    Inodes are numbered as they are met, a directory's children before its next
    sibling; the entries of a directory stand after those of its subdirectories.
    Entries are sorted by name, where OSv takes them as its manifest has them.

    Raises
    ------
    TreeError
        A name or a link's target does not fit the format.

    Examples
    --------
    >>> tree = Directory()
    >>> tree.add(b"/hello", Content(b"x" * 600))
    >>> plan: RofsPlan = plan_rofs(tree)
    >>> plan.inode_count, plan.next_block, plan.size
    (2, 3, 2048)
    """
    plan = RofsPlan()
    Frame = tuple[int, bytes, Iterator[tuple[bytes, Node]], list[tuple[bytes, int]]]
    # An explicit stack: a path of 4,095 bytes may be 2,000 directories deep, more than Python recurses.
    stack: list[Frame] = [(plan.new_inode(tree, b"/"), b"/", iter(tree.entries()), [])]
    assert stack[0][0] == ROOT
    while stack:
        number, base, children, names = stack[-1]
        for name, node in children:
            path = base + name
            check_name(name, path)
            child = plan.new_inode(node, path)
            names.append((name, child))
            if isinstance(node, Directory):
                stack.append((child, path + b"/", iter(node.entries()), []))
                break
        else:
            plan.close_directory(number, names)
            stack.pop()
    return plan


def write_rofs(
    tree: Directory | RofsPlan,
    stream: BinaryIO,
    *,
    sparse: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> int:
    """Write a tree as ROFS and return its size in bytes.

    Parameters
    ----------
    tree
        What to write, or the plan already made of it.
    stream
        A binary stream, written from front to back. An unbuffered file is fastest.
    sparse
        The stream is a new file: holes of the source files may stay holes.
    progress
        Called with the bytes of content written so far and in all, after each file.

    Raises
    ------
    TreeError
        A name or a link's target does not fit the format; nothing was written.
    ChangedFileError
        A file changed since the tree was made, or while it was read.
    OSError
        The stream cannot be written: the disk is full.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> write_rofs(Directory({b"hello": Content(b"hi")}), stream)
    1536
    >>> hex(int.from_bytes(stream.getvalue()[:8], "little"))
    '0xdeadbead'
    """
    plan = tree if isinstance(tree, RofsPlan) else plan_rofs(tree)
    output = Output(stream, sparse=sparse)
    output.write(plan.superblock())
    done = 0
    for file in plan.files:
        if isinstance(file, HostFile):
            output.copy(file)
        else:
            output.write(file.data)
        output.zeros(-file.size % BLOCK)
        if progress is not None:
            done += file.size
            progress(done, plan.content_bytes)
    for table in (plan.entries, plan.links, plan.inodes):
        output.write(table)
    output.zeros(plan.size - output.written)
    output.flush()
    return plan.size
