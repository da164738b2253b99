"""What a recipe can be made of without a directory: a program of this host."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:
    from osvlab.image.recipe import Recipe
    from osvlab.image.sources.program.collect import Extras
    from osvlab.kernels import Kernel

__all__ = ["FromProgram"]


class FromProgram:
    """The part of `Recipe` that takes programs of this host."""

    __slots__ = ()

    @classmethod
    def from_program(
        cls,
        program: str | os.PathLike[str],
        arguments: Iterable[str] = (),
        *,
        command: str | None = None,
        fs: str = "rofs",
        kernel: Kernel | str | os.PathLike[str] | None = None,
        **what: Unpack[Extras],
    ) -> Recipe:
        """Take a program of this host, and all it needs that the kernel does not have.

        Libraries are found as ld.so(8) finds them, and nothing is run for that. Those that its cache or a
        system's folder gives go to ``/usr/lib``; everything else is in the guest where it is here, with
        the links that lead there. Below ``/host`` is what lies here in ``/tmp``, ``/dev``, ``/proc`` or
        ``/sys``, where the guest mounts filesystems of its own.

        Parameters
        ----------
        program
            A path, or a name in `$PATH`. With a script comes the program that reads it.
        arguments
            Words that the program gets.
        command
            What the guest runs instead, in OSv's grammar.
        fs
            ``rofs``, ``zfs`` or ``ramfs``.
        kernel
            A kernel or its file, whose libraries need not come along; the lab kernel if None.
        what
            What else goes in: ``data``, ``libraries``, ``locale``, ``exclude``, ``library_path`` and
            ``level``; see `osvlab.image.sources.program.collect.Extras`.

        Raises
        ------
        PathNotFoundError
            The program or data is not there.
        NotAProgramError
            It is no program for x86-64.
        RecipeError
            It is a folder, a library, or a script without its interpreter; libraries are missing; the
            guest would find others than this host; or data is what an image cannot hold.

        Examples
        --------
        >>> from osvlab import Recipe
        >>> recipe = Recipe.from_program("/usr/bin/env", ["PATH=/"], data=["/etc/passwd"])
        >>> recipe.command
        '/usr/bin/env PATH=/'
        >>> print(recipe.why("/etc/passwd"))
        /etc/passwd is asked for as data: /etc/passwd
        """
        from osvlab.image.recipe import Recipe
        from osvlab.image.sources.program.collect import collect
        from osvlab.kernels import Kernel

        if kernel is not None and not isinstance(kernel, Kernel):
            kernel = Kernel.open(kernel)
        files = collect(program, arguments, kernel, **what)
        return Recipe.from_collection(replace(files, kernel=kernel), command, fs)
