"""What a Capstanfile's ``rpm-base`` brings: an RPM package that lies beside the Capstanfile.

Capstan fetches it from a server, without any check that it is the right one. Here it has to be there
already, and is unpacked by the host's own `rpm2cpio` and `cpio`, into a private folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.events import step
from osvlab.filesystems.host import read_tree
from osvlab.image.collection import Collection, RecipeError
from osvlab.image.sources.scratch import Scratch

__all__ = ["Rpm"]

_TOOLS = ("rpm2cpio", "cpio")


@dataclass(frozen=True, slots=True)
class Rpm:
    """An RPM package by what it is called.

    Examples
    --------
    >>> Rpm("java", "1.7.0.60", "2.4.fc19", "x86_64").file_name
    'java-1.7.0.60-2.4.fc19.x86_64.rpm'
    """

    name: str
    version: str
    release: str
    arch: str

    @property
    def file_name(self) -> str:
        """What its file is called everywhere."""
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"

    def put_into(self, files: Collection, folder: Path) -> None:
        """Add what it holds.

        Parameters
        ----------
        files
            Where to.
        folder
            Where its file has to be.

        Raises
        ------
        RecipeError
            It is not there, the host has not the tools, or it cannot be unpacked.
        """
        file = folder / self.file_name
        lacking = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if lacking or not file.is_file():
            why = f"there is no {' and no '.join(lacking)} here" if lacking else f"there is no {file}"
            raise RecipeError(
                f"cannot take the rpm-base {self.name}: {why}",
                hint=f"Get {self.file_name} from where you trust it, put it beside the Capstanfile, and "
                "install rpm2cpio and cpio.",
            )
        scratch = Scratch()
        try:
            with step(f"unpack {self.file_name}"):
                place = scratch.folder()
                _unpack(file, place)
            tree = read_tree(place, may_be_empty=True)
            files.merge(tree, lambda path: f"comes from the rpm-base {file}")
        except BaseException as error:
            scratch.close()
            if isinstance(error, OsvlabError) and os.fspath(file) not in error.message:
                raise RecipeError(f"the rpm-base {file}: {error.message}", error.hint) from error
            raise
        files.kept = (*files.kept, scratch)


def _unpack(file: Path, place: Path) -> None:
    with tempfile.TemporaryFile() as archive:
        _run(["rpm2cpio", os.path.abspath(file)], file, stdout=archive)
        archive.seek(0)
        # Leading slashes and ".." are taken off the names; links are made last: none is gone through.
        command = ["cpio", "--extract", "--make-directories", "--no-absolute-filenames", "--quiet"]
        _run([*command, "--preserve-modification-time"], file, stdin=archive, cwd=place)


def _run(command: list[str], file: Path, **options: object) -> None:
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | options
    ended = subprocess.run(command, stderr=subprocess.PIPE, check=False, **given)  # type: ignore[call-overload]
    if ended.returncode != 0:
        said = ended.stderr.decode(errors="replace").strip()
        raise RecipeError(f"{file} cannot be unpacked: {command[0]}: {said}", hint="Get it again.")
