from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvlab.filesystems.zfs import format as zfs
from osvlab.filesystems.zfs.format import DVA, BlockPointer, C

words = st.integers(0, 2**64 - 1)

# By declared structure: its twin, and which of its fields that one unpacks, in order.
TWINS = {
    "blkptr": (zfs.POINTER, ""),
    "zio_eck": (zfs.ECK, ""),
    "micro_entry": (zfs.MICRO_ENTRY, ""),
    "micro_zap": (zfs.MICRO_HEAD, "block_type salt normalization"),
    "fat_zap": (zfs.FAT_HEAD, ""),
    "leaf_header": (
        zfs.LEAF_HEAD,
        "block_type padding prefix magic free_chunks entries prefix_length free_list flags",
    ),
    "leaf_entry": (zfs.LEAF_ENTRY, ""),
    "leaf_array": (zfs.LEAF_ARRAY, ""),
    "dsl_dir": (
        zfs.DSL_DIR,
        "created head_dataset parent origin children used_bytes compressed_bytes uncompressed_bytes quota "
        "reserved properties delegation flags used_by clones",
    ),
    "space_map": (zfs.SPACE_MAP, ""),
    "bpobj_header": (zfs.BPOBJ, ""),
    "uberblock": (zfs.UBERBLOCK_HEAD, "magic version txg guid_sum timestamp"),
    "dnode": (
        zfs.DNODE_HEAD,
        "type indirect_shift levels pointers bonus_type checksum compression flags data_sectors "
        "bonus_length extra_slots max_block used",
    ),
    "znode": (
        zfs.ZNODE_HEAD,
        "accessed modified changed created generation mode size parent links extended_attributes device "
        "flags owner group zap acl_object acl_bytes acl_version acl_count",
    ),
    "sa_header": (zfs.SA_HEAD, "magic layout"),
    "dsl_dataset": (
        zfs.DSL_DATASET_HEAD,
        "directory previous_snapshot previous_snapshot_txg next_snapshot snapshot_names children created "
        "created_txg deadlist referenced_bytes compressed_bytes uncompressed_bytes unique_bytes fsid guid "
        "flags",
    ),
}
ONLY_A_PART = {"uberblock", "dnode", "znode", "sa_header", "dsl_dataset"}


def flat(value: object) -> list[object]:
    if isinstance(value, list | tuple | bytes):
        return [part for item in value for part in flat(item)]
    fields = getattr(type(value), "__fields__", None)
    if fields is not None:
        return [part for field in fields for part in flat(getattr(value, field._name))]
    return [value]


@pytest.mark.parametrize("name", TWINS)
def test_what_is_unpacked_fast_is_what_is_declared(name: str) -> None:
    twin, fields = TWINS[name]
    kind = getattr(C, name)
    raw = bytes(range(1, 256)) * 3
    whole = kind(raw[: len(kind)])
    declared = [flat(getattr(whole, field)) for field in fields.split()] if fields else flat(whole)
    assert flat(twin.unpack_from(raw)) == flat(declared)
    assert twin.size == len(kind) or name in ONLY_A_PART


def test_the_sizes_are_those_of_the_disk() -> None:
    sizes = {name: len(getattr(C, name)) for name in ("blkptr", "dnode", "objset", "dsl_dir", "dsl_dataset")}
    assert sizes == {"blkptr": 128, "dnode": 512, "objset": 2048, "dsl_dir": 256, "dsl_dataset": 320}
    assert len(C.znode) == 264


@given(st.integers(0, 2**24 - 1), st.integers(0, 2**54 - 1), st.integers(1, 2**15), st.booleans())
def test_addresses_come_back(vdev: int, sector: int, sectors: int, gang: bool) -> None:
    dva = DVA(vdev, sector << 9, sectors << 9, gang)
    assert DVA.of_words(*dva.words()) == dva


@given(
    st.integers(1, 2**15),
    st.integers(1, 2**15),
    st.integers(0, 16),
    st.integers(0, 14),
    st.integers(0, 255),
    st.integers(0, 7),
    words,
    words,
)
def test_block_pointers_come_back(
    lsize: int, psize: int, compression: int, checksum: int, kind: int, level: int, birth: int, word: int
) -> None:
    dvas = [DVA(0, 512, psize << 9), DVA(1, 1024, psize << 9)]
    made = BlockPointer.make(
        dvas,
        lsize=lsize << 9,
        psize=psize << 9,
        birth=birth,
        compression=compression,
        checksum=checksum,
        kind=kind,
        level=level,
        fill=3,
        words=(word, 2, 3, 4),
    )
    found = BlockPointer.unpack(made.pack())
    assert (found.lsize, found.psize, found.compression) == (lsize << 9, psize << 9, compression)
    assert (found.checksum, found.kind, found.level) == (checksum, kind, level)
    assert (found.birth, found.fill, found.words, found.dvas) == (birth, 3, (word, 2, 3, 4), dvas)
    assert found.is_little_endian
    assert not found.is_hole
    assert not found.is_embedded


def test_an_embedded_block_lies_around_its_properties() -> None:
    payload = bytes(range(112))
    properties = (200 - 1) | (112 - 1) << 25 | 15 << 32 | 1 << 39 | 1 << 63
    raw = payload[:48] + struct.pack("<Q", properties) + payload[48:72] + bytes(8) + payload[72:]
    found = BlockPointer.unpack(raw)
    assert found.is_embedded
    assert not found.is_hole
    assert (found.lsize, found.psize, found.compression, found.dvas) == (200, 112, 15, [])
    assert found.payload == payload


def test_what_is_not_known_has_its_number() -> None:
    assert zfs.ObjectType.text(19) == "file contents"
    assert zfs.ObjectType.text(99) == "type 99"
    assert zfs.Compression.text(10) == "gzip-6"
    assert zfs.Checksum.text(77) == "checksum 77"
