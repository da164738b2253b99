"""`osvlab cp`: files into a running guest or an image, and out of them."""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from osvlab.cli.guest import VM_HELP, add_rest_options, rest_of
from osvlab.cli.place import Place, add_opening_options, opened, places_in_images, printable
from osvlab.cli.progress import Progress
from osvlab.errors import OsvlabError
from osvlab.paths import PathNotFoundError

if TYPE_CHECKING:
    from osvlab.cli.parser import Commands
    from osvlab.guest.rest import Rest

__all__ = ["add"]

LONGEST_PATH = 4095  # Linux's PATH_MAX
# VM:/path; the VM may be HOST:PORT, or nothing.
GUEST_PATH = re.compile(r"([^/]*):(/.*)", re.DOTALL)
# How a guest can be called: not at all, by its name's beginning, its process, or HOST:PORT.
GUEST = re.compile(r"|[0-9a-f]{1,8}|[0-9]+|.+:[0-9]+", re.DOTALL)
IMAGE_PATH = re.compile(r"(.*?/.*?):/.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class InGuest:
    """A path in a running guest."""

    vm: str
    path: str


def add(commands: Commands) -> None:
    """Declare `cp`."""
    parser = commands.add_parser(
        "cp",
        help="copy files into a running guest or an image, or out of one",
        usage="osvlab cp [options] SOURCE TARGET",
        description="Copy a file or a whole directory. A path in an image is written IMAGE:/path, where "
        f"IMAGE is a file that is there, and a path in a guest VM:/path. VM is {VM_HELP}. ROFS, "
        "bootfs and ZFS pools that the lab made can be copied into: all files in the image are read and "
        "written again, however small the change, beside the old image, whose place the new one takes once "
        "it is whole and read back. That needs time and room for two of them; to change files of a large "
        "image often, copy into the guest that runs.",
    )
    parser.set_defaults(do=do)
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("--quiet", action="store_true", help="nothing on stderr but errors")
    add_rest_options(parser)
    add_opening_options(parser)


def do(options: argparse.Namespace) -> int:
    """Copy, one way or the other."""
    match _meant(options.source), _meant(options.target):
        case InGuest() as source, str(target):
            with rest_of(source.vm, options) as rest:
                _out(rest, source.path, Path(target))
        case str(source), InGuest() as target:
            with rest_of(target.vm, options) as rest:
                _in(rest, Path(source), target.path)
        case Place() as source, str(target):
            _out_of_image(source, Path(target), options)
        case str(source), Place() as target:
            _into_image(source, target, options)
        case _:
            raise OsvlabError(
                "one of the two must be in a guest or an image, and the other on this host",
                hint="osvlab cp VM:/etc/hosts .  or  osvlab cp hosts x.img:/etc/hosts",
            )
    return 0


def _meant(word: str) -> Place | InGuest | str:
    """Return what a word means: a path in an image, one in a guest, or one on this host."""
    images = places_in_images(word)
    guest = GUEST_PATH.fullmatch(word)
    if guest is not None and images and _is_guest(guest[1]):
        raise OsvlabError(
            f"{word}: {guest[1]} is a file here, and a running guest is called so, too",
            hint=f"Write ./{word} for the file, or the process id of the guest.",
        )
    if len(images) > 1 or (images and os.path.lexists(word)):
        raise OsvlabError(
            f"{word} can mean a path in {images[0].image}, and other files that are here",
            hint="Rename one, or name it from another folder.",
        )
    if images:
        return images[0]
    if guest is not None:
        if not GUEST.fullmatch(guest[1]):
            raise PathNotFoundError(
                f"no such image, and no running guest: {guest[1]}",
                hint="Check the path; osvlab top lists guests that run.",
            )
        return InGuest(guest[1], guest[2])
    missing = IMAGE_PATH.fullmatch(word)
    if missing is not None and not os.path.lexists(word) and not os.path.isdir(os.path.dirname(word)):
        raise PathNotFoundError(f"no such image: {missing[1]}", hint="Check the path.")
    return word


def _is_guest(word: str) -> bool:
    from osvlab.vm.discover import running_guests

    return any(guest.name.startswith(word) or str(guest.pid) == word for guest in running_guests())


# --- images ------------------------------------------------------------------------------------------------


def _out_of_image(source: Place, target: Path, options: argparse.Namespace) -> None:
    from osvlab.filesystems.base import Kind, show
    from osvlab.filesystems.copying import copy_out
    from osvlab.vm.discover import refuse_use

    with opened(source, options) as fs:
        entry = fs.find(os.fsencode(source.path))
        _expect_directory(str(options.target), entry.kind is Kind.DIRECTORY or target.is_dir())
        name = os.path.basename(source.path.rstrip("/"))
        if target.is_dir() and name not in ("", ".", ".."):
            target = target / name
        kept = [source.image, *options.also]
        report = copy_out(fs, entry, target, keep=kept, allow=partial(refuse_use, writers_only=True))
    for skipped in report.skipped:
        print(f"osvlab: left out {printable(show(skipped.path))}: a {skipped.kind}", file=sys.stderr)


def _expect_directory(word: str, is_directory: bool) -> None:
    """Raise if what ends with a slash, as only a directory may, would become a file."""
    if word.endswith("/") and not is_directory:
        raise OsvlabError(f"no such directory: {word}", hint="Create it first, or leave the slash out.")


def _into_image(source: str, target: Place, options: argparse.Namespace) -> None:
    from osvlab.image.rebuild import copy_in

    options.image = target.image
    if options.dataset is not None or options.also:
        raise OsvlabError(
            "only pools of one disk and one dataset are copied into", hint="Leave --dataset and --also out."
        )
    if options.txg is not None:
        raise OsvlabError("what a pool was is only read", hint="Leave --txg out.")
    with Progress(quiet=options.quiet).shown():
        copy_in(target.image, source, os.fsencode(target.path), partition=options.partition)


# --- guests ------------------------------------------------------------------------------------------------


def _out(rest: Rest, path: str, target: Path) -> None:
    from osvlab.guest.models import FileKind

    name = posixpath.basename(path.rstrip("/"))
    if target.is_dir() and name:
        target = target / name
    if rest.files.stat(path).kind is not FileKind.DIRECTORY:
        _download(rest, path, target)
        return
    for below, kind in _walk(rest, path):
        # A guest's word for a name is not trusted with the host's files.
        part = posixpath.relpath(below, path)
        if part == ".." or part.startswith("../") or "\0" in part:
            raise _distrust(f"names a file outside of {path}: {below!r}")
        if kind is FileKind.DIRECTORY:
            (target / part).mkdir(parents=True, exist_ok=True)
        else:
            _download(rest, below, target / part)


def _download(rest: Rest, path: str, target: Path) -> None:
    from osvlab.vm.discover import refuse_use

    refuse_use(target, writers_only=True)
    rest.files.download(path, target)


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
