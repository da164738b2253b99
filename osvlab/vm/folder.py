"""The private folder of a VM: memory file, sockets, messages, links to kernel and disks.

A folder belongs to the Python that made it for as long as that Python holds the lock
on the file ``lock`` in it. The kernel drops the lock when the process dies, however
it dies, so a folder whose lock is free is left over and may be swept. (A process id
would prove less: it is reused, and means nothing in another container.)
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from osvlab.errors import OsvlabError
from osvlab.paths import format_size, runtime_dir

__all__ = ["Folder", "folders", "sweep"]

SLACK = 16 << 20
"""Bytes that must stay free beside the guest's memory."""

UNBORN = 60.0
"""Seconds after which a folder that never got its name is left over."""


class Folder:
    """A folder of mode 0700 that is removed at the end, by `remove` or by the next sweep.

    Parameters
    ----------
    room
        Bytes that will be written into it.

    Raises
    ------
    OsvlabError
        No folder that could hold it has that much room.
    """

    held: ClassVar[set[Path]] = set()
    """Where folders of this Python are, to be removed when it ends."""

    def __init__(self, room: int = 0) -> None:
        root = _root_with(room)
        try:
            self._make(root)
        except OSError as error:
            raise OsvlabError(
                f"cannot make a machine's folder in {root}: {error}",
                hint="Make room there, or point XDG_RUNTIME_DIR to a folder of your own.",
            ) from error

    def _make(self, root: Path) -> None:
        name = secrets.token_hex(4)
        unborn, self.path = root / f"new-{name}", root / f"vm-{name}"
        Folder.held |= {unborn, self.path}
        unborn.mkdir(mode=0o700)
        # Locked before it gets its name: a sweeper never sees a folder between the two.
        try:
            self._lock = os.open(unborn / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            unborn.rmdir()
            Folder.held -= {unborn, self.path}
            raise
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unborn.rename(self.path)
        Folder.held.discard(unborn)

    def link(self, name: str, target: Path) -> None:
        """Give a file of the host a plain name in the folder."""
        (self.path / name).symlink_to(target.absolute())

    def remove(self) -> None:
        """Remove everything; a second call does nothing."""
        if self._lock >= 0:
            os.close(self._lock)  # a sweeper that comes now does the same; and listing needs a descriptor
            self._lock = -1
            _remove_flat(self.path)
            Folder.held.discard(self.path)


def _remove_held() -> None:
    for folder in list(Folder.held):
        _remove_flat(folder)


# A signal may come when a folder is there and nobody has it yet. A forked child leaves its parent's alone.
atexit.register(_remove_held)
os.register_at_fork(after_in_child=Folder.held.clear)


def _remove_flat(folder: Path) -> None:
    """Remove a folder without folders in it; where descriptors are short, one is enough for this."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _roots() -> Iterator[Path]:
    """Yield the folders that may hold VMs' folders, fastest first.

    A guest's memory is a file: in a file system that is itself memory, a page that the
    guest touches for the first time costs no block on a disk, which is a tenth of a boot.
    """
    if os.path.isabs(os.environ.get("XDG_RUNTIME_DIR", "")):
        yield runtime_dir("vms")
    for shared in filter(None, (Path("/dev/shm"), _temporary())):
        if os.access(shared, os.W_OK | os.X_OK):
            private = _private(shared)
            if private is not None:
                yield private


def _temporary() -> Path | None:
    with contextlib.suppress(FileNotFoundError):
        return Path(tempfile.gettempdir())
    return None  # nowhere at all can this user write temporary files


def _private(shared: Path) -> Path | None:
    """Return this user's own folder in one that everybody may write to; None if somebody took its name."""
    own = shared / f"osvlab-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        own.mkdir(mode=0o700)
    found = own.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        return None
    vms = own / "vms"
    vms.mkdir(mode=0o700, exist_ok=True)
    return vms


def _root_with(room: int) -> Path:
    best = 0
    for root in _roots():
        free = _free(root)
        best = max(best, free)
        if free >= room + SLACK:
            return root
    raise OsvlabError(
        f"no room for the machine's memory and disk: {format_size(room)} needed, {format_size(best)} free",
        hint="Ask for less memory, or point TMPDIR to a folder with more room.",
    )


def _free(root: Path) -> int:
    """Return the free bytes, less what running guests have been promised and not yet touched."""
    found = os.statvfs(root)
    promised = 0
    for memory in root.glob("vm-*/memory"):
        with contextlib.suppress(FileNotFoundError):
            status = memory.stat()
            promised += max(0, status.st_size - status.st_blocks * 512)
    return max(0, found.f_bavail * found.f_frsize - promised)


def folders() -> Iterator[Path]:
    """Yield the folders of all VMs of this user, also of those that were killed."""
    for root in dict.fromkeys(_roots()):
        yield from root.glob("vm-*")


def sweep() -> list[Path]:
    """Remove the folders of Pythons that died, and QEMUs that outlived them; return what was removed."""
    removed = []
    for root in dict.fromkeys(_roots()):
        for folder in root.iterdir():
            if folder.name.startswith("vm-") and _abandoned(folder):
                removed.append(folder)
            elif folder.name.startswith("new-") and _age(folder) > UNBORN:
                shutil.rmtree(folder, ignore_errors=True)
    return removed


def _abandoned(folder: Path) -> bool:
    """Take the lock of a folder nobody holds, and remove the folder under it."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # its owner is removing it at this moment, or it is none of ours
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        _kill_stray(folder)
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(lock)


def _kill_stray(folder: Path) -> None:
    """Kill the QEMU of a folder, if it runs there still.

    It should have died with its Python. It has not if Python died in the instant
    between starting it and its asking for that.
    """
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / "qemu.pid").read_text())
        if os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(folder):
            os.kill(pid, signal.SIGKILL)


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
