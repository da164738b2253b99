"""A pool: its disks, the uberblock that counts, its own objects (MOS), and its datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from osvlab.filesystems.base import ByteRange, DamagedError, Source
from osvlab.filesystems.zfs.blocks import Blocks
from osvlab.filesystems.zfs.dsl import Dataset, datasets
from osvlab.filesystems.zfs.errors import PoolError
from osvlab.filesystems.zfs.features import check_features, check_version
from osvlab.filesystems.zfs.format import DVA, VERSION_FEATURES
from osvlab.filesystems.zfs.labels import Uberblock
from osvlab.filesystems.zfs.nvlist import NvList, parse_nvlist, values_of
from osvlab.filesystems.zfs.objects import ObjectSet
from osvlab.filesystems.zfs.vdevs import EMPTY, best_config, find_disks, top_level_vdevs
from osvlab.filesystems.zfs.zap import Zap

__all__ = ["Pool"]

_STATES = {0: "active", 1: "exported", 2: "destroyed", 3: "spare", 4: "cache"}
_DIRECTORY = 1
_MOS = "the pool's own objects"


class Pool:
    """A pool that is read.

    Parameters
    ----------
    sources
        All its disks, or parts of images that are its disks, in any order.
    txg
        The transaction group whose state is meant; the newest that can be read when not given. Blocks
        that were given back since may hold something else by now, which their checksums tell.

    Attributes
    ----------
    name
        What it is called.
    version
        1 to 28, or 5000.
    state
        ``exported``, or ``active`` when it was not: it is in use, or its machine died.
    features
        Features of a pool of version 5000 and by how many things each is used.
    uberblocks
        All whose checksum is right, the newest first.
    uberblock
        The one that is followed: the newest whose objects can be read, or that of `txg`.
    passed_over
        Why no newer uberblocks are followed, if there are: where each of them leads is damaged.
    datasets
        All filesystems, volumes and snapshots by name.
    notes
        What was wrong and did not matter.

    Raises
    ------
    PoolError
        The sources are no pool, or it has no uberblock of `txg` any more.
    UnsupportedPoolError
        The pool uses what is not read here.
    DamagedError
        No uberblock leads to objects that can be read.

    Examples
    --------
    >>> import io
    >>> from osvlab.filesystems.tree import Directory
    >>> from osvlab.filesystems.zfs import write_zfs
    >>> stream = io.BytesIO()
    >>> _ = write_zfs(Directory(), stream)
    >>> pool = Pool([stream.getvalue()])
    >>> pool.name, pool.version, pool.state, pool.features
    ('osv', 5000, 'exported', {'org.illumos:lz4_compress': 1})
    """

    def __init__(self, sources: Sequence[Source], txg: int | None = None) -> None:
        self._sources = [ByteRange(source) for source in sources]
        self.passed_over: list[DamagedError] = []
        try:
            self._open(txg)
        except BaseException:
            self.close()
            raise

    def _open(self, txg: int | None) -> None:
        self.disks = find_disks(self._sources)
        self.config = best_config(self.disks)
        self.name = str(self.config.get("name", "?"))
        self.version = _int(self.config, "version")
        self.guid = _int(self.config, "pool_guid")
        self.state = _STATES.get(_int(self.config, "state"), "of unknown state")
        check_version(self.version)
        needed = self.config.get("features_for_read", {})
        check_features(needed if isinstance(needed, dict) else ())
        trees = [disk.config.get("vdev_tree") for disk in self.disks]
        self.blocks = Blocks(top_level_vdevs(self.disks, trees))
        found = {
            (block.txg, block.timestamp, block.root): block
            for disk in reversed(self.disks)
            for label in reversed(disk.labels)
            for block in label.uberblocks
        }
        self.uberblocks = [found[key] for key in sorted(found, reverse=True)]
        self.uberblock, self.mos = self._first_that_reads() if txg is None else self._of_group(txg)
        self.version = self.uberblock.version
        check_version(self.version)
        self.directory = {
            entry.name.decode("ascii", "replace"): entry.number for entry in self._entries(_DIRECTORY)
        }
        self.features = self._features()
        self._complete_vdevs()
        self.datasets = {one.name: one for one in datasets(self.mos, self._root_directory(), self.name)}

    @property
    def notes(self) -> list[str]:
        """What was wrong and did not matter."""
        return self.blocks.notes

    def _first_that_reads(self) -> tuple[Uberblock, ObjectSet]:
        """Try the uberblocks from the newest on until the pool's own objects can be read."""
        for uberblock in self.uberblocks:
            try:
                mos = ObjectSet(self.blocks, uberblock.root, _MOS)
                Zap(mos.dnode(_DIRECTORY))
            except DamagedError as error:
                self.blocks.note(
                    f"the uberblock of transaction group {uberblock.txg} leads nowhere ({error.message}); "
                    "the one before is tried"
                )
                self.passed_over.append(error)
            else:
                return uberblock, mos
        if self.passed_over:
            raise self.passed_over[0]
        raise PoolError(
            f"pool {self.name} has no uberblock: it is empty, or its disks are cut off",
            hint="Copy the image again.",
        )

    def _of_group(self, txg: int) -> tuple[Uberblock, ObjectSet]:
        """Return the uberblock of a transaction group, and the pool's own objects as they were then."""
        for uberblock in self.uberblocks:
            if uberblock.txg == txg:
                return uberblock, ObjectSet(self.blocks, uberblock.root, _MOS)
        known = ", ".join(str(one.txg) for one in reversed(self.uberblocks)) or "none"
        raise PoolError(
            f"pool {self.name} has no uberblock of transaction group {txg!r}", hint=f"It has: {known}."
        )

    def _entries(self, number: int) -> Any:
        return Zap(self.mos.dnode(number)).entries()

    def _root_directory(self) -> int:
        number: int = self.directory.get("root_dataset", 0)
        if not number:
            raise PoolError(f"pool {self.name} has no root dataset", hint="Copy the image again.")
        return number

    def _features(self) -> dict[str, int]:
        if self.version < VERSION_FEATURES:
            return {}
        found: dict[str, int] = {}
        for name in ("features_for_read", "features_for_write"):
            number = self.directory.get(name, 0)
            if not number:
                continue
            these = {entry.name.decode("ascii", "replace"): entry.number for entry in self._entries(number)}
            if name == "features_for_read":
                check_features(feature for feature, users in these.items() if users)
            found.update(these)
        return found

    def _complete_vdevs(self) -> None:
        """Take all top-level vdevs from the pool's configuration: a label knows only its own."""
        number = self.directory.get("config", 0)
        if not number:
            return
        dnode = self.mos.dnode(number)
        try:
            config: NvList = values_of(parse_nvlist(dnode.read(0, dnode.data_size * dnode.block_count)))
        except ValueError as error:
            self.blocks.note(f"the pool's configuration ({dnode.name}) {error}")
            return
        root = config.get("vdev_tree")
        children = root.get("children") if isinstance(root, dict) else None
        if isinstance(children, list):
            own = [disk.config.get("vdev_tree") for disk in self.disks]
            self.blocks.vdevs.update(top_level_vdevs(self.disks, [*children, *own]))
        for vdev in self.blocks.vdevs.values():
            if len(vdev.disks) < vdev.expected and vdev.kind not in EMPTY:
                missing = vdev.expected - len(vdev.disks)
                self.blocks.note(f"{missing} of {vdev.expected} disks of vdev {vdev.number} are not there")

    def objects(self, dataset: Dataset) -> ObjectSet:
        """Return the objects of a dataset."""
        return ObjectSet(self.blocks, dataset.pointer, dataset.name)

    def taken(self) -> Iterator[tuple[int, int]]:
        """Yield where something is stored, as the space maps have it: byte and length in the opened file.

        Of several disks those are bytes in the first file of each top-level vdev, one vdev after the
        other. Labels are not in the space maps.

        Raises
        ------
        DamagedError
            A space map cannot be right.
        """
        from osvlab.filesystems.zfs.space import metaslab_runs

        for _, vdev in sorted(self.blocks.vdevs.items()):
            for run in metaslab_runs(self.mos, vdev, _raise) if vdev.disks else ():
                place = self.blocks.place_of(DVA(vdev.number, run.start, run.end - run.start))
                yield place, run.end - run.start

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()


def _raise(error: Exception) -> None:
    raise error


def _int(config: NvList, name: str) -> int:
    value = config.get(name, 0)
    return value if isinstance(value, int) else 0
