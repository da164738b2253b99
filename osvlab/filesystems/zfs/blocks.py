"""Blocks by their pointers: read from the first copy whose checksum is right, then unpacked.

A block may be stored up to three times, and each time on every disk of a mirror. A gang block is
stored in parts, whose pointers stand in a header of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from osvlab.filesystems.base import ByteRange, DamagedError
from osvlab.filesystems.zfs.byteorder import little_endian
from osvlab.filesystems.zfs.cache import BlockCache
from osvlab.filesystems.zfs.checksums import checksum, eck_is_right
from osvlab.filesystems.zfs.compression import decompress
from osvlab.filesystems.zfs.errors import UnsupportedPoolError, damaged
from osvlab.filesystems.zfs.format import (
    DVA,
    MAX_BLOCK,
    POINTER_SIZE,
    VDEV_DATA,
    BlockPointer,
    Checksum,
    Compression,
    ObjectType,
)
from osvlab.filesystems.zfs.vdevs import Vdev

__all__ = ["Blocks"]

GANG_SIZE = 512
GANG_POINTERS = 3
MAX_GANG_DEPTH = 8
_NOTES = 100
_METADATA_CACHE = 8 << 20
_DATA_CACHE = 2 << 20
_BULK = (ObjectType.FILE_CONTENTS, ObjectType.ZVOL)


class Blocks:
    """Reads blocks of a pool.

    Parameters
    ----------
    vdevs
        The top-level vdevs by number.

    Attributes
    ----------
    notes
        What was wrong and did not matter, because another copy was right; a hundred at most.
    """

    def __init__(self, vdevs: dict[int, Vdev]) -> None:
        self.vdevs = vdevs
        self.notes: list[str] = []
        self._metadata = BlockCache(_METADATA_CACHE)
        self._data = BlockCache(_DATA_CACHE)

    def note(self, text: str) -> None:
        """Keep a note, unless it was made before."""
        if len(self.notes) < _NOTES and text not in self.notes:
            self.notes.append(text)

    def read(self, pointer: BlockPointer, what: str) -> bytes:
        """Return the bytes of a block, its words little-endian.

        Parameters
        ----------
        pointer
            Where it is. For a hole, zeros are returned.
        what
            What it is, for errors.

        Raises
        ------
        DamagedError
            No copy has the right checksum, or the bytes cannot be unpacked.
        UnsupportedPoolError
            Its compression or checksum is not known here, or it is encrypted.
        """
        if pointer.is_hole:
            return bytes(pointer.lsize)
        cache = self._data if pointer.kind in _BULK and not pointer.level else self._metadata
        found = cache.get(pointer)
        if found is None:
            found = self.unpacked(pointer, self.stored(pointer, what), what)
            cache.put(pointer, found)
        return found

    def unpacked(self, pointer: BlockPointer, stored: bytes, what: str) -> bytes:
        """Return the bytes of a block from those that are stored."""
        try:
            data = decompress(pointer.compression, stored, pointer.lsize)
        except ValueError as error:
            raise damaged(what, self.place(pointer), f"cannot be unpacked: {error}") from None
        if data is None:
            raise UnsupportedPoolError(
                f"{what} is compressed with {Compression.text(pointer.compression)}, not known here",
                hint="Copy the files with the system that wrote them.",
            )
        return data if pointer.is_little_endian else little_endian(data, pointer.kind, pointer.level)

    def stored(self, pointer: BlockPointer, what: str) -> bytes:
        """Return the bytes of a block as they are stored, checked."""
        if pointer.is_encrypted:
            raise UnsupportedPoolError(f"{what} is encrypted", hint="Encrypted datasets are not read here.")
        if pointer.is_embedded:
            if pointer.checksum:  # here it says what is embedded; 0: data
                raise UnsupportedPoolError(
                    f"{what} is embedded in a way that is not known here",
                    hint="Copy the files with the system that wrote them.",
                )
            return pointer.payload
        size = pointer.psize
        if size > MAX_BLOCK or pointer.lsize > MAX_BLOCK:
            raise damaged(what, self.place(pointer), f"would be {max(size, pointer.lsize)} bytes long")
        return self._stored(pointer, what, 0)

    def _stored(self, pointer: BlockPointer, what: str, depth: int) -> bytes:
        first: DamagedError | None = None
        for dva in pointer.dvas:
            try:
                if dva.gang:
                    return self._gang(pointer, dva, what, depth)
                return self._copy(pointer, dva, what)
            except DamagedError as error:
                self._passed_over(pointer, error)
                first = first or error
        raise first or damaged(what, self.place(pointer), "is nowhere")

    def _passed_over(self, pointer: BlockPointer, error: DamagedError) -> None:
        if len(pointer.dvas) > 1:
            self.note(f"{error.message}; another copy is read")

    def _copy(self, pointer: BlockPointer, dva: DVA, what: str) -> bytes:
        """Return one of the stored copies, from the first disk of a mirror on which it is right."""
        size = pointer.psize
        wrong: list[int] = []
        for source, position in self.places(dva, size, what):
            data = source.read_at(position, size)
            if self._is_right(pointer, data, what):
                if wrong:
                    self.note(f"{what} at byte {wrong[0]:#x} is wrong; the mirror's other disk has it")
                return data
            wrong.append(source.offset + position)
        kind = Checksum.text(pointer.checksum)
        raise damaged(what, wrong[0], f"has a wrong checksum ({kind}, {size} bytes)")

    def places(self, dva: DVA, size: int, what: str) -> list[tuple[ByteRange, int]]:
        """Return where bytes of an address are: disks and positions in them, one for each of a mirror."""
        vdev = self.vdevs.get(dva.vdev)
        if vdev is None or not vdev.disks:
            raise damaged(what, VDEV_DATA + dva.offset, f"is on vdev {dva.vdev}, which is not there")
        places = list(vdev.copies(dva, size))
        if not places:
            end = vdev.disks[0].source.length
            raise damaged(what, VDEV_DATA + dva.offset, f"({size} bytes) ends outside its disk of {end}")
        return places

    def _is_right(self, pointer: BlockPointer, data: bytes, what: str) -> bool:
        if pointer.checksum == Checksum.OFF:
            return len(data) == pointer.psize
        found = checksum(pointer.checksum, data, swapped=not pointer.is_little_endian)
        if found is None:
            raise UnsupportedPoolError(
                f"{what} is checked with {Checksum.text(pointer.checksum)}, not known here",
                hint="Copy the files with the system that wrote them.",
            )
        return found == pointer.words

    def gang_members(self, pointer: BlockPointer, dva: DVA, what: str) -> list[BlockPointer]:
        """Return the pointers to the parts of a gang block, from a header that is right."""
        head = pointer.dvas[0]
        verifier = (head.vdev, head.offset, pointer.physical_birth, 0)
        places = self.places(dva, GANG_SIZE, what)
        for source, position in places:
            raw = source.read_at(position, GANG_SIZE)
            endian = eck_is_right(raw, verifier)
            if endian is not None:
                raw = raw if endian == "<" else little_endian(raw, ObjectType.UINT64_OTHER, 0)
                members = [BlockPointer.unpack(raw, i * POINTER_SIZE) for i in range(GANG_POINTERS)]
                return [member for member in members if not member.is_hole]
        source, position = places[0]
        raise damaged(f"gang header of {what}", source.offset + position, "has a wrong checksum")

    def _gang(self, pointer: BlockPointer, dva: DVA, what: str, depth: int) -> bytes:
        if depth > MAX_GANG_DEPTH:
            raise damaged(what, self.place(pointer), "is a gang of gangs without end")
        members = self.gang_members(pointer, dva, what)
        size = sum(member.psize for member in members)
        if size != pointer.psize or any(member.is_embedded for member in members):
            raise damaged(what, self.place(pointer), f"has parts of {size} bytes instead of {pointer.psize}")
        return b"".join(self._stored(member, f"a part of {what}", depth + 1) for member in members)

    def verify(self, pointer: BlockPointer, what: str, depth: int = 0) -> tuple[int, list[DamagedError]]:
        """Return how many copies of a block are right, and errors for those that are not.

        Unlike `stored`, this reads all copies, on all disks of a mirror.
        """
        right, errors = 0, []
        for dva in pointer.dvas:
            try:
                if dva.gang:
                    if depth > MAX_GANG_DEPTH:
                        raise damaged(what, self.place(pointer), "is a gang of gangs without end")
                    members = self.gang_members(pointer, dva, what)
                    parts = [self.verify(member, f"a part of {what}", depth + 1) for member in members]
                    errors += [error for _, wrong in parts for error in wrong]
                    right += all(good for good, _ in parts)
                    continue
                for source, position in self.places(dva, pointer.psize, what):
                    if self._is_right(pointer, source.read_at(position, pointer.psize), what):
                        right += 1
                    else:
                        kind = Checksum.text(pointer.checksum)
                        place = source.offset + position
                        errors.append(damaged(what, place, f"has a wrong checksum ({kind})"))
            except DamagedError as error:
                errors.append(error)
        return right, errors

    def place(self, pointer: BlockPointer) -> int:
        """Return where the first copy is, in bytes from the start of the file that was opened."""
        return next((self.place_of(dva) for dva in pointer.dvas), 0)

    def place_of(self, dva: DVA) -> int:
        """Return where an address is, in bytes from the start of the file that was opened."""
        vdev = self.vdevs.get(dva.vdev)
        base = vdev.disks[0].source.offset if vdev is not None and vdev.disks else 0
        return base + VDEV_DATA + dva.offset

    def forget(self) -> None:
        """Drop what is cached."""
        self._metadata.clear()
        self._data.clear()

    def parts(self, pointer: BlockPointer, what: str, depth: int = 0) -> Iterator[DVA]:
        """Yield all disk space that a block takes: its copies; of gangs the headers and the parts."""
        for dva in pointer.dvas:
            if not dva.gang:
                yield dva
                continue
            vdev = self.vdevs.get(dva.vdev)
            yield dva._replace(asize=max(GANG_SIZE, 1 << vdev.ashift if vdev else 0))
            if depth > MAX_GANG_DEPTH:
                raise damaged(what, self.place(pointer), "is a gang of gangs without end")
        gangs = [dva for dva in pointer.dvas if dva.gang]
        if gangs:
            for member in self.gang_members(pointer, gangs[0], what):
                yield from self.parts(member, f"a part of {what}", depth + 1)
