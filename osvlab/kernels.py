"""Kernels: the library OS itself, and what can be asked of it.

There are two: the lab's own, compiled from `osvlab/kernel`, and OSv, in the files its
build leaves behind. Only this module knows which one it has in hand; everybody else
asks for a capability ("does it report an exit status?").
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import takewhile
from pathlib import Path

from osvlab.elf.search import Rules
from osvlab.kernel_file import (
    KERNEL_AT,
    Boot,
    KernelError,
    KernelKind,
    KernelNotFoundError,
    dynamic_symbols,
    loaded_end,
    osv_zfs_root,
    recognise,
)
from osvlab.osv_console import Verdict, osv_verdict
from osvlab.paths import open_bytes

__all__ = [
    "Boot",
    "Capability",
    "DiskStart",
    "Kernel",
    "KernelError",
    "KernelKind",
    "KernelNotFoundError",
    "Verdict",
]


class Capability(StrEnum):
    """What a kernel may or may not be able to do."""

    REPORTS_EXIT_STATUS = "reports the exit status of the command"
    REPORTS_BOOT_TIMELINE = "reports when each step of the boot was done"
    CRASH_REPORT = "reports a crash with registers and a backtrace, and powers off"
    BOOTS_MICROVM_WITHOUT_KVM = "boots on QEMU's microvm without KVM"
    ENDS_INPUT_AT_CONTROL_D = "takes Ctrl-D on its console for the end of the input"
    RUNS_MODULES = "runs the lab kernel's modules"
    MOUNTS_ANY_POOL = "takes a ZFS pool of any name for its root, and of its datasets the one with files"
    LOADS_FILESYSTEMS = "loads filesystems as modules from the first partition of its disk"
    TELLS_STATUS_WHEN_VERBOSE = "prints the exit status on the console with verbose=True"


_LAB = frozenset(
    {
        Capability.REPORTS_EXIT_STATUS,
        Capability.REPORTS_BOOT_TIMELINE,
        Capability.CRASH_REPORT,
        Capability.BOOTS_MICROVM_WITHOUT_KVM,
        Capability.ENDS_INPUT_AT_CONTROL_D,
        Capability.RUNS_MODULES,
        Capability.LOADS_FILESYSTEMS,
        Capability.MOUNTS_ANY_POOL,
    }
)
_OSV = frozenset({Capability.TELLS_STATUS_WHEN_VERBOSE})


@dataclass(frozen=True, slots=True)
class DiskStart:
    """What makes a disk boot a kernel.

    Parameters
    ----------
    boot_sector
        The 512 bytes of sector 0; how much it loads and the partition table are still to be filled in.
    offset, size
        Where in the kernel's file the bytes lie that go to sector 128.
    """

    boot_sector: bytes
    offset: int
    size: int


class Kernel:
    """A kernel file.

    Made by `Kernel.lab` or `Kernel.open`, which look into the file first.

    Parameters
    ----------
    path
        The file.
    kind
        Whose kernel it is.
    boot
        How it is started.
    version
        What it calls itself; None where the file does not say (a compressed OSv).
    """

    def __init__(self, path: Path, kind: KernelKind, boot: Boot, version: str | None) -> None:
        self.path = path
        self.kind = kind
        self.boot = boot
        self.version = version

    @classmethod
    def lab(cls) -> Kernel:
        """Return the lab's own kernel, compiling it first if that has not been done.

        `$OSVLAB_KERNEL` names another file to use instead.

        Raises
        ------
        KernelBuildError
            It has to be compiled, and that failed or a tool is missing.
        """
        named = os.environ.get("OSVLAB_KERNEL")
        if named:
            return cls.open(named)
        from osvlab.kernel_build import built_kernel

        return cls.open(built_kernel())

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Kernel:
        """Look into a kernel file and say what it is.

        Takes the lab kernel, OSv's ``loader.elf`` and ``loader-stripped.elf``, and
        OSv's ``loader.img`` (boot sector and compressed kernel).

        Raises
        ------
        KernelNotFoundError
            There is no such file.
        KernelError
            It is no such kernel, or damaged.
        """
        path = Path(path)
        try:
            with open(open_bytes(path), "rb") as file:
                kind, boot, version = recognise(path, file)
        except FileNotFoundError as error:
            raise KernelNotFoundError(f"no such kernel: {path}", hint="Check the path.") from error
        except OSError as error:
            raise KernelError(
                f"cannot read the kernel {path}: {error.strerror}",
                hint="Check path and permissions.",
            ) from error
        return cls(path.absolute(), kind, boot, version)

    @classmethod
    def of_disk(cls, path: Path) -> Kernel | None:
        """Return the kernel that a disk image starts by itself, if its own boot sector must do that.

        That is OSv's compressed kernel. An image with the lab kernel, or with none, gives
        None: QEMU loads the lab kernel faster than a BIOS reads it from a disk.
        """
        try:
            kernel = cls.open(path)
        except KernelError:
            return None
        return kernel if kernel.boot is Boot.DISK else None

    def is_on(self, disk: Path) -> bool:
        """Say whether a disk begins with this kernel, compared by its first 64 KiB."""
        with self.path.open("rb") as mine, disk.open("rb") as other:
            mine.seek(KERNEL_AT)
            other.seek(KERNEL_AT)
            return mine.read(1 << 16) == other.read(1 << 16)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    def can(self, capability: Capability) -> bool:
        """Say whether the kernel has a capability."""
        return capability in (_LAB if self.kind is KernelKind.LAB else _OSV)

    def disk_start(self) -> DiskStart | None:
        """Return what makes a disk boot this kernel; None if it only boots when QEMU loads it.

        Raises
        ------
        KernelBuildError
            The lab kernel's boot sector has to be compiled, and that failed.
        """
        if self.boot is Boot.DISK:
            with self.path.open("rb") as file:
                return DiskStart(file.read(512), KERNEL_AT, self.size - KERNEL_AT)
        if self.kind is not KernelKind.LAB:
            return None
        from osvlab.kernel_build import BOOT_SECTOR, boot_sector

        beside = self.path.with_name(BOOT_SECTOR)
        sector = beside if beside.is_file() else boot_sector()
        return DiskStart(sector.read_bytes(), 0, self.size)

    @cached_property
    def loaded_end(self) -> int:
        """The address in the guest's memory up to which a loader puts the file; 0 if it moves itself."""
        return 0 if self.boot is Boot.DISK else loaded_end(self.path)

    @cached_property
    def supplies_libraries(self) -> frozenset[str]:
        """The sonames that programs may need and that the kernel itself stands in for."""
        if self.kind is KernelKind.LAB:
            return _LIBC | _LAB_ADDS
        # OSv supplies libstdc++ unless it was built to hide it; its symbols tell.
        hides = self.exports is not None and "_ZNSt8ios_base4InitC1Ev" not in self.exports
        return _LIBC | _OSV_ADDS | (frozenset() if hides else frozenset({"libstdc++.so.6"}))

    @property
    def program_folders(self) -> tuple[str, ...]:
        """Where the kernel looks for a program whose name has no slash."""
        return _LAB_PROGRAMS if self.kind is KernelKind.LAB else _OSV_FOLDERS

    @property
    def library_folders(self) -> tuple[str, ...]:
        """Where the kernel looks for a library, after the folders that the program itself names."""
        return _LAB_LIBRARIES if self.kind is KernelKind.LAB else _OSV_FOLDERS

    @property
    def linker_rules(self) -> Rules:
        """What the kernel makes of the folders that programs name."""
        return _LAB_RULES if self.kind is KernelKind.LAB else _OSV_RULES

    @cached_property
    def zfs_root(self) -> str | None:
        """The dataset of a ZFS pool that the kernel mounts as its root; None when the file does not tell."""
        return "osv" if self.kind is KernelKind.LAB else osv_zfs_root(self.path)

    @cached_property
    def exports(self) -> frozenset[str] | None:
        """The symbols that programs find in the kernel; None when the file does not tell."""
        return None if self.boot is Boot.DISK else dynamic_symbols(self.path)

    def command_line(
        self,
        command: str,
        *,
        rootfs: str | None = None,
        verbose: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> str:
        r"""Return what the kernel is to be told: its options, then the command.

        Parameters
        ----------
        command
            The application's command, with the grammar of OSv (``a; b & c "x y"``). It may
            begin with options of the kernel, which count more than the ones given here.
        rootfs
            The file system to mount as root (``rofs``, ``zfs``, ``ramfs``); None lets the kernel look.
        verbose
            Whether the kernel tells what it does.
        env
            Environment variables.
        cwd
            The folder to start in.

        Raises
        ------
        KernelError
            A variable's name or value cannot be passed.

        Examples
        --------
        >>> Kernel(Path("k"), KernelKind.LAB, Boot.PVH, None).command_line(
        ...     "/hello x", rootfs="rofs", env={"NAME": "two words"})
        '--rootfs=rofs --env=NAME=two\\ words /hello x'
        """
        options: list[str] = []
        if self.kind is KernelKind.OSV:
            options.append("--power-off-on-abort")  # or an abort would halt, and never end the run
        if verbose:
            options.append("--verbose")
        if rootfs is not None:
            options.append("--rootfs=" + _option_value("rootfs", rootfs))
        for name, value in (env or {}).items():
            if not name or "=" in name:
                raise KernelError(
                    f"not a name for an environment variable: {name!r}", hint="Give one without '='."
                )
            options.append("--env=" + _option_value(name, f"{name}={value}"))
        if cwd is not None:
            options.append("--cwd=" + _option_value("cwd", cwd))
        # Of an option given twice OSv takes the first and complains. Variables are given one by one.
        given = {option.partition("=")[0] for option in _leading_options(command)} - {"--env"}
        options = [option for option in options if option.partition("=")[0] not in given]
        return " ".join([*options, command] if command else options)

    @property
    def application_line(self) -> re.Pattern[bytes]:
        """Matches the console once the application's first line is complete."""
        return re.compile(rb"(?:^|\n)Cmdline: [^\n]*\n[^\n]*\n")

    def verdict(self, console: str) -> Verdict | None:
        r"""Read from the console how a run went that ended with the power off.

        For kernels that do not report; None for those that do, and for a console from
        which nothing follows, not even that the kernel ran.

        Examples
        --------
        >>> osv = Kernel(Path("loader.elf"), KernelKind.OSV, Boot.PVH, None)
        >>> osv.verdict("OSv v0.57.0\nCmdline: /x\nFailed to load object: /x. Powering off.\n")
        Verdict(status=127, fault=None, backtrace=())
        """
        return None if self.kind is KernelKind.LAB else osv_verdict(console)

    def __repr__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"<Kernel {self.kind}{version}, {self.boot}, {self.path}>"


def _leading_options(text: str) -> list[str]:
    """Return the kernel options that a command line begins with; a backslash escapes the next character."""
    words = re.findall(r"(?:[^\\\s]|\\.)+", text, re.DOTALL)
    return list(takewhile(lambda word: word.startswith("-"), words))


def _option_value(name: str, value: str) -> str:
    """Escape white space and backslashes, which is all the quoting kernel options know."""
    if "\0" in value:
        raise KernelError(f"the value of {name} contains a NUL character", hint="Take it out.")
    return re.sub(r"([\\ \t\n])", r"\\\1", value)


# The libraries that a kernel stands in for: both, the lab's (runtime/linker/search.c), OSv (core/elf.cc).
_LIBC = frozenset(
    {
        "ld-linux-x86-64.so.2",
        "ld-musl-x86_64.so.1",
        "libc.musl-x86_64.so.1",
        "libc.so.6",
        "libdl.so.2",
        "libm.so.6",
        "libpthread.so.0",
        "libresolv.so.2",
        "librt.so.1",
    }
)
_LAB_ADDS = frozenset({"libc.so", "libutil.so.1"})
_OSV_ADDS = frozenset({"libaio.so.1", "libcrypt.so.1", "libutil.so", "libxenstore.so.3.0"})

# Neither knows LIB and PLATFORM (runtime/linker/search.c; OSv: core/elf.cc).
_LAB_RULES = Rules()
_OSV_RULES = Rules(inherits_rpath=False, origin_behind_links=True)
_OSV_FOLDERS = ("/", "/usr/lib")
_LAB_PROGRAMS = (*_OSV_FOLDERS, "/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin")
_LAB_LIBRARIES = (
    *_OSV_FOLDERS, "/lib", "/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/local/lib"
)  # fmt: skip
