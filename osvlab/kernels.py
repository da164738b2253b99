"""Kernels: the library OS itself, and what can be asked of it.

There are two: the lab's own, compiled from `osvlab/kernel`, and OSv, in the files its
build leaves behind. Only this module knows which one it has in hand; everybody else
asks for a capability ("does it report an exit status?").
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from osvlab.errors import OsvlabError

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


class KernelError(OsvlabError, ValueError):
    """A file that is no kernel this lab can boot, or a kernel that was asked for what it cannot do."""


class KernelNotFoundError(KernelError, FileNotFoundError):
    """There is no such kernel file."""


class KernelKind(StrEnum):
    """Whose kernel it is."""

    LAB = "lab"
    OSV = "osv"


class Boot(StrEnum):
    """How a kernel file is started.

    ``pvh``: an ELF file that QEMU loads itself (``-kernel``), entered through its Xen
    PVH note. ``disk``: the beginning of a disk, boot sector first, for a BIOS.
    """

    PVH = "pvh"
    DISK = "disk"


class Capability(StrEnum):
    """What a kernel may or may not be able to do."""

    REPORTS_EXIT_STATUS = "reports the exit status of the command"
    REPORTS_BOOT_TIMELINE = "reports when each step of the boot was done"
    CRASH_REPORT = "reports a crash with registers and a backtrace, and powers off"
    BOOTS_MICROVM_WITHOUT_KVM = "boots on QEMU's microvm without KVM"
    TELLS_STATUS_WHEN_VERBOSE = "prints the exit status on the console with verbose=True"


_LAB = frozenset(
    {
        Capability.REPORTS_EXIT_STATUS,
        Capability.REPORTS_BOOT_TIMELINE,
        Capability.CRASH_REPORT,
        Capability.BOOTS_MICROVM_WITHOUT_KVM,
    }
)
_OSV = frozenset({Capability.TELLS_STATUS_WHEN_VERBOSE})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a console says about a run that ended with the power off.

    Parameters
    ----------
    status
        The exit status, or None when the console does not tell.
    fault
        What the guest said about its fault, when it aborted; None otherwise.
    backtrace
        Address, symbol (None if unknown) and offset of each frame, innermost first.
    """

    status: int | None = None
    fault: str | None = None
    backtrace: tuple[tuple[int, str | None, int], ...] = ()


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
            with path.open("rb") as file:
                kind, boot, version = _recognise(path, file)
        except FileNotFoundError as error:
            raise KernelNotFoundError(f"no such kernel: {path}", hint="Check the path.") from error
        except OSError as error:
            raise KernelError(f"cannot read the kernel {path}: {error.strerror}") from error
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
            mine.seek(_LZKERNEL_AT)
            other.seek(_LZKERNEL_AT)
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
                return DiskStart(file.read(512), _LZKERNEL_AT, self.size - _LZKERNEL_AT)
        if self.kind is not KernelKind.LAB:
            return None
        from osvlab.kernel_build import BOOT_SECTOR, boot_sector

        beside = self.path.with_name(BOOT_SECTOR)
        sector = beside if beside.is_file() else boot_sector()
        return DiskStart(sector.read_bytes(), 0, self.size)

    @cached_property
    def supplies_libraries(self) -> frozenset[str]:
        """The sonames that programs may need and that the kernel itself stands in for."""
        if self.kind is KernelKind.LAB:
            return _LIBC | _LAB_ADDS
        # OSv supplies libstdc++ unless it was built to hide it; its symbols tell.
        hides = self.exports is not None and "_ZNSt8ios_base4InitC1Ev" not in self.exports
        return _LIBC | _OSV_ADDS | (frozenset() if hides else frozenset({"libstdc++.so.6"}))

    @cached_property
    def exports(self) -> frozenset[str] | None:
        """The symbols that programs find in the kernel; None when the file does not tell."""
        return None if self.boot is Boot.DISK else _dynamic_symbols(self.path)

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
                raise KernelError(f"not a name for an environment variable: {name!r}")
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
        return None if self.kind is KernelKind.LAB else _osv_verdict(console)

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
        raise KernelError(f"the value of {name} contains a NUL character")
    return re.sub(r"([\\ \t\n])", r"\\\1", value)


# What OSv prints (reference: its loader.cc, core/app.cc, runtime.cc)

# An abort's backtrace is the last thing on the console; an application may print the same words before.
_OSV_ABORT = re.compile(
    r"^(?:\[backtrace\]\n(?:0x[0-9a-f]{16} .*\n?)*|Halting\.\s*)\s*(?:Powering off\.\s*)?\Z",
    re.MULTILINE,
)
_OSV_FAULT = re.compile(
    r"^(?:Aborted|Assertion failed: .*|page fault outside application.*|general protection fault.*"
    r"|Out of memory: .*|.*failed looking up symbol .*)$",
    re.MULTILINE,
)
_OSV_FRAME = re.compile(r"^0x([0-9a-f]{16}) <(.*)\+(\d+)>", re.MULTILINE)
_OSV_RETURNED = re.compile(r"^program (?:.* returned|exited with status) (-?\d+)\s*$", re.MULTILINE)
_OSV_NOT_STARTED = re.compile(
    r"^(?:.*\. Powering off\.|Failed to parse command line\.|This image has an empty command line\. .*"
    r"|unrecognized option: .*|not an option: .*)$",
    re.MULTILINE,
)


def _osv_verdict(console: str) -> Verdict | None:
    start = re.search(r"^OSv v?\d", console, re.MULTILINE)
    if start is None:
        return None
    said = console[start.start() :]
    abort = _OSV_ABORT.search(said)
    if abort is not None:
        fault = [match.start() for match in _OSV_FAULT.finditer(said, 0, abort.start())]
        line_before = said.rfind("\n", 0, max(0, abort.start() - 1)) + 1
        return Verdict(
            fault=said[fault[-1] if fault else line_before : abort.start()].strip() or "abort",
            backtrace=tuple(
                (int(address, 16), *((None, 0) if symbol == "???" else (symbol, int(offset))))
                for address, symbol, offset in _OSV_FRAME.findall(abort[0])
            ),
        )
    # The application's lines look like the kernel's, so the kernel's last word is the one that counts.
    returned = _OSV_RETURNED.findall(said)
    if returned:
        return Verdict(status=int(returned[-1]) & 0xFF)
    if _OSV_NOT_STARTED.search(said):
        return Verdict(status=127)  # as a shell says it of a command it cannot start
    if re.search(r"^Powering off\.$", said, re.MULTILINE):
        return Verdict(status=0)  # verbose, and nothing complained
    return Verdict(status=None)


# What a kernel file is

_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_PT_NOTE, _PVH_ENTRY = 4, 18
_LZKERNEL_AT = 128 * 512
_OSV_LINKED_AT = 0x40200000


def _recognise(path: Path, file: BinaryIO) -> tuple[KernelKind, Boot, str | None]:
    head = file.read(512)
    if head[:4] == b"\x7fELF":
        return _recognise_elf(path, file, head)
    if head[510:512] == b"\x55\xaa":
        file.seek(_LZKERNEL_AT)
        inner = file.read(20)
        # OSv's lzloader is a 32-bit ELF file, and the boot sector carries OSv's signature.
        if inner[:5] == b"\x7fELF\x01" and head[0x1B8:0x1BB] == b"VSO":
            return KernelKind.OSV, Boot.DISK, None
        raise KernelError(
            f"{path} is a bootable disk, but does not begin with an OSv kernel",
            hint="Give OSv's loader.img, or its loader-stripped.elf.",
        )
    raise KernelError(
        f"{path} is no kernel: neither an ELF file nor a bootable disk",
        hint="Give the lab kernel, or OSv's loader-stripped.elf or loader.img.",
    )


def _recognise_elf(path: Path, file: BinaryIO, head: bytes) -> tuple[KernelKind, Boot, str | None]:
    if len(head) < _ELF_HEADER.size or head[4] != 2 or head[5] != 1:
        raise KernelError(f"{path} is no kernel for x86_64: not a 64-bit little-endian ELF file")
    fields = _ELF_HEADER.unpack_from(head)
    machine, table, entry_size, count = fields[2], fields[5], fields[9], fields[10]
    if machine != 62:
        raise KernelError(f"{path} is a kernel for another architecture (ELF machine {machine})")
    if entry_size != _PROGRAM_HEADER.size or not 0 < count <= 256:
        raise KernelError(f"{path} is no kernel: its ELF program headers are damaged")
    file.seek(table)
    raw = file.read(count * entry_size)
    if len(raw) < count * entry_size:
        raise KernelError(f"{path} is truncated: it ends inside its ELF program headers")
    headers = [_PROGRAM_HEADER.unpack_from(raw, n * entry_size) for n in range(count)]
    size = os.fstat(file.fileno()).st_size
    if any(kind == 1 and offset + length > size for kind, _, offset, _, _, length, _, _ in headers):
        raise KernelError(f"{path} is truncated: a segment lies behind its end")
    notes = {}
    for kind, _, offset, _, _, length, _, _ in headers:
        if kind == _PT_NOTE and length <= 1 << 16:
            file.seek(offset)
            notes.update({(owner, number): text for owner, number, text in _notes(file.read(length))})
    if (b"Xen", _PVH_ENTRY) not in notes:
        raise KernelError(
            f"{path} is no kernel that QEMU can start: it has no PVH entry note",
            hint="An application is run as osvlab.run(directory, command), not as a kernel.",
        )
    lab = [text for (owner, _), text in notes.items() if owner == b"osvlab"]
    if lab:
        return KernelKind.LAB, Boot.PVH, lab[0].rstrip(b"\0").decode("utf-8", "replace")
    if any(kind == 1 and vaddr == _OSV_LINKED_AT for kind, _, _, vaddr, *_ in headers):
        return KernelKind.OSV, Boot.PVH, _osv_version(path)
    raise KernelError(f"{path} has a PVH entry, but is neither the lab kernel nor OSv")


def _notes(raw: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Walk ELF notes: name size, text size, type, name, text, each padded to 4 bytes."""
    at = 0
    while at + 12 <= len(raw):
        name_size, text_size, number = struct.unpack_from("<III", raw, at)
        name_at = at + 12
        text_at = name_at + (name_size + 3 & ~3)
        at = text_at + (text_size + 3 & ~3)
        if at > len(raw) + 3:
            return  # damaged: what came before stands
        yield raw[name_at : name_at + name_size].rstrip(b"\0"), number, raw[text_at : text_at + text_size]


def _osv_version(path: Path) -> str | None:
    """Find the `git describe` text that OSv's build bakes in and its first console line shows."""
    import mmap

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        found = re.search(rb"\0(v\d+\.\d+\.\d+(?:-\d+-g[0-9a-f]{7,40})?(?:-dirty)?)\0", whole)
        return found[1].decode() if found else None


_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SHT_DYNSYM = 11


def _dynamic_symbols(path: Path) -> frozenset[str] | None:
    """Read the names that `.dynsym` defines; None without a usable section table.

    By hand, because OSv exports fifteen thousand and each boot's preflight asks.
    """
    whole = path.read_bytes()
    fields = _ELF_HEADER.unpack_from(whole)
    table, entry_size, count = fields[6], fields[11], fields[12]
    if entry_size != _SECTION_HEADER.size or table + count * entry_size > len(whole):
        return None
    sections = [_SECTION_HEADER.unpack_from(whole, table + n * entry_size) for n in range(count)]
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind == _SHT_DYNSYM and link < count:
            names = whole[sections[link][4] :][: sections[link][5]]
            entries = memoryview(whole)[offset : offset + size - size % _SYMBOL.size]
            return frozenset(
                names[name : names.find(b"\0", name)].decode("utf-8", "replace")
                for name, info, _, section, _, _ in _SYMBOL.iter_unpack(entries)
                if section and info >> 4 and name < len(names)  # defined, and not local
            )
    return None


# The libraries that a kernel stands in for: both, the lab's (runtime/linker/search.c), OSv (core/elf.cc).
_LIBC = frozenset(
    {
        "ld-linux-x86-64.so.2",
        "ld-musl-x86_64.so.1",
        "libc.musl-x86_64.so.1",
        "libc.so.6",
        "libcrypt.so.1",
        "libdl.so.2",
        "libm.so.6",
        "libpthread.so.0",
        "libresolv.so.2",
        "librt.so.1",
    }
)
_LAB_ADDS = frozenset({"libc.so", "libutil.so.1"})
_OSV_ADDS = frozenset({"libaio.so.1", "libutil.so", "libxenstore.so.3.0"})
