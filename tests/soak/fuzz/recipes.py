"""What describes images: texts that people write, and packages that come from others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from osvlab.errors import OsvlabError
from osvlab.filesystems.tree import Directory
from osvlab.image.command import join_command_line, parse_command, split_command_line
from osvlab.image.sources import capstanfile, manifest, rpm
from osvlab.image.sources.ignore import Ignore
from osvlab.image.sources.package import Package, collect_package
from osvlab.image.sources.run_config import RunConfig, run_scripts
from osvlab.image.sources.scratch import Scratch

# The folder is this process's, and goes with it.
_KEPT = tempfile.TemporaryDirectory(prefix="osvlab-fuzz-")
FOLDER = Path(_KEPT.name)
os.environ["CAPSTAN_ROOT"] = os.fspath(FOLDER / "capstan")


def no_program(words: list[str], folder: Path) -> None:
    """What a Capstanfile would have built is not run, whatever it is."""


def no_tree(*arguments: object, **options: object) -> Directory:
    """What is read of this host's folders does not depend on the text."""
    return Directory()


capstanfile._run = no_program
capstanfile.read_tree = no_tree
rpm._run = no_tree  # type: ignore[assignment]


def written(name: str, data: bytes) -> Path:
    path = FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def manifests(data: bytes) -> None:
    if b"**" in data:  # all files of this host could be meant, and would be
        return
    with suppress(OsvlabError):
        manifest.read_manifest(written("usr.manifest", data), {"A": "/etc"}, FOLDER)


def capstanfiles(data: bytes) -> None:
    with suppress(OsvlabError):
        capstanfile.read_capstanfile(written("Capstanfile", data))


def package_texts(data: bytes) -> None:
    """package.yaml, and after a NUL run.yaml, .capstanignore."""
    described, _, rest = data.partition(b"\0")
    runs, _, ignored = rest.partition(b"\0")
    with suppress(OsvlabError):
        Ignore(ignored.decode(errors="surrogateescape"))(b"/a/b.o")
    with suppress(OsvlabError):
        config = RunConfig.parse(runs.decode(errors="surrogateescape"), "run.yaml")
        run_scripts({"app": config})
    written("meta/package.yaml", described)
    with suppress(OsvlabError):
        Package.read(FOLDER)


def archives(data: bytes) -> None:
    """Packages, .mpm: nothing of them may come to lie outside of where it is unpacked to."""
    with suppress(OsvlabError):
        found = collect_package(written("app.mpm", data), needs_command=False)
        for name in found.reasons:
            assert b".." not in name.split(b"/")
        for kept in found.kept:
            assert isinstance(kept, Scratch)
            kept.close()


def commands(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    with suppress(OsvlabError):
        options, command = split_command_line(text)
        assert split_command_line(join_command_line(options, command))[1] == command
        parse_command(command)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (manifests, capstanfiles, package_texts, archives, commands)
}
