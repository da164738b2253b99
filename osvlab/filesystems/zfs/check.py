"""Check a pool: every block read and verified, all space accounted for, all files in place.

What `zdb -bcc` does: each block that anything points to is claimed, and its checksum verified in all
its copies. A block born before the snapshot that precedes its dataset belongs to that snapshot, so each
is met once. What is claimed twice is a double allocation, and what the space maps say is taken without
being claimed has leaked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import CheckReport, Kind
from osvlab.filesystems.zfs.dsl import Dataset, dataset_of
from osvlab.filesystems.zfs.errors import FORMAT, damaged
from osvlab.filesystems.zfs.format import DNODE_SIZE, DVA, POINTER_SIZE, BlockPointer, C, ObjectType
from osvlab.filesystems.zfs.linkcheck import check_links
from osvlab.filesystems.zfs.lists import deferred_frees, log_blocks
from osvlab.filesystems.zfs.objects import Dnode, ObjectSet, dnodes_in
from osvlab.filesystems.zfs.pool import Pool
from osvlab.filesystems.zfs.posix import Files
from osvlab.filesystems.zfs.space import Claims, Run, differences, metaslab_runs
from osvlab.filesystems.zfs.vdevs import EMPTY, Vdev

__all__ = ["check_pool"]

MOST_PROBLEMS = 1000
_MOST_OF_A_KIND = 20
_MOS, _FILESYSTEM = 1, 2
# Used while blocks of a destroyed dataset are given back: they hang on a list that is not walked here.
_DESTROYING = "com.delphix:async_destroy"
_CLONING = "com.fudosecurity:block_cloning"
# Space that is not in the space maps of metaslabs alone, or claimed by what is not walked here.
_OTHER_SPACE = ("com.delphix:log_spacemap", _CLONING, "com.delphix:zpool_checkpoint")


def check_pool(pool: Pool) -> CheckReport:
    """Read and verify everything in a pool.

    Parameters
    ----------
    pool
        The pool.

    Returns
    -------
    CheckReport
        What is wrong, a thousand problems at most, what was looked at, and what was not.
    """
    check = _Check(pool)
    check.run()
    return CheckReport(FORMAT, tuple(check.problems), dict(check.counts), tuple(check.unchecked))


@dataclass
class _Check:
    pool: Pool
    problems: list[OsvlabError] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unchecked: list[str] = field(default_factory=list)
    claims: dict[int, Claims] = field(default_factory=dict)
    owners: list[str] = field(default_factory=list)
    shared: set[BlockPointer] = field(default_factory=set)
    walked: set[tuple[int, int]] = field(default_factory=set)
    logs: dict[int, set[int]] = field(default_factory=dict)

    def complain(self, error: Exception) -> None:
        if isinstance(error, OsvlabError) and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(error)

    def run(self) -> None:
        names = {one.number: one for one in self.pool.datasets.values()}
        if self.pool.state == "active":
            self.unchecked.append("what its machine wrote last, or writes now: the pool was not exported")
        self._labels()
        self._object_set(self.pool.mos.name, self.pool.uberblock.root, 0)
        for dnode in self.pool.mos.dnodes():
            if isinstance(dnode, OsvlabError) or dnode.bonus_type != ObjectType.DSL_DATASET:
                continue
            try:
                dataset = names.get(dnode.number) or dataset_of(dnode)
                self._dataset(dataset)
            except OsvlabError as error:
                self.complain(error)
        self._attempt(self._deferred)
        self._attempt(self._space)

    def _attempt(self, what: Callable[[], None]) -> None:
        try:
            what()
        except OsvlabError as error:
            self.complain(error)

    def _labels(self) -> None:
        for disk in self.pool.disks:
            for label in disk.labels:
                self.counts["labels"] += 1
                if label.problem:
                    place = disk.source.offset + label.offset
                    self.complain(damaged(f"label {label.index}", place, label.problem))
        for error in self.pool.passed_over:
            self.complain(error)

    def _dataset(self, dataset: Dataset) -> None:
        self.counts["datasets"] += 1
        if dataset.pointer.is_hole:
            return
        if dataset.pointer.birth > dataset.previous_txg:
            self._object_set(dataset.name, dataset.pointer, dataset.previous_txg)
        try:
            objects = self.pool.objects(dataset)
            if objects.kind == _FILESYSTEM:
                kinds = check_links(Files(objects), self.complain)
                for kind in (Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK):
                    self.counts[_PLURALS[kind]] += kinds.get(kind, 0)
        except OsvlabError as error:
            self.complain(error)

    # --- blocks --------------------------------------------------------------------------------------------

    def _object_set(self, name: str, pointer: BlockPointer, since: int) -> None:
        owner = self._owner(f"the object set of {name}")
        self._block(pointer, owner)
        try:
            objects = ObjectSet(self.pool.blocks, pointer, name)
        except OsvlabError as error:
            self.complain(error)
            return
        fill = self._tree(objects.meta, since)
        # Kernels do not count the pool's own objects again when they write them twice in a group, and
        # those before version 15 count the dnodes themselves as one.
        known = (pointer.fill, pointer.fill - 1) if len(objects.raw) < C.OBJSET_SIZE else (pointer.fill,)
        if fill is not None and fill not in known and objects.kind != _MOS:
            place = self.pool.blocks.place(pointer)
            self.complain(
                damaged(
                    f"the object set of {name}", place, f"says it has {pointer.fill} objects, not {fill}"
                )
            )
        try:
            for dnode in objects.accounting:
                self._tree(dnode, since)
            self._log(objects)
        except OsvlabError as error:
            self.complain(error)

    def _owner(self, name: str) -> int:
        self.owners.append(name)
        return len(self.owners) - 1

    def _tree(self, dnode: Dnode, since: int) -> int | None:
        """Verify all blocks of an object, and what those hold; return how many it is filled with.

        None: a block is lost, and nobody knows.
        """
        self.counts["objects"] += 1
        owner = self._owner(dnode.name)
        fills = [
            self._branch(dnode, dnode.levels - 1, index, pointer, since, owner)
            for index, pointer in enumerate(dnode.pointers)
        ]
        spill = dnode.spill
        if spill is not None and spill.birth > since:
            self._block(spill, owner)
        return None if None in fills else sum(fill or 0 for fill in fills)

    def _branch(
        self, dnode: Dnode, level: int, index: int, pointer: BlockPointer, since: int, owner: int
    ) -> int | None:
        if pointer.is_hole:
            return 0
        if pointer.birth <= since:
            return pointer.fill  # an older snapshot's, and verified there
        if not self._block(pointer, owner):
            return None
        try:
            if level:
                return self._below(dnode, level, index, pointer, since, owner)
            if dnode.kind == ObjectType.DNODE:
                return self._dnodes(dnode, index, pointer, since)
            dnode.read_data(pointer, index)
        except OsvlabError as error:
            self.complain(error)
            return None
        return 1

    def _below(
        self, dnode: Dnode, level: int, index: int, pointer: BlockPointer, since: int, owner: int
    ) -> int | None:
        raw = dnode.read_indirect(pointer, level, index)
        width = len(raw) // POINTER_SIZE
        fills = [
            self._branch(dnode, level - 1, index * width + i, BlockPointer.unpack(raw, start), since, owner)
            for i, start in enumerate(range(0, len(raw), POINTER_SIZE))
        ]
        if None in fills:
            return None
        total = sum(fill or 0 for fill in fills)
        if total != pointer.fill:
            what = f"indirect block {index} (level {level}) of {dnode.name}"
            place = self.pool.blocks.place(pointer)
            self.complain(damaged(what, place, f"is filled with {total}, its pointer says {pointer.fill}"))
        return pointer.fill

    def _dnodes(self, meta: Dnode, index: int, pointer: BlockPointer, since: int) -> int:
        block = meta.read_data(pointer, index)
        first = index * (len(block) // DNODE_SIZE)
        place = self.pool.blocks.place(pointer)
        used = 0
        for dnode in dnodes_in(self.pool.blocks, block, first, meta.where, place):
            used += 1
            if isinstance(dnode, OsvlabError):
                self.complain(dnode)
            else:
                self._tree(dnode, since)
        if used != pointer.fill:
            what = f"block {index} of {meta.name}"
            self.complain(damaged(what, place, f"has {used} dnodes, its pointer says {pointer.fill}"))
        return pointer.fill

    def _block(self, pointer: BlockPointer, owner: int) -> bool:
        """Claim a block and verify all its copies; return whether it can be gone into."""
        if pointer.is_hole:
            return False
        self.counts["blocks"] += 1
        if pointer.is_embedded:
            return True
        first = pointer.dvas[0] if pointer.dvas else None
        if pointer.is_dedup or first is None:
            if pointer in self.shared:
                return True
            self.shared.add(pointer)
        what = f"a block of {self.owners[owner]}"
        try:
            for dva in self.pool.blocks.parts(pointer, what):
                self._claim(dva, owner)
        except OsvlabError as error:
            self.complain(error)
        if first is not None and pointer.level:
            place = (first.vdev, first.offset)
            if place in self.walked:
                return False  # claimed twice, which is told; going down again would never end
            self.walked.add(place)
        right, errors = self.pool.blocks.verify(pointer, what)
        self.counts["bytes"] += pointer.psize * right
        for wrong in errors:
            self.complain(wrong)
        return right > 0

    def _claim(self, dva: DVA, owner: int) -> None:
        vdev = self.pool.blocks.vdevs.get(dva.vdev)
        if vdev is None or dva.offset + dva.asize > vdev.asize:
            place = self.pool.blocks.place_of(dva)
            raise damaged(f"a block of {self.owners[owner]}", place, f"ends outside vdev {dva.vdev}")
        self.claims.setdefault(dva.vdev, Claims()).add(dva, owner)

    def _log(self, objects: ObjectSet) -> None:
        """Claim an intent log, if it is in the space maps: what was not synced is not there yet."""
        for pointer in log_blocks(self.pool.blocks, objects.log, objects.name):
            self.counts["log blocks"] += 1
            for dva in self.pool.blocks.parts(pointer, f"the intent log of {objects.name}"):
                self.logs.setdefault(dva.vdev, set()).add(dva.offset)

    # --- space ---------------------------------------------------------------------------------------------

    def _deferred(self) -> None:
        """Claim what was freed in the last transaction groups and is still taken in the space maps."""
        owner = self._owner("the list of blocks to be freed")
        for pointer in deferred_frees(self.pool.mos, self.pool.directory):
            for dva in self.pool.blocks.parts(pointer, self.owners[owner]):
                self._claim(dva, owner)

    def _space(self) -> None:
        other = [name for name in _OTHER_SPACE if self.pool.features.get(name)]
        if other:
            self.unchecked.append(f"whether all space is accounted for: the pool uses {', '.join(other)}")
        destroying = bool(self.pool.features.get(_DESTROYING))
        if destroying and not other:
            self.unchecked.append("whether space has leaked: a dataset is being destroyed")
        for vdev in self.pool.blocks.vdevs.values():
            if vdev.kind in EMPTY:
                continue
            if len(vdev.disks) < vdev.expected:
                missing = vdev.expected - len(vdev.disks)
                self.unchecked.append(f"{missing} of {vdev.expected} disks of vdev {vdev.number}")
            claims = self.claims.get(vdev.number, Claims())
            for start, end, first, second in () if _CLONING in other else claims.twice():
                self._told(
                    "double",
                    vdev,
                    Run(start, end),
                    f"is taken twice: by {self.owners[first]} and by {self.owners[second]}",
                )
            if other or not vdev.disks or not vdev.metaslab_array:
                continue
            taken = metaslab_runs(self.pool.mos, vdev, self.complain)
            self.counts["bytes in use"] += sum(run.end - run.start for run in taken)
            leaked, unmapped = differences(claims, taken)
            for run in () if destroying else leaked:
                if not any(run.start <= place < run.end for place in self.logs.get(vdev.number, ())):
                    self._told("leak", vdev, run, "has leaked: it is taken, and nothing points to it")
            for run in unmapped:
                self._told("unmapped", vdev, run, f"is free, but in use by {self.owners[run.owner]}")

    def _told(self, kind: str, vdev: Vdev, run: Run, problem: str) -> None:
        self.counts[f"{kind} runs"] += 1
        if self.counts[f"{kind} runs"] <= _MOST_OF_A_KIND:
            base = vdev.disks[0].source.offset if vdev.disks else 0
            size = run.end - run.start
            what = f"space of vdev {vdev.number} ({size} bytes)"
            self.complain(damaged(what, base + (4 << 20) + run.start, problem))


_PLURALS = {Kind.FILE: "files", Kind.DIRECTORY: "directories", Kind.SYMLINK: "symbolic links"}
