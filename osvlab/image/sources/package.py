"""Capstan's packages: a directory with ``meta/package.yaml``, or its archive, and all that it requires."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.events import Note, publish
from osvlab.filesystems.host import read_tree
from osvlab.filesystems.tree import Content
from osvlab.image.collection import Collection, RecipeError, listed
from osvlab.image.sources.ignore import CAPSTANIGNORE, Ignore
from osvlab.image.sources.mpm import Archive, open_archive
from osvlab.image.sources.recognise import PACKAGE_YAML, RUN_YAML
from osvlab.image.sources.run_config import RunConfig, run_scripts
from osvlab.image.sources.scratch import Scratch
from osvlab.image.sources.store import capstan_root, check_package_name, find_package
from osvlab.image.sources.text import decoded, read_text
from osvlab.paths import PathNotFoundError
from osvlab.yaml_text import Complaint, explained, is_empty, mapping, parse, sequence, text_of

__all__ = ["Package", "collect_package"]

_KEYS = ("name", "title", "author", "version", "require", "binary", "created", "platform")
_EXAMPLE = "One that is right: name: my.app, title: My app, author: Me, require: [osv.cli]."
# What is in these is what the lab gives every image, or what its kernel does.
SUPPLIED = frozenset({"osv.bootstrap", "osv.compose-remote"})


@dataclass(frozen=True, slots=True)
class Package:
    """A package as it describes itself.

    Attributes
    ----------
    name
        What others require it by.
    place
        Its directory or archive.
    require
        The names of packages that it needs, those of its runtime first.
    run
        Its run.yaml, if it has one.
    archive
        The archive, if it is one.
    """

    name: str
    place: Path
    require: tuple[str, ...] = ()
    run: RunConfig | None = None
    archive: Archive | None = None

    @classmethod
    def read(cls, place: Path) -> Package:
        """Read what a package says of itself.

        Raises
        ------
        PathNotFoundError
            There is no such package.
        RecipeError
            It is damaged, or what it says cannot be right.
        """
        archive = None if place.is_dir() else open_archive(place)
        told, told_by = _description(place, archive, PACKAGE_YAML)
        runs, runs_by = _description(place, archive, RUN_YAML)
        if told is None and runs is None:
            raise PathNotFoundError(
                f"{place} is no package: it has neither meta/{PACKAGE_YAML} nor meta/{RUN_YAML}",
                hint="Check the path.",
            )
        if told is None:
            publish(Note(f"{place} has no meta/{PACKAGE_YAML}: the package is called App, as by Capstan"))
            told, told_by = "name: App", "Capstan's own"
        name, require = _parse(told, told_by)
        run = None if runs is None else RunConfig.parse(runs, runs_by)
        needed = (*(run.requires if run else ()), *require)
        return cls(name, place, tuple(n for n in dict.fromkeys(needed) if n != name), run, archive)

    def put_into(
        self, files: Collection, scratch: Scratch, reason: str, leave_out: Path | None = None
    ) -> None:
        """Add the files of the package, which take the place of those that are there."""
        if self.archive is not None:
            self.archive.put_into(files, scratch, reason)
            return
        ignore = _ignore(self.place)
        place = self.place.resolve()
        usual = place / f"{place.name}.img"
        left_out = {_inside(place, usual)}
        if leave_out is not None and leave_out.is_relative_to(place):
            left_out.add(_inside(place, leave_out))  # an image may lie in it
        else:
            files.folders = (*files.folders, place)
        if usual.is_file() and usual != leave_out:
            publish(Note(f"left out: {self.place / usual.name}, where osvlab build writes the image"))
        tree = read_tree(self.place, skip=lambda path: path in left_out or ignore(path), may_be_empty=True)
        files.merge(tree, lambda path: f"{reason} ({self.place}{os.fsdecode(path).rstrip('/')})")


def _inside(folder: Path, path: Path) -> bytes:
    return b"/" + os.fsencode(path.relative_to(folder))


def _description(place: Path, archive: Archive | None, name: str) -> tuple[str | None, str]:
    """Return the text of a file in ``meta``, if there is one, and what it is called."""
    if archive is None:
        path = place / "meta" / name
        return (read_text(path, name) if path.is_file() else None), os.fspath(path)
    source = f"{place}: meta/{name}"
    data = archive.meta.get(name)
    return (None if data is None else decoded(data, source, name)), source


def _parse(text: str, source: str) -> tuple[str, tuple[str, ...]]:
    """Return name and requirements that a package.yaml tells."""
    with explained(text, source, RecipeError, _EXAMPLE):
        keys = {}
        for key, value in mapping(parse(text, source, RecipeError), "a package"):
            name = text_of(key, "a key")
            near = difflib.get_close_matches(name, _KEYS, 1, cutoff=0.8)
            if name not in _KEYS and near:
                # Capstan overlooks all keys that it does not know; a misspelt one was meant.
                raise Complaint(key, f"unknown key: {name}", f"Did you mean {near[0]}?")
            if not is_empty(value):
                keys[name] = value
        if "name" not in keys:
            raise RecipeError(f"{source} has no name: others could not require it", hint=_EXAMPLE)
        name = check_package_name(text_of(keys["name"], "name"))
        require = []
        for item in sequence(keys["require"], "require") if "require" in keys else ():
            try:
                require.append(check_package_name(text_of(item, "a name")))
            except RecipeError as error:
                raise Complaint(item, error.message, error.hint) from error
    return name, tuple(require)


def _ignore(place: Path) -> Ignore:
    path = place / CAPSTANIGNORE
    return Ignore(read_text(path, CAPSTANIGNORE), os.fspath(path)) if path.is_file() else Ignore()


# --- a package and what it requires ------------------------------------------------------------------------


def collect_package(
    place: str | os.PathLike[str],
    *,
    packages: Iterable[str | os.PathLike[str]] = (),
    require: Iterable[str] = (),
    boot: Iterable[str] = (),
    leave_out: str | os.PathLike[str] | None = None,
    needs_command: bool = True,
) -> Collection:
    """Collect a package with all that it requires. See `osvlab.Recipe.from_package`.

    Raises
    ------
    PathNotFoundError
        There is no such package.
    RecipeError
        A package is damaged or missing, or requires itself.
    """
    place = Path(place)
    if place.name in (PACKAGE_YAML, RUN_YAML) and place.parent.name == "meta":
        place = place.parent.parent
    package = Package.read(place)
    require = [check_package_name(name) for name in require]
    needed = _Needed([Path(folder) for folder in packages])
    needed.add(package, (*package.require, *require))
    files = Collection(origin=os.fspath(place))
    files.reasons[b"/"] = f"is the root of the package {package.name}"
    scratch = Scratch()
    try:
        for found in needed.in_order:
            by = needed.wanted_by[found.name]
            wanted = f", which {by} requires" if by else ""
            left_out = None if leave_out is None or found is not package else Path(leave_out).resolve()
            try:
                found.put_into(files, scratch, f"comes from the package {found.name}{wanted}", left_out)
            except OsvlabError as error:
                raise RecipeError(f"the package {found.name}: {error.message}", error.hint) from error
    except BaseException:
        scratch.close()  # whoever keeps the error, would keep it
        raise
    files.kept = (scratch,)
    scripts = run_scripts({found.name: found.run for found in needed.in_order if found.run})
    for name, (line, owner, told) in scripts.items():
        reason = f"is the config_set {name} of the package {owner} ({told})"
        files.add(b"/run/" + os.fsencode(name), Content(f"{line}\n".encode(), 0o755), reason)
    boot = list(boot)
    if boot or needs_command:
        files.command = _command(files, package, boot)
    return files


@dataclass(slots=True)
class _Needed:
    """Packages in the order in which they are put together: each after all that it requires."""

    folders: list[Path]
    in_order: list[Package] = field(default_factory=list)
    wanted_by: dict[str, str] = field(default_factory=dict)

    def add(self, package: Package, require: Iterable[str]) -> None:
        """Add the packages that one requires, and then it."""
        missing: dict[str, str] = {}
        self._add(package, tuple(require), [], missing)
        if missing:
            looked = ", ".join(map(str, [*self.folders, capstan_root() / "packages"]))
            told = [f"{name}, required by {by}" for name, by in missing.items()]
            raise RecipeError(
                f"packages are missing:{listed(told)}\nlooked for in {looked}",
                hint="Name the folder that has them with packages=[...], or get them with Capstan: "
                f"capstan package pull {next(iter(missing))}.",
            )

    def _add(
        self, package: Package, require: tuple[str, ...], chain: list[str], missing: dict[str, str]
    ) -> None:
        chain = [*chain, package.name]
        self.wanted_by.setdefault(package.name, chain[-2] if len(chain) > 1 else "")
        for name in require:
            if name in chain:
                circle = " requires ".join([*chain[chain.index(name) :], name])
                raise RecipeError(f"packages require each other: {circle}", hint="Take one requirement out.")
            if name in missing or any(found.name == name for found in self.in_order):
                continue
            place = find_package(name, self.folders)
            if place is None and name in SUPPLIED:
                publish(Note(f"the package {name} is not here; every image of the lab has what it is for"))
            elif place is None:
                missing[name] = package.name
            else:
                found = Package.read(place)
                if found.name != name:
                    raise RecipeError(
                        f"{place} calls itself {found.name}, and {package.name} requires {name}",
                        hint="Rename one.",
                    )
                self._add(found, found.require, chain, missing)
        self.in_order.append(package)


def _command(files: Collection, package: Package, boot: list[str]) -> str | None:
    """Return what runs the chosen scripts; None if nothing says which.

    Raises
    ------
    RecipeError
        A script is not there, or there are several and none was chosen.
    """
    chosen = boot
    if not chosen and package.run is not None:
        chosen = list(package.run.default)
        if not chosen and len(package.run.sets) == 1:
            chosen = list(package.run.sets)
    if not chosen and files.find(b"/run/default") is not None:
        chosen = ["default"]  # what Capstan runs when it is told nothing
    if not chosen:
        if package.run is not None:
            raise RecipeError(
                f"nothing says which config_set of {package.name} to run: {', '.join(package.run.sets)}",
                hint="Choose with boot=[...], or write config_set_default into meta/run.yaml.",
            )
        return None
    for name in chosen:
        if files.find(b"/run/" + os.fsencode(name)) is None:
            folder = files.find(b"/run")
            known = [os.fsdecode(child) for child in getattr(folder, "children", {})]
            by = "" if boot else f", which config_set_default of the package {package.name} names"
            raise RecipeError(
                f"no such config_set: {name}{by}", hint=f"There are: {', '.join(sorted(known)) or 'none'}."
            )
    return "".join(f"runscript /run/{name};" for name in chosen)
