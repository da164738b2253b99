"""Labels: what each disk of a pool says of itself, four times, and the ring of uberblocks in each.

Nothing in a label is believed before its embedded SHA-256 is right. A slot of the ring that was torn
by a power cut, or was never used, is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from osvlab.filesystems.base import ByteRange
from osvlab.filesystems.zfs.checksums import eck_is_right
from osvlab.filesystems.zfs.format import LABEL_SIZE, UBERBLOCK_HEAD, BlockPointer, C
from osvlab.filesystems.zfs.nvlist import NvList, NvPair, parse_nvlist, values_of

__all__ = ["Label", "Uberblock", "label_offsets", "read_labels"]

UBERBLOCK_SHIFTS = range(C.UBERBLOCK_SHIFT_MIN, 17)
_RING = slice(C.LABEL_UBERBLOCKS, C.LABEL_UBERBLOCKS + C.LABEL_UBERBLOCKS_SIZE)
_ROOT = C.uberblock.fields["rootbp"].offset
_SOFTWARE = C.uberblock.fields["software_version"].offset
_MAGIC = {"<": C.UBERBLOCK_MAGIC.to_bytes(8, "little"), ">": C.UBERBLOCK_MAGIC.to_bytes(8, "big")}


class Uberblock(NamedTuple):
    """The root of everything a pool held when a transaction group was done.

    Attributes
    ----------
    txg
        The transaction group.
    timestamp
        When, in seconds since 1970.
    version
        Of the pool: 1 to 28, or 5000.
    guid_sum
        Sum of the guids of the pool and of all its vdevs, modulo 2**64.
    root
        Where the objects of the pool (the MOS) are.
    offset
        Where it is, in bytes from the start of the file that was opened.
    length
        Bytes of its slot.
    label, slot
        In which label, and which place of its ring.
    endian
        ``<`` or ``>``.
    """

    txg: int
    timestamp: int
    version: int
    guid_sum: int
    root: BlockPointer
    offset: int
    length: int
    label: int
    slot: int
    endian: str


@dataclass
class Label:
    """One of the four labels of a disk.

    Attributes
    ----------
    index, offset
        Which, and where in the disk, in bytes.
    config
        What it says of pool and disk; None when it cannot be believed.
    pairs
        The same, with where each stands; offsets from the start of the label's nvlist.
    problem
        Why it cannot be believed; empty when it can.
    uberblocks
        Those of its ring whose checksum is right.
    """

    index: int
    offset: int
    config: NvList | None = None
    pairs: list[NvPair] = field(default_factory=list)
    problem: str = ""
    uberblocks: list[Uberblock] = field(default_factory=list)


def label_offsets(size: int) -> list[int]:
    """Return where the labels of a disk are, in bytes; fewer than four where it is too small.

    Examples
    --------
    >>> [hex(offset) for offset in label_offsets(64 << 20)]
    ['0x0', '0x40000', '0x3f80000', '0x3fc0000']
    """
    whole = size // LABEL_SIZE * LABEL_SIZE
    places = [0, LABEL_SIZE, whole - 2 * LABEL_SIZE, whole - LABEL_SIZE]
    return [
        place for index, place in enumerate(places) if place >= 0 and place >= index // 2 * 2 * LABEL_SIZE
    ]


def read_labels(disk: ByteRange) -> list[Label]:
    """Return the labels of a disk, also those that cannot be believed."""
    return [_label(disk, index, offset) for index, offset in enumerate(label_offsets(disk.length))]


def _label(disk: ByteRange, index: int, offset: int) -> Label:
    label = Label(index, offset)
    data = disk.read_at(offset, LABEL_SIZE)
    if len(data) < LABEL_SIZE:
        label.problem = "is cut off"
        return label
    start = C.LABEL_NVLIST
    region = data[start : start + C.LABEL_NVLIST_SIZE]
    if eck_is_right(region, (offset + start, 0, 0, 0)) is None:
        label.problem = "has a wrong checksum" if any(region) else "is empty"
    else:
        try:
            label.pairs = parse_nvlist(region)
            label.config = values_of(label.pairs)
        except ValueError as error:
            label.problem = f"holds a list that {error}"
    label.uberblocks = list(_ring(data[_RING], disk.offset, offset + C.LABEL_UBERBLOCKS, index))
    return label


def _ring(ring: bytes, start: int, place: int, label: int) -> Iterator[Uberblock]:
    """Yield the uberblocks of a ring. Slots are 1 KiB, or the sector of the disk when that is larger."""
    if not any(ring):
        return
    for shift in UBERBLOCK_SHIFTS:
        size = 1 << shift
        for slot in range(len(ring) >> shift):
            at = slot << shift
            if ring[at : at + 8] not in _MAGIC.values():
                continue
            raw = ring[at : at + size]
            endian = eck_is_right(raw, (place + at, 0, 0, 0))
            if endian is None or ring[at : at + 8] != _MAGIC[endian]:
                continue  # torn, or slots are of another size
            yield _uberblock(raw, endian, start + place + at, label, slot)


def _uberblock(raw: bytes, endian: str, offset: int, label: int, slot: int) -> Uberblock:
    if endian == ">":
        head = _SOFTWARE + 8
        raw = b"".join(raw[at : at + 8][::-1] for at in range(0, head, 8)) + raw[head:]
    _, version, txg, guid_sum, timestamp = UBERBLOCK_HEAD.unpack_from(raw)
    root = BlockPointer.unpack(raw, _ROOT)
    return Uberblock(txg, timestamp, version, guid_sum, root, offset, len(raw), label, slot, endian)
