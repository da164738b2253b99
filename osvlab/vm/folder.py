"""The private folder of a VM: memory file, sockets, messages, links to kernel and disks.

A folder belongs to the Python that made it for as long as that Python holds the lock
on the file ``lock`` in it. The kernel drops the lock when the process dies, however
it dies, so a folder whose lock is free is left over and may be swept. (A process id
would prove less: it is reused, and means nothing in another container.)
"""

from __future__ import annotations

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

from osvlab.errors import OsvlabError
from osvlab.paths import format_size, runtime_dir

__all__ = ["Folder", "sweep"]

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
        Neither the runtime folder nor the temporary folder has that much room.
    """

    def __init__(self, room: int = 0) -> None:
        root = _root_with(room)
        name = secrets.token_hex(4)
        unborn = root / f"new-{name}"
        unborn.mkdir(mode=0o700)
        # Locked before it gets its name: a sweeper never sees a folder between the two.
        self._lock = os.open(unborn / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = root / f"vm-{name}"
        unborn.rename(self.path)

    def link(self, name: str, target: Path) -> None:
        """Give a file of the host a plain name in the folder."""
        (self.path / name).symlink_to(target.absolute())

    def remove(self) -> None:
        """Remove everything; a second call does nothing."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _roots() -> Iterator[Path]:
    yield runtime_dir("vms")
    # The runtime folder is often a small tmpfs; a guest's memory may need the disk. A bare `mkdir` would
    # follow whatever somebody else left there in a shared /tmp, so its owner is looked at.
    fallback = Path(tempfile.gettempdir(), f"osvlab-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        fallback.mkdir(mode=0o700)
    found = fallback.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        vms = fallback / "vms"
        vms.mkdir(mode=0o700, exist_ok=True)
        yield vms


def _root_with(room: int) -> Path:
    best = 0
    for root in _roots():
        free = os.statvfs(root)
        best = max(best, free.f_bavail * free.f_frsize)
        if best >= room + SLACK:
            return root
    raise OsvlabError(
        f"no room for the machine's memory and disk: {format_size(room)} needed, {format_size(best)} free",
        hint="Ask for less memory, or point TMPDIR to a folder with more room.",
    )


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
    except FileNotFoundError:
        return False  # its owner is removing it at this moment
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
