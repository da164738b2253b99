"""Files of this host on their way into an image, at the paths they have here.

Links on the way are taken along, so that every name of a file that works on the
host works in the guest. What lies where a guest mounts filesystems of its own moves
below `/host`.
"""

from __future__ import annotations

import os
import stat

from osvlab.filesystems.base import MAX_SYMLINKS, show
from osvlab.filesystems.tree import Directory, HostFile, Symlink, check_target
from osvlab.image.collection import Collection, RecipeError
from osvlab.paths import PathNotFoundError, kind_of_file

__all__ = ["HostTree"]

# A guest mounts onto these, and would hide what an image has there.
_HIDDEN = (b"/dev", b"/proc", b"/sys", b"/tmp")
_MOVED_TO = b"/host"


class HostTree:
    """The part of this host's files that goes into an image.

    Parameters
    ----------
    files
        What they are added to.

    Examples
    --------
    >>> tree = HostTree(Collection())
    >>> tree.add(b"/etc/passwd", "is an example")
    b'/etc/passwd'
    >>> tree.place(b"/tmp/app/program")
    b'/host/tmp/app/program'
    """

    def __init__(self, files: Collection) -> None:
        self.files = files
        self._moved = [(folder, _MOVED_TO + folder) for folder in _HIDDEN]

    def move(self, folder: bytes, place: bytes) -> None:
        """Let what the host has in a folder, its links followed, be in another one of the guest."""
        self._moved.insert(0, (folder.rstrip(b"/"), place.rstrip(b"/")))

    def place(self, path: bytes) -> bytes:
        """Return where in the guest a path of the host is that leads through no link."""
        for folder, place in self._moved:
            if path == folder or path.startswith(folder + b"/"):
                return place + path[len(folder) :]
        return path

    def real(self, path: bytes) -> bytes:
        """Return an absolute path without links on the way; what is at its end may be one."""
        folder, name = os.path.split(os.path.join(os.getcwdb(), path))
        if name in (b"", b".", b".."):
            return os.path.realpath(os.path.join(folder, name))
        return os.path.join(os.path.realpath(folder), name)

    def add(self, path: bytes, reason: str) -> bytes:
        """Add a file or a folder (without what is in it), and the links that lead there; return its place.

        Raises
        ------
        PathNotFoundError
            It is not there, or a link leads nowhere.
        RecipeError
            It is a device, a socket or a pipe; it cannot be read; or links lead in a circle.
        """
        pending = os.path.join(os.getcwdb(), path).split(b"/")[::-1]
        here, links, said = b"", 0, reason
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                here = here.rpartition(b"/")[0]
                continue
            full = here + b"/" + name
            target = _link(full, path)
            if target is None:
                here = full
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise RecipeError(
                    f"symbolic links lead in a circle: {show(path)}", hint="Remove one of them."
                )
            if any(pending):
                self.link(full, target, f"is on the way to {show(path)}, which {reason}")
            else:
                self.link(full, target, said)
                said = f"is what {show(self.place(full))} leads to, which {reason}"
            pending += target.split(b"/")[::-1]
            here = b"" if target.startswith(b"/") else here
        self.add_as(self.place(here or b"/"), here or b"/", said)
        return self.place(self.real(path))

    def add_as(self, place: bytes, path: bytes, reason: str) -> None:
        """Put a file, or a folder without what is in it, at a place of the guest; links are followed.

        Raises
        ------
        PathNotFoundError
            It is not there.
        RecipeError
            It is a device, a socket or a pipe; or it cannot be read.
        """
        try:
            found = os.stat(path)
        except FileNotFoundError:
            raise PathNotFoundError(f"no such file: {show(path)}", hint="Check the path.") from None
        except OSError as error:
            raise RecipeError(f"cannot read {show(path)}: {error.strerror}", hint="Check it.") from error
        if stat.S_ISDIR(found.st_mode):
            node: Directory | HostFile = Directory(mode=stat.S_IMODE(found.st_mode), mtime=found.st_mtime_ns)
        elif not stat.S_ISREG(found.st_mode):
            raise RecipeError(
                f"{show(path)} is {kind_of_file(found.st_mode)}, which an image cannot hold",
                hint="Leave it out.",
            )
        elif not os.access(path, os.R_OK, effective_ids=True):
            raise RecipeError(
                f"cannot read {show(path)}: Permission denied",
                hint="Check its permissions, or leave it out.",
            )
        else:
            node = HostFile.at(os.path.realpath(path), found)
        if place != path and self.place(path) == place and place.startswith(_MOVED_TO + b"/"):
            reason += f" (on this host {show(path)}, where the guest mounts a filesystem of its own)"
        # The first reason counts: a library that is data too is there because it is needed.
        if self.files.find(place) != node:
            self.files.add(place, node, reason)

    def link(self, path: bytes, target: bytes, reason: str) -> None:
        """Add a symbolic link of the host, so that in the guest it leads to the same file."""
        place = self.place(path)
        check_target(target, path)
        real = os.path.realpath(path)
        stays = self.place(real) == real and place == path
        together = not target.startswith(b"/") and self._moves_with(path, real)
        if not (stays or together):
            target = self.place(real)
        node = Symlink(target, os.lstat(path).st_mtime_ns)
        if self.files.find(place) != node:
            self.files.add(place, node, reason)

    def _moves_with(self, path: bytes, other: bytes) -> bool:
        """Whether two paths keep their way to each other in the guest."""
        for folder, _ in self._moved:
            first, second = path.startswith(folder + b"/"), other.startswith(folder + b"/")
            if first or second:
                return first and second
        return True


def _link(full: bytes, path: bytes) -> bytes | None:
    """Return where a link leads; None for what is none."""
    try:
        return os.readlink(full) if stat.S_ISLNK(os.lstat(full).st_mode) else None
    except FileNotFoundError:
        told = "" if full == path else f" (there is no {show(full)})"
        raise PathNotFoundError(f"no such file: {show(path)}{told}", hint="Check the path.") from None
    except OSError as error:
        raise RecipeError(f"cannot read {show(path)}: {error.strerror}", hint="Check the path.") from error
