"""Objects explained: sets of them, their dnodes, and what each kind of object leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from osvlab.filesystems.structure import Field, Pointer, Structure
from osvlab.filesystems.zfs.byteorder import ByteSwap, byte_swap_of
from osvlab.filesystems.zfs.dsl import dataset_of
from osvlab.filesystems.zfs.explain.bonus import bonus_fields
from osvlab.filesystems.zfs.explain.places import Place, View, declared, declared_fields
from osvlab.filesystems.zfs.explain.pointers import brief, explain_block, explain_pointer
from osvlab.filesystems.zfs.explain.tables import explain_table_block, table_entries
from osvlab.filesystems.zfs.format import (
    DNODE_SIZE,
    DSL_DATASET_HEAD,
    DSL_DIR,
    POINTER_SIZE,
    BlockPointer,
    C,
    Checksum,
    Compression,
    ObjectType,
)
from osvlab.filesystems.zfs.objects import Dnode, ObjectSet
from osvlab.filesystems.zfs.pool import Pool
from osvlab.filesystems.zfs.zap import ZapEntry

__all__ = ["explain_dnode", "explain_object_set"]

_OBJECT = (1 << 48) - 1
_MASTER = 1
_SETS = {1: "MOS", 2: "filesystem", 3: "volume"}
# Entries of tables that are numbers of objects in the same set.
_LEADS: dict[int, tuple[bytes, ...] | None] = {
    ObjectType.OBJECT_DIRECTORY: None,
    ObjectType.DSL_DIR_CHILD_MAP: None,
    ObjectType.DSL_DATASET_SNAPSHOT_MAP: None,
    ObjectType.DIRECTORY_CONTENTS: None,
    ObjectType.DELETE_QUEUE: None,
    ObjectType.MASTER_NODE: (b"ROOT", b"DELETE_QUEUE", b"SA_ATTRS", b"SHARES", b"FUID"),
    ObjectType.SA_MASTER_NODE: (b"REGISTRY", b"LAYOUTS"),
}
# Names in the object directory whose values are no objects.
_NUMBERS = (b"deflate", b"creation_version", b"bpversion", b"scan", b"com.delphix:vdev_zap_map_")
_KINDS: dict[int, str] = {
    ObjectType.OBJECT_DIRECTORY: "The pool's table of contents: names of its own objects.",
    ObjectType.DSL_DIR: "A place in the tree of datasets: who is seen under the name, and who is below.",
    ObjectType.DSL_DATASET: "A dataset or snapshot: where its set of objects is.",
    ObjectType.MASTER_NODE: "Where a filesystem begins: its version, and the object of its root directory.",
    ObjectType.DIRECTORY_CONTENTS: "A directory: a table of names and the objects that they stand for.",
    ObjectType.FILE_CONTENTS: "A file: the tree of block pointers below it leads to its bytes.",
    ObjectType.SPACE_MAP: "A log of what was taken and given back in one part of a vdev.",
    ObjectType.DNODE: "The object whose contents are all other dnodes.",
}


def explain_object_set(pool: Pool, objects: ObjectSet, about: str = "") -> Structure:
    """Return a set of objects as a structure that points to what is in it."""
    view = View(pool, objects)
    place = Place.of_block(pool, objects.pointer, f"the object set of {objects.name}")
    raw = objects.raw[: C.OBJSET_SIZE]
    return declared(
        "objset",
        raw,
        place,
        lambda: _set_pointers(view, place),
        name=f"object set of {objects.name}",
        about=about or "A set of objects; all their dnodes are the contents of the one that stands here.",
        shown={
            "meta_dnode": lambda _: f"{objects.meta.levels} levels, {objects.meta.block_count} blocks",
            "type": lambda value: _SETS.get(int(value), str(value)),
            "zil": lambda _: brief(objects.log),
            "userused": lambda found: "counted" if found.type else "not counted",
            "groupused": lambda found: "counted" if found.type else "not counted",
        },
    )


def _set_pointers(view: View, place: Place) -> Iterator[Pointer]:
    objects = view.objects
    if objects.kind == 1:
        yield Pointer("object directory", lambda: explain_number(view, _MASTER))
    elif objects.kind == 2:
        yield Pointer("master node", lambda: explain_number(view, _MASTER))
    yield Pointer("dnodes", lambda: explain_dnode(view, objects.meta, place))


def explain_number(view: View, number: int) -> Structure:
    """Return an object by its number."""
    dnode = view.objects.dnode(number)
    index, slot = divmod(number, view.objects.slots)
    pointer = view.objects.meta.pointer_to(index)
    what = f"block {index} of {view.objects.meta.name}"
    place = Place.of_block(view.pool, pointer, what) if pointer is not None else Place(0)
    return explain_dnode(view, dnode, place.at(slot * DNODE_SIZE))


def explain_dnode(view: View, dnode: Dnode, place: Place) -> Structure:
    """Return a dnode as a structure that points to its blocks, and to what those mean."""
    kind = ObjectType.text(dnode.kind)
    name = f"dnode of {dnode.name}" if dnode.number else dnode.name
    return Structure(
        f"{name} ({kind})",
        place.offset,
        len(dnode.raw),
        dnode.raw,
        lambda: _dnode_fields(view, dnode),
        lambda: [*_meanings(view, dnode), *_blocks(view, dnode, place)],
        about=_KINDS.get(dnode.kind, "An object."),
        within=place.within,
    )


def _dnode_fields(view: View, dnode: Dnode) -> list[Field]:
    shown = {
        "type": ObjectType.text,
        "bonus_type": ObjectType.text,
        "checksum": Checksum.text,
        "compression": Compression.text,
    }
    head = [
        one
        for one in declared_fields("dnode", dnode.raw[:DNODE_SIZE], shown)
        if one.name not in ("pointer", "rest")
    ]
    start = C.DNODE_CORE_SIZE
    pointers = [
        Field(f"pointer[{i}]", start + POINTER_SIZE * i, POINTER_SIZE, brief(one), "block pointer")
        for i, one in enumerate(dnode.pointers)
    ]
    spill = dnode.spill
    last = len(dnode.raw) - POINTER_SIZE
    return [
        *head,
        *pointers,
        *bonus_fields(view, dnode, start + POINTER_SIZE * dnode.pointer_count),
        *(
            [Field("spill", last, POINTER_SIZE, brief(spill), "more attributes")]
            if spill is not None
            else []
        ),
    ]


# --- blocks ------------------------------------------------------------------------------------------------


def _blocks(view: View, dnode: Dnode, place: Place) -> Iterator[Pointer]:
    for index, pointer in enumerate(dnode.pointers):
        at = place.at(C.DNODE_CORE_SIZE + POINTER_SIZE * index)
        yield _pointer_to(view, dnode, dnode.levels - 1, index, pointer, at, f"block pointer {index}")
    spill = dnode.spill
    if spill is not None and not spill.is_hole:
        at = place.at(len(dnode.raw) - POINTER_SIZE)
        yield Pointer("spill pointer", lambda: _spill(view, dnode, spill, at))


def _pointer_to(
    view: View, dnode: Dnode, level: int, index: int, pointer: BlockPointer, place: Place, name: str
) -> Pointer:
    def make() -> Structure:
        return explain_pointer(
            view.pool,
            pointer,
            place,
            name=f"{name} of {dnode.name}",
            block=lambda: _block(view, dnode, level, index, pointer),
        )

    return Pointer(name, make)


def _block(view: View, dnode: Dnode, level: int, index: int, pointer: BlockPointer) -> Structure:
    if level:
        return explain_block(
            view.pool,
            pointer,
            lambda: dnode.read_indirect(pointer, level, index),
            name=f"indirect block {index} (level {level}) of {dnode.name}",
            contents=lambda data, place: _below(view, dnode, level, index, data, place),
            about="A block of block pointers",
        )
    return explain_block(
        view.pool,
        pointer,
        lambda: dnode.read_data(pointer, index),
        name=f"block {index} of {dnode.name}",
        contents=lambda data, place: _contents(view, dnode, index, data, place),
        about=f"Contents ({ObjectType.text(dnode.kind)}), from byte {index * dnode.data_size:#x} on",
    )


def _below(view: View, dnode: Dnode, level: int, index: int, data: bytes, place: Place) -> Iterator[Pointer]:
    width = len(data) // POINTER_SIZE
    for i in range(width):
        pointer = BlockPointer.unpack(data, POINTER_SIZE * i)
        number = index * width + i
        if not pointer.is_hole:
            at = place.at(POINTER_SIZE * i)
            yield _pointer_to(view, dnode, level - 1, number, pointer, at, f"block pointer {number}")


def _contents(view: View, dnode: Dnode, index: int, data: bytes, place: Place) -> Iterator[Pointer]:
    if dnode.kind == ObjectType.DNODE:
        for slot in range(view.objects.slots):
            number = index * view.objects.slots + slot
            if number and data[slot * DNODE_SIZE]:
                yield Pointer(f"object {number}", _numbered(view, number))
    elif byte_swap_of(dnode.kind) is ByteSwap.ZAP:
        yield from explain_table_block(data, place)


def _numbered(view: View, number: int) -> Callable[[], Structure]:
    return lambda: explain_number(view, number)


def _spill(view: View, dnode: Dnode, spill: BlockPointer, place: Place) -> Structure:
    what = f"spill block of {dnode.name}"
    return explain_pointer(
        view.pool,
        spill,
        place,
        name=f"spill pointer of {dnode.name}",
        block=lambda: explain_block(
            view.pool,
            spill,
            lambda: view.pool.blocks.read(spill, what),
            name=what,
            contents=lambda data, where: (),
            about="More attributes",
        ),
    )


# --- meanings ----------------------------------------------------------------------------------------------


def _meanings(view: View, dnode: Dnode) -> Iterator[Pointer]:
    """Yield what an object leads to by what it means, before how it is stored."""
    if dnode.bonus_type == ObjectType.DSL_DIR and len(dnode.bonus) >= DSL_DIR.size:
        yield from _directory(view, dnode)
    elif dnode.bonus_type == ObjectType.DSL_DATASET and len(dnode.bonus) >= len(C.dsl_dataset):
        yield from _dataset(view, dnode)
    if dnode.number and byte_swap_of(dnode.kind) is ByteSwap.ZAP:
        yield from table_entries(view, dnode, lambda entry: list(_follow(view, dnode, entry)))


def _follow(view: View, dnode: Dnode, entry: ZapEntry) -> Iterator[Pointer]:
    if dnode.kind not in _LEADS or entry.size != 8 or not entry.values:
        return
    known = _LEADS[dnode.kind]
    if (known is not None and entry.name not in known) or entry.name in _NUMBERS:
        return
    number = entry.number & _OBJECT
    if number:
        yield Pointer(f"object {number}", _numbered(view, number))


def _directory(view: View, dnode: Dnode) -> Iterator[Pointer]:
    (
        _,
        head,
        parent,
        origin,
        children,
        *_,
    ) = DSL_DIR.unpack_from(dnode.bonus)
    found = {"head dataset": head, "children": children, "parent": parent, "origin": origin}
    for name, number in found.items():
        if number:
            yield Pointer(name, _numbered(view, number))


def _dataset(view: View, dnode: Dnode) -> Iterator[Pointer]:
    dataset = dataset_of(dnode)
    named = {one.number: one for one in view.pool.datasets.values()}
    if not dataset.pointer.is_hole:
        # The name that it has now, and the objects that this dnode, which may be an older one, leads to.
        meant = replace(dataset, name=named.get(dnode.number, dataset).name)
        yield Pointer("object set", lambda: explain_object_set(view.pool, view.pool.objects(meant)))
    head = DSL_DATASET_HEAD.unpack_from(dnode.bonus)
    found = {"snapshots": head[4], "previous snapshot": head[1], "directory": head[0], "deadlist": head[8]}
    for name, number in found.items():
        if number:
            yield Pointer(name, _numbered(view, number))
