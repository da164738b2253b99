"""Capstanfiles: Capstan's description of an image by its base, its files and its command.

The keys are those that Capstan reads (its `core/template.go`): base, cmdline, build, files, rootfs and
rpm-base. Where Capstan does less than people expect, more is done: directories are copied with all that is
in them, and `build` has ended before anybody looks for what it makes.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import signal
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from yaml.nodes import Node

from osvlab.errors import OsvlabError
from osvlab.events import step
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import HostFile
from osvlab.image.collection import Collection, RecipeError, listed
from osvlab.image.command import CommandError, parse_command, split_command_line
from osvlab.image.sources.base import Base, find_base
from osvlab.image.sources.recognise import CAPSTANFILE
from osvlab.image.sources.rpm import Rpm
from osvlab.image.sources.text import read_text
from osvlab.paths import kind_of_file
from osvlab.yaml_text import Complaint, explained, is_empty, known_keys, mapping, parse, path_of, where

__all__ = ["read_capstanfile"]

_GRACE = 3  # seconds for a command to end in order
_MARK = "OSVLAB_BUILD"
_DEFAULT_ROOTFS = "ROOTFS"
_KEYS = ("base", "cmdline", "build", "files", "rootfs", "rpm-base")
_EXAMPLE = "One that is right: base: cloudius/osv-base, cmdline: /hello, files: {/hello: build/&}."
_TAIL = 64 << 10
_LINES = 40


def read_capstanfile(
    path: str | os.PathLike[str], *, base: str | os.PathLike[str] | None = None, needs_command: bool = True
) -> Collection:
    """Run what a Capstanfile builds, and collect its files. See `osvlab.Recipe.from_capstanfile`.

    Raises
    ------
    PathNotFoundError
        There is no such Capstanfile.
    RecipeError
        Something in it is wrong, or its build command failed.
    """
    file = Path(path)
    if file.is_dir():
        file = file / CAPSTANFILE
    text = read_text(file, CAPSTANFILE)
    with explained(text, os.fspath(file), RecipeError, _EXAMPLE):
        told = _Told.read(file, parse(text, os.fspath(file), RecipeError))
        if base is not None:
            told.base = os.path.abspath(base) if os.path.exists(base) else os.fspath(base)
        if needs_command and not told.cmdline:
            raise RecipeError(f"{file} has no cmdline: nothing says what to run", hint=_EXAMPLE)
    return told.collect()


@dataclass(slots=True)
class _Told:
    """What a Capstanfile says."""

    file: Path
    base: str = ""
    cmdline: str = ""
    build: list[str] = field(default_factory=list)
    files: list[tuple[str, str, int]] = field(default_factory=list)
    rootfs: tuple[str, int] | None = None
    rpm: Rpm | None = None

    @classmethod
    def read(cls, file: Path, node: Node | None) -> _Told:
        keys = {
            key: value
            for key, value in known_keys(node, "a Capstanfile", _KEYS).items()
            if not is_empty(value)
        }
        told = cls(file)
        if "rpm-base" in keys:
            told.rpm = _rpm(keys["rpm-base"])
        if "base" in keys:
            told.base = path_of(keys["base"], "base").strip()
        if "cmdline" in keys:
            told.cmdline = _command(keys["cmdline"])
        if "build" in keys:
            told.build = _words(keys["build"])
        for key, value in mapping(keys.get("files"), "files"):
            guest = path_of(key, "a path")
            name = guest.rstrip("/").rpartition("/")[2]
            told.files.append((guest, path_of(value, "a path").replace("&", name), where(key)))
        if "rootfs" in keys:
            told.rootfs = path_of(keys["rootfs"], "rootfs"), where(keys["rootfs"])
        return told

    @property
    def folder(self) -> Path:
        """What paths of the host are relative to."""
        return self.file.absolute().parent

    def collect(self) -> Collection:
        files = Collection(command=self.cmdline or None, origin=os.fspath(self.file))
        files.reasons[b"/"] = f"is what {self.file} lists"
        base = find_base(self.base, self.folder) if self.base else Base("")
        files.kernel = base.kernel
        if self.build:
            _run(self.build, self.folder)  # before anybody looks for what it makes
        base.put_into(files)
        if self.rpm is not None:
            self.rpm.put_into(files, self.folder)
        problems: list[str] = []
        self._add_rootfs(files, problems)
        for guest, host, line in self.files:
            try:
                self._add_file(files, guest, host, line)
            except OsvlabError as error:
                problems.append(f"line {line}: {error.message}")
        if problems:
            raise RecipeError(
                f"{self.file} cannot become an image:{listed(problems)}",
                hint="Paths of the host are relative to the Capstanfile's folder.",
            )
        return files

    def _add_rootfs(self, files: Collection, problems: list[str]) -> None:
        name, line = self.rootfs or (_DEFAULT_ROOTFS, 0)
        host = self.folder / name
        if self.rootfs is None and not host.is_dir():
            return
        said = f"line {line} of {self.file}" if line else f"{self.file}, which names no other"
        try:
            tree = read_tree(host, may_be_empty=True)
            files.merge(tree, lambda path: f"comes from {host}, the rootfs of {said}")
        except OsvlabError as error:
            problems.append(f"line {line}: rootfs: {error.message}" if line else error.message)
        files.folders = (*files.folders, host.resolve())

    def _add_file(self, files: Collection, guest: str, host: str, line: int) -> None:
        path = self.folder / host
        said = f"line {line} of {self.file} says"
        try:
            found = path.stat()
        except OSError as error:
            raise RecipeError(f"no such file: {path} ({error.strerror})", hint="Check the path.") from error
        if stat.S_ISDIR(found.st_mode):
            tree = read_tree(path, may_be_empty=True)
            at = os.fsencode(guest)
            files.merge(tree, lambda inside: f"is {path}{os.fsdecode(inside).rstrip('/')}, as {said}", at)
            files.folders = (*files.folders, path.resolve())
        elif stat.S_ISREG(found.st_mode):
            node = HostFile.at(path.resolve(), found)
            files.add(os.fsencode(guest), node, f"is {path}, as {said}")
        else:
            raise RecipeError(
                f"{path} is {kind_of_file(found.st_mode)}, which an image cannot hold", hint="Leave it out."
            )


def _command(node: Node) -> str:
    # A folded text ends with a newline, and one that is not folded has some inside.
    command = re.sub(r"\s*\n\s*", " ", path_of(node, "cmdline")).strip()
    try:
        if not parse_command(split_command_line(command)[1]):
            raise Complaint(node, "cmdline is empty: there is nothing to run")
    except CommandError as error:
        raise Complaint(node, error.message, error.hint) from error
    return command


def _words(node: Node) -> list[str]:
    """Part a build command into words as a shell does; there will be no shell."""
    try:
        return shlex.split(path_of(node, "build"))
    except ValueError as error:
        raise Complaint(node, f"build cannot be parted into words: {error}", "Close the quotes.") from error


def _rpm(node: Node) -> Rpm:
    known = ("name", "version", "release", "arch")
    parts = {name: path_of(value, name) for name, value in known_keys(node, "rpm-base", known).items()}
    lacking = [part for part in known if part not in parts]
    if lacking:
        raise Complaint(node, f"rpm-base lacks {', '.join(lacking)}")
    rpm = Rpm(**parts)
    if "/" in rpm.file_name:
        raise Complaint(node, f"not a name of an RPM package: {rpm.file_name}")
    return rpm


def _run(words: list[str], folder: Path) -> None:
    """Run a build command in a folder; what it prints is shown when it fails.

    Raises
    ------
    RecipeError
        It is not there, or fails.
    """
    shown = shlex.join(words)
    with step(f"run {shown}"), tempfile.TemporaryFile() as output:
        try:
            status = _run_to_end(words, folder, output)
        except OSError as error:
            raise RecipeError(
                f"cannot run the build command {shown}: {error.strerror}",
                hint="It is run without a shell, in the Capstanfile's folder: is there such a program?",
            ) from error
        if status != 0:
            how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
            raise RecipeError(
                f"the build command {shown} {how}:\n{_end_of(output.fileno())}",
                hint=f"Try it: cd {shlex.quote(os.fspath(folder))} && {shown}",
            )


def _run_to_end(words: list[str], folder: Path, output: IO[bytes]) -> int:
    """Run a command; if we are ended, end it in order, and what it has started, which would write on."""
    mark = f"{_MARK}={secrets.token_hex(8)}"
    environment = {**os.environ, _MARK: mark.partition("=")[2]}
    process = None
    try:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        return process.wait()
    except OSError:
        raise
    except BaseException:
        _end(os.fsencode(mark))
        if process is not None:
            process.wait()
        raise


def _end(mark: bytes) -> None:
    """End all processes with a mark in their environment, also those whose parents are gone."""
    told: set[int] = set()
    deadline = time.monotonic() + _GRACE
    while left := _marked(mark):
        late = time.monotonic() > deadline
        for pid in left if late else left - told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        told |= left
        time.sleep(0.01)


def _marked(mark: bytes) -> set[int]:
    found = set()
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is somebody else's
            if mark in place.read_bytes().split(b"\0"):
                found.add(int(place.parent.name))
    return found


def _end_of(fd: int) -> str:
    size = os.fstat(fd).st_size
    data = os.pread(fd, _TAIL, max(0, size - _TAIL))
    return "\n".join(data.decode(errors="replace").splitlines()[-_LINES:]) or "(it printed nothing)"
