"""Whether an image that is there already is what a build would make: then there is nothing to do.

Of each build a record is kept, beside other caches: a digest of everything that went in, and which file
came out. A file of the host counts as the same while device, inode, size and the time of its last change
of any kind are; an image, while nobody has written to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import osvlab
from osvlab.errors import OsvlabError
from osvlab.events import Note, publish
from osvlab.filesystems.tree import Content, Directory, HostFile, Node, Symlink
from osvlab.image.recipe import Recipe
from osvlab.kernels import Kernel
from osvlab.paths import cache_dir, replacing

__all__ = ["BuildRecord"]

# A file may change again while its clock, which ticks up to a hundred times a second, shows the same time.
_TICK = 20_000_000

_MANY = 500
"""Records, from which on those of images that are gone are looked for."""


class BuildRecord:
    """What is known of the image at an output.

    Parameters
    ----------
    output
        The image.
    recipe, kernel
        What it is made of.
    options
        Everything else that it depends on, as text.
    """

    def __init__(self, output: Path, recipe: Recipe, kernel: Kernel, options: Iterable[object]) -> None:
        self._output = output
        place = hashlib.sha256(os.fsencode(os.path.realpath(output))).hexdigest()[:32]
        self._made_of = _digest(recipe, kernel, options)
        self._path: Path | None = None
        with _noted():
            self._path = cache_dir("builds") / f"{place}.json"

    @property
    def is_current(self) -> bool:
        """Whether the image is there, as it was made, of just these things."""
        if self._made_of is None or self._path is None:
            return False
        try:
            told = json.loads(self._path.read_bytes())
            return bool(told == self._record_of(os.stat(self._output)))
        except (OSError, ValueError):
            return False

    def save(self, image: os.stat_result) -> None:
        """Write down that the image has been made, and what it was when it got its name."""
        if self._path is None:
            return
        with _noted():
            self._path.unlink(missing_ok=True)  # what it says is no longer so, whether there is room or not
            if self._made_of is not None:
                with replacing(self._path) as temporary:
                    temporary.write_text(json.dumps(self._record_of(image)))
            _forget_old(self._path.parent)

    def _record_of(self, image: os.stat_result) -> dict[str, object]:
        place = os.path.realpath(self._output)
        return {"made of": self._made_of, "image": _identity(image), "place": place}


def _forget_old(folder: Path) -> None:
    """Remove what is known of images that are gone, once it has become much."""
    records = list(folder.glob("*.json"))
    if len(records) < _MANY:
        return
    for record in records:
        with contextlib.suppress(FileNotFoundError):  # somebody else does the same
            try:
                place = str(json.loads(record.read_bytes())["place"])
            except (ValueError, KeyError):
                place = ""  # of an older version
            if not os.path.exists(place):
                record.unlink()


@contextlib.contextmanager
def _noted() -> Iterator[None]:
    """Go on without a record that cannot be written: an image does not need it."""
    try:
        yield
    except OSError as error:
        publish(Note(f"the next build will do everything again: {error.strerror}"))
    except OsvlabError as error:
        publish(Note(f"the next build will do everything again: {error.message}"))


@lru_cache
def _lab() -> tuple[tuple[str, int], ...]:
    """Return what tells one state of the lab's own code from another, which may have the same version."""
    folders = [Path(osvlab.__file__).with_name(name) for name in ("filesystems", "image")]
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return tuple((str(file), file.stat().st_mtime_ns) for file in files)


def _identity(found: os.stat_result) -> list[int]:
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]


def _digest(recipe: Recipe, kernel: Kernel, options: Iterable[object]) -> str | None:
    """Return a digest of everything that goes into an image; None when something may change unseen."""
    latest = time.time_ns() - _TICK
    told = hashlib.sha256()
    engine = os.stat(kernel.path)
    own = (engine.st_dev, engine.st_ino, engine.st_size, engine.st_ctime_ns)
    environment = os.environ.get("SOURCE_DATE_EPOCH")
    about = (_lab(), own, recipe.command, str(recipe.filesystem), environment, *options)
    told.update(repr(about).encode("utf-8", "surrogateescape"))
    for path, node in recipe.tree.walk():
        if isinstance(node, HostFile) and (node.version is None or node.version[2] > latest):
            return None
        told.update(b"\0" + path + b"\0" + _told(node))
    return told.hexdigest()


def _told(node: Node) -> bytes:
    match node:
        case Directory():
            return b"directory %o %d" % (node.mode, node.mtime)
        case Symlink():
            return b"link %d %s" % (node.mtime, node.target)
        case Content():
            return b"content %o %d %s" % (node.mode, node.mtime, hashlib.sha256(node.data).digest())
        case HostFile():
            return b"file %d %o %d %a %a" % (node.size, node.mode, node.mtime, node.inode, node.version)
