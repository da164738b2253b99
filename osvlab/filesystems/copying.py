"""Copy a file or a whole tree out of a filesystem onto the host.

An image may come from anybody, so nothing in it decides where on the host something is written: each
directory is opened by its descriptor, name by name and never through a symbolic link, and a name that
is none is an error. What cannot be made without being root (devices, pipes, sockets) is left out and
told. Set-user-id and set-group-id bits stay behind, owners too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import Entry, Filesystem, Kind, show
from osvlab.filesystems.output import write_at
from osvlab.filesystems.tree import TreeError, check_name
from osvlab.paths import PathNotFoundError, current_umask, kind_of_file

__all__ = ["CopyError", "CopyReport", "copy_out"]

_HOLE = 64 * 1024
_LATEST = (1 << 63) - 1
# Formats that store no permissions show everything as executable in the guest.
_WITHOUT_PERMISSIONS = 0o755


class CopyError(OsvlabError, OSError):
    """Something cannot be copied to where it was to go."""


@dataclass(slots=True)
class CopyReport:
    """What was copied.

    Attributes
    ----------
    files, directories, links
        How many of each; a further name of a file counts as a file.
    bytes
        Of all files.
    skipped
        Entries that were left out: devices, pipes, sockets.
    """

    files: int = 0
    directories: int = 0
    links: int = 0
    bytes: int = 0
    skipped: list[Entry] = field(default_factory=list)


def copy_out(
    filesystem: Filesystem,
    entry: Entry,
    target: str | os.PathLike[str],
    *,
    keep: Iterable[str | os.PathLike[str]] = (),
    progress: Callable[[Entry], object] | None = None,
    allow: Callable[[str], object] | None = None,
) -> CopyReport:
    """Copy an entry, and everything below it, to a path of the host.

    Permissions and times come along. A file appears whole or not at all, and so does a directory
    that was not there before; into one that is there, file after file is copied. Holes stay holes,
    and names of the same file become names of the same file.

    Parameters
    ----------
    filesystem, entry
        What to copy.
    target
        What to make or to replace; the folder that it is in must be there.
    keep
        Files of which nothing takes the place: those that are copied from.
    progress
        Is told each entry before it is copied.
    allow
        Is told the path of each file of the host that will be replaced, and raises what forbids it.

    Raises
    ------
    PathNotFoundError
        The folder that shall hold the target is not there.
    CopyError
        A name cannot be one, something stands in the way, or the host refuses to write.
    DamagedError
        Something that was to be copied cannot be right.

    Examples
    --------
    >>> import io, tempfile
    >>> from osvlab.filesystems.cpio import CpioReader, write_cpio
    >>> from osvlab.filesystems.tree import Content, Directory
    >>> stream = io.BytesIO()
    >>> _ = write_cpio(Directory({b"etc": Directory({b"hosts": Content(b"127.0.0.1")})}), stream)
    >>> with tempfile.TemporaryDirectory() as folder, CpioReader(stream.getvalue()) as fs:
    ...     report: CopyReport = copy_out(fs, fs.root, f"{folder}/tree")
    ...     print(report.files, Path(folder, "tree/etc/hosts").read_text())
    1 127.0.0.1
    """
    target = Path(os.path.abspath(target))
    if not target.parent.is_dir():
        raise PathNotFoundError(f"no such folder: {target.parent}", hint="Create it first.")
    try:
        if entry.kind is not Kind.DIRECTORY:
            return _copy_single(_Copier(filesystem, entry, target.parent, progress, keep, allow), target)
        if target.is_dir():
            return _Copier(filesystem, entry, target, progress, keep, allow).copy()
        return _copy_new_directory(filesystem, entry, target, progress)
    except OSError as error:
        if isinstance(error, OsvlabError):
            raise
        raise CopyError(
            f"cannot copy {show(entry.path)} to {target}: {error.strerror}",
            hint="Copy it elsewhere, or make room or permission there.",
        ) from error


def _copy_single(copier: _Copier, target: Path) -> CopyReport:
    try:
        copier.place(copier.top, [os.fsencode(target.name)])
    finally:
        copier.close()
    return copier.report


def _copy_new_directory(
    filesystem: Filesystem, entry: Entry, target: Path, progress: Callable[[Entry], object] | None
) -> CopyReport:
    """Copy into a folder beside the target, which takes its name once it is whole."""
    if os.path.lexists(target):
        raise CopyError(f"{target} is there, and is no folder", hint="Name another, or remove it.")
    unfinished = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        unfinished.mkdir(mode=0o700)
        report = _Copier(filesystem, entry, unfinished, progress, new=True).copy()
        unfinished.rename(target)
    except BaseException:
        _remove(unfinished)
        raise
    return report


def _remove(folder: Path) -> None:
    """Remove a folder of ours, which may be deeper than Python recurses and a path is long."""
    subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL, check=False)


class _Copier:
    """Copies below one folder of the host."""

    def __init__(
        self,
        filesystem: Filesystem,
        top: Entry,
        folder: Path,
        progress: Callable[[Entry], object] | None,
        keep: Iterable[str | os.PathLike[str]] = (),
        allow: Callable[[str], object] | None = None,
        new: bool = False,
    ) -> None:
        self.report = CopyReport()
        self.top = top
        self._filesystem = filesystem
        self._progress = progress
        self._allow = allow
        self._keep = [os.stat(path) for path in keep]
        self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._last: tuple[list[bytes], int] = ([], self._root)
        self._umask = current_umask()
        self._names: dict[int, list[bytes]] = {}  # of files with several names: the one that is there
        # Those whose attributes are still to be set; the top is the empty list.
        self._directories: list[tuple[list[bytes], Entry]] = [([], top)] if new else []

    def close(self) -> None:
        self._forget()
        os.close(self._root)

    def copy(self) -> CopyReport:
        """Copy the directory: what is in it, and then its own permissions and time."""
        try:
            base = len(self.top.path.rstrip(b"/")) + 1
            for entry in self._filesystem.walk(self.top):
                below = entry.path[base:]
                if below:
                    self.place(entry, below.split(b"/"))
            # Last, and the deepest first: writing into a directory changes its time, and may be forbidden.
            for parts, entry in reversed(self._directories):
                with self._opened(parts) as handle:
                    self._set_attributes(handle, entry)
        finally:
            self.close()
        return self.report

    def place(self, entry: Entry, parts: list[bytes]) -> None:
        """Make one entry; its directory is there already."""
        if self._progress is not None:
            self._progress(entry)
        for part in parts:
            try:
                check_name(part, entry.path)
            except TreeError as error:
                raise CopyError(
                    f"the image names a file that cannot be one: {error.message}", hint="Do not trust it."
                ) from error
        with self._opened(parts[:-1]) as folder:
            match entry.kind:
                case Kind.DIRECTORY:
                    self._directory(folder, parts, entry)
                case Kind.FILE:
                    self._file(folder, parts, entry)
                case Kind.SYMLINK:
                    self._link(folder, parts[-1], entry)
                case _:
                    self.report.skipped.append(entry)

    @contextmanager
    def _opened(self, parts: list[bytes]) -> Iterator[int]:
        """Open a directory below the root, through no symbolic link."""
        near, known = self._last  # where the entry before was: mostly here, or one directory above
        if parts[: len(near)] != near:
            near, known = [], self._root
        handle = os.dup(known)
        try:
            for part in parts[len(near) :]:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                try:
                    inner = os.open(part, flags, dir_fd=handle)
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    raise _in_the_way(b"/".join(parts), handle, part) from None
                os.close(handle)
                handle = inner
            if parts != near:
                self._forget()
                self._last = parts, os.dup(handle)
            yield handle
        finally:
            os.close(handle)

    def _forget(self) -> None:
        if self._last[0]:
            os.close(self._last[1])
        self._last = [], self._root

    def _directory(self, folder: int, parts: list[bytes], entry: Entry) -> None:
        final = entry.permissions is None and entry.modified is None
        try:
            os.mkdir(parts[-1], _WITHOUT_PERMISSIONS if final else 0o700, dir_fd=folder)
            if not final:
                self._directories.append((parts, entry))
        except FileExistsError:
            self._clear_way(folder, parts[-1], entry, stat.S_ISDIR)
        self.report.directories += 1

    def _file(self, folder: int, parts: list[bytes], entry: Entry) -> None:
        name = parts[-1]
        self._clear_way(folder, name, entry, stat.S_ISREG)
        unfinished = b".%s.part" % secrets.token_hex(8).encode()
        first = self._names.get(entry.number) if entry.links > 1 else None
        try:
            if first is not None:
                with self._opened(first[:-1]) as other:
                    os.link(
                        first[-1],
                        unfinished,
                        src_dir_fd=other,
                        dst_dir_fd=folder,
                        follow_symlinks=False,
                    )
            else:
                self._write(folder, unfinished, entry)
                if entry.links > 1:
                    self._names[entry.number] = parts
            os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            # Also when it went well: of two names of one file, the system call leaves both.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unfinished, dir_fd=folder)
        self.report.files += 1

    def _write(self, folder: int, name: bytes, entry: Entry) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            for position, piece in self._filesystem.data_pieces(entry):
                view = memoryview(piece)
                for start in range(0, len(piece), _HOLE):
                    part = view[start : start + _HOLE]
                    if part.tobytes().strip(b"\0"):
                        write_at(handle, part, position + start)
            os.ftruncate(handle, entry.size)
            self.report.bytes += entry.size
            self._set_attributes(handle, entry)
        finally:
            os.close(handle)

    def _link(self, folder: int, name: bytes, entry: Entry) -> None:
        target = self._filesystem.target(entry)
        if b"\0" in target:
            raise CopyError(f"the link {show(entry.path)} leads to {target!r}", hint="Do not trust it.")
        try:
            os.symlink(target, name, dir_fd=folder)
        except FileExistsError:
            self._clear_way(folder, name, entry, stat.S_ISLNK)
            if os.readlink(name, dir_fd=folder) != target:
                raise _in_the_way(entry.path, folder, name) from None
        if entry.modified is not None:
            when = min(max(entry.modified, 0), _LATEST)
            os.utime(name, ns=(when, when), dir_fd=folder, follow_symlinks=False)
        self.report.links += 1

    def _clear_way(self, folder: int, name: bytes, entry: Entry, may_be: Callable[[int], bool]) -> None:
        """Raise if something is there that is not to be replaced."""
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if any(os.path.samestat(found, one) for one in self._keep):
                raise _in_the_way(entry.path, folder, name, "what is copied from")
            if not may_be(found.st_mode):
                raise _in_the_way(entry.path, folder, name)
            if self._allow is not None and stat.S_ISREG(found.st_mode):
                self._allow(_host_path(folder, name))

    def _set_attributes(self, handle: int, entry: Entry) -> None:
        if entry.permissions is None:
            os.fchmod(handle, _WITHOUT_PERMISSIONS & ~self._umask)
        else:
            os.fchmod(handle, entry.permissions & 0o777)
        if entry.modified is not None:
            when = min(max(entry.modified, 0), _LATEST)
            os.utime(handle, ns=(when, when))


def _in_the_way(path: bytes, folder: int, name: bytes, what: str = "") -> CopyError:
    what = what or kind_of_file(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return CopyError(
        f"{_host_path(folder, name)} is in the way of {show(path)}: it is {what}",
        hint="Remove it, or copy into an empty folder.",
    )


def _host_path(folder: int, name: bytes) -> str:
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(name))
