"""OSv's manifests: a line for each file of an image, ``/usr/lib/libz.so.1: /lib/libz.so.1``.

The language is that of OSv's `scripts/manifest_common.py`, with what `scripts/module.py` expands
before. Where those overlook or crash, a line here is wrong, and all wrong lines are told at once.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.events import Note, publish
from osvlab.filesystems.base import MAX_SYMLINKS, show
from osvlab.filesystems.tree import Directory, HostFile, Node, Symlink
from osvlab.image.collection import Collection, RecipeError, listed
from osvlab.image.command import join_command_line, split_command_line
from osvlab.image.modules import HOST_LIBRARIES
from osvlab.image.sources.text import LARGEST, read_text
from osvlab.paths import kind_of_file

__all__ = ["read_manifest"]

_IGNORED = re.compile(r"[ \t]*(?:#.*|\[manifest\])?")
_BRACED = re.compile(r"\$\{([^}]*)\}")
_PERCENT = re.compile(r"%(?:\((?P<name>[^)]*)\)s|(?P<percent>%))?")
_LINK, _LITERAL, _BELOW = "->", "!", "/**"
_STRIPPED = "-stripped.so"


def read_manifest(
    path: str | os.PathLike[str],
    variables: Mapping[str, str] | None = None,
    base: str | os.PathLike[str] | None = None,
    *,
    needs_command: bool = True,
) -> Collection:
    """Collect what a manifest lists. See `osvlab.Recipe.from_manifest`.

    Raises
    ------
    PathNotFoundError
        There is no such manifest.
    RecipeError
        It cannot be read, or lines of it are wrong; all of them are listed.
    """
    manifest = _Manifest(Path(path), dict(variables or {}), base)
    manifest.collect()
    if needs_command:
        manifest.find_command()
    return manifest.files


class _WrongLine(Exception):
    """What a line says cannot be done."""


@dataclass(slots=True)
class _Manifest:
    path: Path
    variables: dict[str, str]
    given_base: str | os.PathLike[str] | None
    files: Collection = field(default_factory=Collection)
    problems: list[str] = field(default_factory=list)
    links: dict[bytes, int] = field(default_factory=dict)  # what is a link in the guest, and in which line

    @property
    def base(self) -> str:
        """What paths of the host are relative to."""
        return os.path.abspath(self.path.parent if self.given_base is None else self.given_base)

    def collect(self) -> None:
        """Add what the manifest lists.

        Raises
        ------
        RecipeError
            Lines of it are wrong.
        """
        text = read_text(self.path, "manifest", LARGEST)
        self.variables = {**self._well_known(), **self.variables}
        for number, line in enumerate(text.splitlines(), 1):
            with self._collected(number):
                self._line(number, line.rstrip())
        self._find_circles()
        if self.problems:
            raise RecipeError(
                f"{self.path} cannot become an image:{listed(self.problems)}",
                hint="Paths of the host are relative to the manifest's folder, or to base=...; "
                "variables are given with variables={...}.",
            )
        self.files.reasons[b"/"] = f"is what {self.path} lists"
        self.files.origin = os.fspath(self.path)

    def _well_known(self) -> dict[str, str]:
        """Return what OSv's build defines."""
        known = {"MODULE_DIR": os.path.abspath(self.path.parent)}
        if "OSV_BASE" in os.environ:
            known["OSV_BASE"] = os.environ["OSV_BASE"]
        for folder in HOST_LIBRARIES:
            if (folder / "libgcc_s.so.1").is_file():
                known.setdefault("libgcc_s_dir", os.fspath(folder))
        return known

    # --- the language --------------------------------------------------------------------------------------

    def _line(self, number: int, line: str) -> None:
        if _IGNORED.fullmatch(line):
            return
        if "\0" in line:
            raise _WrongLine("it has a NUL character")
        parts = [part.strip() for part in self._braced(line).split(": ")]
        if len(parts) != 2 or not all(parts):
            raise _WrongLine(f"not GUEST: HOST: {line}")
        one = not parts[1].endswith(_BELOW)
        for guest, host in self._expand(parts[0], self._percent(parts[1])):
            with self._collected(number):
                if host.startswith(_LINK):
                    self.links[os.fsencode(guest)] = number
                self._add(guest, host, f"line {number} of {self.path}", alone=one)

    @contextlib.contextmanager
    def _collected(self, number: int) -> Iterator[None]:
        """Remember what is wrong, and go on."""
        try:
            yield
        except _WrongLine as wrong:
            self.problems.append(f"line {number}: {wrong}")
        except OsvlabError as error:  # a name that no guest can hold, or two things at one path
            self.problems.append(f"line {number}: {error.message}")

    def _braced(self, line: str) -> str:
        """Expand ``${NAME}``, as OSv does in the manifests of modules."""
        return _BRACED.sub(lambda found: self._value(found[1], found[0]), line)

    def _percent(self, host: str) -> str:
        """Expand ``%(NAME)s`` and ``%%``."""

        def value(found: re.Match[str]) -> str:
            if found["percent"]:
                return "%"
            if found["name"] is None:
                raise _WrongLine(f"a % on its own in {host}: write %% for one, or %(NAME)s")
            return self._value(found["name"], found[0])

        return _PERCENT.sub(value, host)

    def _value(self, name: str, written: str) -> str:
        if name not in self.variables:
            near = difflib.get_close_matches(name, self.variables, 1)
            known = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(self.variables))}"
            raise _WrongLine(f"no such variable: {written} ({known})")
        return self.variables[name]

    def _expand(self, guest: str, host: str) -> Iterator[tuple[str, str]]:
        """Yield the pairs that a line stands for: of ``**`` all files below, of ``&`` the guest's rest."""
        if guest.endswith(_BELOW) and host.endswith(_BELOW) and not host.startswith((_LINK, _LITERAL)):
            yield from self._below(guest.removesuffix("**"), host.removesuffix("**"))
        elif guest.endswith(_BELOW) or host.endswith(_BELOW):
            raise _WrongLine(f"** has to end both paths, without ! or ->: {guest}: {host}")
        elif "/&/" in guest and host.endswith("/&"):
            prefix, _, suffix = guest.partition("/&/")
            yield f"{prefix}/{suffix}", host.removesuffix("&") + suffix
        else:
            yield guest, host

    def _below(self, guest: str, host: str) -> Iterator[tuple[str, str]]:
        """Yield all files below a directory; links to directories are not gone into."""

        def refuse(error: OSError) -> None:
            raise _WrongLine(f"cannot read the directory {error.filename}: {error.strerror}")

        top = os.path.join(self.base, host)
        for folder, folders, names in os.walk(top, onerror=refuse):
            folders.sort()
            inside = folder[len(top) :].strip("/")
            for name in sorted(names):
                yield os.path.join(guest, inside, name), os.path.join(folder, name)

    def _find_circles(self) -> None:
        for path, number in self.links.items():
            with self._collected(number):
                if _leads_in_a_circle(self.files.tree, path):
                    raise _WrongLine(f"symbolic links lead in a circle: {show(path)}")

    # --- the host ------------------------------------------------------------------------------------------

    def _add(self, guest: str, host: str, line: str, *, alone: bool) -> None:
        if host.startswith(_LINK):
            target = os.fsencode(host.removeprefix(_LINK))
            self.files.add(os.fsencode(guest), Symlink(target), f"is in {line}")
            return
        literal = host.startswith(_LITERAL)
        path = os.path.join(self.base, host.removeprefix(_LITERAL))
        place = path if literal else _follow(path)
        if place.endswith(_STRIPPED):
            if alone:  # below ** they are expected, beside the libraries that they were made of
                publish(Note(f"{line} is left out, as OSv does: {host} ends with {_STRIPPED}"))
            return
        place = _stripped(place)
        node = _node(place)
        if isinstance(node, Directory):
            reason = f"is an empty directory because {place} is a directory, in {line}"
        else:
            reason = f"is {place}, as {line} says"
        self.files.add(os.fsencode(guest), node, reason)

    def find_command(self) -> None:
        """Take the command that OSv's build left beside its manifest."""
        beside = self.path.parent / "cmdline"
        if not beside.is_file():
            return
        options, command = split_command_line(read_text(beside, "command line").replace("\0", " ").strip())
        if command:
            # Where the root filesystem is, is a matter of the image that is built, not of the one that was.
            others = " ".join(word for word in options.split() if not word.startswith("--rootfs"))
            publish(Note(f"the command is the one in {beside}: {command}"))
            self.files.command = join_command_line(others, command)


def _leads_in_a_circle(tree: Directory, path: bytes) -> bool:
    seen: set[bytes] = set()
    while path not in seen:
        folder, _, name = path.rstrip(b"/").rpartition(b"/")
        above = tree.resolve(folder)
        node = getattr(above and above[1], "children", {}).get(name)
        if above is None or not isinstance(node, Symlink):
            return False
        seen.add(path)
        path = posixpath.join(above[0], node.target)
    return True


def _follow(path: str) -> str:
    """Follow a link to the file it means, as OSv does: an absolute one may mean a root below this one's.

    One that leads nowhere from any directory above it stays a link.
    """
    for _ in range(MAX_SYMLINKS):
        try:
            target = os.readlink(path)
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is no link
                return path
            raise _missing(path, error) from error
        folder = os.path.dirname(path)
        if not target.startswith("/"):
            path = os.path.join(folder, target)
            continue
        while not os.path.exists(folder.rstrip("/") + target):
            if folder == "/":
                return _dangling(path)
            folder = os.path.dirname(folder)
        path = folder.rstrip("/") + target
    raise _WrongLine(f"symbolic links lead in a circle: {path}")


def _dangling(path: str) -> str:
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _WrongLine(f"symbolic links lead in a circle: {path}") from error
    return path


def _stripped(path: str) -> str:
    """Return what OSv's build made of a library, if it did and the library has not changed since."""
    beside = path.removesuffix(".so") + _STRIPPED
    if not path.endswith(".so") or not os.path.isfile(beside):
        return path
    return path if os.stat(beside).st_mtime_ns < os.stat(path).st_mtime_ns else beside


def _node(path: str) -> Node:
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            return Symlink(os.fsencode(os.readlink(path)), found.st_mtime_ns)
    except OSError as error:
        raise _missing(path, error) from error
    if stat.S_ISDIR(found.st_mode):
        return Directory()
    if not stat.S_ISREG(found.st_mode):
        raise _WrongLine(f"{path} is {kind_of_file(found.st_mode)}, which an image cannot hold")
    if not os.access(path, os.R_OK, effective_ids=True):
        raise _WrongLine(f"{path} cannot be read (Permission denied)")
    return HostFile.at(path, found)


def _missing(path: str, error: OSError) -> _WrongLine:
    if error.errno == errno.ELOOP:
        return _WrongLine(f"symbolic links lead in a circle: {path}")
    if isinstance(error, FileNotFoundError):
        return _WrongLine(f"no such file: {path}")
    return _WrongLine(f"cannot look at {path}: {error.strerror}")
