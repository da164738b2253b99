"""Where things live on the host, how files are replaced, how sizes are written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from osvlab.errors import OsvlabError

__all__ = [
    "PathNotFoundError",
    "SizeError",
    "cache_dir",
    "current_umask",
    "format_size",
    "kind_of_file",
    "no_space",
    "one_at_a_time",
    "open_bytes",
    "parse_size",
    "replacing",
    "runtime_dir",
]


class PathNotFoundError(OsvlabError, FileNotFoundError):
    """A path that the caller named is not there."""


def cache_dir(*parts: str) -> Path:
    """Return a folder for what can be made again, created for this user only.

    It is `$XDG_CACHE_HOME/osvlab` (`~/.cache/osvlab` when that is unset), and
    below it the folder that `parts` name.

    Raises
    ------
    OsvlabError
        The folder cannot be created.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    root = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~"), ".cache")
    if not root.is_absolute():
        raise OsvlabError("this user has no home directory", hint="Set HOME, or XDG_CACHE_HOME.")
    return _private_folder(root / "osvlab", parts)


def runtime_dir(*parts: str) -> Path:
    """Return a folder for sockets and process files, which a reboot may empty.

    It is `$XDG_RUNTIME_DIR/osvlab`, and where that is unset (containers, `su`) a
    folder of this user's own in the temporary directory.

    Raises
    ------
    OsvlabError
        The folder cannot be created, or belongs to somebody else.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and os.access(base, os.W_OK | os.X_OK):
        return _private_folder(Path(base) / "osvlab", parts)
    return _private_folder(Path(tempfile.gettempdir()) / f"osvlab-{os.getuid()}", parts)


def _private_folder(root: Path, parts: tuple[str, ...]) -> Path:
    folder = root.joinpath(*parts)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.lstat()
    except OSError as error:
        raise OsvlabError(
            f"cannot create the folder {folder}: {error.strerror}",
            hint="Set XDG_CACHE_HOME and XDG_RUNTIME_DIR to folders you can write to.",
        ) from error
    # In a shared /tmp somebody else may have put a folder or a link there first.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OsvlabError(f"{root} is not a folder of this user", hint="Remove it, or set XDG_RUNTIME_DIR.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        root.chmod(0o700)
    return folder


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file so that others see the old one or the whole new one, never a part.

    Yields the path of an empty temporary file in the same folder. When the block
    ends well it takes the place of `path`; when the block raises it is removed
    and `path` stays as it was.

    Raises
    ------
    PathNotFoundError
        The folder that shall hold the file is not there.
    OsvlabError
        `path` is a folder or a device, or its folder cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/notes") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     os.listdir(folder)
    ['notes']
    """
    target = Path(os.path.realpath(path))  # through a link: what it points to is replaced, the link stays
    mode = _mode_of_replacement(target)
    name = os.path.join(target.parent, f".{target.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        handle, unnamed = _new_file(target.parent, name)
    except OSError as error:
        raise OsvlabError(
            f"cannot write into {target.parent}: {error.strerror}",
            hint="Write somewhere else, or make room or permission there.",
        ) from error
    try:
        os.fchmod(handle, mode)
        opened = f"/proc/self/fd/{handle}"
        yield Path(opened if unnamed else name)
        if unnamed:
            # Without a folder for the (absolute) source, Python would link the link in /proc itself.
            os.link(opened, name, src_dir_fd=handle, follow_symlinks=True)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    finally:
        os.close(handle)


def _new_file(folder: Path, name: str) -> tuple[int, bool]:
    """Open a new file: without a name where filesystems can do that, so that kill -9 leaves nothing."""
    try:
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600), True
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), False


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let other Pythons wait that want to work in the same folder at the same time."""
    with open(folder / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _mode_of_replacement(target: Path) -> int:
    try:
        found = target.stat()
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise PathNotFoundError(
                f"no such folder: {target.parent}", hint="Create it first, or write somewhere else."
            ) from None
        return 0o666 & ~current_umask()
    except OSError as error:
        raise OsvlabError(f"cannot write {target}: {error.strerror}", hint="Check the path.") from error
    if not stat.S_ISREG(found.st_mode):
        raise OsvlabError(
            f"cannot replace {target}: it is {kind_of_file(found.st_mode)}", hint="Name a file."
        )
    return stat.S_IMODE(found.st_mode)


_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


def kind_of_file(mode: int) -> str:
    """Say in words what the `st_mode` of a file says.

    Examples
    --------
    >>> kind_of_file(os.stat(os.devnull).st_mode)
    'a character device'
    """
    return _KINDS.get(stat.S_IFMT(mode), "of an unknown kind")


def open_bytes(path: str | bytes | os.PathLike[str]) -> int:
    """Open what holds bytes, a file or a block device, for reading; return its descriptor.

    A pipe, which could be waited for without end, is an `OSError` like all that cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        os.close(fd)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        raise OSError(errno.EINVAL, f"it is {kind_of_file(mode)}", path)
    return fd


def current_umask() -> int:
    """Return this process's umask, without changing it."""
    # Reading the umask by setting it would race with other threads.
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def no_space(error: OSError) -> bool:
    """Whether an error says that a disk, a quota or a size limit is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"\s*(\d{1,40}(?:\.\d{1,40})?)\s*([KMGT]?)(?:I?B)?\s*", re.IGNORECASE)


def parse_size(text: str | int) -> int:
    """Turn a size as people write it into bytes. Units are powers of 1024.

    Raises
    ------
    OsvlabError
        The text is no size, is negative, or is not a whole number of bytes.

    Examples
    --------
    >>> parse_size("64M"), parse_size("1.5 GiB"), parse_size(512)
    (67108864, 1610612736, 512)
    """
    match = _SIZE.fullmatch(str(text))
    if match is None or isinstance(text, bool):
        raise SizeError(f"not a size: {str(text)[:40]!r}", hint="Write it like 512, 64K, 64M or 1.5G.")
    digits, _, fraction = match[1].partition(".")
    shift = _UNITS[match[2].upper()]
    scale: int = 10 ** len(fraction)
    whole, rest = divmod(int(digits + fraction) << shift, scale)
    if rest:
        raise SizeError(f"not a whole number of bytes: {text!r}", hint="Use a smaller unit.")
    return whole


class SizeError(OsvlabError, ValueError):
    """A text that should be a size is none."""


def format_size(size: int) -> str:
    """Write a number of bytes for people, with at most one decimal.

    Examples
    --------
    >>> format_size(512), format_size(1536), format_size(67108864)
    ('512 B', '1.5 KiB', '64 MiB')
    """
    if abs(size) < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        # 1023.96 KiB would be printed as "1024 KiB"
        if abs(value) < 1023.95 or unit == "TiB":
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"
