"""What a recipe can be made of: files that describe it, in OSv's languages and in Capstan's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from osvlab.image.recipe import Recipe

__all__ = ["FromDescription"]


class FromDescription:
    """The part of `Recipe` that takes manifests, Capstanfiles and packages."""

    __slots__ = ()

    @classmethod
    def from_manifest(
        cls,
        path: str | os.PathLike[str],
        command: str | None = None,
        fs: str = "rofs",
        *,
        variables: Mapping[str, str] | None = None,
        base: str | os.PathLike[str] | None = None,
    ) -> Recipe:
        """Take what one of OSv's manifests lists, such as ``usr.manifest``.

        Parameters
        ----------
        path
            The manifest. Its language is told in ``osvlab/image/sources/README.md``.
        command
            What the guest runs. Without it what OSv's build left in the file ``cmdline`` beside the
            manifest, and if there is none, the only ELF program at the top.
        fs
            ``rofs``, ``zfs`` or ``ramfs``.
        variables
            Values of ``%(NAME)s`` and ``${NAME}``. Known without being given are ``libgcc_s_dir``;
            ``MODULE_DIR``, the manifest's folder; and ``OSV_BASE``, if the environment has it.
        base
            What paths of the host are relative to; the manifest's folder when not given. For OSv that
            is ``build/release.x64``.

        Raises
        ------
        PathNotFoundError
            There is no such manifest.
        RecipeError
            Lines of it are wrong: no such file or variable, links in a circle, two things at one path.
            All of them are listed with their numbers. Or there is nothing to run.

        Examples
        --------
        >>> from pathlib import Path
        >>> from osvlab import Recipe
        >>> _ = Path("usr.manifest").write_text("/etc/motd: welcome.txt")
        >>> _ = Path("welcome.txt").write_text("hello")
        >>> recipe = Recipe.from_manifest("usr.manifest", "/bin/sh")
        >>> recipe.why("/etc/motd")
        '/etc/motd is .../welcome.txt, as line 1 of usr.manifest says'
        """
        from osvlab.image.recipe import Recipe
        from osvlab.image.sources.manifest import read_manifest

        files = read_manifest(path, variables, base, needs_command=command is None)
        return Recipe.from_collection(files, command, fs)

    @classmethod
    def from_capstanfile(
        cls,
        path: str | os.PathLike[str],
        command: str | None = None,
        fs: str = "rofs",
        *,
        base: str | os.PathLike[str] | None = None,
    ) -> Recipe:
        """Build what a Capstanfile describes.

        Its build command is run first, without a shell, in the Capstanfile's folder.

        Parameters
        ----------
        path
            The Capstanfile, or the directory that it is in. Its language is told in
            ``osvlab/image/sources/README.md``.
        command
            What the guest runs instead of the Capstanfile's ``cmdline``.
        fs
            ``rofs``, ``zfs`` or ``ramfs``.
        base
            A kernel, or an image whose files go in first, instead of the one that the Capstanfile
            names: a file, or the name of one in Capstan's repository (``~/.capstan``).

        Raises
        ------
        PathNotFoundError
            There is no such Capstanfile.
        RecipeError
            It says something that cannot be; the line is shown. Or its base is not on this host, its
            build command fails, or files that it lists are not there: all of them are told.

        Examples
        --------
        >>> from pathlib import Path
        >>> from osvlab import Recipe
        >>> _ = Path("Capstanfile").write_text('''
        ... base: cloudius/osv-base
        ... cmdline: /hello
        ... build: cp /bin/true hello
        ... files:
        ...   /hello: "&"
        ... ''')
        >>> recipe = Recipe.from_capstanfile("Capstanfile")
        >>> recipe.command
        '/hello'
        >>> recipe.why("/hello")
        '/hello is .../hello, as line 6 of Capstanfile says'
        """
        from osvlab.image.recipe import Recipe
        from osvlab.image.sources.capstanfile import read_capstanfile

        files = read_capstanfile(path, base=base, needs_command=command is None)
        return Recipe.from_collection(files, command, fs)

    @classmethod
    def from_package(
        cls,
        place: str | os.PathLike[str],
        command: str | None = None,
        fs: str = "rofs",
        *,
        packages: Iterable[str | os.PathLike[str]] = (),
        require: Iterable[str] = (),
        boot: Iterable[str] = (),
        leave_out: str | os.PathLike[str] | None = None,
    ) -> Recipe:
        r"""Put a Capstan package together with all that it requires.

        Parameters
        ----------
        place
            The package: a directory with ``meta/package.yaml``, or an archive (``.mpm``). What these
            may say is told in ``osvlab/image/sources/README.md``.
        command
            What the guest runs. Without it the scripts that `boot` names, or else those that the
            package's ``meta/run.yaml`` does; each config_set there is a script ``/run/NAME``.
        fs
            ``rofs``, ``zfs`` or ``ramfs``.
        packages
            Folders in which required packages are looked for, before Capstan's own
            (``~/.capstan/packages``).
        require
            Names of further packages to put in.
        boot
            Names of config_sets to run one after the other.
        leave_out
            A file in the directory that does not go in, such as the image that was made of it before.

        Raises
        ------
        PathNotFoundError
            There is no such package.
        RecipeError
            What a package says of itself cannot be right, and its line is shown. An archive is damaged, or
            has entries that would leave it, or devices; all are listed. Packages are missing or require
            each other. Nothing says what to run.

        Examples
        --------
        >>> from pathlib import Path
        >>> from osvlab import Recipe
        >>> Path("meta").mkdir()
        >>> _ = Path("meta/package.yaml").write_text("name: hello")
        >>> _ = Path("meta/run.yaml").write_text('''
        ... runtime: native
        ... config_set:
        ...   loud: {bootcmd: /bin/sh -x, env: {HOME: /}}
        ... ''')
        >>> recipe = Recipe.from_package(".")
        >>> recipe.command
        'runscript /run/loud;'
        >>> recipe.tree.find(b"/run/loud").data
        b'--env=HOME?=/ /bin/sh -x\n'
        >>> recipe.why("/run/loud")
        '/run/loud is the config_set loud of the package hello (meta/run.yaml, line 4)'
        """
        from osvlab.image.recipe import Recipe
        from osvlab.image.sources.package import collect_package

        files = collect_package(place, packages=packages, require=require, boot=boot, leave_out=leave_out)
        return Recipe.from_collection(files, command, fs)
