"""`osvlab cp`: files into a running guest and out of it."""

from __future__ import annotations

import argparse
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from osvlab.cli.guest import VM_HELP, add_rest_options, rest_of
from osvlab.errors import OsvlabError
from osvlab.paths import PathNotFoundError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.guest.rest import Rest

__all__ = ["add"]

LONGEST_PATH = 4095  # Linux's PATH_MAX
# VM:/path; the VM may be HOST:PORT, or nothing.
GUEST_PATH = re.compile(r"([^/]*):(/.*)", re.DOTALL)


def add(commands: Commands) -> None:
    """Declare `cp`."""
    parser = commands.add_parser(
        "cp",
        help="copy files into a running guest or out of it",
        usage="osvlab cp [options] SOURCE TARGET",
        description="Copy a file or a whole directory. A path in a guest is written VM:/path. "
        f"VM is {VM_HELP}.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("target", metavar="TARGET")
    add_rest_options(parser)


def do(options: argparse.Namespace) -> int:
    """Copy, one way or the other."""
    source, target = GUEST_PATH.fullmatch(options.source), GUEST_PATH.fullmatch(options.target)
    if (source is None) == (target is None):
        raise OsvlabError(
            "one of the two must be in a guest, and the other on this host",
            hint="osvlab cp VM:/etc/hosts .  or  osvlab cp hosts VM:/tmp/hosts",
        )
    if source is not None:
        with rest_of(source[1], options) as rest:
            _out(rest, source[2], Path(options.target))
    elif target is not None:
        with rest_of(target[1], options) as rest:
            _in(rest, Path(options.source), target[2])
    return 0


def _out(rest: Rest, path: str, target: Path) -> None:
    from osvlab.guest.models import FileKind

    name = posixpath.basename(path.rstrip("/"))
    if target.is_dir() and name:
        target = target / name
    if rest.files.stat(path).kind is not FileKind.DIRECTORY:
        rest.files.download(path, target)
        return
    for below, kind in _walk(rest, path):
        # A guest's word for a name is not trusted with the host's files.
        part = posixpath.relpath(below, path)
        if part == ".." or part.startswith("../") or "\0" in part:
            raise _distrust(f"names a file outside of {path}: {below!r}")
        if kind is FileKind.DIRECTORY:
            (target / part).mkdir(parents=True, exist_ok=True)
        else:
            rest.files.download(below, target / part)


def _walk(rest: Rest, path: str) -> Iterator[tuple[str, str]]:
    """Yield a directory of the guest and all below it, parents first."""
    from osvlab.guest.models import FileKind

    folders = [path]
    while folders:
        folder = folders.pop()
        yield folder, FileKind.DIRECTORY
        for entry in rest.files.list(folder):
            below = posixpath.join(folder, entry.name)
            if not entry.name or "/" in entry.name:
                raise _distrust(f"lists a name that cannot be one: {entry.name!r}")
            if len(below) > LONGEST_PATH:
                raise _distrust(f"has directories without end in {path}")
            if entry.kind is FileKind.DIRECTORY:
                folders.append(below)
            else:
                yield below, entry.kind


def _distrust(what: str) -> OsvlabError:
    return OsvlabError(f"the guest {what}", hint="Do not trust this guest; copy single files instead.")


def _in(rest: Rest, source: Path, path: str) -> None:
    from osvlab.guest.models import FileKind

    if not source.exists():
        raise PathNotFoundError(f"no such file: {source}", hint="Check the path.")
    if rest.files.exists(path) and rest.files.stat(path).kind is FileKind.DIRECTORY:
        path = posixpath.join(path, source.resolve().name)
    if not source.is_dir():
        rest.files.upload(source, path)
        return
    for folder, _, files in os.walk(source):
        below = posixpath.normpath(posixpath.join(path, Path(folder).relative_to(source).as_posix()))
        rest.files.mkdir(below)
        for name in files:
            rest.files.upload(Path(folder, name), posixpath.join(below, name))
