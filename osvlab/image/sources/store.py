"""Capstan's store of images and packages on this host: ``~/.capstan``, or ``$CAPSTAN_ROOT``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from osvlab.image.collection import RecipeError

__all__ = ["capstan_root", "check_package_name", "find_image", "find_package", "places_of_image"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
# A disk in the form of each hypervisor; QEMU's may be of any format inside.
_DISKS = ("qemu", "raw", "vmw", "vmware", "vbox", "gce")
_PACKAGES = (".mpm", ".mpm.x86_64")


def capstan_root() -> Path:
    """Return where Capstan keeps things; it need not be there.

    Examples
    --------
    >>> os.environ["CAPSTAN_ROOT"] = "/srv/capstan"
    >>> capstan_root()
    PosixPath('/srv/capstan')
    >>> del os.environ["CAPSTAN_ROOT"]
    """
    named = os.environ.get("CAPSTAN_ROOT")
    return Path(named) if named else Path(os.path.expanduser("~"), ".capstan")


def places_of_image(name: str) -> list[Path]:
    """Return where an image of a name would be: ``repository/NAMESPACE/IMAGE/IMAGE.qemu``."""
    parts = name.split("/")
    if not all(_NAME.fullmatch(part) for part in parts):
        return []
    folder = capstan_root().joinpath("repository", *parts)
    return [folder / f"{parts[-1]}.{suffix}" for suffix in _DISKS]


def find_image(name: str) -> Path | None:
    """Return the disk of an image in Capstan's repository; None if it has none of that name."""
    return next((path for path in places_of_image(name) if path.is_file()), None)


def check_package_name(name: str) -> str:
    """Return the name of a package if it can be one: it becomes part of paths.

    Raises
    ------
    RecipeError
        It has a slash, begins with a dot, or the like.

    Examples
    --------
    >>> check_package_name("openjdk8-zulu-compact1")
    'openjdk8-zulu-compact1'
    """
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f"not a name of a package: {name!r}",
            hint="Names have letters, digits, dots, dashes, plus signs and underscores.",
        )
    return name


def find_package(name: str, folders: Iterable[Path]) -> Path | None:
    """Return the archive or directory of a package; the first folder that has it counts.

    A folder has it as ``NAME.mpm`` or as a directory ``NAME`` with a ``meta/package.yaml``. After the
    folders Capstan's own packages are looked through.
    """
    for folder in [*folders, capstan_root() / "packages"]:
        if (folder / name / "meta" / "package.yaml").is_file():
            return folder / name
        for suffix in _PACKAGES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    return None
