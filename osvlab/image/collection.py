"""Files on their way into an image, and for each path why it is there."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.filesystems.base import MAX_SYMLINKS, GuestPathNotFoundError, show
from osvlab.filesystems.tree import Directory, Node, Symlink, check_name
from osvlab.kernels import Kernel

__all__ = ["Collection", "RecipeError", "listed", "why"]

_SHOWN = 20


class RecipeError(OsvlabError, ValueError):
    """What shall go into an image cannot: a file, a line or an entry is wrong, and named."""


@dataclass(slots=True)
class Collection:
    """A tree that grows entry by entry; whoever adds one says why.

    Attributes
    ----------
    tree
        What is there so far.
    reasons
        Why, by path: the rest of a sentence that begins with the path. A reason also holds for
        everything below it that has none of its own.
    command
        What the source says that the guest runs; None if it does not say.
    kernel
        The kernel that the source names; None if it names none.
    folders
        Directories of the host that were taken whole.
    origin
        What the files come from, for messages.
    kept
        What has to stay as long as the tree is used, such as a folder with unpacked files.

    Examples
    --------
    >>> from osvlab.filesystems.tree import Content
    >>> files = Collection()
    >>> files.add(b"/lib", Symlink(b"usr/lib"), "is in the example")
    >>> files.add(b"/lib/libz.so", Content(b"..."), "is in the example too")
    >>> print(why(files.tree, files.reasons, "/lib/libz.so"))
    /usr/lib/libz.so is in the example too
    """

    tree: Directory = field(default_factory=Directory)
    reasons: dict[bytes, str] = field(default_factory=dict)
    command: str | None = None
    kernel: Kernel | None = None
    folders: tuple[Path, ...] = ()
    origin: str = "the image"
    kept: tuple[object, ...] = ()

    @classmethod
    def of(cls, tree: Directory, reasons: Mapping[bytes, str]) -> Collection:
        """Begin with a copy of a tree, which stays as it is."""
        return cls(_copy(tree), dict(reasons))

    def add(self, path: bytes, node: Node, reason: str) -> None:
        """Put a node at a path, through links that are there already, as a program in the guest would.

        Directories on the way are made. A file takes the place of a file or link, and a directory
        joins a directory; a file does not take the place of a directory, nor the other way round.

        Raises
        ------
        RecipeError
            Two things that exclude each other want the same path; both are named.
        TreeError
            A name on the path is unusable.
        """
        names = _names(path)
        if not names:
            self._add_root(node, reason)
            return
        for name in names:
            check_name(name, path)
        base, here = self._directory(names[:-1], path, reason)
        place = base + b"/" + names[-1]
        found = here.children.get(names[-1])
        if isinstance(node, Directory):
            if isinstance(found, Symlink):  # /lib -> usr/lib stays, and its files go to /usr/lib
                place, _ = self._directory(names, path, reason)
            elif found is None or isinstance(found, Directory):
                children = {} if found is None else found.children
                here.children[names[-1]] = replace(node, children=children)
            else:
                raise self._conflict(place, reason)
            self.reasons[place] = reason
            self._add_below(place, node, reason)
            return
        if isinstance(found, Directory):
            raise self._conflict(place, reason)
        here.children[names[-1]] = node
        self.reasons[place] = reason

    def find(self, path: bytes) -> Node | None:
        """Return what is at a path, through links to directories on the way; None if there is nothing."""
        return _locate(self.tree, path)[1]

    def merge(self, tree: Directory, reason: Callable[[bytes], str], at: bytes = b"/") -> None:
        """Put a whole tree at a path; `reason` is asked for each path in that tree."""
        at = at.rstrip(b"/")
        for path, node in tree.walk():
            self.add(at + path, _shallow(node), reason(path))

    def _add_root(self, node: Node, reason: str) -> None:
        if not isinstance(node, Directory):
            raise RecipeError(f"/ {reason}, and is no directory", hint="Give it a name.")
        self.tree = replace(node, children=self.tree.children)
        self.reasons[b"/"] = reason
        self._add_below(b"", node, reason)

    def _add_below(self, place: bytes, directory: Directory, reason: str) -> None:
        for path, node in directory.walk():
            if path != b"/":
                self.add(place + path, _shallow(node), reason)

    def _directory(self, names: list[bytes], path: bytes, reason: str) -> tuple[bytes, Directory]:
        """Return where the directory of these names really is, making what is missing."""
        pending = names[::-1]
        trail: list[tuple[bytes, Directory]] = [(b"", self.tree)]
        links = 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                del trail[max(1, len(trail) - 1) :]
                continue
            base, here = trail[-1]
            place = base + b"/" + name
            found = here.children.get(name)
            if found is None:
                check_name(name, place)
                found = here.children[name] = Directory()
                self.reasons[place] = f"is on the way to {show(path)}, which {reason}"
            if isinstance(found, Directory):
                trail.append((place, found))
                continue
            if not isinstance(found, Symlink):
                raise RecipeError(
                    f"{show(path)} {reason}, and needs {show(place)} to be a directory; "
                    f"but {why(self.tree, self.reasons, place)}",
                    hint="Rename one.",
                )
            links += 1
            if links > MAX_SYMLINKS:
                raise RecipeError(
                    f"{show(path)} {reason}, and symbolic links on the way lead in a circle: {show(place)}",
                    hint="Remove the link.",
                )
            pending += found.target.split(b"/")[::-1]
            if found.target.startswith(b"/"):
                del trail[1:]
        return trail[-1]

    def _conflict(self, place: bytes, reason: str) -> RecipeError:
        found = self.tree.find(place)
        kinds = ("a directory", "a file") if isinstance(found, Directory) else ("a file", "a directory")
        return RecipeError(
            f"{why(self.tree, self.reasons, place)}, as {kinds[0]}; "
            f"and something else {reason}, as {kinds[1]}",
            hint="Rename one, or leave it out.",
        )


def why(tree: Directory, reasons: Mapping[bytes, str], path: str | bytes) -> str:
    """Return a sentence that says why a path is in a tree.

    Raises
    ------
    GuestPathNotFoundError
        It is not there. The hint names one that is and looks like it.
    """
    place, node = _locate(tree, os.fsencode(path))
    if node is None:
        raise _not_there(tree, os.fsencode(path))
    target = f" (a link to {show(node.target)})" if isinstance(node, Symlink) else ""
    return f"{show(place)}{target} {_reason(reasons, place)}"


def listed(problems: list[str]) -> str:
    r"""Return problems for after a colon: one as it is, several a line each, the first 20 of many.

    Examples
    --------
    >>> listed(["a is wrong"]), listed(["a is wrong", "b is wrong"])
    (' a is wrong', '\n  a is wrong\n  b is wrong')
    """
    if len(problems) == 1:
        return f" {problems[0]}"
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return "".join(f"\n  {problem}" for problem in problems[:_SHOWN] + more)


def _locate(tree: Directory, path: bytes) -> tuple[bytes, Node | None]:
    """Return the path without links to directories on the way, and what is there."""
    *parents, name = _names(path) or [b""]
    folder = tree.resolve(b"/" + b"/".join(parents))
    if not name:
        return b"/", tree
    if folder is None or not isinstance(folder[1], Directory):
        return path, None
    return folder[0].rstrip(b"/") + b"/" + name, folder[1].children.get(name)


def _reason(reasons: Mapping[bytes, str], place: bytes) -> str:
    while place not in reasons and place != b"/":
        place = place.rpartition(b"/")[0] or b"/"
    return reasons.get(place, "was in the tree that the recipe was made with")


def _not_there(tree: Directory, path: bytes) -> GuestPathNotFoundError:
    wanted = "/" + show(path).lstrip("/")
    known = [show(place) for place, _ in tree.walk()]
    name = wanted.rpartition("/")[2]
    same = [place for place in known if place.rpartition("/")[2] == name]
    close = same or difflib.get_close_matches(wanted, known, n=1)
    return GuestPathNotFoundError(
        f"not in the image: {wanted}",
        f"Did you mean {close[0]}?" if close else "Look what is: recipe.tree.walk().",
    )


def _names(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name not in (b"", b".")]


def _shallow(node: Node) -> Node:
    return replace(node, children={}) if isinstance(node, Directory) else node


def _copy(directory: Directory) -> Directory:
    """Return a tree that can be changed: its directories are new. They may be deeper than Python's stack."""
    top = replace(directory, children=dict(directory.children))
    pending = [top]
    while pending:
        here = pending.pop()
        for name, child in here.children.items():
            if isinstance(child, Directory):
                new = here.children[name] = replace(child, children=dict(child.children))
                pending.append(new)
    return top
