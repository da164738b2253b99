"""ZFS as it lies on disk: the structures of the kernel's `ondisk.h`, and the numbers that name things.

The structures are declared once, in the header that the kernel's ZFS module is compiled with. Loops
over a hundred thousand of them use the `struct.Struct` of the same layout that stands here beside it;
a test holds the two together.

Sources of the format: "ZFS On-Disk Specification" (Sun Microsystems, 2006) and the headers of OpenZFS
(sys/spa.h, sys/dmu.h, sys/zio.h).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from osvlab.filesystems.declarations import declare

__all__ = [
    "DVA",
    "BlockPointer",
    "C",
    "Checksum",
    "Compression",
    "Declared",
    "ObjectType",
]

ONDISK = Path(__file__).parents[2] / "kernel" / "modules" / "zfs" / "ondisk.h"

Declared = declare(ONDISK.read_text())
C = Declared.types

SECTOR = 1 << C.SECTOR_SHIFT
LABEL_SIZE: int = C.LABEL_SIZE
VDEV_DATA: int = C.VDEV_DATA
DNODE_SIZE: int = C.DNODE_SIZE
POINTER_SIZE = 128
MAX_BLOCK = 16 << 20
MAX_DVAS = 3
EMBEDDED_SIZE = 112
VERSION_FEATURES = 5000

# Twins of declared structures.
POINTER = struct.Struct("<16Q")
ECK = struct.Struct("<5Q")
UBERBLOCK_HEAD = struct.Struct("<5Q")
DNODE_HEAD = struct.Struct("<8B2HB3x2Q32x")
MICRO_HEAD = struct.Struct("<3Q40x")
MICRO_ENTRY = struct.Struct("<QIH50s")
FAT_HEAD = struct.Struct("<13Q")
LEAF_HEAD = struct.Struct("<3QI4HB11x")
LEAF_ENTRY = struct.Struct("<2B5HIQ")
LEAF_ARRAY = struct.Struct("<B21sH")
ZNODE_HEAD = struct.Struct("<8Q11Q24xQIHH")
SA_HEAD = struct.Struct("<IH")
DSL_DIR = struct.Struct("<19Q104x")
DSL_DATASET_HEAD = struct.Struct("<16Q")
SPACE_MAP = struct.Struct("<3Q")
BPOBJ = struct.Struct("<6Q")


def _text(kind: type[IntEnum], value: int, otherwise: str) -> str:
    try:
        return kind(value).name.lower().replace("_", "-")
    except ValueError:
        return otherwise


class ObjectType(IntEnum):
    """What an object holds (`dmu_object_type_t`)."""

    NONE = 0
    OBJECT_DIRECTORY = 1
    OBJECT_ARRAY = 2
    PACKED_NVLIST = 3
    PACKED_NVLIST_SIZE = 4
    BPOBJ = 5
    BPOBJ_HEADER = 6
    SPACE_MAP_HEADER = 7
    SPACE_MAP = 8
    INTENT_LOG = 9
    DNODE = 10
    OBJSET = 11
    DSL_DIR = 12
    DSL_DIR_CHILD_MAP = 13
    DSL_DATASET_SNAPSHOT_MAP = 14
    DSL_PROPERTIES = 15
    DSL_DATASET = 16
    ZNODE = 17
    OLD_ACL = 18
    FILE_CONTENTS = 19
    DIRECTORY_CONTENTS = 20
    MASTER_NODE = 21
    DELETE_QUEUE = 22
    ZVOL = 23
    ZVOL_PROPERTIES = 24
    PLAIN_OTHER = 25
    UINT64_OTHER = 26
    ZAP_OTHER = 27
    ERROR_LOG = 28
    POOL_HISTORY = 29
    POOL_HISTORY_OFFSETS = 30
    POOL_PROPERTIES = 31
    DSL_PERMISSIONS = 32
    ACL = 33
    SYSTEM_ACL = 34
    FUID_TABLE = 35
    FUID_SIZE = 36
    NEXT_CLONES = 37
    SCAN_QUEUE = 38
    OWNER_USED = 39
    OWNER_QUOTA = 40
    USER_REFERENCES = 41
    DDT_ZAP = 42
    DDT_STATISTICS = 43
    SYSTEM_ATTRIBUTES = 44
    SA_MASTER_NODE = 45
    SA_REGISTRATION = 46
    SA_LAYOUTS = 47
    SCAN_TRANSLATIONS = 48
    DEDUP = 49
    DEADLIST = 50
    DEADLIST_HEADER = 51
    DSL_CLONES = 52
    BPOBJ_SUBOBJECTS = 53
    ZAP_METADATA = 196

    @classmethod
    def text(cls, value: int) -> str:
        """Return the name of a type, its number when it has none here."""
        return _text(cls, value, f"type {value}").replace("-", " ")


class Checksum(IntEnum):
    """How a block is checked (`enum zio_checksum`)."""

    INHERIT = 0
    ON = 1
    OFF = 2
    LABEL = 3
    GANG = 4
    ZILOG = 5
    FLETCHER2 = 6
    FLETCHER4 = 7
    SHA256 = 8
    ZILOG2 = 9
    NOPARITY = 10
    SHA512 = 11
    SKEIN = 12
    EDONR = 13
    BLAKE3 = 14

    @classmethod
    def text(cls, value: int) -> str:
        """Return the name as `zfs get checksum` shows it, the number when it has none here."""
        return _text(cls, value, f"checksum {value}")


class Compression(IntEnum):
    """How a block is compressed (`enum zio_compress`)."""

    INHERIT = 0
    ON = 1
    OFF = 2
    LZJB = 3
    EMPTY = 4
    GZIP_1 = 5
    GZIP_2 = 6
    GZIP_3 = 7
    GZIP_4 = 8
    GZIP_5 = 9
    GZIP_6 = 10
    GZIP_7 = 11
    GZIP_8 = 12
    GZIP_9 = 13
    ZLE = 14
    LZ4 = 15
    ZSTD = 16

    @classmethod
    def text(cls, value: int) -> str:
        """Return the name as `zfs get compression` shows it, the number when it has none here."""
        return _text(cls, value, f"compression {value}")


class DVA(NamedTuple):
    """Where a copy of a block is (data virtual address).

    Attributes
    ----------
    vdev
        Number of the top-level vdev.
    offset
        Bytes from the start of its data, which lies 4 MiB behind its own start.
    asize
        Bytes it takes there; for RAID-Z with parity.
    gang
        Whether a gang header is there, with pointers to the parts of the block.
    """

    vdev: int
    offset: int
    asize: int
    gang: bool = False

    def words(self) -> tuple[int, int]:
        """Return the two words that are stored."""
        return self.vdev << 32 | self.asize >> 9, self.gang << 63 | self.offset >> 9

    @classmethod
    def of_words(cls, first: int, second: int) -> DVA:
        """Return what two stored words say."""
        return cls(
            first >> 32 & 0xFFFFFF, (second & (1 << 63) - 1) << 9, (first & 0xFFFFFF) << 9, second >> 63 == 1
        )


class BlockPointer(tuple[int, ...]):
    """A block pointer: sixteen words, and what they say.

    Examples
    --------
    >>> pointer = BlockPointer.make([DVA(0, 0x2000, 512)], lsize=4096, psize=512, birth=7,
    ...     compression=Compression.LZ4, checksum=Checksum.FLETCHER4, kind=ObjectType.DNODE)
    >>> pointer.lsize, pointer.psize, pointer.dvas[0].offset == 0x2000, pointer.level
    (4096, 512, True, 0)
    >>> BlockPointer.unpack(pointer.pack()) == pointer
    True
    """

    __slots__ = ()

    @classmethod
    def unpack(cls, data: bytes | memoryview, offset: int = 0) -> BlockPointer:
        """Return the pointer that is stored at an offset, little-endian."""
        return cls(POINTER.unpack_from(data, offset))

    @classmethod
    def make(
        cls,
        dvas: list[DVA],
        *,
        lsize: int,
        psize: int,
        birth: int,
        compression: int,
        checksum: int,
        kind: int,
        level: int = 0,
        fill: int = 1,
        words: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> BlockPointer:
        """Return a pointer to a block that was stored.

        Parameters
        ----------
        dvas
            Where its copies are, up to three.
        lsize, psize
            Bytes as they are read, and as they are stored: multiples of 512.
        birth
            Transaction group that wrote it.
        compression, checksum, kind, level
            Of what the block is made; `kind` is the type of the object.
        fill
            Non-empty blocks below it.
        words
            The checksum.
        """
        places = [word for dva in dvas for word in dva.words()]
        properties = (
            (lsize // SECTOR - 1)
            | (psize // SECTOR - 1) << 16
            | compression << 32
            | checksum << 40
            | kind << 48
            | level << 56
            | 1 << 63
        )
        return cls((*places, *[0] * (6 - len(places)), properties, 0, 0, 0, birth, fill, *words))

    def pack(self) -> bytes:
        """Return its 128 bytes."""
        return POINTER.pack(*self)

    @property
    def is_hole(self) -> bool:
        """Whether there is no block: its bytes are zeros."""
        return not self[0] and not self[1] and not self[6] >> 39 & 1

    @property
    def is_embedded(self) -> bool:
        """Whether the bytes are kept in the pointer itself."""
        return bool(self[6] >> 39 & 1)

    @property
    def is_encrypted(self) -> bool:
        """Whether the block is encrypted, or authenticated by a key."""
        return bool(self[6] >> 61 & 1)

    @property
    def is_dedup(self) -> bool:
        """Whether other pointers may share the block by the table of duplicates."""
        return bool(self[6] >> 62 & 1)

    @property
    def is_little_endian(self) -> bool:
        """Whether the words in the block are little-endian."""
        return bool(self[6] >> 63)

    @property
    def lsize(self) -> int:
        """Bytes of the block as it is read."""
        if self.is_embedded:
            return (self[6] & 0x1FFFFFF) + 1
        return ((self[6] & 0xFFFF) + 1) << 9

    @property
    def psize(self) -> int:
        """Bytes of the block as it is stored."""
        if self.is_embedded:
            return (self[6] >> 25 & 0x7F) + 1
        return ((self[6] >> 16 & 0xFFFF) + 1) << 9

    @property
    def compression(self) -> int:
        """How it is compressed: a `Compression`, if it is known."""
        return self[6] >> 32 & 0x7F

    @property
    def checksum(self) -> int:
        """How it is checked: a `Checksum`, if it is known."""
        return self[6] >> 40 & 0xFF

    @property
    def kind(self) -> int:
        """Type of the object it belongs to: an `ObjectType`, if it is known."""
        return self[6] >> 48 & 0xFF

    @property
    def level(self) -> int:
        """How many levels of pointers are below it; 0: data."""
        return self[6] >> 56 & 0x1F

    @property
    def birth(self) -> int:
        """Transaction group in which the contents came to be."""
        return self[10]

    @property
    def physical_birth(self) -> int:
        """Transaction group in which the block was written."""
        return self[9] or self[10]

    @property
    def fill(self) -> int:
        """Non-empty blocks below it."""
        return 1 if self.is_embedded else self[11]

    @property
    def words(self) -> tuple[int, int, int, int]:
        """The checksum of what is stored."""
        return self[12], self[13], self[14], self[15]

    @property
    def dvas(self) -> list[DVA]:
        """Where the copies are; none for a hole and for an embedded block."""
        if self.is_embedded:
            return []
        return [DVA.of_words(self[i], self[i + 1]) for i in (0, 2, 4) if self[i] or self[i + 1]]

    @property
    def payload(self) -> bytes:
        """Bytes that are kept in the pointer itself, as they are stored."""
        raw = self.pack()
        return (raw[:48] + raw[56:80] + raw[88:])[: self.psize]
