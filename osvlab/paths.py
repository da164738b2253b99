"""Where things live on the host, how files are replaced, how sizes are written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from osvlab.errors import OsvlabError

__all__ = [
    "PathNotFoundError",
    "cache_dir",
    "format_size",
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
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
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
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".part")
    except OSError as error:
        raise OsvlabError(f"cannot write into {target.parent}: {error.strerror}") from error
    os.fchmod(handle, mode)
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _mode_of_replacement(target: Path) -> int:
    try:
        found = target.stat()
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise PathNotFoundError(
                f"no such folder: {target.parent}", hint="Create it first, or write somewhere else."
            ) from None
        return 0o666 & ~_umask()
    except OSError as error:
        raise OsvlabError(f"cannot write {target}: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise OsvlabError(f"cannot replace {target}: it is {kind}", hint="Name a file.")
    return stat.S_IMODE(found.st_mode)


def _umask() -> int:
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
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", re.IGNORECASE)


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
        raise SizeError(f"not a size: {text!r}", hint="Write it like 512, 64K, 64M or 1.5G.")
    digits, _, fraction = match[1].partition(".")
    shift = _UNITS[match[2].upper()]
    scale: int = 10 ** len(fraction)
    whole, rest = divmod(int(digits + fraction) << shift, scale)
    if rest:
        raise SizeError(f"not a whole number of bytes: {text!r}")
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
