"""What a path stands for: a directory, a Capstanfile, a manifest or a package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from osvlab.elf.recognise import MAGIC
from osvlab.image.collection import RecipeError
from osvlab.paths import open_bytes

__all__ = ["SourceKind", "is_source_file", "options_for", "recognise"]

CAPSTANFILE = "Capstanfile"
PACKAGE_YAML = "package.yaml"
RUN_YAML = "run.yaml"
_PACKAGES = (".mpm", ".mpm.x86_64")
_MANIFESTS = (".manifest", ".manifest.skel")
_HEAD = 512


class SourceKind(StrEnum):
    """What a recipe is made of."""

    DIRECTORY = "directory"
    CAPSTANFILE = "Capstanfile"
    MANIFEST = "manifest"
    PACKAGE = "package"


_OPTIONS: dict[SourceKind, tuple[str, ...]] = {
    SourceKind.DIRECTORY: (),
    SourceKind.CAPSTANFILE: ("base",),
    SourceKind.MANIFEST: ("variables", "base"),
    SourceKind.PACKAGE: ("packages", "require", "boot", "leave_out"),
}


def recognise(path: str | os.PathLike[str]) -> SourceKind:
    """Say what a path stands for; a path that is not there is taken for what its name says.

    A directory with a Capstanfile or a ``meta/package.yaml`` stands for these, as Capstan takes it.

    Raises
    ------
    RecipeError
        It is a file from which no image can be made.

    Examples
    --------
    >>> recognise("/usr"), recognise("apps/usr.manifest").value
    (<SourceKind.DIRECTORY: 'directory'>, 'manifest')
    """
    place = Path(path)
    if os.path.isdir(path):
        # os.path, as a folder that cannot be looked into is a directory, and told by who reads it.
        if os.path.isfile(place / CAPSTANFILE):
            return SourceKind.CAPSTANFILE
        described = any(os.path.isfile(place / "meta" / name) for name in (PACKAGE_YAML, RUN_YAML))
        return SourceKind.PACKAGE if described else SourceKind.DIRECTORY
    by_name = _by_name(place)
    if by_name is not None or not os.path.exists(path):
        return by_name or SourceKind.DIRECTORY
    return _by_content(place)


def options_for(
    path: str | os.PathLike[str], kind: SourceKind, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options that a source of a kind takes.

    Raises
    ------
    RecipeError
        Another one has a value.
    """
    known = _OPTIONS[kind]
    for name, value in options.items():
        if value and name not in known:
            raise RecipeError(
                f"{os.fspath(path)} is a {kind}, which has no use for {name}",
                hint=f"It takes {', '.join(f'{option}=' for option in known)}."
                if known
                else f"Leave out {name}=.",
            )
    return {name: value for name, value in options.items() if name in known}


def is_source_file(path: Path) -> bool:
    """Whether a file is one from which images are made, rather than an image itself."""
    try:
        return path.is_file() and recognise(path) is not SourceKind.DIRECTORY
    except RecipeError:
        return False


def _by_name(path: Path) -> SourceKind | None:
    if path.name == CAPSTANFILE:
        return SourceKind.CAPSTANFILE
    if path.name.endswith(_PACKAGES) or (
        path.parent.name == "meta" and path.name in (PACKAGE_YAML, RUN_YAML)
    ):
        return SourceKind.PACKAGE
    return SourceKind.MANIFEST if path.name.endswith(_MANIFESTS) else None


def _by_content(path: Path) -> SourceKind:
    try:
        with open(open_bytes(path), "rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise RecipeError(
            f"cannot read {path}: {error.strerror}", hint="Check path and permissions."
        ) from error
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return SourceKind.PACKAGE
    first = next((line for line in head.splitlines() if line.strip() and not line.startswith(b"#")), b"")
    if first.strip() == b"[manifest]":
        return SourceKind.MANIFEST
    if head.startswith(MAGIC):
        raise RecipeError(
            f"{path} is a program, not a directory with one",
            hint="Take it with what it needs: osvlab build --program, or Recipe.from_program.",
        )
    if head[510:512] == b"\x55\xaa":
        raise RecipeError(f"{path} is a disk image already", hint="Look into it: osvlab inspect; or run it.")
    raise RecipeError(
        f"no image can be made of {path}: it is a file of an unknown kind",
        hint="Give a directory, a Capstanfile, a manifest (usr.manifest) or a package (.mpm).",
    )
